//! A generated repository on disk, and what is known of it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix_hash::ObjectId;

use crate::history::{History, Made};
use crate::objects::Objects;
use crate::read::Reader;
use crate::refs::{self, Head, Refs};
use crate::spec::{RefsForm, Spec};

/// How many commits a `Repository` lists.
pub const COMMITS_LISTED_MAX: usize = 200_000;

const DESCRIPTION: &str = "Made by heliostat-testrepo\n";

/// A bare repository that this crate made.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Its directory.
    pub path: PathBuf,
    /// The seed that it was made with.
    pub seed: u64,
    /// Every ref that has an id of its own: all but HEAD and the symbolic ones.
    pub refs: BTreeMap<String, ObjectId>,
    /// What annotated tags lead to in the end.
    pub peeled: BTreeMap<String, ObjectId>,
    /// Symbolic refs other than HEAD, with their targets.
    pub symbolic: BTreeMap<String, String>,
    /// HEAD.
    pub head: Head,
    /// Commits in the order of making, the first `COMMITS_LISTED_MAX`; later ones of `advance` follow. Empty after
    /// `open`.
    pub commits: Vec<ObjectId>,
    /// Objects in the store, unreachable ones included. After `open`, the packed ones.
    pub objects: u64,
}

impl Spec {
    /// Makes the repository in `dir`, which is created, and must not hold one yet. A size that is out of its range is
    /// refused.
    pub fn write(&self, dir: &Path) -> io::Result<Repository> {
        self.check()?;
        if dir.join("HEAD").exists() || dir.join("objects").exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} holds a repository already", dir.display()),
            ));
        }
        for folder in ["objects/pack", "objects/info", "refs/heads", "refs/tags"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let objects = Objects::new(dir, self.pack_form(), None);
        let (made, objects) = History::new(self, objects).make()?;
        let Made { refs, head, mut commits } = made;
        self.write_refs(dir, &refs, commits.first())?;
        fs::write(dir.join("config"), self.config_text())?;
        fs::write(dir.join("description"), DESCRIPTION)?;
        refs::write_head(dir, &head)?;

        commits.truncate(COMMITS_LISTED_MAX);
        let Refs { direct, peeled, symbolic } = refs;
        Ok(Repository { path: dir.to_owned(), seed: self.seed, refs: direct, peeled, symbolic, head, commits, objects })
    }

    fn write_refs(&self, dir: &Path, refs: &Refs, outdated: Option<&ObjectId>) -> io::Result<()> {
        let is_loose = |name: &str| match self.refs {
            RefsForm::Packed => false,
            RefsForm::Loose => true,
            RefsForm::Mixed => name.starts_with("refs/heads/"),
        };
        for (name, id) in refs.direct.iter().filter(|(name, _)| is_loose(name)) {
            refs::write_loose(dir, name, id)?;
        }
        for (name, target) in &refs.symbolic {
            refs::write_symbolic(dir, name, target)?;
        }
        if self.refs == RefsForm::Loose || refs.direct.is_empty() {
            return Ok(());
        }
        let packed = refs.direct.iter().map(|(name, id)| match outdated {
            Some(outdated) if is_loose(name) => (name, outdated),
            _ => (name, id),
        });
        refs::write_packed(dir, packed, &refs.peeled)
    }

    fn config_text(&self) -> String {
        format!(
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n[testrepo]\n\tseed = {}\n{}",
            self.seed, self.config
        )
    }
}

impl Repository {
    /// Opens a repository that `Spec::write` made, perhaps in another process, to evolve it.
    pub fn open(dir: &Path) -> io::Result<Repository> {
        let config = fs::read_to_string(dir.join("config"))?;
        let seed = config
            .lines()
            .find_map(|line| line.trim().strip_prefix("seed = ")?.parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the configuration names no seed"))?;
        let (refs, loose) = refs::read_all(dir)?;
        let Refs { direct, mut peeled, symbolic } = refs;
        let reader = Reader::open(dir)?;
        for name in loose {
            if let Some(target) = reader.peel(&direct[&name])? {
                peeled.insert(name, target);
            }
        }
        Ok(Repository {
            path: dir.to_owned(),
            seed,
            refs: direct,
            peeled,
            symbolic,
            head: refs::read_head(dir)?,
            commits: Vec::new(),
            objects: reader.packed_objects(),
        })
    }

    /// The commit that HEAD leads to; none where it is unborn.
    pub fn head_commit(&self) -> Option<ObjectId> {
        match &self.head {
            Head::Detached(id) => Some(*id),
            Head::Branch(name) => self.refs.get(name).copied(),
        }
    }
}
