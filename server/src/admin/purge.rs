//! `POST /api/v1/repositories/{path}/purge` drops a repository from the disk at once, `…/purge-unreachable` what none of its
//! references reaches. One at a time: merging the packs of a large repository takes minutes.

use super::busy;
use crate::http::{
    exchange::{Exchange, Unread},
    response::Response,
    target::Purge,
};
use heliostat_core::{RepositoryPath, store::StoreError};
use serde_json::json;
use std::{collections::HashSet, io, sync::Arc};

/// Answers the request when it is done.
pub async fn answer(exchange: &mut Exchange<'_>, path: RepositoryPath, what: Purge) -> io::Result<()> {
    match exchange.read_body(&mut |_| ()).await {
        Ok(()) => {}
        Err(Unread::Gone(error)) => return Err(error),
        Err(Unread::Refused(response)) => return exchange.respond(response).await,
    }
    let node = exchange.shard.node.clone();
    if node.mirrors().is_none() {
        return exchange.respond(Response::unavailable(2, "the server is starting, try again")).await;
    }
    let Some(place) = node.desk.enter() else { return exchange.respond(busy()).await };
    let (purging, name) = (node.clone(), path.clone());
    let done = place.ask_apart(move || {
        let mirrors = purging.mirrors()?;
        let outcome = match what {
            Purge::All => mirrors.syncs.purge(&name),
            Purge::Unreachable => mirrors.syncs.purge_unreachable(&name),
        };
        // Also where it failed: what has gone from the disk is not to be sent from a kept plan.
        let snapshots = mirrors.store.all().into_iter().filter_map(|repository| repository.snapshot());
        let current: HashSet<_> = snapshots.map(|snapshot| Arc::as_ptr(&snapshot.objects)).collect();
        purging.workers.plans().purge(|objects| current.contains(&objects.as_ptr()));
        Some(outcome)
    });
    let response = match done.await {
        Some(Some(outcome)) => said(&path, outcome),
        _ => Response::unavailable(10, "another purge is under way, try again"),
    };
    exchange.respond(response).await
}

fn said(path: &RepositoryPath, outcome: Result<Option<u64>, StoreError>) -> Response {
    let path = path.as_str();
    match outcome {
        Ok(Some(bytes)) => {
            tracing::info!(repository = path, bytes, "purged");
            Response::json(200, &json!({ "repository": path, "outcome": "purged", "bytes": bytes }))
        }
        Ok(None) => Response::json(404, &json!({ "repository": path, "outcome": "not found" })),
        Err(error) => {
            tracing::warn!(repository = path, %error, "not purged");
            let status = if matches!(error, StoreError::Purged) { 503 } else { 500 };
            Response::json(status, &json!({ "repository": path, "outcome": "failed", "error": error.to_string() }))
        }
    }
}
