//! Small pieces of lines: object ids and numbers, read as Git reads them.

use crate::ObjectId;

const HEX_DIGITS: usize = 40;

/// The object id at the start of `text` and what follows it. Git does not mind what follows, nor the letters' case.
pub(super) fn leading_id(text: &[u8]) -> Option<(ObjectId, &[u8])> {
    let (hex, rest) = text.split_at_checked(HEX_DIGITS)?;
    Some((ObjectId::from_hex(hex).ok()?, rest))
}

/// A whole number as C's `strtoumax(text, &end, 0)` reads it when it accepts all of `text`: white space first, then `0x`
/// for hexadecimal, `0` for octal. No sign but `+`: Git would wrap a negative number around.
pub(super) fn c_number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign of its own.
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, number) in [
            ("1", Some(1)),
            ("0", Some(0)),
            (" 12", Some(12)),
            ("+7", Some(7)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("++1", None),
            ("0x+1", None),
            ("1 ", None),
            ("1a", None),
            ("08", None),
        ] {
            assert_eq!(c_number(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn ids_may_have_a_tail_and_capitals() {
        let hex = b"ABCDEF0123456789abcdef0123456789ABCDEF01";
        let (id, rest) = leading_id(&[hex, &b" multi_ack"[..]].concat()).map(|(id, rest)| (id, rest.to_vec())).unwrap();
        assert_eq!(id.to_string(), "abcdef0123456789abcdef0123456789abcdef01");
        assert_eq!(rest, b" multi_ack");
        assert!(leading_id(&hex[..39]).is_none());
        assert!(leading_id(&[b'x'; 40]).is_none());
    }
}
