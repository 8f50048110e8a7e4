//! Writes a pack as a repository that was just repacked has it: commits, tags, trees, blobs, each newest first; the
//! newest version of a thing whole and the older ones as deltas against their successors.
//!
//! History is made oldest first, so nothing can be written to its place at once. Each entry is compressed to a spill
//! file as soon as its form is known; what stays in memory is one small record an object, and the content of the
//! objects that may still become a delta of what comes next. `finish` copies the spill into the pack's order.
//!
//! ```text
//!   main line   v1 <- v2 <- v3        v1 waits whole until v2 comes, then is spilled as a delta against it
//!   elsewhere         v2 <- w1 <- w2  a side branch never waits: it is a delta against what it grew from
//!   merged            v2 <- w2 <- v3  and when the main line goes on from there, v2 is the one to be rebased
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gix_hash::ObjectId;
use sha1::{Digest, Sha1};

use crate::deflate::Deflater;
use crate::delta;
use crate::index::{self, Row};
use crate::object::{Kind, id_from_digest};

/// Git refuses to use chains that are longer (`MAX_DEPTH` of its pack-objects).
pub const DELTA_DEPTH_MAX: u16 = 4095;

const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;
/// The order of the sections.
const SECTIONS: [Kind; 4] = [Kind::Commit, Kind::Tag, Kind::Tree, Kind::Blob];

/// How a pack is to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackForm {
    /// zlib's level, 0 to 9.
    pub(crate) compression: u8,
    /// Longest delta chain; 0: no deltas.
    pub(crate) delta_depth: u16,
    /// How many deltas of a hundred name their base by id instead of by distance.
    pub(crate) ref_delta_percent: u8,
}

/// Where in history an object is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// On the main line: what it replaces becomes a delta against it.
    Main,
    /// Beside it: it becomes a delta against what it replaces.
    Side,
}

/// The version that an object replaces, if this pack holds it.
pub(crate) struct Predecessor<'a> {
    /// As returned by `put`.
    pub(crate) index: u32,
    pub(crate) content: &'a [u8],
}

struct Entry {
    id: ObjectId,
    kind: Kind,
    /// Of an entry without base: the longest chain that hangs on it.
    height: u16,
    base: Option<u32>,
    spilled: Option<Spilled>,
}

#[derive(Clone, Copy)]
struct Spilled {
    at: u64,
    len: u32,
    /// Before compression: of the content, or of the delta.
    size: u32,
}

/// A pack that is being collected.
pub(crate) struct PackBuilder {
    form: PackForm,
    deflater: Deflater,
    entries: Vec<Entry>,
    /// Objects of the main line that are not spilled yet.
    waiting: BTreeMap<u32, Rc<[u8]>>,
    spill: BufWriter<File>,
    spill_len: u64,
    spill_path: PathBuf,
}

impl PackBuilder {
    /// A pack to be finished in `pack_dir`, which must exist.
    pub(crate) fn new(pack_dir: &Path, form: PackForm) -> io::Result<Self> {
        let spill_path = pack_dir.join("tmp_spill");
        let spill = File::options().read(true).write(true).create(true).truncate(true).open(&spill_path)?;
        Ok(PackBuilder {
            form: PackForm { delta_depth: form.delta_depth.min(DELTA_DEPTH_MAX), ..form },
            deflater: Deflater::new(form.compression.into()),
            entries: Vec::new(),
            waiting: BTreeMap::new(),
            spill: BufWriter::with_capacity(1 << 18, spill),
            spill_len: 0,
            spill_path,
        })
    }

    /// Takes an object that this pack does not hold yet; returns its index.
    pub(crate) fn put(
        &mut self,
        id: ObjectId,
        kind: Kind,
        content: &Rc<[u8]>,
        replaces: Option<Predecessor<'_>>,
        lane: Lane,
    ) -> io::Result<u32> {
        let index =
            u32::try_from(self.entries.len()).map_err(|_| io::Error::other("more objects than a pack can hold"))?;
        self.entries.push(Entry { id, kind, height: 0, base: None, spilled: None });
        match (replaces, lane) {
            (Some(old), Lane::Main) => {
                self.rebase(&old, index, content)?;
                self.waiting.insert(index, Rc::clone(content));
            }
            (Some(old), Lane::Side) => self.grow_from(&old, index, content)?,
            (None, Lane::Main) if matches!(kind, Kind::Tree | Kind::Blob) => {
                self.waiting.insert(index, Rc::clone(content));
            }
            (None, _) => self.spill_whole(index, content)?,
        }
        Ok(index)
    }

    /// Takes an object that nothing will be a delta of, so that its content need not be kept.
    pub(crate) fn put_whole(&mut self, id: ObjectId, kind: Kind, content: &[u8]) -> io::Result<()> {
        let index = self.entries.len() as u32;
        self.entries.push(Entry { id, kind, height: 0, base: None, spilled: None });
        self.spill_whole(index, content)
    }

    /// The main line goes on from `old` to `index`: what `old` hangs on, itself as a rule, becomes a delta against the
    /// new one, if it waited for this and its chain has room.
    fn rebase(&mut self, old: &Predecessor<'_>, index: u32, content: &[u8]) -> io::Result<()> {
        let (root, _) = self.root_of(old.index);
        let Some(root_content) = self.waiting.remove(&root) else {
            return Ok(());
        };
        let height = self.entries[root as usize].height + 1;
        if height > self.form.delta_depth {
            return self.spill_whole(root, &root_content);
        }
        if self.spill_delta(root, index, content, &root_content)? {
            self.entries[index as usize].height = height;
        }
        Ok(())
    }

    /// The entry at the end of the chain, and how many deltas lie before it.
    fn root_of(&self, index: u32) -> (u32, u16) {
        let mut depth = 0;
        let mut root = index;
        while let Some(base) = self.entries[root as usize].base {
            root = base;
            depth += 1;
        }
        (root, depth)
    }

    /// A side branch goes on from `old` to `index`: the new one is the delta, if the chain has room.
    fn grow_from(&mut self, old: &Predecessor<'_>, index: u32, content: &[u8]) -> io::Result<()> {
        let (root, old_depth) = self.root_of(old.index);
        let depth = old_depth + 1;
        if depth > self.form.delta_depth {
            return self.spill_whole(index, content);
        }
        if self.spill_delta(index, old.index, old.content, content)? {
            let height = &mut self.entries[root as usize].height;
            *height = depth.max(*height);
        }
        Ok(())
    }

    /// Spills `index` as a delta against `base`, or whole where a delta would not be smaller; says which.
    fn spill_delta(&mut self, index: u32, base: u32, base_content: &[u8], content: &[u8]) -> io::Result<bool> {
        let delta = delta::encode(base_content, content);
        if delta.len() >= content.len() {
            self.spill_whole(index, content)?;
            return Ok(false);
        }
        self.spill_bytes(index, &delta)?;
        self.entries[index as usize].base = Some(base);
        Ok(true)
    }

    fn spill_whole(&mut self, index: u32, content: &[u8]) -> io::Result<()> {
        self.spill_bytes(index, content)
    }

    fn spill_bytes(&mut self, index: u32, bytes: &[u8]) -> io::Result<()> {
        let too_big = |_| io::Error::new(io::ErrorKind::InvalidInput, "an object of 4 GiB or more");
        let size = u32::try_from(bytes.len()).map_err(too_big)?;
        let stream = self.deflater.deflate(&[bytes])?;
        self.spill.write_all(stream)?;
        let len = u32::try_from(stream.len()).map_err(too_big)?;
        self.entries[index as usize].spilled = Some(Spilled { at: self.spill_len, len, size });
        self.spill_len += u64::from(len);
        Ok(())
    }

    /// Writes the pack and its index under their names, the index last, so that a reader sees both or none. Without
    /// objects there is no pack. Returns how many it holds.
    pub(crate) fn finish(mut self, pack_dir: &Path) -> io::Result<u64> {
        for (index, content) in std::mem::take(&mut self.waiting) {
            self.spill_whole(index, &content)?;
        }
        self.spill.flush()?;
        if self.entries.is_empty() {
            fs::remove_file(&self.spill_path)?;
            return Ok(0);
        }
        let pack_tmp = pack_dir.join("tmp_pack");
        let mut sorted = Sorted::new(&self, &pack_tmp)?;
        for kind in SECTIONS {
            for index in (0..self.entries.len() as u32).rev() {
                if self.entries[index as usize].kind == kind {
                    sorted.place(index)?;
                }
            }
        }
        let (checksum, rows) = sorted.finish()?;
        let objects = rows.len() as u64;
        let index_tmp = pack_dir.join("tmp_idx");
        index::write(File::create(&index_tmp)?, rows, &checksum)?;

        let path = pack_dir.join(format!("pack-{checksum}.pack"));
        fs::rename(pack_tmp, &path)?;
        fs::rename(index_tmp, path.with_extension("idx"))?;
        fs::remove_file(&self.spill_path)?;
        Ok(objects)
    }
}

/// The second pass: spilled entries in the order of the pack.
struct Sorted<'a> {
    builder: &'a PackBuilder,
    out: BufWriter<File>,
    hasher: Sha1,
    len: u64,
    /// By index; 0 while the entry has no place.
    offsets: Vec<u64>,
    rows: Vec<Row>,
    buffer: Vec<u8>,
    /// Entries that wait for their base, the deepest base last.
    chain: Vec<u32>,
}

impl<'a> Sorted<'a> {
    fn new(builder: &'a PackBuilder, path: &Path) -> io::Result<Self> {
        let mut sorted = Sorted {
            builder,
            out: BufWriter::with_capacity(1 << 18, File::create(path)?),
            hasher: Sha1::new(),
            len: 0,
            offsets: vec![0; builder.entries.len()],
            rows: Vec::with_capacity(builder.entries.len()),
            buffer: Vec::new(),
            chain: Vec::new(),
        };
        let mut head = b"PACK\0\0\0\x02".to_vec();
        head.extend_from_slice(&(builder.entries.len() as u32).to_be_bytes());
        sorted.buffer = head;
        sorted.write_buffer()?;
        Ok(sorted)
    }

    /// Writes an entry where it was not yet, its bases before it: a distance can only reach back.
    fn place(&mut self, index: u32) -> io::Result<()> {
        let mut next = Some(index);
        while let Some(index) = next.filter(|index| self.offsets[*index as usize] == 0) {
            self.chain.push(index);
            next = match self.builder.entries[index as usize].base {
                Some(base) if !self.by_id(index) => Some(base),
                _ => None,
            };
        }
        while let Some(index) = self.chain.pop() {
            self.write_entry(index)?;
        }
        Ok(())
    }

    /// Whether this delta names its base by id. Decided by its own id, so that it costs no stream of chance.
    fn by_id(&self, index: u32) -> bool {
        let id = &self.builder.entries[index as usize].id;
        let drawn = u16::from_be_bytes([id.as_slice()[18], id.as_slice()[19]]) % 100;
        drawn < u16::from(self.builder.form.ref_delta_percent)
    }

    fn write_entry(&mut self, index: u32) -> io::Result<()> {
        let entry = &self.builder.entries[index as usize];
        let spilled = entry.spilled.ok_or_else(|| io::Error::other("an object was never spilled"))?;
        let by_id = self.by_id(index);
        let number = match entry.base {
            None => entry.kind as u8,
            Some(_) if by_id => REF_DELTA,
            Some(_) => OFS_DELTA,
        };
        self.buffer.clear();
        push_header(&mut self.buffer, number, u64::from(spilled.size));
        match entry.base {
            Some(base) if by_id => self.buffer.extend_from_slice(self.builder.entries[base as usize].id.as_slice()),
            Some(base) => push_distance(&mut self.buffer, self.len - self.offsets[base as usize]),
            None => {}
        }
        let head = self.buffer.len();
        self.buffer.resize(head + spilled.len as usize, 0);
        self.builder.spill.get_ref().read_exact_at(&mut self.buffer[head..], spilled.at)?;
        self.offsets[index as usize] = self.len;
        self.rows.push(Row { id: entry.id, crc: crc32fast::hash(&self.buffer), offset: self.len });
        self.write_buffer()
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.len += self.buffer.len() as u64;
        self.out.write_all(&self.buffer)
    }

    fn finish(mut self) -> io::Result<(ObjectId, Vec<Row>)> {
        let checksum = id_from_digest(self.hasher);
        self.out.write_all(checksum.as_slice())?;
        self.out.flush()?;
        Ok((checksum, self.rows))
    }
}

/// An entry's type and inflated size: four bits of it, then seven a byte.
fn push_header(bytes: &mut Vec<u8>, number: u8, size: u64) {
    let mut byte = number << 4 | (size & 0x0f) as u8;
    let mut rest = size >> 4;
    while rest > 0 {
        bytes.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    bytes.push(byte);
}

/// Git's offset encoding: seven bits a byte, high first, and one added for each byte that follows.
fn push_distance(bytes: &mut Vec<u8>, mut distance: u64) {
    let mut reversed = [0u8; 10];
    let mut at = reversed.len() - 1;
    reversed[at] = (distance & 0x7f) as u8;
    distance >>= 7;
    while distance > 0 {
        distance -= 1;
        at -= 1;
        reversed[at] = 0x80 | (distance & 0x7f) as u8;
        distance >>= 7;
    }
    bytes.extend_from_slice(&reversed[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_distances_are_spelled_as_git_does() {
        let header = |number, size| {
            let mut bytes = Vec::new();
            push_header(&mut bytes, number, size);
            bytes
        };
        assert_eq!(header(3, 15), [0x3f]);
        assert_eq!(header(1, 16), [0x90, 0x01]);
        assert_eq!(header(2, 0x0fff), [0xaf, 0xff, 0x01]);
        let distance = |distance| {
            let mut bytes = Vec::new();
            push_distance(&mut bytes, distance);
            bytes
        };
        assert_eq!(distance(127), [0x7f]);
        assert_eq!(distance(128), [0x80, 0x00]);
        assert_eq!(distance(16_511), [0xff, 0x7f]);
        assert_eq!(distance(16_512), [0x80, 0x80, 0x00]);
    }
}
