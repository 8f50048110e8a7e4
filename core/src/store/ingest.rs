//! Packs from outside: into quarantine, indexed under limits.
//!
//! A quarantine is a directory inside the repository's own, so that sealing is a rename. Nothing in it is visible to
//! readers or to a stock `git`; dropping it removes it, and the next start removes what a crash left.

use super::{
    RepositoryId, Snapshot, Verified, VerifyError,
    disk::{Disk, LocalDisk},
    index::{self, index_pack},
    tally::Tally,
    verify,
};
use crate::{
    ObjectId,
    limits::{
        INGEST_DELTA_DEPTH_MAX, INGEST_INFLATED_BYTES_MAX, INGEST_OBJECT_BYTES_MAX, INGEST_OBJECTS_MAX,
        INGEST_PACK_BYTES_MAX, READER_CACHE_BYTES_MAX,
    },
    objects::{Database, Reader},
    oid,
    pack::SealedPack,
    refs::RefTable,
};
use std::{
    fmt,
    io::{self, BufRead},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// Bounds of one ingest.
#[derive(Clone, Copy, Debug)]
pub struct IngestLimits {
    /// Bytes of one pack.
    pub pack_bytes: u64,
    /// Objects of one pack.
    pub objects: u32,
    /// Inflated bytes of one object.
    pub object_bytes: u64,
    /// Inflated bytes of all objects of one pack together.
    pub inflated_bytes: u64,
    /// Links of one delta chain.
    pub delta_depth: u32,
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self {
            pack_bytes: INGEST_PACK_BYTES_MAX,
            objects: INGEST_OBJECTS_MAX,
            object_bytes: INGEST_OBJECT_BYTES_MAX,
            inflated_bytes: INGEST_INFLATED_BYTES_MAX,
            delta_depth: INGEST_DELTA_DEPTH_MAX,
        }
    }
}

/// What one pack brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// Objects stored, completed bases included.
    pub objects: u32,
    /// Bytes stored.
    pub bytes: u64,
}

/// Why a pack is refused. Nothing of it remains.
#[derive(Debug)]
pub enum IngestError {
    /// The stream broke. Its end before the pack's is `UnexpectedEof`.
    Io(io::Error),
    /// The store's disk failed, or is full.
    Disk(io::Error),
    /// The pack is not valid.
    Corrupt(String),
    /// A limit was reached: which.
    TooLarge(&'static str),
    /// A delta base that is neither in the pack nor here.
    MissingBase(ObjectId),
    /// The stop flag was raised.
    Interrupted,
}

/// A pack in quarantine.
pub(super) struct NewPack {
    /// The `.pack` file, for now.
    pub path: PathBuf,
    /// Its name in the end: `pack-<checksum>`.
    pub stem: String,
    pub sealed: Arc<SealedPack>,
}

/// A directory that goes when it is dropped.
pub(super) struct QuarantineDirectory {
    pub disk: Arc<dyn Disk>,
    pub path: PathBuf,
}

impl Drop for QuarantineDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _ = self.disk.remove_tree(&self.path);
    }
}

/// Packs on their way in: on disk, not visible. Dropping it removes them.
pub struct Quarantine {
    pub(super) repository: RepositoryId,
    /// How often objects had been purged at the beginning.
    pub(super) purges: u64,
    /// The snapshot of the beginning: bases and completeness are judged against it.
    pub(super) base: Option<Arc<Snapshot>>,
    pub(super) packs: Vec<NewPack>,
    /// The objects of `base`, then those of `packs`.
    pub(super) objects: Arc<Database>,
    limits: IngestLimits,
    pub(super) tally: Arc<Tally>,
    pub(super) directory: QuarantineDirectory,
}

impl Quarantine {
    pub(super) fn begin(
        repository: RepositoryId,
        purges: u64,
        disk: Arc<dyn Disk>,
        path: PathBuf,
        base: Option<Arc<Snapshot>>,
        limits: IngestLimits,
    ) -> io::Result<Self> {
        disk.create_dir(&path)?;
        let directory = QuarantineDirectory { disk, path };
        let objects = base.as_ref().map_or_else(|| Arc::new(Database::new(Vec::new())), |base| base.objects.clone());
        Ok(Self { repository, purges, base, packs: Vec::new(), objects, limits, tally: Arc::default(), directory })
    }

    /// Counts in `tally` what happens here.
    pub fn count_in(&mut self, tally: Arc<Tally>) {
        self.tally = tally;
    }

    /// Whether an object is here already: in the repository or in this quarantine. Before any ingest, yes means that
    /// everything it names is here too.
    pub fn has(&self, id: &oid) -> bool {
        self.objects.number(id).is_some()
    }

    /// The objects here already, this quarantine's included.
    pub fn objects(&self) -> &Arc<Database> {
        &self.objects
    }

    /// Indexes one pack from `stream`, which ends after the trailer or goes on (not read further).
    /// Thin bases come from the repository and from this quarantine.
    pub fn ingest(&mut self, stream: &mut dyn BufRead, stop: &AtomicBool) -> Result<Ingested, IngestError> {
        let objects = self.objects.clone();
        let mut reader = Reader::with_limits(READER_CACHE_BYTES_MAX, self.limits.object_bytes);
        let mut find_base = |id: &oid, content: &mut Vec<u8>| {
            let Some(number) = objects.number(id) else { return Ok(None) };
            let object = objects.read(number, &mut reader).map_err(|error| error.to_string())?;
            content.clear();
            content.extend_from_slice(object.data);
            Ok(Some(object.kind))
        };
        let disk = &*self.directory.disk;
        let indexed = index_pack(disk, &self.directory.path, stream, &mut find_base, &self.limits, &self.tally, stop)?;
        let Some(index::IndexedPack { path, stem, counts }) = indexed else {
            return Ok(Ingested { objects: 0, bytes: 0 });
        };
        // The same pack again brings nothing.
        let place = self.directory.path.join(format!("{stem}.pack"));
        if self.packs.iter().any(|known| known.stem == stem) {
            disk.remove_file(&path.with_extension("idx")).map_err(IngestError::Disk)?;
            disk.remove_file(&path).map_err(IngestError::Disk)?;
            return Ok(counts);
        }
        disk.rename(&path, &place).map_err(IngestError::Disk)?;
        disk.rename(&path.with_extension("idx"), &place.with_extension("idx")).map_err(IngestError::Disk)?;
        let sealed = SealedPack::open(&place).map(Arc::new);
        let sealed = sealed.map_err(|error| IngestError::Disk(io::Error::other(error.to_string())))?;
        self.packs.push(NewPack { path: place, stem, sealed });
        let base = self.base.iter().flat_map(|base| base.objects.packs()).cloned();
        let new = self.packs.iter().map(|pack| pack.sealed.clone());
        self.objects = Arc::new(Database::new(base.chain(new).collect()));
        Ok(counts)
    }

    /// Checks the new objects (structure refuses, cosmetics are recorded) and that everything `refs` names is complete.
    pub fn verify(self, refs: RefTable, stop: &AtomicBool) -> Result<Verified, VerifyError> {
        self.verify_keeping(refs, Vec::new(), stop)
    }

    /// The same, and that everything `kept` names is complete, which is to stay servable without being advertised.
    pub fn verify_keeping(
        self,
        refs: RefTable,
        kept: Vec<RefTable>,
        stop: &AtomicBool,
    ) -> Result<Verified, VerifyError> {
        verify::verify(self, refs, kept, stop)
    }
}

/// Indexes the pack in `bytes` into `directory`, which must exist, with nothing to find bases in: what a hostile sender
/// can reach of the ingest, as a function. `directory` is left as it was.
pub fn ingest_bytes(bytes: &[u8], directory: &Path, limits: &IngestLimits) -> Result<Ingested, IngestError> {
    let indexed = index_pack(
        &LocalDisk,
        directory,
        &mut &bytes[..],
        &mut |_, _| Ok(None),
        limits,
        &Tally::default(),
        &AtomicBool::new(false),
    )?;
    let Some(indexed) = indexed else { return Ok(Ingested { objects: 0, bytes: 0 }) };
    for path in [indexed.path.with_extension("idx"), indexed.path] {
        LocalDisk.remove_file(&path).map_err(IngestError::Disk)?;
    }
    Ok(indexed.counts)
}

/// The same for a pack of `entries`, of which there are said to be `count`, with the header and the checksum that belong
/// to it: what lies behind the checksum can be reached only with a right one.
pub fn ingest_entries(
    count: u32,
    entries: &[u8],
    directory: &Path,
    limits: &IngestLimits,
) -> Result<Ingested, IngestError> {
    let mut pack = [b"PACK".as_slice(), &2u32.to_be_bytes(), &count.to_be_bytes(), entries].concat();
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    hasher.update(&pack);
    let checksum = hasher.try_finalize().map_err(|error| IngestError::Corrupt(error.to_string()))?;
    pack.extend_from_slice(checksum.as_slice());
    ingest_bytes(&pack, directory, limits)
}

/// Not an upstream's error: those are noted where the stream is read.
impl From<io::Error> for IngestError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the pack's stream broke: {error}"),
            Self::Disk(error) => write!(f, "the store's disk failed: {error}"),
            Self::Corrupt(detail) => write!(f, "the pack is corrupt: {detail}"),
            Self::TooLarge(what) => write!(f, "the pack exceeds the limit on the {what}"),
            Self::MissingBase(id) => write!(f, "the pack has a delta against {id}, which is not here"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for IngestError {}
