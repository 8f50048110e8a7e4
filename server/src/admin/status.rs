//! `/status`: what a load balancer asks.

use crate::{
    http::response::Response,
    serve::node::{Mirrors, Node},
    shard::drain::State,
};
use serde_json::json;

/// 200 while requests may be sent here, else 503; the body says why.
pub fn response(node: &Node) -> Response {
    let (status, state) = state(node);
    let repositories = node.mirrors().map(published);
    Response::json(
        status,
        &json!({
            "state": state,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": node.started.elapsed().as_secs(),
            "repositories": repositories,
            "requests": node.live(),
            "connections": node.admission.connections(),
        }),
    )
}

/// How many repositories there are. One that is on its way for the first time is none yet.
pub fn published(mirrors: &Mirrors) -> usize {
    mirrors.store.all().iter().filter(|mirror| mirror.has_been_published()).count()
}

/// The status and the word.
pub fn state(node: &Node) -> (u16, &'static str) {
    match (node.stage.get(), node.mirrors()) {
        (State::Draining | State::Over, _) => (503, "DRAINING"),
        // The upstream's list must have been read, or a repository of it could be taken for one that does not exist.
        (State::Serving, Some(mirrors)) if mirrors.syncs.catalogue_is_read() => {
            (200, if mirrors.syncs.activities().is_empty() { "SYNCHRONIZED" } else { "SYNCHRONIZING" })
        }
        // While it can't be read nothing is taken for missing, and what is here is served as stale.
        (State::Serving, Some(mirrors)) if mirrors.syncs.catalogue_was_asked_for() && published(mirrors) > 0 => {
            (200, "SYNCHRONIZING")
        }
        _ => (503, "INITIALIZING"),
    }
}
