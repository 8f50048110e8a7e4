//! A pack and its index, complete and immutable, mapped.
//!
//! Opening checks that the two files belong together and that their tables fit their sizes; it does not read the entries.
//! Everything read later is checked where it is read: a damaged pack gives errors, never a panic or a huge allocation.

use super::CommitTable;
use crate::{ObjectId, oid};
use gix_pack::{data, index};
use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Bytes of the pack header (`gitformat-pack`): signature, version, object count.
pub(super) const HEADER_BYTES: u64 = 12;
/// Bytes of the trailing SHA-1.
pub(super) const TRAILER_BYTES: u64 = 20;

/// Gives every opened pack its own serial, so that caches may outlive a pack without mistaking one for another.
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(0);

/// A mapped pack with its index.
pub struct SealedPack {
    path: PathBuf,
    serial: u64,
    data: data::File,
    index: index::File,
    entries: OnceLock<Result<EntryTable, String>>,
    commits: OnceLock<Arc<CommitTable>>,
    /// Whether the sidecar has been looked for.
    looked: AtomicBool,
    /// There will be no table.
    hopeless: AtomicBool,
}

/// Why a pack could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The file could not be opened or mapped.
    Io(std::io::Error),
    /// Header, size or checksum is wrong.
    Corrupt(String),
}

/// Where the entries of a pack begin and end: 8 bytes an object (12 in packs over 4 GiB).
pub struct EntryTable {
    /// Ascending offsets of the entries.
    offsets: Offsets,
    /// The index position of each entry, in the order of the offsets.
    positions: Vec<u32>,
    end: u64,
}

enum Offsets {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

impl SealedPack {
    /// Opens `PATH.pack`'s pack and index. `path` is the `.pack` file. Checks headers, sizes and that the index belongs to
    /// the pack; does not read all bytes.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let index_path = path.with_extension("idx");
        // gix-pack reports a missing file and a broken one alike; the callers retry only the first.
        for file in [path, &index_path] {
            std::fs::File::open(file).map_err(OpenError::Io)?;
        }
        let corrupt = |e: gix_error::Error| OpenError::Corrupt(e.to_string());
        let data = data::File::at(path, gix_hash::Kind::Sha1).map_err(corrupt)?;
        let index = index::File::at(&index_path, gix_hash::Kind::Sha1).map_err(corrupt)?;
        if data.num_objects() != index.num_objects() {
            return Err(OpenError::Corrupt(format!(
                "the pack holds {} objects, its index {}",
                data.num_objects(),
                index.num_objects()
            )));
        }
        if data.checksum() != index.pack_checksum() {
            return Err(OpenError::Corrupt("the index belongs to another pack".into()));
        }
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        let (looked, hopeless) = <(AtomicBool, AtomicBool)>::default();
        Ok(Self {
            path: path.to_owned(),
            serial,
            data,
            index,
            entries: OnceLock::new(),
            commits: OnceLock::new(),
            looked,
            hopeless,
        })
    }

    /// The `.pack` file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unique among the packs that this process ever opened.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// How many objects.
    pub fn len(&self) -> u32 {
        self.index.num_objects()
    }

    /// Whether it holds no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pack's trailing checksum.
    pub fn checksum(&self) -> ObjectId {
        self.data.checksum()
    }

    /// The same as the last bytes of an answer.
    pub(super) fn trailer(&self) -> [u8; TRAILER_BYTES as usize] {
        let mut trailer = [0; TRAILER_BYTES as usize];
        trailer.copy_from_slice(self.checksum().as_slice());
        trailer
    }

    /// The index position of an object.
    pub fn find(&self, id: &oid) -> Option<u32> {
        self.index.lookup(id)
    }

    /// The id at an index position.
    ///
    /// # Panics
    ///
    /// If `position` is not below [`SealedPack::len`].
    pub fn id_at(&self, position: u32) -> ObjectId {
        self.index.oid_at_index(position).to_owned()
    }

    /// Where the entry of an index position begins in the pack; unchecked by opening, so it may lie outside the file.
    ///
    /// # Panics
    ///
    /// If `position` is not below [`SealedPack::len`].
    pub fn offset_at(&self, position: u32) -> u64 {
        self.index.pack_offset_at_index(position)
    }

    /// The CRC-32 of the whole entry, where the index has one (version 2).
    ///
    /// # Panics
    ///
    /// If `position` is not below [`SealedPack::len`].
    pub fn crc32_at(&self, position: u32) -> Option<u32> {
        self.index.crc32_at_index(position)
    }

    /// The mapped bytes of the pack file.
    pub fn bytes(&self) -> &[u8] {
        self.data.entry_slice(0..self.data.data_len() as u64).unwrap_or_default()
    }

    /// Whether the pack is of version 2, the only one that is ever sent.
    pub(super) fn is_version_2(&self) -> bool {
        self.data.version() == data::Version::V2
    }

    /// Where the last entry ends and the trailer begins.
    pub fn entries_end(&self) -> u64 {
        self.data.pack_end() as u64
    }

    /// The header of the entry at `offset`.
    pub fn entry(&self, offset: u64) -> Result<data::Entry, String> {
        let end = self.entries_end();
        if offset < HEADER_BYTES || offset >= end {
            return Err(format!("offset {offset} lies outside the pack"));
        }
        let bytes = self.data.entry_slice(offset..end).unwrap_or_default();
        data::Entry::from_bytes(bytes, offset, gix_hash::Kind::Sha1).map_err(|e| e.to_string())
    }

    /// The table of its commits: read from the sidecar at first use, or what [`SealedPack::set_commits`] has set since. A
    /// sidecar that is damaged is none.
    pub fn commits(&self) -> Option<&Arc<CommitTable>> {
        if self.commits.get().is_none() && !self.looked.swap(true, Ordering::AcqRel) {
            let table = std::fs::read(self.commits_path()).ok();
            let table = table.and_then(|bytes| CommitTable::from_bytes(&bytes, &self.checksum(), self.len()));
            table.into_iter().for_each(|table| self.set_commits(Some(table)));
        }
        self.commits.get()
    }

    /// Whether the table of its commits has to be made. Reads no file.
    pub fn lacks_commits(&self) -> bool {
        let is_known = self.commits.get().is_some() || self.hopeless.load(Ordering::Relaxed);
        !is_known && (self.looked.load(Ordering::Acquire) || !self.commits_path().exists())
    }

    /// Gives it the table of its commits, of which the first stays; nothing: there will be none.
    pub fn set_commits(&self, table: Option<CommitTable>) {
        match table {
            Some(table) => _ = self.commits.set(Arc::new(table)),
            None => self.hopeless.store(true, Ordering::Relaxed),
        }
    }

    /// Bytes of the pack, its index (`gitformat-pack`, version 2: a table of 28 bytes an object) and its sidecar on the disk.
    pub fn disk_bytes(&self) -> u64 {
        const INDEX_FIXED: u64 = 8 + 1_024 + 40;
        let sidecar = std::fs::metadata(self.commits_path()).map_or(0, |metadata| metadata.len());
        self.bytes().len() as u64 + INDEX_FIXED + 28 * u64::from(self.len()) + sidecar
    }

    /// Where the sidecar with the table of its commits lies.
    pub fn commits_path(&self) -> PathBuf {
        self.path.with_extension("commits")
    }

    /// The entry boundaries, built at first use; the error says what is wrong with the index.
    pub fn entries(&self) -> Result<&EntryTable, String> {
        self.entries.get_or_init(|| EntryTable::build(&self.index, self.entries_end())).as_ref().map_err(Clone::clone)
    }
}

impl EntryTable {
    fn build(index: &index::File, end: u64) -> Result<Self, String> {
        let count = index.num_objects();
        let narrow = end <= u64::from(u32::MAX);
        let (offsets, positions) = if narrow {
            // One machine word an entry sorts twice as fast as a pair and needs no more memory than the result.
            let mut words = Vec::with_capacity(count as usize);
            for position in 0..count {
                let offset = index.pack_offset_at_index(position);
                if offset >= end {
                    return Err(format!("the index names offset {offset} behind the last entry"));
                }
                words.push(offset << 32 | u64::from(position));
            }
            words.sort_unstable();
            let offsets = words.iter().map(|word| (word >> 32) as u32).collect();
            (Offsets::Narrow(offsets), words.iter().map(|word| *word as u32).collect::<Vec<u32>>())
        } else {
            let mut pairs: Vec<_> = (0..count).map(|p| (index.pack_offset_at_index(p), p)).collect();
            pairs.sort_unstable();
            let positions = pairs.iter().map(|(_, position)| *position).collect();
            (Offsets::Wide(pairs.iter().map(|(offset, _)| *offset).collect()), positions)
        };
        let table = Self { offsets, positions, end };
        let mut before = HEADER_BYTES - 1;
        for rank in 0..count {
            let offset = table.start(rank);
            if offset <= before || offset >= end {
                return Err(format!("the index names offset {offset} twice or outside the pack"));
            }
            before = offset;
        }
        if count > 0 && table.start(0) != HEADER_BYTES {
            return Err("the first entry does not follow the pack header".into());
        }
        Ok(table)
    }

    /// How many entries.
    pub fn len(&self) -> u32 {
        self.positions.len() as u32
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The offset of the `rank`-th entry, in the order of the pack. Out of range: the end of the entries.
    pub fn start(&self, rank: u32) -> u64 {
        match &self.offsets {
            Offsets::Narrow(offsets) => offsets.get(rank as usize).map_or(self.end, |offset| u64::from(*offset)),
            Offsets::Wide(offsets) => offsets.get(rank as usize).copied().unwrap_or(self.end),
        }
    }

    /// The bytes of the `rank`-th entry, header included.
    pub fn range(&self, rank: u32) -> Range<u64> {
        self.start(rank)..self.start(rank.saturating_add(1))
    }

    /// The index position of the `rank`-th entry.
    pub fn position(&self, rank: u32) -> Option<u32> {
        self.positions.get(rank as usize).copied()
    }

    /// Where the entry that `offset` lies in ends.
    pub fn end_behind(&self, offset: u64) -> u64 {
        let rank = match &self.offsets {
            Offsets::Narrow(offsets) => offsets.partition_point(|start| u64::from(*start) <= offset),
            Offsets::Wide(offsets) => offsets.partition_point(|start| *start <= offset),
        };
        self.start(rank as u32)
    }

    /// The rank of the entry that begins at `offset`.
    pub fn rank(&self, offset: u64) -> Option<u32> {
        let found = match &self.offsets {
            Offsets::Narrow(offsets) => offsets.binary_search(&u32::try_from(offset).ok()?),
            Offsets::Wide(offsets) => offsets.binary_search(&offset),
        };
        found.ok().map(|rank| rank as u32)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "could not open pack: {error}"),
            Self::Corrupt(detail) => write!(f, "corrupt pack: {detail}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl fmt::Debug for SealedPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedPack").field("path", &self.path).field("objects", &self.len()).finish()
    }
}
