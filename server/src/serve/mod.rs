//! Clones and fetches: from a request's route to its answer.
//!
//! What needs references only is answered on the accepting shard, from one snapshot. What needs a plan goes to the
//! repository's owner shard as a [`job`], is planned by one of the [`workers`], and streams from the accepting shard.
//! This is the only place where HTTP and the protocol machine meet, and neither knows of the other.

pub mod answer_cache;
pub mod door;
pub mod flights;
pub mod freshness;
pub mod greedy_dual;
pub mod job;
pub mod node;
pub mod owner;
pub mod parking;
pub mod places;
pub mod redirect;
pub mod references;
pub mod resolve;
pub mod stream;
pub mod upload_pack;
pub mod view;
pub mod workers;

use crate::{
    admin::status,
    http::{
        exchange::Exchange,
        head::Method,
        response::Response,
        target::{Route, Service, route},
    },
};
use heliostat_core::protocol::Version;
use std::io;

/// Answers one request on the main port.
pub async fn answer(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let reading = matches!(exchange.head.method, Method::Get | Method::Head);
    let posting = exchange.head.method == Method::Post;
    let response = match route(&exchange.head.target) {
        Route::Status => {
            exchange.record.operation = "status";
            if reading { status::response(&exchange.shard.node) } else { Response::method_not_allowed("GET, HEAD") }
        }
        Route::InfoRefs(path, service) => {
            exchange.record.operation = "info/refs";
            exchange.record.repository = Some(path.to_string());
            match service {
                _ if !reading => Response::method_not_allowed("GET, HEAD"),
                Service::UploadPack => return Box::pin(references::advertise(exchange, path)).await,
                Service::ReceivePack => {
                    redirect::push(&exchange.shard.node.config, &path, query(&exchange.head.target))
                }
                Service::Dumb => Response::text(403, "the dumb HTTP protocol is not served; use Git 1.6.6 or newer"),
                Service::Other => Response::text(403, "unsupported service"),
            }
        }
        Route::UploadPack(path) => {
            exchange.record.operation = "upload-pack";
            exchange.record.repository = Some(path.to_string());
            if posting {
                return Box::pin(upload_pack::answer(exchange, path)).await;
            }
            Response::method_not_allowed("POST")
        }
        Route::ReceivePack(path) => {
            exchange.record.operation = "receive-pack";
            exchange.record.repository = Some(path.to_string());
            if posting {
                redirect::pushed_here(&exchange.shard.node.config, &path)
            } else {
                Response::method_not_allowed("POST")
            }
        }
        Route::Lfs(path, rest) => {
            exchange.record.operation = "lfs";
            exchange.record.repository = Some(path.to_string());
            redirect::lfs(&exchange.shard.node.config, &path, &rest, query(&exchange.head.target))
        }
        Route::File => {
            exchange.record.operation = "file";
            if reading {
                Response::text(403, "files of a repository are not served")
            } else {
                Response::method_not_allowed("GET, HEAD")
            }
        }
        Route::Purge(..)
        | Route::RefsChanged
        | Route::Metrics
        | Route::Sync(_)
        | Route::ForgetRights(_)
        | Route::Node
        | Route::Repositories
        | Route::Repository(_)
        | Route::Syncs
        | Route::Unknown => {
            exchange.record.operation = "none";
            Response::not_found()
        }
    };
    exchange.respond(response).await
}

/// What stands behind the first `?` of a target.
fn query(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

/// What `Git-Protocol` asks for: the highest version among its `version=` keys, as stock Git reads it.
fn version(git_protocol: Option<&str>) -> Version {
    git_protocol
        .unwrap_or_default()
        .split(':')
        .filter_map(|key| match key {
            "version=2" => Some(Version::V2),
            "version=1" => Some(Version::V1),
            "version=0" => Some(Version::V0),
            _ => None,
        })
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_git_reads_them() {
        for (header, expected) in [
            (None, Version::V0),
            (Some(""), Version::V0),
            (Some("version=1"), Version::V1),
            (Some("version=2"), Version::V2),
            (Some("version=1:version=2"), Version::V2),
            (Some("x:version=2:y=z"), Version::V2),
            (Some("version=3"), Version::V0),
            (Some("version=2 "), Version::V0),
        ] {
            assert_eq!(version(header), expected, "{header:?}");
        }
    }
}
