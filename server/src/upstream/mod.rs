//! Adapters to what is mirrored: any smart-HTTP host, or a folder of bare repositories.
//!
//! An adapter answers three questions: which repositories are there, what are the references of one, and the objects that
//! are missing here. It decides nothing: when to ask, what to believe and what to publish is `sync`'s business.

pub mod error;
pub mod git;
mod progress;
pub mod transport;

pub use error::UpstreamError;
pub use git::GitUpstream;
pub use progress::{Phase, Progress};

use heliostat_core::{
    RepositoryPath,
    refs::RefTable,
    store::{Quarantine, Snapshot},
};
use std::sync::{Arc, atomic::AtomicBool};

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

    /// Asks for the references of one.
    fn ask(&self, path: &RepositoryPath, context: &Context) -> Result<Box<dyn Asked>, UpstreamError>;
}

/// A repository whose references the upstream has told, ready to give its objects.
pub trait Asked: Send {
    /// What it told.
    fn advertised(&self) -> &Advertised;

    /// Brings what the advertisement names and `have` lacks into `quarantine`. After an error the quarantine is fit for
    /// nothing but being dropped.
    fn fetch(
        self: Box<Self>,
        have: Option<&Snapshot>,
        quarantine: &mut Quarantine,
        pack_bytes_max: u64,
    ) -> Result<(), UpstreamError>;
}
