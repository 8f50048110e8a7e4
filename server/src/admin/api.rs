//! What the node tells of itself: `GET /api/v1/node` who it is and how it does, `/api/v1/repositories` what is mirrored here
//! ([`super::repositories`]), `/api/v1/syncs` what it is doing. Looked up at the desk, so that no list, however long, keeps
//! a shard.

use super::{busy, page::Page, repositories, status};
use crate::{
    holder::canonical,
    http::{
        exchange::{Exchange, Unread},
        response::Response,
        target::Route,
    },
    serve::node::{Mirrors, Node},
    sync::Activity,
};
use serde_json::{Value, json};
use std::io;

/// Answers one of the routes.
pub async fn answer(exchange: &mut Exchange<'_>, route: Route) -> io::Result<()> {
    match exchange.read_body(&mut |_| ()).await {
        Ok(()) => {}
        Err(Unread::Gone(error)) => return Err(error),
        Err(Unread::Refused(response)) => return exchange.respond(response).await,
    }
    let node = exchange.shard.node.clone();
    if route == Route::Node {
        return exchange.respond(Response::json(200, &identity(&node))).await;
    }
    // Held until the answer has been sent: it counts as long as it is in memory.
    let (Some(place), Some(mirrors)) = (node.desk.enter(), node.mirrors()) else {
        let starting = Response::unavailable(2, "the server is starting, try again");
        return exchange.respond(if node.mirrors().is_none() { starting } else { busy() }).await;
    };
    let response = match route {
        Route::Syncs => match Page::of(&exchange.head.target) {
            Ok(page) => Response::json(200, &syncs(mirrors, &page)),
            Err(words) => Response::text(400, words),
        },
        Route::Repository(path) => repositories::one(&node, &place, path).await,
        _ => repositories::list(&node, mirrors, &place, &exchange.head.target).await,
    };
    exchange.respond(response).await
}

fn identity(node: &Node) -> Value {
    let (_, state) = status::state(node);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "process": node.holder.process,
        "instance": node.holder.instance,
        "data": canonical(&node.config.node.data).display().to_string(),
        "upstream": node.config.upstream.to_string(),
        "state": state,
        "uptime_seconds": node.started.elapsed().as_secs(),
        "shards": node.counts.len(),
        "requests": node.live(),
        "connections": node.admission.connections(),
        "repositories": node.mirrors().map(status::published),
    })
}

fn syncs(mirrors: &Mirrors, page: &Page) -> Value {
    let activities = mirrors.syncs.activities();
    let (found, more) = page.cut(&activities, |activity| activity.path.as_str());
    let next = found.last().filter(|_| more).map(|activity| activity.path.as_str());
    json!({ "syncs": found.iter().map(progress).collect::<Vec<_>>(), "next": next })
}

fn progress(activity: &Activity) -> Value {
    let progress = &activity.progress;
    let (done, total) = progress.objects().unzip();
    json!({
        "repository": activity.path.as_str(),
        "phase": progress.phase().as_str(),
        "bytes": progress.bytes(),
        "objects": done,
        "objects_total": total,
    })
}
