//! The running node's admin API, from its client's side: one request, one JSON answer.

use super::Outcome;
use crate::{
    cli::{purge, sync::progress::Step},
    config::Admin,
    upstream::transport::Head,
};
use heliostat_core::RepositoryPath;
use serde_json::Value;
use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The node waits an hour for a sync at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3700);
/// What needs no upstream is answered at once, if it is a node that listens there.
const WORD_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer: a page of repositories with long paths.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Repositories that are asked for at once.
const PAGE: usize = 1_000;
/// What a caller hears who has no token, or a wrong one.
const TOKEN_WANTED: &str = "the node wants its admin token: give the node's configuration with --config";

/// Where a node is asked.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    token: Option<String>,
}

/// What a node tells of itself.
#[derive(Debug)]
pub struct Identity {
    /// This run of it.
    pub instance: String,
    /// Its data directory, as it sees it.
    pub data: String,
    /// Its upstream.
    pub upstream: String,
    /// Everything that it told.
    pub document: Value,
}

/// One repository, as the node tells of it.
#[derive(Debug)]
pub struct Row {
    /// Its path.
    pub path: RepositoryPath,
    /// Everything that was told.
    pub document: Value,
}

/// Why no node has told who it is.
pub enum Unidentified {
    /// It wants a token.
    Token,
    /// Nothing answers, or something that is no node.
    Absent(io::Error),
}

impl Client {
    pub fn new(admin: &Admin) -> Self {
        Self { address: admin.listen, token: admin.token.clone() }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who listens at the address.
    pub fn identify(&self) -> Result<Identity, Unidentified> {
        let (status, body) = self.request("GET", "/api/v1/node", WORD_TIMEOUT).map_err(Unidentified::Absent)?;
        let document: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        match (status, text("instance"), text("data"), text("upstream")) {
            (200, Some(instance), Some(data), Some(upstream)) => Ok(Identity { instance, data, upstream, document }),
            // Anybody may answer 401; these are a node's words.
            (401, ..) if body.starts_with(b"the admin token is needed") => Err(Unidentified::Token),
            _ => {
                Err(Unidentified::Absent(io::Error::other(format!("what listens there is no node (status {status})"))))
            }
        }
    }

    /// What there is to mirror, what the upstream lists too, and why that may not be all.
    pub fn listed(&self) -> Result<(Vec<RepositoryPath>, Option<String>), String> {
        let mut paths = Vec::new();
        let error = self.pages("listed&", &mut |row| paths.push(row.path))?;
        Ok((paths, error))
    }

    /// What is mirrored here, one after another.
    pub fn repositories(&self, each: &mut dyn FnMut(Row)) -> Result<(), String> {
        self.pages("", each).map(drop)
    }

    fn pages(&self, query: &str, each: &mut dyn FnMut(Row)) -> Result<Option<String>, String> {
        let (mut after, mut error) = (None::<RepositoryPath>, None);
        loop {
            let behind = after.iter().map(|path| format!("&after={}", path.to_url_path())).collect::<String>();
            let target = format!("/api/v1/repositories?{query}limit={PAGE}{behind}");
            let (status, body) = self.request("GET", &target, ANSWER_TIMEOUT).map_err(|error| self.silent(&error))?;
            let document: Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = |name: &str| document.get(name).and_then(Value::as_str);
            let Some(rows) = document.get("repositories").and_then(Value::as_array).filter(|_| status == 200) else {
                return Err(match status {
                    401 => TOKEN_WANTED.into(),
                    _ => format!(
                        "the node at {} does not say which repositories there are: status {status} {}",
                        self.address,
                        String::from_utf8_lossy(&body).trim_end()
                    ),
                });
            };
            for row in rows {
                if let Some(path) = row.get("repository").and_then(Value::as_str).and_then(|path| path.parse().ok()) {
                    each(Row { path, document: row.clone() });
                }
            }
            error = error.or_else(|| text("error").map(str::to_owned));
            let next = text("next").and_then(|path| path.parse::<RepositoryPath>().ok());
            // A page that leads nowhere is the last one.
            match next.filter(|next| after.as_ref().is_none_or(|after| next > after)) {
                Some(next) => after = Some(next),
                None => return Ok(error),
            }
        }
    }

    /// What the node is doing; nothing, if it does not say.
    pub fn steps(&self) -> Vec<Step> {
        let Ok((200, body)) = self.request("GET", "/api/v1/syncs", WORD_TIMEOUT) else { return Vec::new() };
        let document: Value = serde_json::from_slice(&body).unwrap_or_default();
        let steps = document.get("syncs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let steps = steps.iter().filter_map(|step| {
            let number = |name: &str| step.get(name).and_then(Value::as_u64);
            Some(Step {
                name: step.get("repository")?.as_str()?.to_owned(),
                phase: step.get("phase")?.as_str()?.to_owned(),
                objects: number("objects").zip(number("objects_total")),
                bytes: number("bytes").unwrap_or_default(),
                said: String::new(),
            })
        });
        steps.collect()
    }

    /// Asks the node to sync `path`, and waits for the end.
    pub fn sync(&self, path: &RepositoryPath) -> Outcome {
        let target = format!("/api/v1/repositories/{}/sync", path.to_url_path());
        let (status, body) = self.request("POST", &target, ANSWER_TIMEOUT).map_err(|error| self.silent(&error))?;
        let document: Value = serde_json::from_slice(&body).unwrap_or_default();
        let field = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        match status {
            200 => {
                let number = |name: &str| document.get(name).and_then(Value::as_u64).unwrap_or_default();
                Ok(format!("current, generation {}, {} references", number("generation"), number("refs")))
            }
            401 => Err(TOKEN_WANTED.into()),
            404 => Err("not found: the upstream has no such repository, or no rule mirrors it".into()),
            status => {
                let words = field("error").or_else(|| field("outcome"));
                Err(words.unwrap_or_else(|| format!("the node answers with status {status}")))
            }
        }
    }

    /// Asks the node to drop `path`, or what nothing in it reaches.
    pub fn purge(&self, path: &RepositoryPath, unreachable: bool) -> Outcome {
        let action = if unreachable { "purge-unreachable" } else { "purge" };
        let target = format!("/api/v1/repositories/{}/{action}", path.to_url_path());
        let (status, body) = self.request("POST", &target, ANSWER_TIMEOUT).map_err(|error| self.silent(&error))?;
        let document: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (status, document.get("bytes").and_then(Value::as_u64)) {
            (200, Some(bytes)) => Ok(purge::described(bytes)),
            (401, _) => Err(TOKEN_WANTED.into()),
            (404, _) => Err(purge::ABSENT.into()),
            _ => {
                let words = document.get("error").and_then(Value::as_str).map(str::to_owned);
                Err(words.unwrap_or_else(|| String::from_utf8_lossy(&body).trim_end().to_owned()))
            }
        }
    }

    fn silent(&self, error: &io::Error) -> String {
        format!("the admin API of the node at {} does not answer: {error}", self.address)
    }

    fn request(&self, method: &str, target: &str, patience: Duration) -> io::Result<(u16, Vec<u8>)> {
        let mut socket = TcpStream::connect_timeout(&reachable(self.address), CONNECT_TIMEOUT)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
        let token = self.token.iter().map(|token| format!("Authorization: Bearer {token}\r\n")).collect::<String>();
        // A node without a token answers to a loopback address only; what this one is configured as may be all of them.
        let host = reachable(self.address);
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{token}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        match Head::parse(&answer) {
            Ok(Some((head, length))) => Ok((head.status, answer.split_off(length))),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl fmt::Display for Unidentified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str(TOKEN_WANTED),
            Self::Absent(error) => error.fmt(f),
        }
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
