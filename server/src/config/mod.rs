//! The configuration as the rest of the server uses it: complete, checked, with defaults filled in.
//!
//! Flags override environment, which overrides the file. Only what is built is in here.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Everything a `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[node]`.
    pub node: Node,
    /// `[http]`.
    pub http: Http,
    /// `[admin]`.
    pub admin: Admin,
    /// `[upstream]`.
    pub upstream: Upstream,
    /// `[[mirror]]`, in order; the first that matches a path rules it.
    pub mirrors: Vec<Mirror>,
    /// `[sync]`.
    pub sync: Sync,
    /// `[store]`.
    pub store: Store,
}

/// `[node]`.
#[derive(Clone, Debug)]
pub struct Node {
    /// The data directory.
    pub data: PathBuf,
    /// How many shards; the machine's cores if `None`.
    pub cores: Option<usize>,
}

/// `[http]`.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where to listen; default 127.0.0.1:8080.
    pub listen: SocketAddr,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where to listen; default 127.0.0.1:9090. Without a token only a loopback address is accepted.
    pub listen: SocketAddr,
    /// Bearer token for everything but `/metrics` and `/status`.
    pub token: Option<String>,
}

/// `[upstream]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Any smart-HTTP host; the base URL without trailing slash.
    Git {
        /// `http://…` or `https://…`.
        url: String,
        /// Additional trust anchors (PEM file).
        ca: Option<PathBuf>,
    },
    /// A folder of bare repositories.
    Directory(PathBuf),
}

/// `[[mirror]]`: which repositories, and how.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Glob patterns on the repository's path; one must match. `*` matches any characters, `/` included.
    pub include: Vec<String>,
    /// Glob patterns; none may match.
    pub exclude: Vec<String>,
    /// How long a reference advertisement waits for the upstream and the sync, default 20 s.
    pub wait: Duration,
}

/// `[sync]`.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Each repository is compared with the upstream this often, default 3 min.
    pub interval: Duration,
    /// How many syncs at once, default 4.
    pub concurrency: usize,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// How many earlier generations stay servable, default 8.
    pub generations_kept: usize,
    /// How long an earlier generation and its directory stay, default 10 min.
    pub grace: Duration,
}
