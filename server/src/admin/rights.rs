//! `POST /api/v1/forget-rights` and `POST /api/v1/repositories/{path}/forget-rights`: what the upstream has said of callers is
//! asked about again, from the next request on. For whoever has taken a right away and does not want to wait.

use crate::http::{
    exchange::{Exchange, Unread},
    response::Response,
};
use heliostat_core::RepositoryPath;
use serde_json::json;
use std::io;

/// Answers when it is forgotten.
pub async fn forget(exchange: &mut Exchange<'_>, path: Option<RepositoryPath>) -> io::Result<()> {
    match exchange.read_body(&mut |_| ()).await {
        Ok(()) => {}
        Err(Unread::Gone(error)) => return Err(error),
        Err(Unread::Refused(response)) => return exchange.respond(response).await,
    }
    let said = path.as_ref().map_or("all", RepositoryPath::as_str);
    let answer = json!({ "forgotten": said });
    // Under either spelling.
    let spellings = path.into_iter().flat_map(|path| path.other_spelling().into_iter().chain([path])).collect();
    let response = match exchange.shard.node.rights.forget(spellings).await {
        Ok(()) => Response::json(200, &answer),
        Err(_) => Response::unavailable(2, "this mirror is shutting down"),
    };
    exchange.respond(response).await
}
