//! Values of configuration: booleans, numbers, keys, and the quoting of `GIT_CONFIG_PARAMETERS`.

use bstr::{BStr, BString, ByteSlice};

/// A boolean as Git reads one; a name without `=` is true. `None`: not a boolean.
pub fn parse_boolean(value: Option<&BStr>) -> Option<bool> {
    let Some(value) = value else { return Some(true) };
    let is = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
    if is("true") || is("yes") || is("on") {
        Some(true)
    } else if value.is_empty() || is("false") || is("no") || is("off") {
        Some(false)
    } else {
        parse_number(value).ok().and_then(|number| i32::try_from(number).ok()).map(|number| number != 0)
    }
}

/// A number with an optional unit.
pub(super) fn parse_number(value: &BStr) -> Result<i64, &'static str> {
    const UNIT: &str = "invalid unit";
    let text = value.to_str().map_err(|_| UNIT)?.trim_start();
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1_i64),
    };
    let (negative, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let lower = magnitude.to_ascii_lowercase();
    let (radix, magnitude) = match lower.strip_prefix("0x") {
        Some(rest) => (16, rest),
        None if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        None => (10, lower.as_str()),
    };
    if magnitude.is_empty() || !magnitude.chars().all(|c| c.is_digit(radix)) {
        return Err(UNIT);
    }
    let number = i64::from_str_radix(magnitude, radix).map_err(|_| "out of range")?;
    let number = if negative { -number } else { number };
    number.checked_mul(unit).ok_or("out of range")
}

/// A count as `strtoul` reads one: a negative number is a very large one, and so is one that is too large. `None`: not a
/// number.
pub(super) fn parse_count(value: &BStr) -> Option<u64> {
    let text = value.to_str().ok()?.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: Option<u64> = digits.parse().ok();
    Some(count.map_or(u64::MAX, |count| if negative { count.wrapping_neg() } else { count }))
}

/// A key's section, lower case; its subsection, as it is; and its name, lower case.
pub(super) type Key = (BString, Option<BString>, BString);

/// Takes `section.subsection.name` apart. Otherwise what Git says of it.
pub(super) fn parse_key(key: &BStr) -> Result<Key, String> {
    if key.is_empty() {
        return Err("empty config key".into());
    }
    let Some(end) = key.rfind_byte(b'.').filter(|end| *end > 0) else {
        return Err(format!("key does not contain a section: {key}"));
    };
    let start = key.find_byte(b'.').unwrap_or(end);
    let (section, name) = (&key[..start], &key[end + 1..]);
    if name.is_empty() {
        return Err(format!("key does not contain variable name: {key}"));
    }
    let subsection = (start < end).then(|| key[start + 1..end].as_bstr());
    let plain = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    // In this order: the first fault is the one that is told.
    if !plain(section) {
        return Err(format!("invalid key: {key}"));
    }
    if subsection.is_some_and(|subsection| subsection.contains(&b'\n')) {
        return Err(format!("invalid key (newline): {key}"));
    }
    if !plain(name) || !name[0].is_ascii_alphabetic() {
        return Err(format!("invalid key: {key}"));
    }
    Ok((section.to_ascii_lowercase().into(), subsection.map(Into::into), name.to_ascii_lowercase().into()))
}

/// The pairs of `GIT_CONFIG_PARAMETERS`: `'key'='value'`, or in the old form `'key=value'`. Otherwise what Git says of it.
pub(super) fn split_parameters(text: &BStr) -> Result<Vec<(BString, Option<BString>)>, String> {
    let bogus = || "bogus format in GIT_CONFIG_PARAMETERS".to_owned();
    let mut rest: &[u8] = text;
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (first, behind) = unquote(rest).ok_or_else(bogus)?;
        rest = behind;
        let pair = match rest.strip_prefix(b"=") {
            // `'key'=` is a name without value.
            Some(behind) if behind.first().is_none_or(is_space) => {
                rest = behind;
                (first, None)
            }
            Some(behind) => {
                let (value, behind) = unquote(behind).ok_or_else(bogus)?;
                rest = behind;
                (first, Some(value))
            }
            None => old_form(&first)?,
        };
        if !rest.first().is_none_or(is_space) {
            return Err(bogus());
        }
        pairs.push(pair);
        rest = rest.trim_start_with(|c| u8::try_from(c).is_ok_and(|byte| is_space(&byte)));
    }
    Ok(pairs)
}

/// `key=value`, or a key alone.
fn old_form(text: &[u8]) -> Result<(BString, Option<BString>), String> {
    let (key, value) = match text.split_once_str("=") {
        Some((key, value)) => (key, Some(value.into())),
        None => (text, None),
    };
    let key = key.trim_with(|c| u8::try_from(c).is_ok_and(|byte| is_space(&byte)));
    if key.is_empty() {
        return Err(format!("bogus config parameter: {}", text.as_bstr()));
    }
    Ok((key.into(), value))
}

/// What Git takes for white space: no form feed.
fn is_space(byte: &u8) -> bool {
    b" \t\n\r".contains(byte)
}

/// One word in the shell's single quotes, where `'\''` and `'\!'` stand for the characters that can't be inside.
fn unquote(text: &[u8]) -> Option<(BString, &[u8])> {
    let mut rest = text.strip_prefix(b"'")?;
    let mut word = BString::default();
    loop {
        let end = rest.find_byte(b'\'')?;
        word.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest {
            [b'\\', escaped @ (b'\'' | b'!'), b'\'', behind @ ..] => {
                word.push(*escaped);
                rest = behind;
            }
            _ => return Some((word, rest)),
        }
    }
}
