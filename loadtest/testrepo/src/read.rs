//! Reads the objects of a repository that this crate wrote: loose ones, and packs with an index of version 2.
//!
//! For evolving a repository that is already there, and for tests that want an object without a Git at hand. It trusts
//! its own writer: damage is an error, never a panic, but nothing is verified.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gix_hash::ObjectId;

use crate::deflate::inflate;
use crate::delta;
use crate::loose::path_of;
use crate::object::Kind;
use crate::pack::DELTA_DEPTH_MAX;

/// Where the fan-out table of an index begins.
const FAN_AT: usize = 8;
const IDS_AT: usize = FAN_AT + 4 * 256;
/// Longest entry header: ten bytes of size, and a base's id or distance.
const HEAD_MAX: usize = 32;
/// Tags of tags are followed this far.
const TAGS_NESTED_MAX: usize = 100;

/// The objects of one repository, as they were when it was opened.
pub struct Reader {
    git_dir: PathBuf,
    packs: Vec<Pack>,
}

struct Pack {
    index: Vec<u8>,
    data: File,
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Reader {
    /// Opens the bare repository at `git_dir`. Indexes are held in memory: 32 bytes an object.
    pub fn open(git_dir: &Path) -> io::Result<Reader> {
        let mut indexes: Vec<PathBuf> =
            fs::read_dir(git_dir.join("objects/pack"))?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        indexes.retain(|path| path.extension().is_some_and(|extension| extension == "idx"));
        indexes.sort();
        let packs = indexes.iter().map(|path| Pack::open(path));
        Ok(Reader { git_dir: git_dir.to_owned(), packs: packs.collect::<io::Result<_>>()? })
    }

    /// How many objects the packs hold.
    pub fn packed_objects(&self) -> u64 {
        self.packs.iter().map(|pack| pack.count() as u64).sum()
    }

    /// Whether the object is here.
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.packs.iter().any(|pack| pack.find(id).is_some()) || path_of(&self.git_dir, id).exists()
    }

    /// An object's kind and content; `NotFound` if it is not here.
    pub fn read(&self, id: &ObjectId) -> io::Result<(Kind, Vec<u8>)> {
        for pack in &self.packs {
            if let Some(offset) = pack.find(id) {
                return self.read_entry(pack, offset, 0);
            }
        }
        let file = File::open(path_of(&self.git_dir, id))?;
        let mut stream = BufReader::new(flate2::read::ZlibDecoder::new(file));
        let mut head = Vec::new();
        stream.read_until(0, &mut head)?;
        let name = head.split(|byte| *byte == b' ').next().unwrap_or_default();
        let kind = Kind::from_name(name).ok_or_else(|| damaged("unknown kind of loose object"))?;
        let mut content = Vec::new();
        stream.read_to_end(&mut content)?;
        Ok((kind, content))
    }

    /// The ids of all packed objects, pack by pack, each in order.
    pub fn packed_ids(&self) -> impl Iterator<Item = ObjectId> {
        self.packs.iter().flat_map(|pack| {
            let ids = &pack.index[IDS_AT..IDS_AT + 20 * pack.count()];
            ids.chunks_exact(20).map(ObjectId::from_bytes_or_panic)
        })
    }

    /// What an annotated tag leads to in the end; none for an object that is no tag.
    pub fn peel(&self, id: &ObjectId) -> io::Result<Option<ObjectId>> {
        let mut peeled = None;
        let mut next = *id;
        for _ in 0..TAGS_NESTED_MAX {
            let (kind, content) = self.read(&next)?;
            if kind != Kind::Tag {
                return Ok(peeled);
            }
            let target = content.strip_prefix(b"object ").and_then(|rest| rest.get(..40));
            let target = target.and_then(|hex| ObjectId::from_hex(hex).ok());
            next = target.ok_or_else(|| damaged("tag without target"))?;
            peeled = Some(next);
        }
        Err(damaged("tags nested without end"))
    }

    fn read_entry(&self, pack: &Pack, offset: u64, depth: u16) -> io::Result<(Kind, Vec<u8>)> {
        if depth > DELTA_DEPTH_MAX {
            return Err(damaged("delta chain without end"));
        }
        let mut head = [0; HEAD_MAX];
        let got = pack.data.read_at(&mut head, offset)?;
        let mut rest = &head[..got];
        let (number, size) = take_header(&mut rest).ok_or_else(|| damaged("entry header"))?;
        if let Some(kind) = Kind::from_number(number) {
            let body = offset + (got - rest.len()) as u64;
            return Ok((kind, inflate(At(&pack.data, body), size)?));
        }
        let base_offset = match number {
            6 => take_distance(&mut rest).and_then(|distance| offset.checked_sub(distance)),
            7 => rest.split_at_checked(20).and_then(|(id, after)| {
                rest = after;
                pack.find(&ObjectId::from_bytes_or_panic(id))
            }),
            _ => None,
        };
        let base_offset = base_offset.ok_or_else(|| damaged("delta without base"))?;
        let body = offset + (got - rest.len()) as u64;
        let delta = inflate(At(&pack.data, body), size)?;
        let (kind, base) = self.read_entry(pack, base_offset, depth + 1)?;
        Ok((kind, delta::apply(&base, &delta)?))
    }
}

impl Pack {
    fn open(path: &Path) -> io::Result<Pack> {
        let index = fs::read(path)?;
        let pack = Pack { data: File::open(path.with_extension("pack"))?, index };
        let tables = IDS_AT + 28 * pack.count() + 40;
        if !pack.index.starts_with(b"\xfftOc\0\0\0\x02") || pack.index.len() < tables {
            return Err(damaged("not an index of version 2"));
        }
        Ok(pack)
    }

    fn word(&self, at: usize) -> usize {
        self.index
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, |bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn count(&self) -> usize {
        self.word(FAN_AT + 4 * 255)
    }

    fn find(&self, id: &ObjectId) -> Option<u64> {
        let first = usize::from(id.as_slice()[0]);
        let low = if first == 0 { 0 } else { self.word(FAN_AT + 4 * (first - 1)) };
        let ids = self.index.get(IDS_AT + 20 * low..IDS_AT + 20 * self.word(FAN_AT + 4 * first))?;
        let (mut low_in, mut high_in) = (0, ids.len() / 20);
        while low_in < high_in {
            let middle = low_in.midpoint(high_in);
            match ids[20 * middle..20 * middle + 20].cmp(id.as_slice()) {
                std::cmp::Ordering::Less => low_in = middle + 1,
                std::cmp::Ordering::Greater => high_in = middle,
                std::cmp::Ordering::Equal => return self.offset(low + middle),
            }
        }
        None
    }

    fn offset(&self, position: usize) -> Option<u64> {
        let short_at = IDS_AT + 24 * self.count();
        let short = self.word(short_at + 4 * position);
        if short & 0x8000_0000 == 0 {
            return Some(short as u64);
        }
        let long_at = short_at + 4 * self.count() + 8 * (short & 0x7fff_ffff);
        let bytes = self.index.get(long_at..long_at + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// A file from an offset on, without moving anybody's cursor.
struct At<'a>(&'a File, u64);

impl io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.0.read_at(buffer, self.1)?;
        self.1 += got as u64;
        Ok(got)
    }
}

fn take_header(rest: &mut &[u8]) -> Option<(u8, usize)> {
    let (&first, mut after) = rest.split_first()?;
    let mut size = usize::from(first & 0x0f);
    let mut shift = 4;
    let mut more = first & 0x80 != 0;
    while more {
        let (&byte, next) = after.split_first()?;
        size |= usize::from(byte & 0x7f).checked_shl(shift)?;
        more = byte & 0x80 != 0;
        shift += 7;
        after = next;
    }
    *rest = after;
    Some((first >> 4 & 7, size))
}

fn take_distance(rest: &mut &[u8]) -> Option<u64> {
    let (&first, mut after) = rest.split_first()?;
    let mut distance = u64::from(first & 0x7f);
    let mut more = first & 0x80 != 0;
    while more {
        let (&byte, next) = after.split_first()?;
        distance = distance.checked_add(1)?.checked_mul(128)? + u64::from(byte & 0x7f);
        more = byte & 0x80 != 0;
        after = next;
    }
    *rest = after;
    Some(distance)
}
