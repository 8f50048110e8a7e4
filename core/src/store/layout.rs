//! Where things lie in the data directory.
//!
//! ```text
//! DATA/lock                               one process at a time
//! DATA/asked                              when each repository was asked for last
//! DATA/repositories/ID/path               the upstream path
//! DATA/repositories/ID/objects/pack/      sealed packs, shared by all generations
//! DATA/repositories/ID/generations/NAME/  one bare repository a publication
//! DATA/repositories/ID/current            link to one of them: the publication
//! DATA/repositories/ID/entries/N          entries that were encoded anew, for answers to come
//! DATA/repositories/ID/quarantine/N/      packs on their way in
//! ```

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The internal name of a repository's directory. Never derived from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryId(pub u64);

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for RepositoryId {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let id = Self(u64::from_str_radix(name, 16).map_err(|_| ())?);
        if id.to_string() == name { Ok(id) } else { Err(()) }
    }
}

/// The places of one repository.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub root: PathBuf,
    /// The upstream path.
    pub path_file: PathBuf,
    pub objects: PathBuf,
    pub packs: PathBuf,
    pub generations: PathBuf,
    pub current: PathBuf,
    pub quarantine: PathBuf,
    pub entries: PathBuf,
}

impl Paths {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            path_file: root.join("path"),
            objects: root.join("objects"),
            packs: root.join("objects/pack"),
            generations: root.join("generations"),
            current: root.join("current"),
            quarantine: root.join("quarantine"),
            entries: root.join("entries"),
        }
    }
}
