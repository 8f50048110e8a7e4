//! `WWW-Authenticate` as the upstream sends it, and what of it can be passed on (RFC 9110, section 11.6.1).
//!
//! Only Basic and Bearer: a caller's answer to any other challenge would prove nothing to the upstream. Each is put
//! together anew from its parts, so that what is passed on is a challenge and nothing else.

use heliostat_core::rights::Challenges;

/// Challenges that are passed on. Nobody sends more than a few.
const CHALLENGES_MAX: usize = 4;
/// Bytes of one; a longer one is passed on without its parameters.
const CHALLENGE_BYTES_MAX: usize = 512;

/// The Basic and Bearer challenges in these header values.
pub fn passed_on<'a>(values: impl IntoIterator<Item = &'a str>) -> Challenges {
    values.into_iter().flat_map(challenges).take(CHALLENGES_MAX).collect()
}

fn challenges(value: &str) -> Vec<String> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for item in items(value) {
        // `scheme`, `scheme name=value`, `scheme token68` begin a challenge; `name=value` alone goes on with the last one.
        let (first, rest) = item.split_once(' ').map_or((item.as_str(), ""), |(first, rest)| (first, rest.trim()));
        if is_token(first) {
            found.push((first.to_owned(), parameter(rest).into_iter().collect()));
        } else if let Some((_, parameters)) = found.last_mut() {
            parameters.extend(parameter(&item));
        }
    }
    found.into_iter().filter_map(|(scheme, parameters)| of_ours(&scheme, &parameters)).collect()
}

fn of_ours(scheme: &str, parameters: &[String]) -> Option<String> {
    let scheme = ["Basic", "Bearer"].into_iter().find(|ours| scheme.eq_ignore_ascii_case(ours))?;
    let whole = format!("{scheme} {}", parameters.join(", "));
    let fits = !parameters.is_empty() && whole.len() <= CHALLENGE_BYTES_MAX;
    // RFC 7617: a realm is required.
    Some(if fits { whole } else { format!("{scheme} realm=\"upstream\"") })
}

/// `name=value`, the value quoted; nothing if it is not that.
fn parameter(text: &str) -> Option<String> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|text| is_quotable(text))?,
        None if is_token(value) => value,
        None => return None,
    };
    let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (is_token(name) && printable).then(|| format!("{name}=\"{value}\""))
}

/// Whether `text` can stand in quotes as it is: in it no quote ends them, and the end is not escaped.
fn is_quotable(text: &str) -> bool {
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'"' || byte == b'\\' && rest.next().is_none() {
            return false;
        }
    }
    true
}

/// The parts between commas that do not stand in quotes.
fn items(value: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in value.chars() {
        if c == ',' && !quoted {
            items.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn basic_and_bearer_are_passed_on_and_nothing_else() {
        for (values, expected) in [
            (&["Basic realm=\"Git, really\""][..], &["Basic realm=\"Git, really\""][..]),
            (&["basic realm=git"], &["Basic realm=\"git\""]),
            (&["Basic"], &["Basic realm=\"upstream\""]),
            (&["Basic realm=\"a \\\"b\\\"\", charset=\"UTF-8\""], &["Basic realm=\"a \\\"b\\\"\", charset=\"UTF-8\""]),
            (
                &["Negotiate, Basic realm=\"x\", Bearer realm=\"y\", error=\"invalid_token\""],
                &["Basic realm=\"x\"", "Bearer realm=\"y\", error=\"invalid_token\""],
            ),
            (&["NTLM", "Basic realm=\"x\""], &["Basic realm=\"x\""]),
            (&["Negotiate YII=", "Digest realm=\"d\", nonce=\"Basic\", qop=\"auth\""], &[]),
            (&["Bearer realm=\"x\u{1b}[2J\""], &["Bearer realm=\"upstream\""]),
            // What would end its quotes, or not end them.
            (&["Basic realm=\"a\"b\", charset=\"UTF-8\""], &["Basic realm=\"upstream\""]),
            (&["Basic realm=\"a\\\""], &["Basic realm=\"upstream\""]),
            (&[""], &[]),
        ] {
            let found = passed_on(values.iter().copied());
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{values:?}");
        }
        assert_eq!(
            passed_on([format!("Basic realm=\"{}\"", "x".repeat(9_000)).as_str()])[0],
            "Basic realm=\"upstream\""
        );
        assert_eq!(passed_on(["Basic"; 100]).len(), CHALLENGES_MAX);
    }

    proptest! {
        #[test]
        fn what_is_passed_on_is_one_line(value in "(Basic|Bearer|[a-z]{0,3})?( |,|=|\"|\\\\|[a-z]|\r|\n|é){0,20}") {
            for challenge in passed_on([value.as_str()]).iter() {
                prop_assert!(challenge.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{:?}", challenge);
                prop_assert!(challenge.starts_with("Basic ") || challenge.starts_with("Bearer "));
                prop_assert_eq!(&passed_on([challenge.as_str()])[..], std::slice::from_ref(challenge));
            }
        }
    }
}
