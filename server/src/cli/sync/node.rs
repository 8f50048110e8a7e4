//! The running node's admin API, from its client's side: one request, one JSON answer.

use super::Outcome;
use crate::upstream::transport::Head;
use heliostat_core::RepositoryPath;
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The node waits an hour for a sync at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3700);
/// Bytes of an answer. The node's are a few hundred.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Asks the node at `address` to sync `path`, and waits for the end.
pub(super) fn sync(address: SocketAddr, token: Option<&str>, path: &RepositoryPath) -> Outcome {
    let answer = request(address, token, &format!("/api/v1/repositories/{}/sync", path.to_url_path()));
    let (status, body) = answer.map_err(|error| {
        format!("a node runs on the data directory, but its admin API at {address} does not answer: {error}")
    })?;
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    let field = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    match status {
        200 => {
            let number = |name: &str| document.get(name).and_then(Value::as_u64).unwrap_or_default();
            Ok(format!("current, generation {}, {} references", number("generation"), number("refs")))
        }
        401 => Err("the node wants its admin token: give the node's configuration with --config".into()),
        404 => Err("not found: the upstream has no such repository, or no rule mirrors it".into()),
        status => {
            let words = field("error").or_else(|| field("outcome"));
            Err(words.unwrap_or_else(|| format!("the node answers with status {status}")))
        }
    }
}

fn request(address: SocketAddr, token: Option<&str>, target: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut socket = TcpStream::connect_timeout(&reachable(address), CONNECT_TIMEOUT)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request =
        format!("POST {target} HTTP/1.1\r\nHost: {address}\r\n{token}Content-Length: 0\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    match Head::parse(&answer) {
        Ok(Some((head, length))) => Ok((head.status, answer.split_off(length))),
        Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// A node that listens on all addresses is reached by the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, address.port())
}
