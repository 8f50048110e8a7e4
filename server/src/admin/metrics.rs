//! `GET /metrics`: everything that is counted, for Prometheus.

use super::census::{Census, State};
use crate::{
    http::{exchange::Exchange, response::Response},
    metrics::{
        process, requests,
        text::{MEDIA_TYPE, Text},
    },
    serve::node::{Mirrors, Node},
};
use std::io;

/// Answers the request.
pub async fn answer(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let node = exchange.shard.node.clone();
    let Some(place) = node.desk.enter() else {
        return exchange.respond(super::busy()).await;
    };
    let asked = node.clone();
    let response = match place.ask(move || document(&asked)).await {
        Some(text) => Response::of_type(200, MEDIA_TYPE, text.into_bytes()),
        None => Response::text(500, "internal error"),
    };
    exchange.respond(response).await
}

fn document(node: &Node) -> String {
    let mut text = Text::default();
    text.gauge("heliostat_build_info", "1, with the version of the program.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    requests::write(&node.counts, &mut text);
    text.gauge("heliostat_requests_live", "Requests under way.").is(node.live());
    text.gauge("heliostat_connections", "Connections on the main port.").is(node.admission.connections());
    text.counter("heliostat_rights_requests_total", "Requests over HTTP that ask who may read.")
        .is(node.rights.requests());
    node.workers.counts().write(&mut text);
    let kept = node.workers.plans().kept();
    text.gauge("heliostat_kept_plans", "Plans that are kept for orders to come.").is(kept.plans as u64);
    text.gauge("heliostat_kept_plan_bytes", "What they take in memory and in files.").is(kept.bytes);
    text.gauge("heliostat_kept_plan_bytes_limit", "`bytes` in [cache].").is(node.config.cache.bytes);
    text.counter("heliostat_kept_plans_evicted_total", "Kept plans that went for others.").is(kept.evicted as u64);
    if let Some(mirrors) = node.mirrors() {
        mirrors.syncs.counts().write(&mut text);
        if let Some(limit) = node.config.store.bytes {
            text.gauge("heliostat_store_bytes_limit", "`bytes` in [store].").is(limit);
        }
        repositories(mirrors, &mut text);
    }
    process::write(node.started.elapsed(), &mut text);
    text.finish()
}

fn repositories(mirrors: &Mirrors, text: &mut Text) {
    let census = Census::of(&mirrors.store, mirrors.syncs.now());
    let mut family = text.gauge("heliostat_repositories", "Repositories on the disk, by how they stand.");
    for (state, count) in State::ALL.iter().zip(census.states) {
        family.sample(&[("state", state.word())], count);
    }
    text.gauge("heliostat_store_pack_bytes", "Bytes of the packs in use.").is(census.pack_bytes);
    text.gauge("heliostat_store_packs", "Packs in use.").is(census.packs);
    let help = "The longest time that the upstream has not confirmed a repository that is served.";
    text.gauge("heliostat_oldest_confirmation_seconds", help).is(census.oldest_confirmation.as_secs_f64());
}
