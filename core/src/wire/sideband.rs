//! Side-band (`gitprotocol-pack`, `gitprotocol-capabilities`): three streams in the pkt-lines of one.

use super::pktline;
use std::fmt;

/// One of the three streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Band {
    /// The pack; with `sideband-all` also the lines of the sections before it.
    Data = 1,
    /// Progress, shown to the user.
    Progress = 2,
    /// The error that ends the conversation.
    Error = 3,
}

/// `0005\x01`: an empty frame of band 1. It is safe within the pack and nowhere else: before it, Git's client takes it
/// for an empty line of the section that it reads, and dies.
pub const KEEP_ALIVE_IN_PACK: &[u8; 5] = b"0005\x01";
/// `0005\x02`: an empty frame of band 2, safe wherever frames are banded.
pub const KEEP_ALIVE: &[u8; 5] = b"0005\x02";

/// A frame without a band, or with one that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BandError {
    /// An empty payload.
    Missing,
    /// Not 1, 2 or 3.
    Unknown(u8),
}

impl fmt::Display for BandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("protocol error: no band designator"),
            Self::Unknown(band) => write!(f, "protocol error: bad band #{band}"),
        }
    }
}

impl std::error::Error for BandError {}

/// The band and the content of a pkt-line's payload.
pub fn split(payload: &[u8]) -> Result<(Band, &[u8]), BandError> {
    let (&band, content) = payload.split_first().ok_or(BandError::Missing)?;
    let band = match band {
        1 => Band::Data,
        2 => Band::Progress,
        3 => Band::Error,
        other => return Err(BandError::Unknown(other)),
    };
    Ok((band, content))
}

/// Appends `content` on `band` in as many frames as it takes, none with more than `content_max` bytes of content
/// ([`crate::limits::SIDE_BAND_64K_PAYLOAD_MAX`] or [`crate::limits::SIDE_BAND_PAYLOAD_MAX`]). No content, no frame.
pub fn frames(out: &mut Vec<u8>, band: Band, content: &[u8], content_max: usize) {
    for piece in content.chunks(content_max.max(1)) {
        pktline::frame(out, |out| {
            out.push(band as u8);
            out.extend_from_slice(piece);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::{SIDE_BAND_64K_PAYLOAD_MAX, SIDE_BAND_PAYLOAD_MAX},
        wire::pktline::{Decoded, Packet, decode},
    };

    #[test]
    fn content_is_split_into_frames_and_comes_back() {
        let content: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        for (content_max, frame_max) in [(SIDE_BAND_PAYLOAD_MAX, 1000), (SIDE_BAND_64K_PAYLOAD_MAX, 65_520)] {
            let mut out = Vec::new();
            frames(&mut out, Band::Data, &content, content_max);
            let (mut rest, mut back) = (&out[..], Vec::new());
            while !rest.is_empty() {
                let Ok(Decoded::Complete { packet: Packet::Data(payload), consumed }) = decode(rest) else {
                    panic!("not a data packet");
                };
                assert!(consumed <= frame_max);
                let (band, piece) = split(payload).unwrap();
                assert_eq!(band, Band::Data);
                back.extend_from_slice(piece);
                rest = &rest[consumed..];
            }
            assert!(back == content);
        }
    }

    #[test]
    fn bands_that_do_not_exist_are_refused() {
        assert_eq!(split(b"\x02text\n"), Ok((Band::Progress, &b"text\n"[..])));
        assert_eq!(split(b""), Err(BandError::Missing));
        assert_eq!(split(b"\x04text"), Err(BandError::Unknown(4)));
    }
}
