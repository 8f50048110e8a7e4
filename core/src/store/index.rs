//! One pack stream onto disk with an index, under limits.
//!
//! gix-pack parses, resolves and hashes (with collision detection); here stand the bounds around it and the completion
//! of thin packs. A base that the pack lacks is appended as a whole object at the end, as `git index-pack --fix-thin` does.
//!
//! Memory: one entry's compressed bytes, one object and its base for each of the few threads, and about 150 bytes an
//! object. The header's count is believed only as entries arrive.

use super::{
    disk::Disk,
    ingest::{IngestError, IngestLimits, Ingested},
    tally::Tally,
};
use crate::{
    ObjectId,
    limits::INGEST_THREADS_MAX,
    oid,
    pack::{OpenError, SealedPack},
};
use gix_object::Kind;
use gix_pack::data::{
    self, EntryRange,
    entry::Header,
    input::{BytesToEntriesIter, EntriesToBytesIter, Entry, EntryDataMode, Mode},
};
use gix_utils::progress::{Count, Id, MessageLevel, NestedProgress, Progress, Step, StepShared, UNKNOWN, Unit};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

const SHA1: gix_hash::Kind = gix_hash::Kind::Sha1;
/// The checksum of the pack without objects.
const EMPTY_TRAILER: [u8; 20] = *b"\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";
const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// Gives a base object by id: its type and content into the buffer.
pub(super) type FindBase<'a> = &'a mut dyn FnMut(&oid, &mut Vec<u8>) -> Result<Option<Kind>, String>;

/// A pack and its index on disk, not synced yet.
#[derive(Debug)]
pub(super) struct IndexedPack {
    /// The `.pack` file.
    pub path: PathBuf,
    /// `pack-<checksum>`.
    pub stem: String,
    pub counts: Ingested,
}

/// What stopped the work, noted where it was seen: the chain of errors that comes out of gix-pack is untyped.
#[derive(Default)]
struct Verdict {
    first: RefCell<Option<IngestError>>,
}

impl Verdict {
    fn set(&self, error: IngestError) {
        self.first.borrow_mut().get_or_insert(error);
    }

    /// Our own file failed.
    fn note(&self, error: &io::Error) {
        let copy = error.raw_os_error().map(io::Error::from_raw_os_error);
        self.set(IngestError::Disk(copy.unwrap_or_else(|| io::Error::new(error.kind(), error.to_string()))));
    }
}

/// Reads one pack from `stream` into `directory`. `None`: it holds no object, and nothing was written.
pub(super) fn index_pack(
    disk: &dyn Disk,
    directory: &Path,
    stream: &mut dyn BufRead,
    find_base: FindBase<'_>,
    limits: &IngestLimits,
    tally: &Tally,
    stop: &AtomicBool,
) -> Result<Option<IndexedPack>, IngestError> {
    let written = [directory.join("incoming.pack"), directory.join("incoming.idx")];
    // Deltas of deltas of deltas by the ten thousand overflow a counter in gix-pack, which panics.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        write_pack(disk, &written, stream, find_base, limits, tally, stop)
    }));
    let result = result.unwrap_or_else(|_| Err(IngestError::Corrupt("the indexer gave up".into())));
    if !matches!(result, Ok(Some(_))) {
        for path in &written {
            let _ = disk.remove_file(path);
        }
    }
    result
}

fn write_pack(
    disk: &dyn Disk,
    [pack_path, index_path]: &[PathBuf; 2],
    stream: &mut dyn BufRead,
    find_base: FindBase<'_>,
    limits: &IngestLimits,
    tally: &Tally,
    stop: &AtomicBool,
) -> Result<Option<IndexedPack>, IngestError> {
    let verdict = Verdict::default();
    let (allowance, by_reference) = (Cell::new(entry_allowance(limits)), Cell::new(false));
    let mut stream = BoundedStream {
        inner: stream,
        unread: 0,
        bytes_left: limits.pack_bytes,
        entry_bytes_left: &allowance,
        verdict: &verdict,
        stop,
    };
    let fault = |error: gix_error::Error| classify(&error, &verdict, stop);
    let entries = BytesToEntriesIter::new_from_header(&mut stream, Mode::Verify, EntryDataMode::KeepAndCrc32, SHA1)
        .map_err(fault)?;
    let (count, version) = (entries.len(), entries.version());
    if version != data::Version::V2 {
        return Err(IngestError::Corrupt("not a version 2 pack".into()));
    }
    if count > limits.objects as usize {
        return Err(IngestError::TooLarge("objects of one pack"));
    }
    // Below the limit, which is a `u32`.
    tally.begin(count as u32);
    if count == 0 {
        let mut trailer = [0; EMPTY_TRAILER.len()];
        stream.read_exact(&mut trailer).map_err(|error| IngestError::Io(error.kind().into()))?;
        return if trailer == EMPTY_TRAILER { Ok(None) } else { Err(IngestError::Corrupt("wrong checksum".into())) };
    }
    let entries = LimitedEntries {
        inner: Some(entries),
        count: 0,
        find_base,
        bases: BTreeSet::new(),
        by_reference: &by_reference,
        next_offset: 0,
        depths: Depths::default(),
        inflated_bytes: 0,
        entry_bytes_left: &allowance,
        limits,
        tally,
        verdict: &verdict,
    };
    let output = OurFile::create(disk, pack_path, &verdict)?;
    let mut entries = EntriesToBytesIter::new(entries, output, version, SHA1);
    let mut index = OurFile::create(disk, index_path, &verdict)?;
    let mut meter = Meter { resolved: tally.indexed.clone(), ..Meter::default() };
    let decoded = meter.decoded.clone();
    let make_resolver = || {
        let file = data::File::at(pack_path, SHA1).map_err(|error| {
            let error = io::Error::other(error.to_string());
            verdict.note(&error);
            error
        })?;
        let resolve: fn(EntryRange, &Source) -> Option<&[u8]> = Source::entry;
        Ok((resolve, Source { file, decoded, decoded_bytes_max: limits.inflated_bytes }))
    };
    let outcome = gix_pack::index::write_data_iter_to_stream(
        gix_pack::index::Version::V2,
        make_resolver,
        &mut entries,
        Some(INGEST_THREADS_MAX),
        &mut meter,
        &mut index,
        stop,
        SHA1,
        Some(usize::try_from(limits.object_bytes).unwrap_or(usize::MAX)),
        version,
    );
    // The threads look at the sum between objects, so that it may pass the limit by the last few.
    if meter.decoded.load(Ordering::Relaxed) as u64 > limits.inflated_bytes {
        return Err(IngestError::TooLarge("inflated bytes of one pack"));
    }
    let outcome = outcome.map_err(fault)?;
    index.flush()?;
    drop((index, entries));
    let sealed = SealedPack::open(pack_path).map_err(|error| match error {
        OpenError::Io(error) => IngestError::Disk(error),
        OpenError::Corrupt(detail) => IngestError::Corrupt(detail),
    })?;
    if by_reference.get() {
        check_reference_chains(&sealed, limits.delta_depth)?;
    }
    let counts = Ingested { objects: outcome.num_objects, bytes: sealed.bytes().len() as u64 };
    let stem = format!("pack-{}", outcome.data_hash);
    Ok(Some(IndexedPack { path: pack_path.clone(), stem, counts }))
}

/// Most compressed bytes of one entry: nine bits a byte where a hasty encoder codes noise with fixed codes, and a header.
fn entry_allowance(limits: &IngestLimits) -> u64 {
    limits.object_bytes.saturating_add(limits.object_bytes / 7).saturating_add(4 << 10)
}

/// The error behind gix-pack's chain, or else what can be read from the chain.
fn classify(error: &gix_error::Error, verdict: &Verdict, stop: &AtomicBool) -> IngestError {
    if stop.load(Ordering::Relaxed) {
        return IngestError::Interrupted;
    }
    if let Some(first) = verdict.first.borrow_mut().take() {
        return first;
    }
    let chain = format!("{error:?}");
    if let Some((_, rest)) = chain.split_once("ref-delta base object ")
        && let Some(id) = rest.get(..40).and_then(|hex| ObjectId::from_hex(hex.as_bytes()).ok())
    {
        return IngestError::MissingBase(id);
    }
    if error.is_resource_exhausted() {
        return IngestError::TooLarge("inflated bytes of one object");
    }
    IngestError::Corrupt(chain.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}

/// The pack as it lies on disk, for gix-pack to resolve entries from. Gives nothing more once too much was inflated.
struct Source {
    file: data::File,
    decoded: StepShared,
    decoded_bytes_max: u64,
}

impl Source {
    fn entry(range: EntryRange, source: &Self) -> Option<&[u8]> {
        let within = source.decoded.load(Ordering::Relaxed) as u64 <= source.decoded_bytes_max;
        source.file.entry_slice(range).filter(|_| within)
    }
}

/// The stream, counted. Its end is an error: whoever reads a pack knows when it is over.
struct BoundedStream<'a> {
    inner: &'a mut dyn BufRead,
    /// Bytes of the inner buffer that were shown and not consumed, never more than are allowed. They are shown again
    /// without any check, since gix-pack relies on that.
    unread: usize,
    bytes_left: u64,
    entry_bytes_left: &'a Cell<u64>,
    verdict: &'a Verdict,
    stop: &'a AtomicBool,
}

impl BoundedStream<'_> {
    fn refuse(&self, error: IngestError) -> io::Error {
        self.verdict.set(error);
        io::Error::other("the pack is refused")
    }
}

impl BufRead for BoundedStream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread == 0 {
            if self.stop.load(Ordering::Relaxed) {
                return Err(self.refuse(IngestError::Interrupted));
            }
            if self.bytes_left == 0 {
                return Err(self.refuse(IngestError::TooLarge("bytes of one pack")));
            }
            if self.entry_bytes_left.get() == 0 {
                return Err(self.refuse(IngestError::TooLarge("compressed bytes of one object")));
            }
            let bytes = self.inner.fill_buf();
            let shown_max = self.bytes_left.min(self.entry_bytes_left.get());
            self.unread = match bytes {
                Ok([]) => return Err(self.refuse(IngestError::Io(io::ErrorKind::UnexpectedEof.into()))),
                Ok(bytes) => bytes.len().min(usize::try_from(shown_max).unwrap_or(usize::MAX)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => return Err(self.refuse(IngestError::Io(error))),
            };
        }
        Ok(&self.inner.fill_buf()?[..self.unread])
    }

    fn consume(&mut self, count: usize) {
        self.unread = self.unread.saturating_sub(count);
        self.bytes_left = self.bytes_left.saturating_sub(count as u64);
        self.entry_bytes_left.set(self.entry_bytes_left.get().saturating_sub(count as u64));
        self.inner.consume(count);
    }
}

impl Read for BoundedStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// How deep each entry lies in its chain, by offset.
#[derive(Default)]
struct Depths {
    offsets: Vec<u64>,
    depths: Vec<u16>,
}

impl Depths {
    fn of(&self, offset: u64) -> Option<u16> {
        self.offsets.binary_search(&offset).ok().map(|index| self.depths[index])
    }

    fn push(&mut self, offset: u64, depth: u16) {
        self.offsets.push(offset);
        self.depths.push(depth);
    }
}

/// The entries of the stream within the limits, and then the bases that it lacks.
struct LimitedEntries<'a, R> {
    /// `None` once it has ended.
    inner: Option<BytesToEntriesIter<R>>,
    count: u32,
    find_base: FindBase<'a>,
    /// Ids that deltas name as their base.
    bases: BTreeSet<ObjectId>,
    by_reference: &'a Cell<bool>,
    next_offset: u64,
    depths: Depths,
    inflated_bytes: u64,
    entry_bytes_left: &'a Cell<u64>,
    limits: &'a IngestLimits,
    tally: &'a Tally,
    verdict: &'a Verdict,
}

impl<R: BufRead> LimitedEntries<'_, R> {
    fn check(&mut self, entry: &Entry) -> Result<(), IngestError> {
        self.count += 1;
        self.tally.set_received(self.count);
        self.inflated_bytes = self.inflated_bytes.saturating_add(entry.decompressed_size);
        if self.count > self.limits.objects {
            return Err(IngestError::TooLarge("objects of one pack"));
        }
        if entry.decompressed_size > self.limits.object_bytes {
            return Err(IngestError::TooLarge("inflated bytes of one object"));
        }
        if self.inflated_bytes > self.limits.inflated_bytes {
            return Err(IngestError::TooLarge("inflated bytes of one pack"));
        }
        let depth = match entry.header {
            Header::OfsDelta { base_distance } => {
                let base = entry.pack_offset.checked_sub(base_distance).and_then(|base| self.depths.of(base));
                base.ok_or_else(|| IngestError::Corrupt("a delta's base is no entry before it".into()))? + 1
            }
            Header::RefDelta { base_id } => {
                self.by_reference.set(true);
                self.bases.insert(base_id);
                1
            }
            _ => 0,
        };
        if u32::from(depth) > self.limits.delta_depth {
            return Err(IngestError::TooLarge("length of a delta chain"));
        }
        self.depths.push(entry.pack_offset, depth);
        self.next_offset = entry.pack_offset + entry.bytes_in_pack();
        self.entry_bytes_left.set(entry_allowance(self.limits));
        Ok(())
    }

    /// The next base that is known here, as a whole entry behind all others. One that is not known may still be an
    /// object of the pack itself.
    fn next_base(&mut self) -> Option<Result<Entry, gix_error::Error>> {
        let mut content = Vec::new();
        while let Some(id) = self.bases.pop_first() {
            match (self.find_base)(&id, &mut content) {
                Ok(None) => {}
                Ok(Some(kind)) => {
                    let object = gix_object::Data { kind, object_hash: SHA1, data: &content };
                    return Some(Entry::from_data_obj(&object, self.next_offset, gix_zlib::Compression::BEST_SPEED));
                }
                Err(detail) => return Some(Err(gix_error::message!("{detail}").corrupted_error())),
            }
        }
        None
    }
}

impl<R: BufRead> Iterator for LimitedEntries<'_, R> {
    type Item = gix_error::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.inner.as_mut().and_then(Iterator::next);
        let next = match next {
            Some(entry) => Some(entry),
            None => {
                self.inner = None;
                self.next_base()
            }
        };
        match next? {
            Ok(entry) => match self.check(&entry) {
                Ok(()) => Some(Ok(entry)),
                Err(error) => {
                    self.verdict.set(error);
                    Some(Err(gix_error::message!("the pack is refused").corrupted_error()))
                }
            },
            Err(error) => {
                // Without this, the missing rest would be completed with bases.
                self.bases.clear();
                Some(Err(error))
            }
        }
    }

    /// Nothing is promised: gix-pack allocates by this, and the header's count is only the sender's word.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(0))
    }
}

/// A file of ours, buffered for writing; the pack is read again for the final checksum. gix-pack hands its errors on
/// without a word of whose they are, and a full disk is not the sender's fault.
struct OurFile<'a> {
    file: BufWriter<File>,
    verdict: &'a Verdict,
}

impl<'a> OurFile<'a> {
    fn create(disk: &dyn Disk, path: &Path, verdict: &'a Verdict) -> io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(WRITE_BUFFER_BYTES, disk.create_file(path)?), verdict })
    }

    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.verdict.note(error))
    }
}

impl Write for OurFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.file.write(bytes);
        self.noted(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.file.flush();
        self.noted(result)
    }
}

impl Read for OurFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.flush()?;
        let result = self.file.get_mut().read(buffer);
        self.noted(result)
    }
}

impl Seek for OurFile<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let result = self.file.seek(to);
        self.noted(result)
    }
}

/// Deltas that name their base by id may have it anywhere in the pack, so that their chains are known only now.
fn check_reference_chains(pack: &SealedPack, depth_max: u32) -> Result<(), IngestError> {
    let corrupt = |detail: String| IngestError::Corrupt(detail);
    let entries = pack.entries().map_err(corrupt)?;
    let unknown = u32::MAX;
    let mut depths = vec![unknown; entries.len() as usize];
    let mut chain = Vec::new();
    for first in 0..entries.len() {
        let mut rank = first;
        let mut depth = loop {
            if depths[rank as usize] != unknown {
                break depths[rank as usize];
            }
            if chain.len() > depth_max as usize {
                return Err(IngestError::TooLarge("length of a delta chain"));
            }
            let offset = entries.start(rank);
            let base = match pack.entry(offset).map_err(corrupt)?.header {
                Header::OfsDelta { base_distance } => offset.checked_sub(base_distance),
                Header::RefDelta { base_id } => pack.find(&base_id).map(|position| pack.offset_at(position)),
                _ => {
                    depths[rank as usize] = 0;
                    break 0;
                }
            };
            chain.push(rank);
            let base = base.and_then(|offset| entries.rank(offset));
            rank = base.ok_or_else(|| corrupt("a delta's base is no entry of the pack".into()))?;
        };
        while let Some(rank) = chain.pop() {
            depth += 1;
            depths[rank as usize] = depth;
        }
        if depth > depth_max {
            return Err(IngestError::TooLarge("length of a delta chain"));
        }
    }
    Ok(())
}

/// The progress that gix-pack reports to: looked at are the sum of what was inflated and the count of what was resolved.
#[derive(Default)]
struct Meter {
    own: StepShared,
    decoded: StepShared,
    resolved: StepShared,
}

/// The name under which gix-pack counts inflated bytes.
const DECODING: &str = "Decoding";
/// The name under which it counts objects that it has resolved and hashed.
const RESOLVING: &str = "Resolving";

impl Count for Meter {
    fn set(&self, step: Step) {
        self.own.store(step, Ordering::Relaxed);
    }

    fn step(&self) -> Step {
        self.own.load(Ordering::Relaxed)
    }

    fn inc_by(&self, step: Step) {
        self.own.fetch_add(step, Ordering::Relaxed);
    }

    fn counter(&self) -> StepShared {
        self.own.clone()
    }
}

impl Progress for Meter {
    fn init(&mut self, _max: Option<Step>, _unit: Option<Unit>) {}

    fn set_name(&mut self, _name: String) {}

    fn name(&self) -> Option<String> {
        None
    }

    fn id(&self) -> Id {
        UNKNOWN
    }

    fn message(&self, _level: MessageLevel, _message: String) {}
}

impl NestedProgress for Meter {
    type SubProgress = Self;

    fn add_child(&mut self, name: impl Into<String>) -> Self {
        let own = match name.into().as_str() {
            DECODING => self.decoded.clone(),
            RESOLVING => self.resolved.clone(),
            _ => StepShared::default(),
        };
        Self { own, decoded: self.decoded.clone(), resolved: self.resolved.clone() }
    }

    fn add_child_with_id(&mut self, name: impl Into<String>, _id: Id) -> Self {
        self.add_child(name)
    }
}
