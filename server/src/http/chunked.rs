//! The chunked coding of a request body (RFC 9112, section 7.1), strictly: one spelling, bounded extensions, no bare
//! line feeds. Bytes in, payload ranges out; trailers are read and dropped.

use heliostat_core::limits::HTTP_CHUNK_OVERHEAD_BYTES_MAX;
use std::ops::Range;

/// A body in chunks, as far as it has been read.
#[derive(Debug)]
pub struct Chunked {
    state: State,
    /// Bytes of extensions and trailers so far.
    overhead: usize,
}

/// ```text
/// Size -> Extension -> SizeLf -> Data -> DataCr -> DataLf -> Size
///    `-------------------^   `-> Trailer (size 0) -> TrailerLf -> End
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer { empty: bool },
    TrailerLf { last: bool },
    End,
}

/// A body that is not well-formed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkError(pub &'static str);

impl Default for Chunked {
    fn default() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, overhead: 0 }
    }
}

impl Chunked {
    /// Whether the last chunk and its trailers have been read.
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// Reads from `input` up to the next piece of payload: how many bytes were taken, and where in `input` the payload
    /// lies (its end is the end of what was taken). Stops behind the body's end; takes all of `input` otherwise.
    pub fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Range<usize>>), ChunkError> {
        let mut at = 0;
        while at < input.len() && self.state != State::End {
            if let State::Data { left } = self.state {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                let left = left - len as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                return Ok((at + len, Some(at..at + len)));
            }
            self.state = self.step(input[at])?;
            at += 1;
        }
        Ok((at, None))
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                // Fifteen digits are an exabyte, and can't overflow.
                if digits == 15 {
                    return Err(ChunkError("a chunk's size is too large a number"));
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                State::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(ChunkError("a chunk without size")),
            (State::Size { size, .. }, b';') => State::Extension { size },
            (State::Size { size, .. } | State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Extension { .. }, b'\n' | 0) => return Err(ChunkError("a malformed chunk extension")),
            (State::Extension { size }, _) => {
                self.charge()?;
                State::Extension { size }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::Trailer { empty: true },
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::Trailer { empty }, b'\r') => State::TrailerLf { last: empty },
            (State::Trailer { .. }, b'\n' | 0) => return Err(ChunkError("a malformed trailer")),
            (State::Trailer { .. }, _) => {
                self.charge()?;
                State::Trailer { empty: false }
            }
            (State::TrailerLf { last: true }, b'\n') => State::End,
            (State::TrailerLf { last: false }, b'\n') => State::Trailer { empty: true },
            _ => return Err(ChunkError("a malformed chunk")),
        })
    }

    fn charge(&mut self) -> Result<(), ChunkError> {
        self.overhead += 1;
        if self.overhead > HTTP_CHUNK_OVERHEAD_BYTES_MAX {
            return Err(ChunkError("too many chunk extensions or trailers"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The payload, the bytes left over behind the body, and whether the body ended; fed in pieces of `piece` bytes.
    fn decode(input: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), ChunkError> {
        let mut body = Chunked::default();
        let (mut payload, mut at) = (Vec::new(), 0);
        while at < input.len() && !body.is_complete() {
            let input = &input[at..(at + piece).min(input.len())];
            let (taken, range) = body.next(input)?;
            payload.extend_from_slice(&input[range.unwrap_or(0..0)]);
            at += taken;
        }
        Ok((payload, input.len() - at, body.is_complete()))
    }

    #[test]
    fn good_bodies() {
        for (input, payload, rest) in [
            (&b"0\r\n\r\n"[..], &b""[..], 0),
            (b"3\r\nabc\r\n0\r\n\r\nGET /", b"abc", 5),
            (b"3;x=y\r\nabc\r\n0;z\r\nTrailer: v\r\n\r\n", b"abc", 0),
            (b"0000000000000A\r\n0123456789\r\n1\r\n!\r\n0\r\n\r\n", b"0123456789!", 0),
        ] {
            for piece in 1..=input.len() {
                assert_eq!(decode(input, piece).unwrap(), (payload.to_vec(), rest, true), "{piece}");
            }
        }
    }

    #[test]
    fn bad_bodies() {
        for input in [
            &b"\r\n\r\n"[..],
            b"x\r\n",
            b" 3\r\nabc\r\n",
            b"3 \r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b"-1\r\n",
            b"3\nabc\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"1000000000000000\r\n",
            b"ffffffffffffffff0\r\n",
            b"3;a\nb\r\nabc\r\n",
            b"0\r\nT: v\n\r\n",
            b"0\r\nT: v\r\r\n",
        ] {
            assert!(decode(input, input.len()).is_err(), "{:?}", String::from_utf8_lossy(input));
        }
        let endless = [b"1;".as_slice(), &[b'x'; HTTP_CHUNK_OVERHEAD_BYTES_MAX + 1]].concat();
        assert!(decode(&endless, 100).is_err());
        assert!(!decode(b"3\r\nab", 100).unwrap().2, "a truncated body is not complete");
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8), piece in 1usize..80) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode(&wire, piece).unwrap(), (chunks.concat(), 0, true));
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128), piece in 1usize..16) {
            let _ = decode(&bytes, piece);
        }
    }
}
