//! Ways to find out what a caller may: a question to somebody who knows, on a thread that may wait.

use super::credential::Credential;
use crate::upstream::{UpstreamError, transport::Patience};
use heliostat_core::{
    RepositoryPath,
    rights::{Challenges, Refusal, Verdict},
};
use std::sync::Arc;

/// Somebody who knows.
pub(super) trait Judge: Send + Sync {
    /// Whether whoever brings `credential`, or nothing, may read the repository at `path`, this very spelling.
    fn may(&self, credential: Option<&Credential>, path: &RepositoryPath, patience: &Patience) -> Verdict;
}

/// What a failure to find out means: an outage, or an answer that decides nothing; the operator reads of it. `judge` is whom
/// this has been asked.
pub(super) fn of_error(judge: &str, path: &RepositoryPath, error: &UpstreamError) -> Verdict {
    if !matches!(error, UpstreamError::Stopped) {
        tracing::warn!(repository = %path, %error, "{judge} has not said who may read");
    }
    let fault = Arc::new(error.fault());
    match error {
        UpstreamError::Failing(_)
        | UpstreamError::Unreachable(_)
        | UpstreamError::Insecure(_)
        | UpstreamError::Timeout(_) => Verdict::Outage(fault),
        UpstreamError::Redirected { .. } | UpstreamError::NotGit(_) => Verdict::Useless(fault),
        _ => Verdict::Undecided(fault),
    }
}

/// What a status says of the caller; nothing if it says nothing of it.
pub(super) fn of_status(status: u16, challenges: impl FnOnce() -> Challenges) -> Option<Refusal> {
    match status {
        401 => Some(Refusal::NeedCredentials(challenges())),
        403 => Some(Refusal::Forbidden),
        404 => Some(Refusal::Missing),
        410 | 451 => Some(Refusal::Gone(status)),
        _ => None,
    }
}
