//! What the node tells of itself, for `heliostat sync` beside it: `GET /api/v1/node` who it is, `/api/v1/repositories` what
//! there is to mirror, `/api/v1/syncs` what it is doing.

use crate::{
    holder::canonical,
    http::{
        exchange::{Exchange, Unread},
        response::Response,
        target::Route,
    },
    serve::node::Node,
    shard::task,
    sync::Activity,
};
use serde_json::{Value, json};
use std::{io, time::Duration};

/// A large folder on a slow disk takes minutes to list.
const LISTING_TIME_MAX: Duration = Duration::from_secs(600);

/// Answers one of the routes.
pub async fn answer(exchange: &mut Exchange<'_>, route: &Route) -> io::Result<()> {
    match exchange.read_body(&mut |_| ()).await {
        Ok(()) => {}
        Err(Unread::Gone(error)) => return Err(error),
        Err(Unread::Refused(response)) => return exchange.respond(response).await,
    }
    let node = exchange.shard.node.clone();
    let response = match (route, node.mirrors()) {
        (Route::Node, _) => Response::json(200, &identity(&node)),
        (_, None) => Response::unavailable(2, "the server is starting, try again"),
        (Route::Syncs, Some(mirrors)) => {
            let syncs: Vec<Value> = mirrors.syncs.activities().iter().map(progress).collect();
            Response::json(200, &json!({ "syncs": syncs }))
        }
        (_, Some(mirrors)) => match task::within(LISTING_TIME_MAX, mirrors.syncs.repositories()).await {
            Some(Ok(found)) => {
                let paths: Vec<&str> = found.paths.iter().map(|path| path.as_str()).collect();
                let error = found.error.map(|error| error.to_string());
                Response::json(200, &json!({ "repositories": paths, "error": error }))
            }
            Some(Err(_)) => Response::unavailable(2, "synchronisation has ended"),
            None => Response::unavailable(10, "the upstream did not list its repositories in time"),
        },
    };
    exchange.respond(response).await
}

fn identity(node: &Node) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "process": node.holder.process,
        "instance": node.holder.instance,
        "data": canonical(&node.config.node.data).display().to_string(),
        "upstream": node.config.upstream.to_string(),
    })
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
