//! Keeping mirrored repositories equal to the upstream: one question at a time per repository, retries, an interval.
//!
//! The rest of the server knows only [`Syncs::confirm`]. The work runs on blocking threads of its own.

use futures_channel::oneshot;
use heliostat_core::{fault::Fault, store::Snapshot};
use std::sync::Arc;

/// The answer to "what does the upstream say of this repository now?".
#[derive(Clone)]
pub enum Confirmed {
    /// The upstream has confirmed these references since the question was asked, and their objects are here.
    Current(Arc<Snapshot>),
    /// The upstream did not answer; this is what we had.
    Stale(Arc<Snapshot>, Arc<Fault>),
    /// The upstream says there is no such repository (404, or not in the folder), or no rule mirrors it.
    NotFound,
    /// The upstream wants credentials or refuses: its status, 401 or 403.
    Denied(u16),
    /// It can't be mirrored, and why (an upstream repository in SHA-256, a shallow one).
    Unsupported(Arc<Fault>),
    /// Nothing is here, and the upstream or the sync failed.
    Unavailable(Arc<Fault>),
}

/// The handle to synchronisation: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Syncs {}

impl Syncs {
    /// Asks the upstream about `path` (`team/app.git`) and syncs what moved. Questions that arrive before one is asked
    /// share it. The sender never blocks; dropping the receiver does not cancel the sync.
    pub fn confirm(&self, _path: &str) -> oneshot::Receiver<Confirmed> {
        unimplemented!()
    }
}
