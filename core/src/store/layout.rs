//! The data directory: its lock, its repositories by internal id, the catalogue from path to id.

use super::MirroredRepository;
use std::{io, path::Path, sync::Arc};

/// The internal name of a repository's directory. Never derived from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryId(pub u64);

/// Why the data directory could not be used.
#[derive(Debug)]
pub enum StoreError {
    /// Another process holds the lock.
    InUse,
    /// The disk failed.
    Io(io::Error),
    /// What lies there is not ours or is damaged.
    Damaged(String),
}

/// One data directory, locked by this process.
pub struct Store {}

impl Store {
    /// Opens or creates `data`, takes its lock, sweeps what a crash left, loads every repository's newest generation.
    pub fn open(_data: &Path) -> Result<Self, StoreError> {
        unimplemented!()
    }

    /// The mirrored repository of that upstream path (`team/app.git`), if there is one. Lock-free.
    pub fn find(&self, _path: &str) -> Option<Arc<MirroredRepository>> {
        unimplemented!()
    }

    /// Creates an empty one (not served until its first publication), or gives the one that exists.
    pub fn create(&self, _path: &str) -> Result<Arc<MirroredRepository>, StoreError> {
        unimplemented!()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<MirroredRepository>> {
        unimplemented!()
    }
}
