//! From the path in a request to a snapshot: found here, or confirmed by the upstream within the rule's `wait`, as the
//! rule's `freshness` says.
//!
//! What the upstream refused when it was asked last is refused for every request, until it shows it again: whoever asks for
//! it makes the mirror ask.
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
    limits::CAPABILITIES_WAIT,
    store::{MirroredRepository, Refusal, RepositoryId, Snapshot, Stale},
    sync::{Decision, Known},
};
use std::{sync::Arc, time::Duration};

pub use heliostat_core::sync::Ask;

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
    /// If it is stale, why.
    pub doubt: Option<Arc<Fault>>,
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

/// Finds `path`, asking the upstream as `ask` and the rule's mode say.
pub async fn resolve(node: &Node, path: &RepositoryPath, ask: Ask) -> Result<Found, Unresolved> {
    let Some(mirrors) = node.mirrors() else {
        return Err(Unresolved::new(Response::unavailable(2, "the server is starting, try again")));
    };
    let (mode, wait) = node.terms(path);
    let known = unrefused(mirrors, path);
    let decision = mode.decide(ask, known.as_ref().map(|(_, known)| *known));
    let confirmed = match (decision, known) {
        (Decision::Answer, Some((found, _))) => return Ok(found),
        (Decision::AskBriefly, Some((found, _))) => {
            match task::within(wait.min(CAPABILITIES_WAIT), mirrors.syncs.confirm(path.as_str())).await {
                Some(Ok(confirmed)) => confirmed,
                _ => return Ok(found),
            }
        }
        _ => confirm(mirrors, path, wait).await,
    };
    let (snapshot, doubt) = match confirmed {
        Confirmed::Current(snapshot) => (snapshot, None),
        Confirmed::Stale(snapshot, fault) => (snapshot, Some(fault)),
        refused => {
            note_refusal(mirrors, path, &refused);
            return Err(unresolved(refused));
        }
    };
    match here(mirrors, path) {
        Some(found) => Ok(Found {
            snapshot,
            freshness: match found.freshness {
                _ if doubt.is_none() => Freshness::Confirmed,
                stale @ Freshness::Stale(_) => stale,
                // Confirmed for somebody else in this very moment.
                _ => Freshness::Stale(Stale { age: None }),
            },
            doubt,
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
    let Some(mirrored) = mirrors.syncs.find(path) else { return Confirmed::Unavailable(fault) };
    let standing = mirrored.standing();
    match (standing.refusal(), mirrored.snapshot()) {
        (Some(refusal), _) => refusal.into(),
        (None, Some(snapshot)) if !standing.is_moving() => {
            standing.unanswered(&fault);
            Confirmed::Stale(snapshot, fault)
        }
        (None, _) => Confirmed::Unavailable(fault),
    }
}

/// A folder's repository that is gone is asked for by the client's spelling; what is here may lie under the other.
fn note_refusal(mirrors: &Mirrors, path: &RepositoryPath, confirmed: &Confirmed) {
    let refusal = match confirmed {
        Confirmed::NotFound => Refusal::Missing,
        Confirmed::Denied(status) => Refusal::Denied(*status),
        _ => return,
    };
    if let Some(mirrored) = mirrors.syncs.find(path) {
        mirrored.standing().refused(refusal);
    }
}

fn late(detail: &str) -> Arc<Fault> {
    Arc::new(Fault::upstream("the upstream has not answered in time, try again", detail))
}

/// What a client hears that can't be served, one status for each reason:
/// 404 as for any unknown path, the upstream's own 410 and 451 as they are, its 401 and 403 as 403 in words (there are no
/// credentials here to ask for), 501 for what this server can't mirror, 502 where no Git host answers, 503 for what may work
/// later.
fn unresolved(confirmed: Confirmed) -> Unresolved {
    match confirmed {
        Confirmed::Current(_) | Confirmed::Stale(..) | Confirmed::NotFound => Unresolved::new(Response::not_found()),
        Confirmed::Denied(410) => Unresolved::because(
            Response::text(410, "the upstream says that this repository is gone for good"),
            "the upstream answers 410",
        ),
        Confirmed::Denied(451) => Unresolved::because(
            Response::text(451, "the upstream withholds this repository for legal reasons"),
            "the upstream answers 451",
        ),
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
        Confirmed::Useless(fault) => Unresolved::because(Response::text(502, &fault.public), &fault),
        Confirmed::Unavailable(fault) => {
            Unresolved::because(Response::unavailable(RETRY_AFTER_SECONDS, &fault.public), &fault)
        }
    }
}

/// What is here, unasked.
fn here(mirrors: &Mirrors, path: &RepositoryPath) -> Option<Found> {
    found(mirrors, &*mirrors.syncs.find(path)?)
}

/// The same, unless the upstream refuses it.
fn unrefused(mirrors: &Mirrors, path: &RepositoryPath) -> Option<(Found, Known)> {
    let mirrored = mirrors.syncs.find(path).filter(|mirrored| mirrored.standing().refusal().is_none())?;
    let (standing, now) = (mirrored.standing(), mirrors.syncs.now());
    let known = Known { age: standing.age(now), is_stale: standing.stale(now).is_some() };
    Some((found(mirrors, &mirrored)?, known))
}

fn found(mirrors: &Mirrors, mirrored: &MirroredRepository) -> Option<Found> {
    let snapshot = mirrored.snapshot()?;
    let path = mirrored.path().parse().ok()?;
    let (standing, now) = (mirrored.standing(), mirrors.syncs.now());
    let freshness = standing.stale(now).map_or(Freshness::Unasked(standing.age(now)), Freshness::Stale);
    Some(Found { repository: mirrored.id(), path, snapshot, freshness, doubt: standing.doubt() })
}
