//! From the path in a request to a snapshot: found here, or confirmed by the upstream within the rule's `wait`.
//!
//! A path is known with and without `.git`. Which repository either spelling names is for the upstream's adapter to say.

use super::{
    freshness::Freshness,
    node::{Mirrors, Node},
};
use crate::{http::response::Response, shard::task, sync::Confirmed};
use heliostat_core::{
    RepositoryPath,
    fault::Fault,
    store::{RepositoryId, Snapshot, Stale},
};
use std::{sync::Arc, time::Duration};

/// Seconds until a client should try again when the upstream did not answer in time.
const RETRY_AFTER_SECONDS: u32 = 10;

/// A repository, ready to be answered from.
pub struct Found {
    /// Which.
    pub repository: RepositoryId,
    /// Its upstream path, as it is mirrored.
    pub path: RepositoryPath,
    /// What is answered from.
    pub snapshot: Arc<Snapshot>,
    /// What the upstream has to do with it.
    pub freshness: Freshness,
}

/// Whether the upstream has to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// In any case: the answer tells the client which references there are.
    Always,
    /// Only if the repository is not here.
    IfAbsent,
}

/// Why there is nothing to answer from: what the client hears, and the words for the log.
pub struct Unresolved {
    /// What the client hears.
    pub response: Response,
    /// What the operator reads.
    pub detail: Option<String>,
}

impl Unresolved {
    fn new(response: Response) -> Self {
        Self { response, detail: None }
    }

    fn because(response: Response, detail: impl ToString) -> Self {
        Self { response, detail: Some(detail.to_string()) }
    }
}

/// Finds `path`, asking the upstream as `ask` says.
pub async fn resolve(node: &Node, path: &RepositoryPath, ask: Ask) -> Result<Found, Unresolved> {
    let Some(mirrors) = node.mirrors() else {
        return Err(Unresolved::new(Response::unavailable(2, "the server is starting, try again")));
    };
    if ask == Ask::IfAbsent
        && let Some(found) = here(mirrors, path)
    {
        return Ok(found);
    }
    let (snapshot, is_confirmed) = match confirm(mirrors, path, node.wait(path)).await {
        Confirmed::Current(snapshot) => (snapshot, true),
        Confirmed::Stale(snapshot, fault) => {
            tracing::debug!(repository = %path, %fault, "served stale");
            (snapshot, false)
        }
        refused => return Err(unresolved(refused)),
    };
    match here(mirrors, path) {
        Some(found) => Ok(Found {
            snapshot,
            freshness: match found.freshness {
                _ if is_confirmed => Freshness::Confirmed,
                stale @ Freshness::Stale(_) => stale,
                // Confirmed for somebody else in this very moment.
                _ => Freshness::Stale(Stale { age: None }),
            },
            ..found
        }),
        // Removed in this very moment.
        None => Err(Unresolved::new(Response::not_found())),
    }
}

/// The upstream's word on `path`, within `wait`.
pub async fn confirm(mirrors: &Mirrors, path: &RepositoryPath, wait: Duration) -> Confirmed {
    match task::within(wait, mirrors.syncs.confirm(path.as_str())).await {
        Some(Ok(confirmed)) => confirmed,
        Some(Err(_)) => Confirmed::Unavailable(late("synchronisation has ended")),
        None => unconfirmed(mirrors, path),
    }
}

/// `wait` is over. An upstream that has said nothing is away, and what is here is served; once it has named its
/// references, what is here is known to be old, and the client comes again when the objects have arrived.
fn unconfirmed(mirrors: &Mirrors, path: &RepositoryPath) -> Confirmed {
    let fault = late("no answer within `wait`");
    match mirrors.syncs.find(path).and_then(|mirrored| Some((here(mirrors, path)?, mirrored))) {
        Some((found, mirrored)) if !mirrors.syncs.is_moving(&found.path) => {
            mirrored.standing().unanswered();
            Confirmed::Stale(found.snapshot, fault)
        }
        _ => Confirmed::Unavailable(fault),
    }
}

fn late(detail: &str) -> Arc<Fault> {
    Arc::new(Fault::upstream("the upstream has not answered in time, try again", detail))
}

/// What a client hears that can't be served, one status for each reason:
/// 404 as for any unknown path, the upstream's own 401 and 403 as 403 in words (there are no credentials here to ask
/// for), 501 for what this server can't mirror, 503 for what may work later.
fn unresolved(confirmed: Confirmed) -> Unresolved {
    match confirmed {
        Confirmed::Current(_) | Confirmed::Stale(..) | Confirmed::NotFound => Unresolved::new(Response::not_found()),
        Confirmed::Denied(status) => Unresolved::because(
            Response::text(
                403,
                format_args!(
                    "the upstream answers {status} for this repository, and this mirror serves only what it may read \
                     without credentials"
                ),
            ),
            format_args!("the upstream answers {status}"),
        ),
        Confirmed::Unsupported(fault) => Unresolved::because(
            Response::text(501, format_args!("this repository can't be mirrored: {}", fault.public)),
            &fault,
        ),
        Confirmed::Unavailable(fault) => {
            Unresolved::because(Response::unavailable(RETRY_AFTER_SECONDS, &fault.public), &fault)
        }
    }
}

/// What is here, unasked.
fn here(mirrors: &Mirrors, path: &RepositoryPath) -> Option<Found> {
    let mirrored = mirrors.syncs.find(path)?;
    let snapshot = mirrored.snapshot()?;
    let path = mirrored.path().parse().ok()?;
    let freshness = mirrored.standing().stale(mirrors.syncs.now()).map_or(Freshness::Unasked, Freshness::Stale);
    Some(Found { repository: mirrored.id(), path, snapshot, freshness })
}
