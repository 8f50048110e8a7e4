//! The data directory as a whole: the catalogue from upstream path to repository.
//!
//! The catalogue is an immutable map behind one atomic pointer: finding a repository takes no lock. Creating and
//! removing copy the map.
//!
//! A repository that has never been published is a place to work in, and nothing more: whoever created it for a first
//! publication that came to nothing discards it, and a start sweeps what a crash kept them from discarding.

use super::{
    DataDirectory, MirroredRepository, RepositoryId, Retention, asked,
    disk::{Disk, EntryKind, LocalDisk, gone_is_fine},
    layout::Paths,
    load,
};
use crate::{
    limits::{REPOSITORY_PATH_BYTES_MAX, STORE_OPENERS_MAX},
    pack::OpenError,
};
use arc_swap::ArcSwap;
use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

/// Why the store could not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// Another process holds the lock.
    InUse,
    /// The disk failed.
    Io(io::Error),
    /// What lies there is not ours or is damaged.
    Damaged(String),
    /// An earlier failure left the repository on disk in a state that this process cannot know; reading goes on, writing
    /// needs a new start.
    Failed(String),
    /// The repository was removed.
    Removed,
    /// What nothing reaches was purged meanwhile, and what this stood on may be gone.
    Purged,
    /// The stop flag was raised.
    Interrupted,
}

type Catalogue = HashMap<Arc<str>, Arc<MirroredRepository>>;

/// One data directory, locked by this process.
pub struct Store {
    pub(super) repositories: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    retention: Retention,
    catalogue: ArcSwap<Catalogue>,
    /// The highest id given so far. Creation and removal take it as their lock.
    last_id: Mutex<u64>,
    /// Checksum of what was written last of when repositories were asked for.
    pub(super) asked_written: Mutex<Option<u32>>,
    _lock: File,
}

impl Store {
    /// Opens or creates `data`, takes its lock, sweeps what a crash left, loads every repository's newest generation. A
    /// damaged repository is opened without a snapshot ([`MirroredRepository::damage`]); one that has never been published
    /// is not opened but removed.
    pub fn open(data: &Path, retention: Retention) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(LocalDisk), data, retention)
    }

    /// The same on another disk.
    pub fn open_on(disk: Arc<dyn Disk>, data: &Path, retention: Retention) -> Result<Self, StoreError> {
        Self::load(DataDirectory::lock_on(disk, data)?, retention)
    }

    /// The same where the lock has been taken already.
    pub fn load(data: DataDirectory, retention: Retention) -> Result<Self, StoreError> {
        let DataDirectory { repositories, disk, lock } = data;
        let mut ids = Vec::new();
        for entry in disk.list(&repositories)? {
            let path = repositories.join(&entry.name);
            match (entry.kind, entry.name.parse::<RepositoryId>(), entry.name.split_once('.')) {
                (EntryKind::Directory, Ok(id), _) => ids.push(id),
                (EntryKind::Directory, _, Some((id, "new" | "removed"))) if id.parse::<RepositoryId>().is_ok() => {
                    disk.remove_tree(&path)?;
                }
                _ => {}
            }
        }
        let asked = asked::read(&*disk, &repositories);
        let mut catalogue = Catalogue::new();
        for repository in open_all(&disk, &repositories, retention, &ids)? {
            if !repository.has_been_published() {
                take_away(&*disk, &repositories, &repository)?;
                continue;
            }
            repository.note_asked(asked.get(&repository.id()).copied().unwrap_or(0));
            if let Some(other) = catalogue.insert(repository.path().into(), Arc::new(repository)) {
                return Err(StoreError::Damaged(format!("{} lies here twice", other.path())));
            }
        }
        let last_id = Mutex::new(ids.last().map_or(0, |id| id.0));
        Ok(Self {
            repositories,
            disk,
            retention,
            catalogue: ArcSwap::from_pointee(catalogue),
            last_id,
            asked_written: Mutex::default(),
            _lock: lock,
        })
    }

    /// The mirrored repository of that upstream path (`team/app.git`), if there is one. Lock-free.
    pub fn find(&self, path: &str) -> Option<Arc<MirroredRepository>> {
        self.catalogue.load().get(path).cloned()
    }

    /// Creates an empty one (not served until its first publication), or gives the one that exists.
    pub fn create(&self, path: &str) -> Result<Arc<MirroredRepository>, StoreError> {
        let mut last_id = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.find(path) {
            return Ok(known);
        }
        if path.is_empty() || path.len() > REPOSITORY_PATH_BYTES_MAX {
            return Err(StoreError::Damaged("a repository's path is empty or too long".into()));
        }
        *last_id += 1;
        let id = RepositoryId(*last_id);
        let paths = Paths::new(&self.repositories.join(id.to_string()));
        let beside = self.repositories.join(format!("{id}.new"));
        let created = self.lay_out(&Paths::new(&beside), path).and_then(|()| self.disk.rename(&beside, &paths.root));
        if let Err(error) = created {
            let _ = self.disk.remove_tree(&beside);
            return Err(error.into());
        }
        self.disk.sync_dir(&self.repositories)?;
        let found = load::load(&*self.disk, &paths)?;
        let (disk, retention) = (self.disk.clone(), self.retention);
        let created = Arc::new(MirroredRepository::new(id, path.to_owned(), paths, disk, retention, found));
        let mut catalogue = Catalogue::clone(&self.catalogue.load());
        catalogue.insert(path.into(), created.clone());
        self.catalogue.store(Arc::new(catalogue));
        Ok(created)
    }

    fn lay_out(&self, paths: &Paths, path: &str) -> io::Result<()> {
        self.disk.remove_tree(&paths.root)?;
        for directory in [&paths.root, &paths.objects, &paths.packs, &paths.objects.join("info"), &paths.generations] {
            self.disk.create_dir(directory)?;
        }
        self.disk.create_dir(&paths.quarantine)?;
        self.disk.write_file(&paths.path_file, path.as_bytes())?;
        self.disk.sync_dir(&paths.objects)?;
        self.disk.sync_dir(&paths.root)
    }

    /// All of them, sorted by path.
    pub fn all(&self) -> Vec<Arc<MirroredRepository>> {
        let mut all: Vec<_> = self.catalogue.load().values().cloned().collect();
        all.sort_by(|a, b| a.path().cmp(b.path()));
        all
    }

    /// Drops a repository from the catalogue and from disk. Snapshots that are being read stay readable. Tells whether
    /// there was one.
    pub fn remove(&self, path: &str) -> Result<bool, StoreError> {
        self.remove_if(path, |_| true)
    }

    /// The same for one that has never been published; one that has stays.
    pub fn discard(&self, path: &str) -> Result<bool, StoreError> {
        // What the disk may or may not hold, only a new start can tell.
        self.remove_if(path, |repository| !repository.has_been_published() && repository.lock_writer().failed.is_none())
    }

    fn remove_if(&self, path: &str, goes: impl Fn(&MirroredRepository) -> bool) -> Result<bool, StoreError> {
        let _last_id = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(repository) = self.find(path).filter(|repository| goes(repository)) else { return Ok(false) };
        repository.lock_writer().removed = true;
        let mut catalogue = Catalogue::clone(&self.catalogue.load());
        catalogue.remove(path);
        self.catalogue.store(Arc::new(catalogue));
        // Who plans yet shall not create what is being removed. The whole directory goes in any case.
        let _ = repository.entries.load().close();
        take_away(&*self.disk, &self.repositories, &repository)?;
        Ok(true)
    }

    /// [`MirroredRepository::expire`] for all.
    pub fn expire(&self, now: Instant) {
        for repository in self.catalogue.load().values() {
            repository.expire(now);
        }
    }
}

/// Removes a repository's directory. A crash in between leaves a name that the next start sweeps.
fn take_away(disk: &dyn Disk, repositories: &Path, repository: &MirroredRepository) -> io::Result<()> {
    let aside = repositories.join(format!("{}.removed", repository.id()));
    gone_is_fine(disk.rename(&repository.paths.root, &aside))?;
    disk.sync_dir(repositories)?;
    disk.remove_tree(&aside)
}

/// Opens the repositories on several threads: each is a dozen small reads, and there may be thousands.
fn open_all(
    disk: &Arc<dyn Disk>,
    repositories: &Path,
    retention: Retention,
    ids: &[RepositoryId],
) -> Result<Vec<MirroredRepository>, StoreError> {
    let openers = thread::available_parallelism().map_or(1, usize::from).min(STORE_OPENERS_MAX);
    let share = ids.len().div_ceil(openers).max(1);
    thread::scope(|scope| {
        let open_share = |ids: &[RepositoryId]| {
            let opened = ids.iter().map(|&id| open_one(disk, repositories, retention, id));
            opened.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()
        };
        let threads: Vec<_> = ids.chunks(share).map(|ids| scope.spawn(move || open_share(ids))).collect();
        let mut all = Vec::with_capacity(ids.len());
        for thread in threads {
            let opened = thread.join().map_err(|_| StoreError::Damaged("opening a repository panicked".into()))?;
            all.extend(opened?);
        }
        Ok(all)
    })
}

/// Opens one; `None` if it has no readable path and so cannot be named: it stays where it is, for an operator.
fn open_one(
    disk: &Arc<dyn Disk>,
    repositories: &Path,
    retention: Retention,
    id: RepositoryId,
) -> Result<Option<MirroredRepository>, StoreError> {
    let paths = Paths::new(&repositories.join(id.to_string()));
    let named = disk.read_file(&paths.path_file, REPOSITORY_PATH_BYTES_MAX as u64);
    let Some(path) = named.ok().and_then(|bytes| String::from_utf8(bytes).ok()).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    // A directory that cannot be read is the damage of one repository, not the end of all.
    let found = load::load(&**disk, &paths).unwrap_or_else(|error| load::Found {
        current: None,
        writer: super::writer::Writer { failed: Some(error.to_string()), ..Default::default() },
        damage: Some(error.to_string()),
    });
    Ok(Some(MirroredRepository::new(id, path, paths, disk.clone(), retention, found)))
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => Self::Io(error),
            OpenError::Corrupt(detail) => Self::Damaged(detail),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("the data directory is in use by another process"),
            Self::Io(error) => write!(f, "the store's disk failed: {error}"),
            Self::Damaged(detail) => write!(f, "the store is damaged: {detail}"),
            Self::Failed(detail) => write!(f, "the store accepts no writes until it is opened anew: {detail}"),
            Self::Removed => f.write_str("the repository was removed"),
            Self::Purged => f.write_str("objects were purged meanwhile, try again"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for StoreError {}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("repositories", &self.repositories).finish_non_exhaustive()
    }
}
