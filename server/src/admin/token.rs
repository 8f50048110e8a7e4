//! The bearer token of the admin port.

/// Whether an `Authorization` line carries `expected`. Takes as long for a wrong token as for the right one of its
/// length, wherever they differ.
pub fn matches(expected: &str, authorization: Option<&[u8]>) -> bool {
    let Some(line) = authorization else {
        return false;
    };
    let Some((scheme, given)) = line.split_at_checked("Bearer ".len()) else {
        return false;
    };
    let expected = expected.as_bytes();
    if !scheme.eq_ignore_ascii_case(b"Bearer ") || expected.is_empty() || given.len() != expected.len() {
        return false;
    }
    let difference = given.iter().zip(expected).fold(0, |sum, (a, b)| sum | std::hint::black_box(a ^ b));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::matches;

    /// With a token so long that one look fewer shows.
    #[test]
    fn where_a_wrong_token_differs_does_not_show() {
        let right = "x".repeat(1 << 20);
        let with = |at: usize| {
            let mut line = format!("Bearer {right}").into_bytes();
            line["Bearer ".len() + at] = b'y';
            line
        };
        let time = |line: &[u8]| {
            let once = |_| {
                let began = std::time::Instant::now();
                assert!(!matches(&right, Some(line)));
                began.elapsed()
            };
            (0..20).map(once).min().unwrap()
        };
        let (first, last) = (time(&with(0)), time(&with(right.len() - 1)));
        assert!(first < 3 * last && last < 3 * first, "{first:?} and {last:?}");
    }

    #[test]
    fn only_the_token_is_the_token() {
        assert!(matches("s3cret", Some(b"Bearer s3cret")));
        assert!(matches("s3cret", Some(b"bearer s3cret")));
        for line in
            [&b""[..], b"Bearer", b"Bearer ", b"Bearer s3creT", b"Bearer s3cret ", b"Bearer s3cre", b"Basic s3cret"]
        {
            assert!(!matches("s3cret", Some(line)), "{line:?}");
        }
        assert!(!matches("s3cret", None));
        assert!(!matches("", Some(b"Bearer ")));
    }
}
