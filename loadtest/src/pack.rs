//! Is a pack whole? Judged while it passes by (`gitformat-pack`).

use sha1::{Digest, Sha1};

use crate::failure::PackFault;
use crate::walk::Walk;

const HEADER_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 20;

/// Takes a pack in pieces.
pub(crate) struct PackCheck {
    hash: Sha1,
    /// As much of the header as has come.
    header: Vec<u8>,
    /// The newest bytes, which are the checksum if no more come.
    tail: Vec<u8>,
    bytes: u64,
    walk: Option<Walk>,
}

/// A pack that was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pack {
    /// Entries, as its header says.
    pub(crate) objects: u32,
    pub(crate) bytes: u64,
}

impl PackCheck {
    /// With `walk`, entries are inflated and counted.
    pub(crate) fn new(walk: bool) -> Self {
        Self {
            hash: Sha1::new(),
            header: Vec::with_capacity(HEADER_BYTES),
            tail: Vec::with_capacity(2 * CHECKSUM_BYTES),
            bytes: 0,
            walk: walk.then(Walk::new),
        }
    }

    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), PackFault> {
        self.bytes += data.len() as u64;
        // Everything but the last 20 bytes is known not to be the checksum.
        let known = (self.tail.len() + data.len()).saturating_sub(CHECKSUM_BYTES);
        let of_tail = known.min(self.tail.len());
        let tail: Vec<u8> = self.tail.drain(..of_tail).collect();
        let (of_data, rest) = data.split_at(known - of_tail);
        self.tail.extend_from_slice(rest);
        self.take(&tail)?;
        self.take(of_data)
    }

    pub(crate) fn finish(self) -> Result<Pack, PackFault> {
        if self.bytes == 0 {
            return Err(PackFault::Absent);
        }
        let header: [u8; HEADER_BYTES] = self.header.as_slice().try_into().map_err(|_| PackFault::Short)?;
        if self.hash.finalize().as_slice() != self.tail {
            return Err(PackFault::Checksum);
        }
        let objects = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        match self.walk.map(Walk::finish) {
            Some(None) => Err(PackFault::Entry),
            Some(Some(entries)) if entries != u64::from(objects) => Err(PackFault::Count),
            Some(Some(_)) | None => Ok(Pack { objects, bytes: self.bytes }),
        }
    }

    /// Bytes of the header or of entries.
    fn take(&mut self, data: &[u8]) -> Result<(), PackFault> {
        self.hash.update(data);
        let of_header = data.len().min(HEADER_BYTES - self.header.len());
        let (header, entries) = data.split_at(of_header);
        self.header.extend_from_slice(header);
        let expected = b"PACK\0\0\0\x02";
        let compared = self.header.len().min(expected.len());
        if of_header > 0 && self.header[..compared] != expected[..compared] {
            return Err(PackFault::Header);
        }
        match &mut self.walk {
            Some(walk) => walk.push(entries),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A pack with one blob for each content, claiming `objects` of them.
    fn pack(contents: &[&[u8]], objects: u32) -> Vec<u8> {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend(objects.to_be_bytes());
        for content in contents {
            let mut size = content.len();
            let mut byte = 3 << 4 | (size & 15) as u8;
            size >>= 4;
            while size > 0 {
                pack.push(byte | 0x80);
                byte = (size & 127) as u8;
                size >>= 7;
            }
            pack.push(byte);
            let mut deflate = flate2::write::ZlibEncoder::new(&mut pack, flate2::Compression::fast());
            deflate.write_all(content).unwrap();
            deflate.finish().unwrap();
        }
        let checksum = Sha1::digest(&pack);
        pack.extend(checksum);
        pack
    }

    fn judge(pack: &[u8], walk: bool, piece: usize) -> Result<Pack, PackFault> {
        let mut check = PackCheck::new(walk);
        pack.chunks(piece).try_for_each(|piece| check.push(piece))?;
        check.finish()
    }

    #[test]
    fn whole_packs_in_pieces_of_any_size() {
        for contents in [vec![], vec![&b"one"[..], &[7; 100_000], b""]] {
            let objects = contents.len() as u32;
            let pack = pack(&contents, objects);
            for piece in [1, 7, 19, 20, 21, 64, pack.len()] {
                for walk in [false, true] {
                    assert_eq!(judge(&pack, walk, piece), Ok(Pack { objects, bytes: pack.len() as u64 }));
                }
            }
        }
    }

    #[test]
    fn any_changed_byte_and_any_cut_is_found() {
        let pack = pack(&[b"one", &[7; 1000]], 2);
        for at in 0..pack.len() {
            let mut damaged = pack.clone();
            damaged[at] ^= 1;
            assert!(judge(&damaged, false, 64).is_err(), "byte {at}");
            assert!(judge(&pack[..at], false, 64).is_err(), "cut at {at}");
        }
        assert_eq!(judge(b"", false, 1), Err(PackFault::Absent));
    }

    #[test]
    fn entries_are_counted() {
        for claimed in [1, 3] {
            let pack = pack(&[b"one", b"two"], claimed);
            assert_eq!(judge(&pack, true, 16), Err(PackFault::Count));
            assert!(judge(&pack, false, 16).is_ok(), "without a walk only the checksum is judged");
        }
    }

    #[test]
    fn an_entry_of_another_size_is_found() {
        let mut pack = pack(&[b"one"], 1);
        pack[HEADER_BYTES] ^= 1;
        let end = pack.len() - CHECKSUM_BYTES;
        pack.truncate(end);
        let checksum = Sha1::digest(&pack);
        pack.extend(checksum);
        assert_eq!(judge(&pack, true, 16), Err(PackFault::Entry));
    }
}
