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
    refs::RefTable,
    store::{IngestError, Quarantine},
};
use std::{
    io,
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
    /// How many names were left out because Git would refuse them.
    pub skipped: usize,
    /// Some of those, escaped.
    pub examples: Vec<String>,
}

/// One upstream.
pub trait Upstream: Send + Sync {
    /// All its repositories; `None` if it can't list them.
    fn list(&self, context: &Context) -> Result<Option<Vec<RepositoryPath>>, UpstreamError>;

    /// The path under which the repository that `path` names is mirrored: where the upstream takes `team/app` and
    /// `team/app.git` for the same, one of them.
    fn canonical(&self, path: &RepositoryPath) -> RepositoryPath {
        path.clone()
    }

    /// Asks for the references of one.
    fn ask(&self, path: &RepositoryPath, context: &Context) -> Result<Box<dyn Asked>, UpstreamError>;
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

    /// Brings what the advertisement names and `have` lacks into `quarantine`. After an error the quarantine is fit for
    /// nothing but being dropped.
    fn fetch(
        self: Box<Self>,
        have: Option<Have<'_>>,
        quarantine: &mut Quarantine,
        pack_bytes_max: u64,
    ) -> Result<(), UpstreamError>;
}

/// All ids that a table names, with duplicates.
fn tips_of(table: &RefTable) -> impl Iterator<Item = ObjectId> + '_ {
    table.iter().map(|reference| reference.id).chain(table.head_id())
}

/// What is said of an upstream that lacks history itself.
fn shallow_upstream() -> UpstreamError {
    UpstreamError::Unsupported("the upstream repository is shallow: it lacks history, and so would its mirror".into())
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
