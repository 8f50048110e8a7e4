//! `POST /hooks/refs-changed`: a Git host says that references of a repository have changed.
//!
//! Only ever a hint: the upstream is asked about that repository, if it is mirrored here, sooner than at the interval. What
//! the body says of references is not even read, so that a replayed or reordered hint costs a question and changes
//! nothing; hints are bounded in rate.
//!
//! With a `secret` in `[webhook]` the host's signature lets in, and nothing else; without one, what lets in on the rest of
//! the admin port.

pub mod body;
mod proof;

use crate::{
    http::{
        exchange::{Exchange, Unread},
        response::Response,
    },
    serve::node::Node,
};
use heliostat_core::{RepositoryPath, limits::WEBHOOK_BYTES_MAX};
use proof::Check;
use serde_json::json;
use std::{collections::BTreeSet, io, sync::Arc};

/// What a caller hears who has not signed, or wrongly.
const UNSIGNED: &str = "the webhook is not signed with the secret that is configured here";

/// Answers the request.
pub async fn answer(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let node = exchange.shard.node.clone();
    let mut check = match &node.config.webhook.secret {
        Some(_) if exchange.head.signatures.is_empty() => {
            return exchange.respond(Response::text(401, UNSIGNED)).await;
        }
        Some(secret) => Some(Check::new(secret.as_bytes())),
        None => None,
    };
    let (mut body, mut length) = (Vec::new(), 0);
    let mut sink = |bytes: &[u8]| {
        length += bytes.len();
        if let Some(check) = &mut check {
            check.take(bytes);
        }
        if length <= WEBHOOK_BYTES_MAX {
            body.extend_from_slice(bytes);
        }
    };
    match exchange.read_body(&mut sink).await {
        Ok(()) => {}
        Err(Unread::Gone(error)) => return Err(error),
        Err(Unread::Refused(response)) => return exchange.respond(response).await,
    }
    let response = if check.is_some_and(|check| !check.proves(&exchange.head.signatures)) {
        Response::text(401, UNSIGNED)
    } else if length > WEBHOOK_BYTES_MAX {
        Response::text(413, format_args!("a webhook's body has at most {WEBHOOK_BYTES_MAX} bytes"))
    } else if let Some(place) = node.desk.enter() {
        let hinted = node.clone();
        let response = place.ask(move || take(&hinted, &body)).await;
        response.unwrap_or_else(|| Response::text(500, "internal error"))
    } else {
        super::busy()
    };
    exchange.respond(response).await
}

/// What a body that is let in leads to.
fn take(node: &Arc<Node>, body: &[u8]) -> Response {
    let Some(mirrors) = node.mirrors() else {
        return Response::unavailable(2, "the server is starting, try again");
    };
    let names = match body::names(body) {
        Ok(names) => names,
        Err(words) => return Response::text(400, words),
    };
    let candidates = names.paths(&node.config.upstream);
    // One that is not mirrored is mirrored when somebody asks for it, not because its host speaks of it.
    let mirrored: BTreeSet<RepositoryPath> = candidates
        .iter()
        .filter_map(|path| mirrors.syncs.find(path))
        .filter_map(|mirrored| mirrored.path().parse().ok())
        .collect();
    if !mirrored.is_empty() && !node.desk.admits_hint(node.started.elapsed()) {
        return Response::text(429, "too many webhooks at once, try again").with("Retry-After", "1");
    }
    for path in &mirrored {
        mirrors.syncs.hint(path.as_str());
    }
    let hinted: Vec<&str> = mirrored.iter().map(|path| path.as_str()).collect();
    tracing::debug!(?hinted, "a webhook");
    Response::json(202, &json!({ "hinted": hinted }))
}
