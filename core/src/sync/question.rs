//! Who asks the schedule for what, and how it ends.

#[cfg(doc)]
use super::Schedule;
use crate::fault::Fault;
use std::sync::Arc;

/// A caller that waits for an answer; the driver knows who it is.
pub type Ticket = u64;

/// What a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The references that the upstream has now.
    References,
    /// And their objects, here.
    Objects,
}

/// How one question ended, or one fetch.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// What is here is proven equal to what the upstream has confirmed.
    Verified,
    /// The upstream says that there is no such repository.
    Missing,
    /// The upstream wants credentials or refuses: 401 or 403, gone for good (410), withheld for legal reasons (451).
    Denied(u16),
    /// It can't be mirrored, and why.
    Unsupported(Arc<Fault>),
    /// The upstream could not be reached, or did not answer in time.
    Outage(Arc<Fault>),
    /// The upstream answered that it fails here (5xx, 408, 429), which tells nothing of how it answers elsewhere.
    Failing(Arc<Fault>),
    /// The upstream answered, but what is here could not be made equal.
    Failed(Arc<Fault>),
    /// Whoever answered does not answer as the upstream: it redirects, or is no Git host. Time alone does not change that.
    Useless(Arc<Fault>),
}

impl Verdict {
    /// What failed, if something did.
    #[must_use]
    pub fn fault(&self) -> Option<&Arc<Fault>> {
        match self {
            Self::Verified | Self::Missing | Self::Denied(_) => None,
            Self::Unsupported(fault)
            | Self::Outage(fault)
            | Self::Failing(fault)
            | Self::Failed(fault)
            | Self::Useless(fault) => Some(fault),
        }
    }
}

/// What the driver has to do.
#[derive(Debug)]
pub enum Effect {
    /// Ask the upstream for its references; then call [`Schedule::moved`] or [`Schedule::answered`].
    Ask(Arc<str>),
    /// Fetch what was found last and publish it; then call [`Schedule::fetched`].
    Fetch(Arc<str>),
    /// Tell these callers that the upstream has told its references, whose objects are on their way.
    Told {
        /// Which repository.
        path: Arc<str>,
        /// Who waits.
        tickets: Vec<Ticket>,
    },
    /// Tell these callers.
    Answer {
        /// Which repository.
        path: Arc<str>,
        /// Who waits.
        tickets: Vec<Ticket>,
        /// What they hear.
        verdict: Verdict,
    },
}
