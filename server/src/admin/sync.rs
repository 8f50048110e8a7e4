//! `POST /api/v1/repositories/{path}/sync`: brings one repository up to date now, and says what came of it.

use crate::{
    http::{
        exchange::{Exchange, Unread},
        response::Response,
    },
    serve::resolve::{Ask, confirm},
    sync::Confirmed,
};
use heliostat_core::{RepositoryPath, fault::Fault, store::Snapshot};
use serde_json::{Value, json};
use std::{io, time::Duration};

/// A first sync of a large repository takes minutes; the caller is a person or a script that waits, and both can hang up.
const WAIT: Duration = Duration::from_secs(3600);

/// Answers the request when the sync has ended.
pub async fn answer(exchange: &mut Exchange<'_>, path: RepositoryPath) -> io::Result<()> {
    match exchange.read_body(&mut |_| ()).await {
        Ok(()) => {}
        Err(Unread::Gone(error)) => return Err(error),
        Err(Unread::Refused(response)) => return exchange.respond(response).await,
    }
    let node = exchange.shard.node.clone();
    let response = match node.mirrors() {
        Some(mirrors) => outcome(&path, confirm(mirrors, &path, WAIT, Ask::Whole, None).await),
        None => Response::unavailable(2, "the server is starting, try again"),
    };
    exchange.respond(response).await
}

fn outcome(path: &RepositoryPath, confirmed: Confirmed) -> Response {
    let fields = |outcome: &str, more: Value| {
        let mut document = json!({ "repository": path.as_str(), "outcome": outcome });
        if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
            document.extend(more);
        }
        document
    };
    let of = |snapshot: &Snapshot| {
        json!({
            "epoch": format!("{:016x}", snapshot.generation.epoch),
            "generation": snapshot.generation.n,
            "refs": snapshot.refs.len(),
        })
    };
    let failed = |status: u16, outcome: &str, fault: &Fault| {
        Response::json(status, &fields(outcome, json!({ "error": fault.to_string() })))
    };
    match confirmed {
        Confirmed::Current(snapshot) => Response::json(200, &fields("current", of(&snapshot))),
        Confirmed::Stale(snapshot, fault) => {
            let mut more = of(&snapshot);
            more["error"] = fault.to_string().into();
            Response::json(503, &fields("stale", more))
        }
        // Only of who needs no objects, which this is not.
        Confirmed::Pending(_) => Response::json(202, &fields("on its way", json!({}))),
        Confirmed::NotFound => Response::json(404, &fields("not found", json!({}))),
        Confirmed::Denied(status) => Response::json(403, &fields("denied", json!({ "upstream_status": status }))),
        Confirmed::Unsupported(fault) => failed(501, "unsupported", &fault),
        Confirmed::Useless(fault) => failed(502, "useless", &fault),
        Confirmed::Unavailable(fault) => failed(503, "unavailable", &fault),
    }
}
