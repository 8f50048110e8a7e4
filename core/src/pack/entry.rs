//! Headers of pack entries (`gitformat-pack`): writing them anew.

use crate::{ObjectId, objects::Kind};

const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

/// Appends the type and the inflated size.
fn write_type_and_size(out: &mut Vec<u8>, type_code: u8, size: u64) {
    let mut byte = type_code << 4 | (size & 0x0f) as u8;
    let mut rest = size >> 4;
    while rest > 0 {
        out.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    out.push(byte);
}

/// Appends the header of a whole object of `size` bytes.
pub(super) fn write_whole(out: &mut Vec<u8>, kind: Kind, size: u64) {
    let type_code = match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    write_type_and_size(out, type_code, size);
}

/// Appends the header of a delta of `size` inflated bytes whose base begins `distance` bytes before this entry.
pub(super) fn write_ofs_delta(out: &mut Vec<u8>, size: u64, distance: u64) {
    write_type_and_size(out, OFS_DELTA, size);
    let mut digits = [0; 10];
    let mut at = digits.len() - 1;
    let mut rest = distance;
    digits[at] = (rest & 0x7f) as u8;
    rest >>= 7;
    while rest > 0 {
        rest -= 1;
        at -= 1;
        digits[at] = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the header of a delta of `size` inflated bytes whose base is named by id.
pub(super) fn write_ref_delta(out: &mut Vec<u8>, size: u64, base: &ObjectId) {
    write_type_and_size(out, REF_DELTA, size);
    out.extend_from_slice(base.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use gix_pack::data::{Entry, entry::Header};

    /// gix-pack reads back what was written.
    fn check(size: u64, header: Header, write: impl Fn(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        let entry = Entry::from_bytes(&out, 0, gix_hash::Kind::Sha1).unwrap();
        assert_eq!((entry.header, entry.decompressed_size, entry.data_offset), (header, size, out.len() as u64));
    }

    #[test]
    fn headers_are_read_back() {
        for size in [0, 1, 15, 16, 127, 2047, 2048, 1 << 20, u64::from(u32::MAX), 1 << 40] {
            check(size, Header::Commit, |out| write_whole(out, Kind::Commit, size));
            check(size, Header::Tree, |out| write_whole(out, Kind::Tree, size));
            check(size, Header::Blob, |out| write_whole(out, Kind::Blob, size));
            check(size, Header::Tag, |out| write_whole(out, Kind::Tag, size));
            let base_id = ObjectId::empty_tree(gix_hash::Kind::Sha1);
            check(size, Header::RefDelta { base_id }, |out| write_ref_delta(out, size, &base_id));
            for base_distance in [1, 127, 128, 16_511, 16_512, 2_113_663, 2_113_664, 1 << 33, 1 << 60] {
                check(size, Header::OfsDelta { base_distance }, |out| write_ofs_delta(out, size, base_distance));
            }
        }
    }
}
