//! The admin port: `/status`, `/metrics`, and the API that the command line speaks.
//!
//! Without a token in the configuration the port is bound to loopback only, and web pages of other sites are refused
//! ([`cross_site`]); with one, all but `/status` and `/metrics` asks for it; but for webhooks, which are signed ([`webhook`]).

pub mod api;
pub mod census;
pub mod cross_site;
pub mod desk;
mod metrics;
mod page;
mod purge;
mod repositories;
mod rights;
pub mod status;
pub mod sync;
mod token;
pub mod webhook;

use crate::{
    http::{
        exchange::Exchange,
        head::Method,
        response::Response,
        target::{Route, admin_route},
    },
    secret::Secret,
};
use std::io;

/// Answers one request on the admin port.
pub async fn answer(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let reading = matches!(exchange.head.method, Method::Get | Method::Head);
    let response = match (admin_route(&exchange.head.target), refusal(exchange)) {
        (Route::Status, _) => {
            exchange.record.operation = "status";
            if reading { status::response(&exchange.shard.node) } else { Response::method_not_allowed("GET, HEAD") }
        }
        (Route::Metrics, _) => {
            exchange.record.operation = "metrics";
            if reading {
                return Box::pin(metrics::answer(exchange)).await;
            }
            Response::method_not_allowed("GET, HEAD")
        }
        // The host's signature lets in, which can't send a token.
        (Route::RefsChanged, refusal) if exchange.shard.node.config.webhook.secret.is_some() || refusal.is_none() => {
            exchange.record.operation = "webhook";
            if exchange.head.method == Method::Post {
                return Box::pin(webhook::answer(exchange)).await;
            }
            Response::method_not_allowed("POST")
        }
        (_, Some(refusal)) => {
            exchange.record.operation = "admin";
            refusal
        }
        (Route::Sync(path), None) => {
            exchange.record.operation = "sync";
            exchange.record.repository = Some(path.to_string());
            if exchange.head.method == Method::Post {
                return Box::pin(sync::answer(exchange, path)).await;
            }
            Response::method_not_allowed("POST")
        }
        (Route::Purge(path, what), None) => {
            exchange.record.operation = "purge";
            exchange.record.repository = Some(path.to_string());
            if exchange.head.method == Method::Post {
                return Box::pin(purge::answer(exchange, path, what)).await;
            }
            Response::method_not_allowed("POST")
        }
        (Route::ForgetRights(path), None) => {
            exchange.record.operation = "forget-rights";
            exchange.record.repository = path.as_ref().map(ToString::to_string);
            if exchange.head.method == Method::Post {
                return Box::pin(rights::forget(exchange, path)).await;
            }
            Response::method_not_allowed("POST")
        }
        (route @ (Route::Node | Route::Repositories | Route::Repository(_) | Route::Syncs), None) => {
            exchange.record.operation = "admin";
            if reading {
                return Box::pin(api::answer(exchange, route)).await;
            }
            Response::method_not_allowed("GET, HEAD")
        }
        _ => {
            exchange.record.operation = "none";
            Response::not_found()
        }
    };
    exchange.respond(response).await
}

/// What is said when too many ask at once for what takes a while.
fn busy() -> Response {
    Response::unavailable(2, "too many admin requests at once, try again")
}

fn refusal(exchange: &Exchange<'_>) -> Option<Response> {
    match &exchange.shard.node.config.admin.token {
        Some(expected) if token::matches(expected, exchange.head.authorization.as_ref().map(Secret::expose)) => None,
        Some(_) => Some(Response::text(401, "the admin token is needed").with("WWW-Authenticate", "Bearer")),
        None => cross_site::refusal(&exchange.head).map(|words| Response::text(403, words)),
    }
}
