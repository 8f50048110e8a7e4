//! Entries that had to be encoded anew, kept beside the packs: a delta whose base does not travel is resolved and deflated
//! once, not for each clone of a single commit. Keyed by the object, so that a consolidation changes nothing, and a moved
//! branch pays only for what is new.
//!
//! Two files of records, the halves. Records are appended to the younger; when it is full the older goes. What goes while it
//! is still asked for is encoded once more: promoting it would cost a copy each time round. A plan holds the file that it
//! names, and so does not notice.
//!
//! ```text
//! helient1                                      the file's beginning
//! id 20, length 4, crc32 of the entry 4,
//! crc32 of these 28 bytes 4, entry              a record; numbers are little-endian
//! ```
//!
//! Nothing here is ever synced, and nothing is believed: a head that does not fit its checksum ends a file (a torn tail, or
//! damage), an entry that does not is encoded anew, and it is checked each time that it is used. Losing all of it costs time.
//! It is never an error of the repository's, nor of a request's: what can't be written is not kept.

use super::disk::Disk;
use crate::{
    ObjectId,
    limits::{
        ENTRY_CACHE_ENTRIES_MAX, ENTRY_CACHE_HALF_BYTES_MAX, ENTRY_CACHE_HALF_BYTES_MIN, ENTRY_CACHE_PACKS_SHARE,
    },
    oid,
    pack::{EntryFile, Window},
};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

const MAGIC: &[u8; 8] = b"helient1";
const HEAD_BYTES: usize = 32;
/// An entry takes at most this part of a half: a giant would push out everything else.
const SHARE: u64 = 4;

/// The kept entries of one repository. Shared by its snapshots, until a purge.
pub struct EntryCache {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    half_bytes_max: AtomicU64,
    /// As the lock's holder left them.
    bytes: AtomicU64,
    state: Mutex<State>,
}

/// Where the entry of an object lies.
pub struct KeptEntry {
    pub(crate) file: Arc<EntryFile>,
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) crc32: u32,
}

enum State {
    /// Nobody has asked yet, or not for a while: the files have not been looked at.
    Unread,
    Read(Box<Halves>),
    /// Purged or removed: nothing is found and nothing kept any more.
    Closed,
}

#[derive(Default)]
struct Halves {
    young: Option<Half>,
    old: Option<Half>,
    /// Those that have gone and that plans still hold, with their bytes.
    gone: Vec<(Weak<EntryFile>, u64)>,
    /// The highest number that a file has or had.
    last: u64,
    is_used: bool,
}

struct Half {
    path: PathBuf,
    /// Held by plans. No descriptor is held for a repository that nobody asks for.
    file: Weak<EntryFile>,
    index: HashMap<ObjectId, Record>,
    /// Where the last whole record ends. What lies before does not change.
    end: u64,
}

#[derive(Clone, Copy)]
struct Record {
    /// Of the entry, behind its head.
    start: u32,
    len: u32,
    crc32: u32,
}

impl EntryCache {
    /// The cache whose files lie in `directory`, which need not exist.
    pub fn open(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        let listed = disk.list(&directory).unwrap_or_default();
        let size = |name: &String| fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len());
        let bytes = listed.iter().map(|entry| size(&entry.name)).sum();
        Self {
            disk,
            directory,
            half_bytes_max: AtomicU64::new(ENTRY_CACHE_HALF_BYTES_MIN),
            bytes: AtomicU64::new(bytes),
            state: Mutex::new(State::Unread),
        }
    }

    /// One that keeps nothing.
    pub fn none() -> Self {
        let cache = Self::open(Arc::new(super::LocalDisk), PathBuf::new());
        *cache.lock() = State::Closed;
        cache
    }

    /// Makes room in proportion to the packs that it lies beside.
    pub(super) fn fit(&self, pack_bytes: u64) {
        let half = (pack_bytes / ENTRY_CACHE_PACKS_SHARE).clamp(ENTRY_CACHE_HALF_BYTES_MIN, ENTRY_CACHE_HALF_BYTES_MAX);
        self.half_bytes_max.store(half, Ordering::Relaxed);
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The entry of an object, if one is kept and whole now.
    pub(crate) fn find(&self, id: &oid, window: &mut Window) -> Option<KeptEntry> {
        let (kept, end) = self.look_up(id)?;
        let read = window.read(&kept.file, kept.start, kept.len as usize, end);
        if read.is_ok_and(|bytes| crc32fast::hash(bytes) == kept.crc32) {
            return Some(kept);
        }
        if let State::Read(halves) = &mut *self.lock() {
            halves.both_mut().for_each(|half| _ = half.index.remove(id));
        }
        None
    }

    fn look_up(&self, id: &oid) -> Option<(KeptEntry, u64)> {
        let mut state = self.lock();
        self.halves(&mut state)?.both_mut().find_map(|half| Some((half.get(id)?, half.end)))
    }

    /// Keeps the entry of an object, unless it is too large or nothing is kept. An error is one of the disk.
    pub(crate) fn keep(&self, id: &oid, entry: &[u8]) -> io::Result<Option<KeptEntry>> {
        let half_bytes_max = self.half_bytes_max.load(Ordering::Relaxed);
        let bytes = (HEAD_BYTES + entry.len()) as u64;
        if bytes > half_bytes_max / SHARE {
            return Ok(None);
        }
        let mut state = self.lock();
        let Some(halves) = self.halves(&mut state) else { return Ok(None) };
        // Another plan may have been faster.
        if let Some(kept) = halves.both_mut().find_map(|half| half.get(id)) {
            return Ok(Some(kept));
        }
        let is_full = |young: &Half| young.end + bytes > half_bytes_max || young.index.len() >= ENTRY_CACHE_ENTRIES_MAX;
        if halves.young.as_ref().is_some_and(is_full) {
            // Plans that are sent slowly hold the halves that they name. So that these do not add up, none goes before
            // others have really gone.
            halves.gone.retain(|(file, _)| file.strong_count() > 0);
            if halves.gone.iter().map(|(_, bytes)| bytes).sum::<u64>() > half_bytes_max {
                return Ok(None);
            }
            if let Some(old) = halves.old.take() {
                old.drop_name();
                halves.gone.push((old.file.clone(), old.end));
                // One that stays is swept when the files are looked at next.
                let _ = self.disk.remove_file(&old.path);
            }
            halves.old = halves.young.take();
        }
        let file = match halves.young.as_mut().map(Half::open) {
            Some(Ok(file)) => file,
            // Somebody has removed it. The next one begins another.
            Some(Err(error)) => {
                halves.young = None;
                return Err(error);
            }
            None => {
                halves.last += 1;
                let (file, young) = self.create(halves.last)?;
                halves.young = Some(young);
                file
            }
        };
        let Some(young) = &mut halves.young else { return Ok(None) };
        let kept = young.append(file, id, entry).map(Some);
        self.bytes.store(halves.both_mut().map(|half| half.end).sum(), Ordering::Relaxed);
        kept
    }

    fn create(&self, number: u64) -> io::Result<(Arc<EntryFile>, Half)> {
        match self.disk.create_dir(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = self.directory.join(number.to_string());
        let file = self.disk.create_file(&path)?;
        if let Err(error) = file.write_all_at(MAGIC, 0) {
            let _ = self.disk.remove_file(&path);
            return Err(error);
        }
        let file = Arc::new(EntryFile::new(file));
        let half = Half { path, file: Arc::downgrade(&file), index: HashMap::new(), end: MAGIC.len() as u64 };
        Ok((file, half))
    }

    /// Forgets what is in memory if nobody has asked since the last call. The files stay.
    pub(super) fn rest(&self) {
        let mut state = self.lock();
        if let State::Read(halves) = &mut *state {
            let is_used = std::mem::take(&mut halves.is_used);
            if !is_used && halves.both_mut().all(|half| half.file.strong_count() == 0) {
                *state = State::Unread;
            }
        }
    }

    /// Nothing is found or kept from now on, and the files go. Plans that name them finish.
    pub(super) fn close(&self) -> io::Result<()> {
        let mut state = self.lock();
        if let State::Read(halves) = &mut *state {
            halves.both_mut().for_each(|half| half.drop_name());
        }
        *state = State::Closed;
        self.bytes.store(0, Ordering::Relaxed);
        self.disk.remove_tree(&self.directory)
    }

    /// The halves, read if they have not been.
    fn halves<'s>(&self, state: &'s mut State) -> Option<&'s mut Halves> {
        if let State::Unread = state {
            *state = State::Read(Box::new(self.read()));
        }
        match state {
            State::Read(halves) => {
                halves.is_used = true;
                Some(halves)
            }
            _ => None,
        }
    }

    fn read(&self) -> Halves {
        let listed = self.disk.list(&self.directory).unwrap_or_default();
        let mut numbers: Vec<u64> = listed.iter().filter_map(|entry| entry.name.parse().ok()).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let mut halves = Halves { last: numbers.first().copied().unwrap_or(0), ..Halves::default() };
        for number in numbers {
            let path = self.directory.join(number.to_string());
            let half = if halves.old.is_none() { Half::scan(&path).ok() } else { None };
            match half {
                Some(half) if halves.young.is_none() => halves.young = Some(half),
                Some(half) => halves.old = Some(half),
                None => _ = self.disk.remove_file(&path),
            }
        }
        self.bytes.store(halves.both_mut().map(|half| half.end).sum(), Ordering::Relaxed);
        halves
    }

    /// A panic under the lock leaves an index that may lack what is in the file: it is encoded once more.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn both_mut(&mut self) -> impl Iterator<Item = &mut Half> {
        self.young.iter_mut().chain(&mut self.old)
    }
}

impl Half {
    /// Reads the heads of all records, up to the first that is not whole.
    fn scan(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let bytes = file.metadata()?.len();
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)?;
        if magic != *MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (mut index, mut end) = (HashMap::new(), MAGIC.len() as u64);
        let mut head = [0; HEAD_BYTES];
        while index.len() < ENTRY_CACHE_ENTRIES_MAX
            && end + HEAD_BYTES as u64 <= bytes
            && file.read_exact_at(&mut head, end).is_ok()
        {
            let start = end + HEAD_BYTES as u64;
            let Some((id, record)) = read_head(&head, start) else { break };
            let behind = start + u64::from(record.len);
            if behind > bytes {
                break;
            }
            index.insert(id, record);
            end = behind;
        }
        // What is appended must follow what is whole.
        if end < bytes {
            file.set_len(end)?;
        }
        Ok(Self { path: path.to_owned(), file: Weak::new(), index, end })
    }

    fn get(&mut self, id: &oid) -> Option<KeptEntry> {
        let Record { start, len, crc32 } = *self.index.get(id)?;
        match self.open() {
            Ok(file) => Some(KeptEntry { file, start: start.into(), len: len.into(), crc32 }),
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound {
                    self.index.clear();
                }
                None
            }
        }
    }

    fn open(&mut self) -> io::Result<Arc<EntryFile>> {
        if let Some(file) = self.file.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(EntryFile::new(open(&self.path)?));
        self.file = Arc::downgrade(&file);
        Ok(file)
    }

    /// One write, so that only a crash tears a record. What a failed one has left is cut off, or overwritten.
    fn append(&mut self, file: Arc<EntryFile>, id: &oid, entry: &[u8]) -> io::Result<KeptEntry> {
        let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let start = u32::try_from(self.end + HEAD_BYTES as u64).map_err(too_large)?;
        let record =
            Record { start, len: u32::try_from(entry.len()).map_err(too_large)?, crc32: crc32fast::hash(entry) };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + entry.len());
        write_head(&mut bytes, id, &record);
        bytes.extend_from_slice(entry);
        if let Err(error) = file.file().write_all_at(&bytes, self.end) {
            let _ = file.file().set_len(self.end);
            return Err(error);
        }
        self.end += bytes.len() as u64;
        self.index.insert(id.to_owned(), record);
        Ok(KeptEntry { file, start: start.into(), len: entry.len() as u64, crc32: record.crc32 })
    }

    fn drop_name(&self) {
        if let Some(file) = self.file.upgrade() {
            file.drop_name();
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn write_head(out: &mut Vec<u8>, id: &oid, record: &Record) {
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&record.len.to_le_bytes());
    out.extend_from_slice(&record.crc32.to_le_bytes());
    let checksum = crc32fast::hash(out);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The object and its record, whose entry begins at `start`.
fn read_head(head: &[u8; HEAD_BYTES], start: u64) -> Option<(ObjectId, Record)> {
    let number = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (id, checked) = (head.get(..20)?, head.get(..28)?);
    if number(28)? != crc32fast::hash(checked) {
        return None;
    }
    let record = Record { start: u32::try_from(start).ok()?, len: number(20)?, crc32: number(24)? };
    Some((ObjectId::try_from(id).ok()?, record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalDisk;

    fn id(number: u32) -> ObjectId {
        let mut bytes = [7; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        ObjectId::from_bytes_or_panic(&bytes)
    }

    fn entry(number: u32, len: usize) -> Vec<u8> {
        (0..len).map(|at| (number as usize * 31 + at) as u8).collect()
    }

    struct Scene {
        folder: tempfile::TempDir,
        cache: EntryCache,
    }

    impl Scene {
        fn new(half_bytes_max: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let cache = Self::open(&folder, half_bytes_max);
            Self { folder, cache }
        }

        fn open(folder: &tempfile::TempDir, half_bytes_max: u64) -> EntryCache {
            let cache = EntryCache::open(Arc::new(LocalDisk), folder.path().join("entries"));
            cache.half_bytes_max.store(half_bytes_max, Ordering::Relaxed);
            cache
        }

        fn reopen(&mut self) {
            self.cache = Self::open(&self.folder, self.cache.half_bytes_max.load(Ordering::Relaxed));
        }

        fn has(&self, number: u32, len: usize) -> bool {
            let mut window = Window::default();
            let Some(kept) = self.cache.find(&id(number), &mut window) else { return false };
            assert_eq!(window.read(&kept.file, kept.start, kept.len as usize, u64::MAX).unwrap(), entry(number, len));
            true
        }

        fn keep(&self, number: u32, len: usize) -> KeptEntry {
            self.cache.keep(&id(number), &entry(number, len)).unwrap().unwrap()
        }

        fn files(&self) -> Vec<PathBuf> {
            let files = fs::read_dir(self.folder.path().join("entries")).into_iter().flatten();
            files.map(|file| file.unwrap().path()).collect()
        }

        fn bytes(&self) -> u64 {
            self.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum()
        }
    }

    #[test]
    fn entries_outlive_the_process_and_a_rest() {
        let mut scene = Scene::new(1 << 20);
        assert!(!scene.has(1, 10) && scene.files().is_empty(), "nothing is written before there is something");
        for number in 0..50 {
            scene.keep(number, 1 + number as usize * 20);
        }
        for _ in 0..2 {
            assert!((0..50).all(|number| scene.has(number, 1 + number as usize * 20)));
            assert_eq!(scene.cache.bytes(), scene.bytes());
            scene.reopen();
            assert_eq!(scene.cache.bytes(), scene.bytes(), "before anything is read");
        }
        assert!(scene.has(3, 61));
        scene.cache.rest();
        assert!(matches!(*scene.cache.lock(), State::Read(_)), "it was just used");
        scene.cache.rest();
        assert!(matches!(*scene.cache.lock(), State::Unread));
        assert!(scene.has(3, 61));
        scene.keep(50, 1_001);
        scene.reopen();
        assert!((0..51).all(|number| scene.has(number, 1 + number as usize * 20)));
    }

    #[test]
    fn halves_that_plans_hold_do_not_add_up() {
        let scene = Scene::new(10_000);
        let mut held = vec![scene.keep(0, 500)];
        let mut number = 1;
        while let Some(kept) = scene.cache.keep(&id(number), &entry(number, 500)).unwrap() {
            held.push(kept);
            number += 1;
            assert!(number < 1_000);
        }
        // Two halves that have gone, and two that have not.
        assert!((70..90).contains(&number), "{number}");
        held.truncate(1);
        assert!(scene.cache.keep(&id(number), &entry(number, 500)).unwrap().is_some());
    }

    #[test]
    fn it_is_bounded_and_what_goes_stays_readable() {
        let mut scene = Scene::new(10_000);
        let first = scene.keep(0, 500);
        for number in 1..100 {
            scene.keep(number, 500);
            assert!(scene.bytes() <= 20_000 && scene.files().len() <= 2);
            assert_eq!(scene.cache.bytes(), scene.bytes());
        }
        assert!(first.file.is_dropped() && !scene.has(0, 500) && scene.has(99, 500) && scene.has(85, 500));
        let mut window = Window::default();
        assert_eq!(window.read(&first.file, first.start, 500, u64::MAX).unwrap(), entry(0, 500));
        assert!(scene.cache.keep(&id(200), &entry(200, 2_500)).unwrap().is_none(), "a quarter of a half");
        scene.reopen();
        assert!(scene.has(99, 500) && scene.has(85, 500) && !scene.has(0, 500));
        fs::write(scene.folder.path().join("entries/1"), b"of a former time").unwrap();
        scene.reopen();
        assert!(scene.has(99, 500) && scene.files().len() == 2, "the two latest count");
    }

    #[test]
    fn a_torn_tail_ends_a_file_and_is_written_over() {
        let mut scene = Scene::new(1 << 20);
        (0..20).for_each(|number| _ = scene.keep(number, 100));
        let path = scene.files().remove(0);
        let whole = fs::read(&path).unwrap();
        for cut in (0..whole.len()).step_by(53) {
            fs::write(&path, &whole[..cut]).unwrap();
            scene.reopen();
            let kept = cut.saturating_sub(MAGIC.len()) / 132;
            for number in 0..20 {
                assert_eq!(scene.has(number, 100), (number as usize) < kept, "{number} of {cut} bytes");
            }
            (0..20).for_each(|number| _ = scene.keep(number, 100));
            scene.reopen();
            assert!((0..20).all(|number| scene.has(number, 100)), "{cut} bytes");
            scene.files().iter().for_each(|file| fs::remove_file(file).unwrap());
        }
    }

    /// Whatever byte is changed: what is found is right. Looked at before the change and after it.
    #[test]
    fn damage_is_never_found() {
        let mut scene = Scene::new(1 << 20);
        (0..20).for_each(|number| _ = scene.keep(number, 40));
        let path = scene.files().remove(0);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for again in [false, true] {
                fs::write(&path, &whole).unwrap();
                scene.reopen();
                if !again {
                    assert!((0..20).all(|number| scene.has(number, 40)));
                }
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << (at % 8);
                fs::write(&path, &damaged).unwrap();
                let found = (0..20).filter(|number| scene.has(*number, 40)).count();
                assert!(found < 20 || !again && (at < MAGIC.len() || (at - MAGIC.len()) % 72 < HEAD_BYTES), "{at}");
                assert!(again || found >= 19, "one change costs one entry: {at}");
                (0..20).for_each(|number| _ = scene.keep(number, 40));
                assert!((0..20).all(|number| scene.has(number, 40)));
                scene.files().iter().filter(|file| **file != path).for_each(|file| fs::remove_file(file).unwrap());
            }
        }
    }

    #[test]
    fn what_is_removed_meanwhile_is_begun_anew() {
        let scene = Scene::new(1 << 20);
        drop(scene.keep(1, 100));
        fs::remove_dir_all(scene.folder.path().join("entries")).unwrap();
        assert!(!scene.has(1, 100));
        assert!(scene.cache.keep(&id(1), b"x").is_err());
        drop(scene.keep(1, 100));
        assert!(scene.has(1, 100));
    }

    #[test]
    fn closed_it_keeps_nothing() {
        let scene = Scene::new(1 << 20);
        let kept = scene.keep(1, 100);
        scene.cache.close().unwrap();
        assert!(kept.file.is_dropped() && !scene.has(1, 100) && scene.files().is_empty() && scene.cache.bytes() == 0);
        assert!(scene.cache.keep(&id(1), b"x").unwrap().is_none());
        assert!(EntryCache::none().keep(&id(1), b"x").unwrap().is_none());
    }
}
