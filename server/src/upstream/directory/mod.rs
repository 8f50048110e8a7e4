//! A folder of bare repositories on this machine, read with our own engine: no Git program, no lock, nothing written.
//!
//! `team/app` and `team/app.git` are what lies in the folder under these names: one or two repositories. Where there is only
//! one, both lead to it; no path leads to a directory of which more than one `.git` would have to be taken off.
//!
//! Promises: a request's path is looked up among the names that are there; what the repository hides
//! (`uploadpack.hideRefs`) stays hidden. The folder may be away and come back: what is not there is then unknown, not
//! missing. A folder without any repository is taken for one that is away, since that is what the place of a file system
//! looks like that is not mounted.

mod listing;
mod passed_over;
mod references;

use super::{Advertised, Asked, ById, Context, Grounds, Have, Phase, Spellings, Upstream, UpstreamError};
use arc_swap::ArcSwap;
use heliostat_core::{
    ObjectId, RepositoryPath,
    graph::{Graph, Query},
    objects::{Database, ReadError},
    pack::{self, Chunk, Emitter, Encoding, Framing, PlanError, Spool},
    refs::RefTable,
    repository::{Environment, OpenError, Repository},
    store::Quarantine,
};
use listing::Listing;
use references::FoundWhole;
use std::{
    collections::{BTreeSet, HashSet},
    io::{self, BufRead, Read},
    iter,
    path::{self, Path, PathBuf},
    sync::Arc,
};

/// A folder.
pub struct DirectoryUpstream {
    /// As it was configured, absolute: what it leads to may change.
    folder: PathBuf,
    spool: Spool,
    environment: Environment,
    listing: ArcSwap<Listing>,
    found_whole: FoundWhole,
}

impl DirectoryUpstream {
    /// The folder `folder`, which need not be there yet; what has to be encoded anew goes to temporary files in `spool`.
    pub fn new(folder: &Path, spool: &Path) -> Result<Self, String> {
        let folder = path::absolute(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let environment = Environment::isolated(folder.clone(), rustix::process::geteuid().as_raw());
        let spool = Spool { directory: spool.to_owned(), entries: None, room: None };
        Ok(Self { folder, spool, environment, listing: ArcSwap::default(), found_whole: FoundWhole::default() })
    }

    /// Where the folder is now, canonical.
    fn root(&self) -> Result<PathBuf, UpstreamError> {
        self.folder.canonicalize().map_err(|error| UpstreamError::away(&self.folder, &error))
    }

    /// What is odd about the folder `root` as an upstream, in words.
    pub fn doubt(root: &Path) -> Option<String> {
        let shown = root.display();
        let canonical = match root.canonicalize() {
            Ok(canonical) => canonical,
            Err(error) => return Some(format!("the upstream folder {shown}: {error}")),
        };
        let is_repository = |path: &Path| listing::is_repository(path).unwrap_or(false);
        if is_repository(&canonical) || is_repository(&canonical.join(".git")) {
            return Some(format!(
                "the upstream folder {shown} is itself a repository, and only repositories below it are mirrored: name the \
                 folder that holds it"
            ));
        }
        match Listing::is_empty(&canonical) {
            Ok(false) => None,
            Ok(true) => {
                Some(format!("the upstream folder {shown} holds no bare repository: there is nothing to mirror yet"))
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// One repository outside of any folder, bare or not: a seed.
    pub fn open_repository(directory: &Path, spool: &Path, context: &Context) -> Result<Box<dyn Asked>, UpstreamError> {
        let environment = Environment::isolated(directory.to_owned(), rustix::process::geteuid().as_raw());
        let repository = Repository::open(directory, &environment, false).map_err(of_open)?;
        ask(
            repository,
            "the repository",
            &Spool { directory: spool.to_owned(), entries: None, room: None },
            &FoundWhole::default(),
            context,
        )
    }

    fn directory_of(&self, path: &RepositoryPath) -> Result<PathBuf, UpstreamError> {
        let listing = self.listing.load();
        let is_there = |directory: &PathBuf| listing::is_repository(directory).unwrap_or(false);
        if let Some(directory) = listing.repositories.get(path).filter(|directory| is_there(directory)) {
            return Ok(directory.clone());
        }
        let root = self.root()?;
        match Listing::look_up(&root, path) {
            Ok(Some(directory)) => Ok(directory),
            // Whether it is missing can be told where others are there.
            Ok(None) if listing.repositories.values().any(is_there) || !Listing::is_empty(&root)? => {
                Err(UpstreamError::Missing)
            }
            Ok(None) => Err(UpstreamError::Away(format!("{}: no repository is in it", self.folder.display()))),
            Err(error) => Err(UpstreamError::Unreadable(format!("{path}: {error}"))),
        }
    }
}

impl Upstream for DirectoryUpstream {
    fn list(&self, context: &Context) -> Result<Option<Vec<RepositoryPath>>, UpstreamError> {
        let listing = Arc::new(Listing::read(&self.root()?, &context.stop)?);
        let paths: Vec<_> = listing.repositories.keys().cloned().collect();
        let before = self.listing.swap(listing.clone());
        listing.passed_over.tell(&before.passed_over);
        self.found_whole.keep(&listing);
        if paths.is_empty() && !before.repositories.is_empty() {
            let folder = self.folder.display();
            tracing::warn!(%folder, "the upstream folder holds no repository any more; taken for one that is away");
        }
        Ok(Some(paths))
    }

    fn canonical(&self, path: &RepositoryPath, is_mirrored: &dyn Fn(&RepositoryPath) -> bool) -> RepositoryPath {
        let listing = self.listing.load();
        let other = path.other_spelling();
        if listing.repositories.contains_key(path) {
            return path.clone();
        }
        if let Some(other) = other.as_ref().filter(|other| listing.repositories.contains_key(*other)) {
            return other.clone();
        }
        // New since the last walk, perhaps.
        let root = self.root().ok();
        let is_there = |path: &RepositoryPath| {
            root.as_ref().is_some_and(|root| Listing::look_up(root, path).is_ok_and(|found| found.is_some()))
        };
        match other {
            // Neither, where the folder is away: then it is the one that is here.
            Some(other) if !is_there(path) && (is_there(&other) || !is_mirrored(path) && is_mirrored(&other)) => other,
            _ => path.clone(),
        }
    }

    fn spellings(&self, path: &RepositoryPath) -> Spellings {
        let listing = self.listing.load();
        match path.other_spelling() {
            Some(other) if listing.repositories.contains_key(&other) && !listing.repositories.contains_key(path) => {
                iter::once(other).chain(Some(path.clone()))
            }
            other => iter::once(path.clone()).chain(other),
        }
    }

    fn tells_spellings_apart(&self) -> bool {
        true
    }

    fn ask(&self, path: &RepositoryPath, context: &Context) -> Result<Box<dyn Asked>, UpstreamError> {
        context.progress.enter(Phase::Asking);
        let repository = Repository::open(&self.directory_of(path)?, &self.environment, true).map_err(of_open)?;
        ask(repository, "the upstream repository", &self.spool, &self.found_whole, context)
    }
}

/// `called` is what the repository is in messages.
fn ask(
    repository: Repository,
    called: &str,
    spool: &Spool,
    found_whole: &FoundWhole,
    context: &Context,
) -> Result<Box<dyn Asked>, UpstreamError> {
    if !repository.shallow().map_err(of_open)?.is_empty() {
        return Err(super::shallow(called));
    }
    let advertised = references::read(&repository, found_whole)?;
    Ok(Box::new(AskedDirectory { repository, spool: spool.clone(), advertised, context: context.clone() }))
}

struct AskedDirectory {
    repository: Repository,
    spool: Spool,
    advertised: Advertised,
    context: Context,
}

impl Asked for AskedDirectory {
    fn advertised(&self) -> &Advertised {
        &self.advertised
    }

    fn advertised_mut(&mut self) -> &mut Advertised {
        &mut self.advertised
    }

    fn fetch(
        &mut self,
        have: Option<Have<'_>>,
        quarantine: &mut Quarantine,
        pack_bytes_max: u64,
    ) -> Result<(), UpstreamError> {
        let refs = &self.advertised.refs;
        let mut seen = HashSet::new();
        let wants: Vec<_> = super::tips_of(refs).filter(|id| seen.insert(*id) && !quarantine.has(id)).collect();
        if wants.is_empty() {
            return Ok(());
        }
        self.context.progress.enter(Phase::Negotiating);
        // After the references, so that it holds what they name.
        let objects = self.objects()?;
        self.send(wants, &objects, have, quarantine, pack_bytes_max)
    }

    fn fetch_by_id(
        &mut self,
        groups: &[Vec<ObjectId>],
        grounds: Grounds,
        have: Have<'_>,
        quarantine: &mut Quarantine,
        pack_bytes_max: u64,
    ) -> Result<ById, UpstreamError> {
        let ids = groups.iter().flatten().copied();
        // What its references reach is here already.
        if grounds == Grounds::IsWanted {
            return Ok(ById { given: Vec::new(), refused: ids.collect() });
        }
        let objects = self.objects()?;
        let (given, refused): (Vec<_>, Vec<_>) = ids.partition(|id| objects.number(id).is_some());
        if !given.is_empty() {
            self.send(given.clone(), &objects, Some(have), quarantine, pack_bytes_max)?;
        }
        Ok(ById { given, refused })
    }
}

impl AskedDirectory {
    fn objects(&self) -> Result<Database, UpstreamError> {
        let (objects, complaints) = self.repository.objects().map_err(of_open)?;
        for complaint in complaints {
            tracing::warn!(upstream = %self.repository.git_dir().display(), complaint);
        }
        Ok(objects)
    }

    fn send(
        &self,
        wants: Vec<ObjectId>,
        objects: &Database,
        have: Option<Have<'_>>,
        quarantine: &mut Quarantine,
        pack_bytes_max: u64,
    ) -> Result<(), UpstreamError> {
        let Context { stop, progress } = &self.context;
        let haves = have.map(|have| common(have.refs, objects)).unwrap_or_default();
        let query = Query { wants, haves, ..Query::default() };
        let graph = Graph { objects, grafts: &BTreeSet::new(), stop };
        let selected = graph.select(&query).map_err(of_read)?;
        let encoding = Encoding { ofs_delta: true, thin_pack: true };
        let plan = Arc::new(pack::plan(objects, &selected, encoding, &self.spool, stop).map_err(of_plan)?);
        if plan.bytes > pack_bytes_max {
            return Err(UpstreamError::TooLarge("bytes of a pack"));
        }
        progress.enter(Phase::Receiving);
        let mut stream = PackStream {
            emitter: Emitter::new(plan, Framing::Bare),
            context: &self.context,
            chunk: Vec::new(),
            start: 0,
        };
        quarantine.ingest(&mut stream, stop).map(|_| ()).map_err(super::of_ingest)
    }
}

/// Our tips that are upstream's objects too.
fn common(ours: &RefTable, theirs: &Database) -> Vec<ObjectId> {
    let mut seen = HashSet::new();
    super::tips_of(ours).filter(|id| seen.insert(*id) && theirs.number(id).is_some()).collect()
}

/// A plan's bytes as a stream.
struct PackStream<'a> {
    emitter: Emitter,
    context: &'a Context,
    chunk: Vec<u8>,
    start: usize,
}

impl Read for PackStream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for PackStream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.start == self.chunk.len() {
            self.chunk.clear();
            self.start = 0;
            match self.emitter.next_chunk() {
                Ok(Some(Chunk::Bytes(bytes) | Chunk::Mapped(bytes))) => self.chunk.extend_from_slice(bytes),
                Ok(None) => break,
                Err(error) => return Err(io::Error::other(format!("{error:?}"))),
            }
            self.context.progress.add_bytes(self.chunk.len() as u64);
        }
        Ok(&self.chunk[self.start..])
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.chunk.len());
    }
}

fn of_open(error: OpenError) -> UpstreamError {
    match error {
        OpenError::NotARepository(_) => UpstreamError::Missing,
        OpenError::Unsupported(words) => UpstreamError::Unsupported(words),
        OpenError::Io(..) => UpstreamError::Unreadable(error.to_string()),
        other => UpstreamError::Broken(other.to_string()),
    }
}

fn of_read(error: ReadError) -> UpstreamError {
    match error {
        ReadError::Interrupted => UpstreamError::Stopped,
        ReadError::Io(error) => UpstreamError::Unreadable(error.to_string()),
        ReadError::TooLarge { id, bytes, bytes_max } => UpstreamError::ObjectTooLarge { id, bytes, bytes_max },
        ReadError::Missing(id) => UpstreamError::Broken(format!("object {id} is missing")),
        ReadError::Corrupt { id, detail } => UpstreamError::Broken(format!("object {id}: {detail}")),
    }
}

fn of_plan(error: PlanError) -> UpstreamError {
    match error {
        PlanError::Read(error) => of_read(error),
        PlanError::Spool(error) => UpstreamError::Ours(format!("the spool: {error}")),
        full @ PlanError::NoRoom { .. } => UpstreamError::Ours(full.to_string()),
        PlanError::TooLarge(what) => UpstreamError::TooLarge(what),
    }
}
