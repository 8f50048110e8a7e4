//! Who holds a data directory: what a process writes into the lock file, and who is refused reads there.
//!
//! The `instance` is made by chance when the process starts. A node tells it on the admin port too, so that whoever finds
//! a lock held and a node answering can see whether these are the same process, whatever each calls the directory.

use heliostat_core::store::DataDirectory;
use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher as _,
    io,
    path::{Path, PathBuf},
};

/// What a process that holds a data directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `heliostat serve`.
    Node,
    /// `heliostat sync`, working by itself.
    Sync,
    /// Another command that works by itself.
    Command,
}

/// One process that holds a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What it is.
    pub kind: Kind,
    /// Its process, as it sees itself: in a container the number is of the container.
    pub process: u32,
    /// This run of it.
    pub instance: String,
}

impl Holder {
    /// This process.
    #[must_use]
    pub fn this(kind: Kind) -> Self {
        Self { kind, process: std::process::id(), instance: format!("{:016x}", RandomState::new().hash_one(0)) }
    }

    /// Signs the lock of `data`.
    pub fn sign(&self, data: &DataDirectory) -> io::Result<()> {
        let kind = match self.kind {
            Kind::Node => "node",
            Kind::Sync => "sync",
            Kind::Command => "command",
        };
        data.sign(&format!("{kind} {} {}\n", self.process, self.instance))
    }

    /// Who has signed the lock of `data` last. `None`: nobody, or with words that are none.
    #[must_use]
    pub fn of(data: &Path) -> Option<Self> {
        Self::parse(&DataDirectory::signature(data).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let kind = match words.next()? {
            "node" => Kind::Node,
            "sync" => Kind::Sync,
            "command" => Kind::Command,
            _ => return None,
        };
        let process = words.next()?.parse().ok()?;
        let instance = words.next()?.to_owned();
        (words.next().is_none() && !instance.is_empty()).then_some(Self { kind, process, instance })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Node => write!(f, "a node (process {})", self.process),
            Kind::Sync => write!(f, "another `heliostat sync` (process {})", self.process),
            Kind::Command => write!(f, "another `heliostat` (process {})", self.process),
        }
    }
}

/// A path as two processes can compare it: without links, absolute.
#[must_use]
pub fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_signed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Holder::of(folder.path()), None);
        let data = DataDirectory::lock(folder.path()).unwrap();
        assert_eq!(Holder::of(folder.path()), None);
        for kind in [Kind::Node, Kind::Sync, Kind::Command] {
            let holder = Holder::this(kind);
            holder.sign(&data).unwrap();
            assert_eq!(Holder::of(folder.path()), Some(holder));
        }
        for text in ["", "\n", "node 1\n", "node x y\n", "node 1 a b\n", "node 1 a", "shop 1 a\n", "node 1 \n"] {
            data.sign(text).unwrap();
            assert_eq!(Holder::of(folder.path()), None, "{text:?}");
        }
    }
}
