//! pkt-lines (`gitprotocol-common`): decoding from slices, encoding into buffers.
//!
//! The decoder looks at a slice and either finds a whole packet in it or says how many more bytes it needs. It copies
//! nothing and allocates nothing, so a declared length costs nobody memory.

use crate::limits::{PKT_LINE_BYTES_MAX, PKT_LINE_PAYLOAD_MAX};
use std::{fmt, io::Write as _};

/// `0000`: ends a message.
pub const FLUSH: &[u8; 4] = b"0000";
/// `0001`: separates sections of a message (v2).
pub const DELIMITER: &[u8; 4] = b"0001";
/// `0002`: ends a response of a stateless connection (v2).
pub const RESPONSE_END: &[u8; 4] = b"0002";

const PREFIX_BYTES: usize = 4;

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The payload of a pkt-line, without its length prefix; may be empty.
    Data(&'a [u8]),
    /// `0000`.
    Flush,
    /// `0001`.
    Delimiter,
    /// `0002`.
    ResponseEnd,
}

/// What [`decode`] found at the start of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole packet.
    Complete {
        /// The packet.
        packet: Packet<'a>,
        /// How many bytes of the input it took.
        consumed: usize,
    },
    /// Not yet a whole packet.
    Incomplete {
        /// How many more bytes are needed at least.
        missing: usize,
    },
}

/// A length prefix that no packet has. `Display` uses Git's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Four bytes that are not all hexadecimal digits.
    NotHexadecimal([u8; 4]),
    /// `0003`, or more than [`PKT_LINE_BYTES_MAX`].
    BadLength(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHexadecimal(prefix) => {
                write!(f, "protocol error: bad line length character: {}", prefix.escape_ascii())
            }
            // Git counts the payload of a packet that is too long, and the prefix of one that is too short.
            Self::BadLength(length @ ..PREFIX_BYTES) => write!(f, "protocol error: bad line length {length}"),
            Self::BadLength(length) => write!(f, "protocol error: bad line length {}", length - PREFIX_BYTES),
        }
    }
}

impl std::error::Error for DecodeError {}

/// The packet at the start of `input`.
pub fn decode(input: &[u8]) -> Result<Decoded<'_>, DecodeError> {
    let Some((prefix, rest)) = input.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(Decoded::Incomplete { missing: PREFIX_BYTES - input.len() });
    };
    let length = length_of(prefix)?;
    let packet = match length {
        0 => Packet::Flush,
        1 => Packet::Delimiter,
        2 => Packet::ResponseEnd,
        PREFIX_BYTES..=PKT_LINE_BYTES_MAX => match rest.get(..length - PREFIX_BYTES) {
            Some(payload) => Packet::Data(payload),
            None => return Ok(Decoded::Incomplete { missing: length - input.len() }),
        },
        _ => return Err(DecodeError::BadLength(length)),
    };
    Ok(Decoded::Complete { packet, consumed: length.max(PREFIX_BYTES) })
}

fn length_of(prefix: &[u8; PREFIX_BYTES]) -> Result<usize, DecodeError> {
    prefix.iter().try_fold(0, |length, byte| {
        let digit = char::from(*byte).to_digit(16).ok_or(DecodeError::NotHexadecimal(*prefix))?;
        Ok(length << 4 | digit as usize)
    })
}

/// Appends one pkt-line, its payload written by `payload`. The payload must not exceed [`PKT_LINE_PAYLOAD_MAX`] bytes;
/// what does is cut off, because a wrong length would put the whole stream out of step.
pub fn frame(out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(FLUSH);
    payload(out);
    debug_assert!(out.len() - start <= PKT_LINE_BYTES_MAX);
    out.truncate(start + PKT_LINE_BYTES_MAX);
    let length = out.len() - start;
    out[start..start + PREFIX_BYTES].copy_from_slice(&prefix(length));
}

/// Appends one pkt-line of text, as [`frame`].
pub fn line(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    frame(out, |out| {
        // Writing to a vector can't fail.
        let _ = out.write_fmt(text);
    });
}

/// Appends one pkt-line with `payload`, as [`frame`].
pub fn data(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, |out| out.extend_from_slice(&payload[..payload.len().min(PKT_LINE_PAYLOAD_MAX)]));
}

/// The prefix of a pkt-line of `length` bytes, itself included.
pub fn prefix(length: usize) -> [u8; PREFIX_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [12, 8, 4, 0].map(|shift| DIGITS[length >> shift & 15])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_found() {
        #[rustfmt::skip]
        let cases: &[(&[u8], Decoded<'_>)] = &[
            (b"", Decoded::Incomplete { missing: 4 }),
            (b"000", Decoded::Incomplete { missing: 1 }),
            (b"0000", Decoded::Complete { packet: Packet::Flush, consumed: 4 }),
            (b"0001rest", Decoded::Complete { packet: Packet::Delimiter, consumed: 4 }),
            (b"0002", Decoded::Complete { packet: Packet::ResponseEnd, consumed: 4 }),
            (b"0004", Decoded::Complete { packet: Packet::Data(b""), consumed: 4 }),
            (b"0006a\n0000", Decoded::Complete { packet: Packet::Data(b"a\n"), consumed: 6 }),
            (b"000Ahello\n", Decoded::Complete { packet: Packet::Data(b"hello\n"), consumed: 10 }),
            (b"0006a", Decoded::Incomplete { missing: 1 }),
            (b"fff0", Decoded::Incomplete { missing: 65_516 }),
        ];
        for (input, expected) in cases {
            assert_eq!(decode(input).as_ref(), Ok(expected), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn bad_lengths_are_refused_in_the_words_of_git() {
        for (input, expected) in [
            (b"0003", "protocol error: bad line length 3"),
            (b"fff1", "protocol error: bad line length 65517"),
            (b"ffff", "protocol error: bad line length 65531"),
            (b"PACK", "protocol error: bad line length character: PACK"),
            (b"00-4", "protocol error: bad line length character: 00-4"),
            (b"0x10", "protocol error: bad line length character: 0x10"),
            (b"+001", "protocol error: bad line length character: +001"),
        ] {
            assert_eq!(decode(input).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(payload in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let payload = &payload[..payload.len().min(PKT_LINE_PAYLOAD_MAX)];
            let mut out = b"before".to_vec();
            data(&mut out, payload);
            let expected = Decoded::Complete { packet: Packet::Data(payload), consumed: payload.len() + 4 };
            prop_assert_eq!(decode(&out[6..]), Ok(expected));
        }

        #[test]
        fn arbitrary_bytes_are_decoded_within_their_bounds(input in prop::collection::vec(any::<u8>(), 0..64)) {
            match decode(&input) {
                Ok(Decoded::Complete { consumed, .. }) => prop_assert!((4..=input.len()).contains(&consumed)),
                Ok(Decoded::Incomplete { missing }) => prop_assert!((1..=PKT_LINE_BYTES_MAX).contains(&missing)),
                Err(_) => {}
            }
        }
    }
}
