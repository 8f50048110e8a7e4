//! Git's deltas (gitformat-pack, "Deltified representation"): encoding and applying.
//!
//! The encoder trims what the two have in common at both ends, which is all that an edit of one place needs, and
//! indexes the base in blocks for what is left in between. It is made for near versions of one file; it does not seek
//! the smallest delta.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;

/// Blocks of the base that the middle part is searched for; Git uses 16 too.
const BLOCK: usize = 16;
/// The longest run that one copy instruction can carry is 0xffffff in Git's reading, of which 0x10000 has the
/// shortest spelling; Git's own encoder never exceeds it.
const COPY_MAX: usize = 0x1_0000;
/// An insert instruction's length is seven bits, and zero is reserved.
const INSERT_MAX: usize = 0x7f;

/// The delta that makes `target` out of `base`.
pub fn encode(base: &[u8], target: &[u8]) -> Vec<u8> {
    let mut delta = Vec::with_capacity(64);
    push_size(&mut delta, base.len());
    push_size(&mut delta, target.len());

    let shorter = base.len().min(target.len());
    let head = common_prefix(&base[..shorter], &target[..shorter]);
    let tail = common_suffix(&base[head..], &target[head..]);
    push_copy(&mut delta, 0, head);
    push_middle(&mut delta, &base[head..base.len() - tail], head, &target[head..target.len() - tail]);
    push_copy(&mut delta, base.len() - tail, tail);
    delta
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK));
    let same = BLOCK * blocks.take_while(|(x, y)| x == y).count();
    let rest = a[same..].iter().zip(&b[same..]);
    same + rest.take_while(|(x, y)| x == y).count()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.rchunks_exact(BLOCK).zip(b.rchunks_exact(BLOCK));
    let same = BLOCK * blocks.take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - same], &b[..b.len() - same]);
    let rest = a.iter().rev().zip(b.iter().rev());
    same + rest.take_while(|(x, y)| x == y).count()
}

/// Spreads the bytes of a block over a number; nobody chooses blocks to collide here.
#[derive(Default)]
struct BlockHasher(u64);

impl Hasher for BlockHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks_exact(8) {
            let word = word.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.write_u64(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }

    fn write_u128(&mut self, block: u128) {
        self.write_u64(block as u64);
        self.write_u64((block >> 64) as u64);
    }
}

fn block_at(bytes: &[u8], at: usize) -> Option<u128> {
    let block = bytes.get(at..)?.first_chunk::<BLOCK>()?;
    Some(u128::from_le_bytes(*block))
}

/// The part where the two differ: `middle` stands at `offset` in the base.
fn push_middle(delta: &mut Vec<u8>, middle: &[u8], offset: usize, target: &[u8]) {
    if middle.len() < BLOCK || target.len() < BLOCK {
        return push_insert(delta, target);
    }
    let mut blocks: HashMap<u128, usize, BuildHasherDefault<BlockHasher>> = HashMap::default();
    blocks.reserve(middle.len() / BLOCK);
    for offset in (0..middle.len()).step_by(BLOCK) {
        if let Some(block) = block_at(middle, offset) {
            blocks.entry(block).or_insert(offset);
        }
    }
    let mut literal_from = 0;
    let mut at = 0;
    while let Some(block) = block_at(target, at) {
        let Some(&found) = blocks.get(&block) else {
            at += 1;
            continue;
        };
        let back = common_suffix(&middle[..found], &target[literal_from..at]);
        let forward = common_prefix(&middle[found..], &target[at..]);
        push_insert(delta, &target[literal_from..at - back]);
        push_copy(delta, offset + found - back, back + forward);
        at += forward;
        literal_from = at;
    }
    push_insert(delta, &target[literal_from..]);
}

fn push_size(delta: &mut Vec<u8>, mut size: usize) {
    while size >= 0x80 {
        delta.push(size as u8 | 0x80);
        size >>= 7;
    }
    delta.push(size as u8);
}

fn push_insert(delta: &mut Vec<u8>, literal: &[u8]) {
    for run in literal.chunks(INSERT_MAX) {
        delta.push(run.len() as u8);
        delta.extend_from_slice(run);
    }
}

fn push_copy(delta: &mut Vec<u8>, mut offset: usize, mut len: usize) {
    while len > 0 {
        let run = len.min(COPY_MAX);
        let op = delta.len();
        delta.push(0x80);
        for byte in 0..4 {
            let value = (offset >> (8 * byte)) as u8;
            if value != 0 {
                delta.push(value);
                delta[op] |= 1 << byte;
            }
        }
        // A length of 0x10000 is spelled by leaving all length bytes out.
        for byte in 0..2 {
            let value = (run >> (8 * byte)) as u8;
            if value != 0 {
                delta.push(value);
                delta[op] |= 0x10 << byte;
            }
        }
        offset += run;
        len -= run;
    }
}

/// What `delta` makes out of `base`; an error if the delta is not one for this base.
pub fn apply(base: &[u8], delta: &[u8]) -> io::Result<Vec<u8>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "malformed delta");
    let mut rest = delta;
    let base_len = take_size(&mut rest).ok_or_else(bad)?;
    let target_len = take_size(&mut rest).ok_or_else(bad)?;
    if base_len != base.len() {
        return Err(bad());
    }
    let mut target = Vec::new();
    while let Some((&op, after)) = rest.split_first() {
        rest = after;
        if op & 0x80 == 0 {
            let (literal, after) = rest.split_at_checked(usize::from(op)).ok_or_else(bad)?;
            target.extend_from_slice(literal);
            rest = after;
            continue;
        }
        let mut fields = [0usize; 7];
        for (bit, field) in fields.iter_mut().enumerate() {
            if op & (1 << bit) != 0 {
                let (&byte, after) = rest.split_first().ok_or_else(bad)?;
                *field = usize::from(byte);
                rest = after;
            }
        }
        let offset = fields[0] | fields[1] << 8 | fields[2] << 16 | fields[3] << 24;
        let len = match fields[4] | fields[5] << 8 | fields[6] << 16 {
            0 => COPY_MAX,
            len => len,
        };
        let end = offset.checked_add(len).ok_or_else(bad)?;
        target.extend_from_slice(base.get(offset..end).ok_or_else(bad)?);
    }
    if target.len() != target_len {
        return Err(bad());
    }
    Ok(target)
}

fn take_size(rest: &mut &[u8]) -> Option<usize> {
    let mut size = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        size |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(size);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[track_caller]
    fn check(base: &[u8], target: &[u8], delta_len_max: usize) {
        let delta = encode(base, target);
        assert!(delta.len() <= delta_len_max, "{} bytes", delta.len());
        assert_eq!(apply(base, &delta).unwrap(), target);
    }

    #[test]
    fn deltas_make_their_target() {
        let mut rng = Rng::new(5);
        let base = rng.bytes(200_000);
        check(&base, &base, 40);
        check(b"", b"", 2);
        check(b"", b"abc", 6);
        check(b"abc", b"", 2);
        check(&base, &base[..70_000], 20);
        let mut edited = base.clone();
        edited[100_000] ^= 1;
        check(&base, &edited, 60);
        edited.splice(50_000..50_010, *b"longer than it was");
        edited.splice(150_000..150_500, []);
        check(&base, &edited, 1_500);
        let mut turned = base[100_000..].to_vec();
        turned.extend_from_slice(&base[..100_000]);
        check(&base, &turned, 100);
        check(&[0; 70_000], &[0; 200_000], 3_000_000);
    }

    #[test]
    fn a_broken_delta_is_refused() {
        let base = b"0123456789";
        let delta = encode(base, b"01234x56789");
        for len in 0..delta.len() {
            assert!(apply(base, &delta[..len]).is_err());
        }
        assert!(apply(b"another", &delta).is_err());
        assert!(apply(base, &[10, 5, 0x91, 200, 5]).is_err());
    }
}
