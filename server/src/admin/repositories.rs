//! `GET /api/v1/repositories`, a page of what is mirrored here and, if asked for, of what the upstream lists beside; and
//! `GET /api/v1/repositories/{path}`, one of them.
//!
//! An answer holds a page at most, whatever there is, and the desk bounds how many are held at once. What the upstream
//! lists is asked for with the first page and remembered for the others: one list a node.

use super::{census::State, desk::Place, page::Page};
use crate::{
    http::response::Response,
    serve::node::{Mirrors, Node},
    shard::task,
    sync::Repositories,
};
use heliostat_core::{
    RepositoryPath,
    store::{MirroredRepository, Refusal},
};
use serde_json::{Value, json};
use std::{ops::Bound, sync::Arc, time::Duration};

/// A large folder on a slow disk takes minutes to list.
const LISTING_TIME_MAX: Duration = Duration::from_secs(600);

/// A page of the list.
pub async fn list(node: &Arc<Node>, mirrors: &Mirrors, place: &Place, target: &str) -> Response {
    let page = match Page::of(target) {
        Ok(page) => page,
        Err(words) => return Response::text(400, words),
    };
    let listed = if page.listed {
        match listing(node, mirrors, &page).await {
            Ok(listed) => Some(listed),
            Err(response) => return response,
        }
    } else {
        None
    };
    let node = node.clone();
    let document = place.ask(move || {
        let mirrors = node.mirrors()?;
        Some(match listed {
            Some(listed) => of_listing(mirrors, &page, &listed),
            None => of_store(mirrors, &page),
        })
    });
    document.await.flatten().map_or_else(|| Response::text(500, "internal error"), |page| Response::json(200, &page))
}

/// One repository.
pub async fn one(node: &Arc<Node>, place: &Place, path: RepositoryPath) -> Response {
    let node = node.clone();
    let row = place.ask(move || {
        let mirrors = node.mirrors()?;
        mirrors.syncs.find(&path).map(|mirrored| row(mirrored.path(), Some(&mirrored), mirrors.syncs.now()))
    });
    match row.await {
        Some(Some(row)) => Response::json(200, &row),
        Some(None) => Response::text(404, "there is no such repository here"),
        None => Response::text(500, "internal error"),
    }
}

/// What there is to mirror: asked for now, or as it was when the first page was asked for.
async fn listing(node: &Node, mirrors: &Mirrors, page: &Page) -> Result<Arc<Repositories>, Response> {
    if let Some(listed) = node.desk.listing().filter(|_| page.after.is_some()) {
        return Ok(listed);
    }
    match task::within(LISTING_TIME_MAX, mirrors.syncs.repositories()).await {
        Some(Ok(listed)) => Ok(node.desk.remember(listed)),
        Some(Err(_)) => Err(Response::unavailable(2, "synchronisation has ended")),
        None => Err(Response::unavailable(10, "the upstream did not list its repositories in time")),
    }
}

fn of_store(mirrors: &Mirrors, page: &Page) -> Value {
    let now = mirrors.syncs.now();
    let all = mirrors.store.all();
    let (found, more) = page.cut(&all, |mirrored| mirrored.path());
    let rows: Vec<Value> = found.iter().map(|mirrored| row(mirrored.path(), Some(mirrored), now)).collect();
    let next = found.last().filter(|_| more).map(|mirrored| mirrored.path());
    json!({ "repositories": rows, "next": next, "error": null })
}

fn of_listing(mirrors: &Mirrors, page: &Page, listed: &Repositories) -> Value {
    let now = mirrors.syncs.now();
    let start = page.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = listed.paths.range::<RepositoryPath, _>((start, Bound::Unbounded));
    let found: Vec<&RepositoryPath> = rest.by_ref().take(page.limit).collect();
    let rows: Vec<Value> =
        found.iter().map(|path| row(path.as_str(), mirrors.syncs.find(path).as_deref(), now)).collect();
    let next = found.last().filter(|_| rest.next().is_some()).map(|path| path.as_str());
    json!({ "repositories": rows, "next": next, "error": listed.error.as_ref().map(ToString::to_string) })
}

/// All that is told of one repository, under the path that the caller knows it by.
fn row(path: &str, mirrored: Option<&MirroredRepository>, now: Duration) -> Value {
    let Some(mirrored) = mirrored else { return json!({ "repository": path, "state": "absent" }) };
    let (state, standing) = (State::of(mirrored, now), mirrored.standing());
    let snapshot = mirrored.snapshot();
    let packs = snapshot.as_ref().map(|snapshot| snapshot.objects.packs());
    let bytes = packs.map(|packs| packs.iter().map(|pack| pack.bytes().len() as u64).sum::<u64>());
    let error = match state {
        State::Damaged => mirrored.damage().map(|damage| damage.to_string()),
        _ => standing.doubt().map(|fault| fault.to_string()),
    };
    json!({
        "repository": path,
        "id": mirrored.id().to_string(),
        "state": state.word(),
        "generation": snapshot.as_ref().map(|snapshot| snapshot.generation.to_string()),
        "refs": snapshot.as_ref().map(|snapshot| snapshot.refs.len()),
        "packs": packs.map(<[_]>::len),
        "pack_bytes": bytes,
        "confirmed_seconds_ago": standing.age(now).map(|age| age.as_secs_f64()),
        "upstream_status": standing.refusal().map(|refusal| match refusal {
            Refusal::Missing => 404,
            Refusal::Denied(status) => status,
        }),
        "error": error,
    })
}
