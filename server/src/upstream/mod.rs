//! Adapters to what is mirrored: any smart-HTTP host, or a folder of bare repositories.
//!
//! An adapter answers three questions: which repositories are there, what are the references of one, and the objects that
//! are missing here. It decides nothing: when to ask, what to believe and what to publish is `sync`'s business.

pub mod bundle;
mod directory;
pub mod error;
pub mod git;
mod progress;
pub mod transport;

pub use directory::DirectoryUpstream;
pub use error::UpstreamError;
pub use git::GitUpstream;
pub use progress::{Phase, Progress};

use heliostat_core::{
    ObjectId, RepositoryPath,
    objects::Database,
    refs::{RefTable, Shown},
    store::{IngestError, MirroredRepository, Quarantine, Store},
};
use std::{
    io, iter, option,
    sync::{Arc, atomic::AtomicBool},
};

/// What every call needs: how to end it, and where to say how far it is.
#[derive(Clone)]
pub struct Context {
    /// Raised to give up at once.
    pub stop: Arc<AtomicBool>,
    /// Counters for whoever looks.
    pub progress: Arc<Progress>,
}

/// The references of one repository as the upstream has just confirmed them, whole.
#[derive(Clone, Debug)]
pub struct Advertised {
    /// The references and `HEAD`.
    pub refs: Arc<RefTable>,
    /// How many references were left out: their names are such that Git would refuse them, or they name no object.
    pub skipped: usize,
    /// Some of those names, escaped.
    pub examples: Vec<String>,
    /// There are others, which nobody here is to see.
    pub hides: bool,
}

impl Advertised {
    /// Leaves out what `shown` hides, as if the upstream had not told of it.
    pub fn show_only(&mut self, shown: &Shown) {
        if let Some(rest) = shown.only(&self.refs) {
            self.refs = Arc::new(rest);
            self.hides = true;
        }
    }
}

/// One upstream.
pub trait Upstream: Send + Sync {
    /// All its repositories; `None` if it can't list them.
    fn list(&self, context: &Context) -> Result<Option<Vec<RepositoryPath>>, UpstreamError>;

    /// The one path under which the repository that `path` names is scheduled and counted, whether the upstream is asked
    /// for it as `team/app` or as `team/app.git`; where the upstream can't tell, the one that `is_mirrored`. May look at a
    /// disk.
    fn canonical(&self, path: &RepositoryPath, is_mirrored: &dyn Fn(&RepositoryPath) -> bool) -> RepositoryPath;

    /// Under which paths a repository may be mirrored here that a client calls `path`, the likeliest first. Reads
    /// nothing.
    fn spellings(&self, path: &RepositoryPath) -> Spellings;

    /// Whether `team/app` and `team/app.git` can be two repositories here.
    fn tells_spellings_apart(&self) -> bool;

    /// Asks for the references of one. Where spellings are not told apart, the other one is tried too.
    fn ask(&self, path: &RepositoryPath, context: &Context) -> Result<Box<dyn Asked>, UpstreamError>;
}

/// A path, and its other spelling if that names the same.
pub type Spellings = iter::Chain<iter::Once<RepositoryPath>, option::IntoIter<RepositoryPath>>;

/// The mirrored repository that `path`, which is canonical, names: under whichever spelling the upstream answered.
pub(crate) fn mirrored(
    store: &Store,
    upstream: &dyn Upstream,
    path: &RepositoryPath,
) -> Option<Arc<MirroredRepository>> {
    if upstream.tells_spellings_apart() {
        return store.find(path.as_str());
    }
    find(store, upstream, path)
}

/// The mirrored repository that a client calls `path`, one that can be served before one that can't. Reads nothing.
pub(crate) fn find(store: &Store, upstream: &dyn Upstream, path: &RepositoryPath) -> Option<Arc<MirroredRepository>> {
    let mut found = upstream.spellings(path).filter_map(|path| store.find(path.as_str()));
    let first = found.next()?;
    if first.snapshot().is_some() {
        return Some(first);
    }
    Some(found.find(|other| other.snapshot().is_some()).unwrap_or(first))
}

/// What is here already, whole: the history of these references.
#[derive(Clone, Copy)]
pub struct Have<'a> {
    /// The references.
    pub refs: &'a RefTable,
    /// Their objects, where they can be walked.
    pub objects: Option<&'a Database>,
}

/// A repository whose references the upstream has told, ready to give its objects.
pub trait Asked: Send {
    /// What it told.
    fn advertised(&self) -> &Advertised;

    /// The same, to be narrowed: only what is in it is fetched.
    fn advertised_mut(&mut self) -> &mut Advertised;

    /// The spelling of its path that the upstream answered to, if it might be another than the one asked for.
    fn path(&self) -> Option<&RepositoryPath> {
        None
    }

    /// Brings what the advertisement names and `have` lacks into `quarantine`. After an error the quarantine is fit for
    /// nothing but being dropped.
    fn fetch(
        &mut self,
        have: Option<Have<'_>>,
        quarantine: &mut Quarantine,
        pack_bytes_max: u64,
    ) -> Result<(), UpstreamError>;

    /// The same for these very ids, whatever leads to them, in groups that are of use only whole; `have` is what the
    /// advertisement names, and here.
    fn fetch_by_id(
        &mut self,
        groups: &[Vec<ObjectId>],
        grounds: Grounds,
        have: Have<'_>,
        quarantine: &mut Quarantine,
        pack_bytes_max: u64,
    ) -> Result<ById, UpstreamError>;
}

/// What the upstream says of ids. Of those that are neither it has not been asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ById {
    /// They have come.
    pub given: Vec<ObjectId>,
    /// It has them not, or keeps them to itself.
    pub refused: Vec<ObjectId>,
}

/// Why an object is asked for by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// A reference named it a moment ago.
    WasAdvertised,
    /// A client names it.
    IsWanted,
}

/// All ids that a table names, with duplicates.
fn tips_of(table: &RefTable) -> impl Iterator<Item = ObjectId> + '_ {
    table.iter().map(|reference| reference.id).chain(table.head_id())
}

/// What is said of an upstream that lacks history itself.
fn shallow_upstream() -> UpstreamError {
    shallow("the upstream repository")
}

fn shallow(called: &str) -> UpstreamError {
    UpstreamError::Unsupported(format!("{called} is shallow: it lacks history, and so would its mirror"))
}

/// Whose fault a pack's refusal is. A failure of the transport, if there was one, takes precedence over this.
pub(crate) fn of_ingest(error: IngestError) -> UpstreamError {
    match error {
        IngestError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            UpstreamError::Broken("the pack ends early".into())
        }
        IngestError::Io(error) => UpstreamError::Broken(format!("the pack's stream broke: {error}")),
        IngestError::Disk(error) => UpstreamError::Ours(format!("storing the pack: {error}")),
        IngestError::Corrupt(why) => UpstreamError::Broken(why),
        IngestError::TooLarge(what) => UpstreamError::TooLarge(what),
        IngestError::MissingBase(id) => UpstreamError::Broken(format!("the delta base {id} is nowhere")),
        IngestError::Interrupted => UpstreamError::Stopped,
    }
}
