//! A request body on its way in: framing undone, inflated, and held to its limits while it streams.
//!
//! Pure: the caller feeds what the socket gave and gets the payload piece by piece. Nothing is allocated by a length
//! that the peer declares, and a bomb is refused at the first byte over the limit, not after it has been inflated.

use super::{
    chunked::{ChunkError, Chunked},
    head::{Coding, Framing},
};
use flate2::write::GzDecoder;
use heliostat_core::limits::{
    REQUEST_BYTES_MAX, REQUEST_GZIP_MEMBERS_MAX, REQUEST_INFLATE_FREE_BYTES, REQUEST_INFLATE_RATIO_MAX,
};
use std::io::{self, Write};

/// A body being read.
pub struct Body {
    framing: Reading,
    /// Of the gzip member that is being read. A body may have several (RFC 1952, 2.2).
    inflater: Option<GzDecoder<Inflated>>,
    /// Members that have ended.
    members: u32,
    /// Payload bytes taken, before inflation.
    raw: u64,
    /// Payload bytes given out.
    given: u64,
}

enum Reading {
    Length(u64),
    Chunked(Chunked),
}

/// Where inflated bytes wait to be given out; errs when more come than the body has earned.
#[derive(Default)]
struct Inflated {
    bytes: Vec<u8>,
    total: u64,
    allowed: u64,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// 400: framing or compression is not well-formed. The connection can't be used further.
    Malformed(&'static str),
    /// 413: longer than [`REQUEST_BYTES_MAX`], or inflates too well.
    TooLarge,
}

impl From<ChunkError> for BodyError {
    fn from(error: ChunkError) -> Self {
        Self::Malformed(error.0)
    }
}

impl Body {
    /// The body of a head with that `framing` and `coding` ([`Coding::Unknown`] is the caller's to refuse).
    pub fn new(framing: Framing, coding: Coding) -> Self {
        Self {
            framing: match framing {
                Framing::None => Reading::Length(0),
                Framing::Length(length) => Reading::Length(length),
                Framing::Chunked => Reading::Chunked(Chunked::default()),
            },
            inflater: (coding == Coding::Gzip).then(|| GzDecoder::new(Inflated::default())),
            members: 0,
            raw: 0,
            given: 0,
        }
    }

    /// Whether its last byte has been read.
    pub fn is_complete(&self) -> bool {
        match &self.framing {
            Reading::Length(left) => *left == 0,
            Reading::Chunked(chunked) => chunked.is_complete(),
        }
    }

    /// Whether more is announced than is allowed: refused before a byte of it is read.
    pub fn announces_too_much(&self) -> bool {
        matches!(self.framing, Reading::Length(left) if left > REQUEST_BYTES_MAX as u64)
    }

    /// Payload bytes given out so far.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// Takes bytes from the socket: how many belonged to the body. Payload goes to `sink` in order.
    /// Feed no more than some ten KiB at once: the inflated form of one feeding is held in memory.
    pub fn feed(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<usize, BodyError> {
        let mut at = 0;
        while at < input.len() && !self.is_complete() {
            let (taken, payload) = match &mut self.framing {
                Reading::Length(left) => {
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len() - at);
                    *left -= len as u64;
                    (len, Some(0..len))
                }
                Reading::Chunked(chunked) => chunked.next(&input[at..])?,
            };
            if let Some(range) = payload {
                self.give(&input[at + range.start..at + range.end], sink)?;
            }
            at += taken;
        }
        Ok(at)
    }

    /// Call when [`Body::is_complete`]: a compressed body must have ended too.
    pub fn finish(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), BodyError> {
        if let Some(inflater) = &mut self.inflater {
            inflater.try_finish().map_err(|error| inflate_error(&error))?;
            self.hand_over(sink)?;
        }
        Ok(())
    }

    fn give(&mut self, payload: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), BodyError> {
        self.raw += payload.len() as u64;
        if self.raw > REQUEST_BYTES_MAX as u64 {
            return Err(BodyError::TooLarge);
        }
        let Some(inflater) = &mut self.inflater else {
            self.given = self.raw;
            sink(payload);
            return Ok(());
        };
        inflater.get_mut().allowed = REQUEST_INFLATE_FREE_BYTES
            .saturating_add(self.raw.saturating_mul(REQUEST_INFLATE_RATIO_MAX))
            .min(REQUEST_BYTES_MAX as u64);
        let mut rest = payload;
        while !rest.is_empty() {
            match inflater.write(rest) {
                // This member has ended. What follows it is another one, or no gzip, which the next write finds out.
                Ok(0) => {
                    inflater.try_finish().map_err(|error| inflate_error(&error))?;
                    self.members += 1;
                    if self.members >= REQUEST_GZIP_MEMBERS_MAX {
                        return Err(BodyError::Malformed("the compressed body has too many members"));
                    }
                    let inflated = std::mem::take(inflater.get_mut());
                    *inflater = GzDecoder::new(inflated);
                }
                Ok(taken) => rest = &rest[taken..],
                Err(error) => return Err(inflate_error(&error)),
            }
        }
        self.hand_over(sink)
    }

    fn hand_over(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), BodyError> {
        if let Some(inflater) = &mut self.inflater {
            let inflated = inflater.get_mut();
            self.given = inflated.total;
            if !inflated.bytes.is_empty() {
                sink(&inflated.bytes);
                inflated.bytes.clear();
            }
        }
        Ok(())
    }
}

impl Write for Inflated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.total += bytes.len() as u64;
        if self.total > self.allowed {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn inflate_error(error: &io::Error) -> BodyError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => BodyError::TooLarge,
        _ => BodyError::Malformed("the body is not what its Content-Encoding says"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(mut body: Body, wire: &[u8], piece: usize) -> Result<(Vec<u8>, usize), BodyError> {
        let (mut payload, mut at) = (Vec::new(), 0);
        let mut sink = |bytes: &[u8]| payload.extend_from_slice(bytes);
        while at < wire.len() && !body.is_complete() {
            at += body.feed(&wire[at..(at + piece).min(wire.len())], &mut sink)?;
        }
        assert!(body.is_complete(), "the test sends whole bodies");
        body.finish(&mut sink)?;
        Ok((payload, wire.len() - at))
    }

    fn length_of(wire: &[u8], coding: Coding) -> Body {
        Body::new(Framing::Length(wire.len() as u64), coding)
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 70_000);
        let mut held = 0;
        let mut body = length_of(&bomb, Coding::Gzip);
        let result = bomb.chunks(16 << 10).try_for_each(|piece| body.feed(piece, &mut |b| held += b.len()).map(|_| ()));
        assert_eq!(result, Err(BodyError::TooLarge));
        assert!(held as u64 <= REQUEST_INFLATE_FREE_BYTES + bomb.len() as u64 * REQUEST_INFLATE_RATIO_MAX, "{held}");
    }

    #[test]
    fn truncated_and_trailing_bytes_are_noticed() {
        let good = gzip(b"0011command=ls-refs\n0000");
        let truncated = &good[..good.len() - 3];
        assert!(matches!(read(length_of(truncated, Coding::Gzip), truncated, 7), Err(BodyError::Malformed(_))));
        let mut flipped = good.clone();
        let at = flipped.len() - 6;
        flipped[at] ^= 1;
        assert!(matches!(read(length_of(&flipped, Coding::Gzip), &flipped, 7), Err(BodyError::Malformed(_))));
        // Nothing at all is no gzip member either.
        let nothing = Body::new(Framing::None, Coding::Gzip);
        assert!(matches!(read(nothing, b"", 7), Err(BodyError::Malformed(_))));
        let trailing = [good.as_slice(), b"smuggled"].concat();
        assert!(matches!(read(length_of(&trailing, Coding::Gzip), &trailing, 4096), Err(BodyError::Malformed(_))));
        assert!(matches!(read(length_of(b"plain", Coding::Gzip), b"plain", 7), Err(BodyError::Malformed(_))));
    }

    #[test]
    fn members_are_one_body_under_one_limit() {
        let parts: [&[u8]; 4] = [b"0011command=", b"", b"ls-refs\n", b"0000"];
        let members: Vec<_> = parts.iter().map(|part| gzip(part)).collect();
        let wire = members.concat();
        for piece in 1..wire.len() {
            let (payload, left) = read(length_of(&wire, Coding::Gzip), &wire, piece).unwrap();
            assert_eq!((payload, left), (parts.concat(), 0), "in pieces of {piece} bytes");
        }
        for broken in [&wire[..wire.len() - 1], &[wire.as_slice(), b"\0"].concat()] {
            assert!(matches!(read(length_of(broken, Coding::Gzip), broken, 9), Err(BodyError::Malformed(_))));
        }
        let many = gzip(b"").repeat(REQUEST_GZIP_MEMBERS_MAX as usize);
        assert!(read(length_of(&many, Coding::Gzip), &many, 999).is_ok());
        let more = [many, gzip(b"")].concat();
        assert!(matches!(read(length_of(&more, Coding::Gzip), &more, 999), Err(BodyError::Malformed(_))));
        // What one member may not, several may not together.
        let bomb = gzip(&vec![0; REQUEST_INFLATE_FREE_BYTES as usize]).repeat(100);
        assert_eq!(read(length_of(&bomb, Coding::Gzip), &bomb, 4096), Err(BodyError::TooLarge));
    }

    #[test]
    fn too_long_a_body_is_refused() {
        assert!(Body::new(Framing::Length(REQUEST_BYTES_MAX as u64 + 1), Coding::Identity).announces_too_much());
        let mut body = Body::new(Framing::Chunked, Coding::Identity);
        let chunk = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
        let result = (0..=REQUEST_BYTES_MAX >> 20).try_for_each(|_| body.feed(&chunk, &mut |_| ()).map(|_| ()));
        assert_eq!(result, Err(BodyError::TooLarge));
    }

    proptest! {
        #[test]
        fn every_coding_in_every_framing(payload in proptest::collection::vec(any::<u8>(), 0..600), piece in 1usize..200, gzipped: bool, chunked: bool) {
            let coded = if gzipped { gzip(&payload) } else { payload.clone() };
            let coding = if gzipped { Coding::Gzip } else { Coding::Identity };
            let (framing, mut wire) = if chunked {
                let mut wire = Vec::new();
                for chunk in coded.chunks(100) {
                    wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                    wire.extend_from_slice(chunk);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"0\r\n\r\n");
                (Framing::Chunked, wire)
            } else {
                (Framing::Length(coded.len() as u64), coded)
            };
            wire.extend_from_slice(b"GET / ");
            prop_assert_eq!(read(Body::new(framing, coding), &wire, piece).unwrap(), (payload, 6));
        }
    }
}
