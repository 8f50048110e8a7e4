//! The configuration as the rest of the server uses it: complete, checked, with defaults filled in.
//!
//! Flags override environment, which overrides the file. Every mistake is found in one reading and names where it
//! stands; for that the certificates and keys that it names are read, and it is looked where the folders lie. Only what is
//! built is in here; `schema` refuses the rest in words.

mod file;
mod pattern;
mod schema;
mod settle;
mod taker;
mod together;
mod value;
mod webhook;

pub use pattern::Pattern;
pub use schema::nearest;
pub use value::{parse_duration, parse_size};
pub use webhook::Webhook;

use crate::{
    http::client::Trusted,
    tls,
    upstream::transport::{Egress, Proxies},
};
use heliostat_core::{
    RepositoryPath,
    limits::{
        HTTP_CONNECTIONS, PLAN_QUEUE_TIME, PLANS_RUNNING_PER_REPOSITORY, PLANS_WAITING_PER_REPOSITORY, SPOOL_BYTES,
    },
    refs::Shown,
    sync::Mode,
};
use std::{borrow::Cow, collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

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
    /// `[auth]`, and `hook` in `[upstream]`.
    pub auth: Auth,
    /// `[sync]`.
    pub sync: Sync,
    /// `[store]`.
    pub store: Store,
    /// `[cache]`.
    pub cache: Cache,
    /// `[limits]`.
    pub limits: Limits,
    /// `[webhook]`.
    pub webhook: Webhook,
    /// What is allowed and deserves a word, where it stands.
    pub doubts: Vec<Mistake>,
}

/// What a process beside a running node needs to know: where that node is. The node has a configuration of its own, so
/// that no upstream need be given here.
#[derive(Clone, Debug)]
pub struct Beside {
    /// `[node]`.
    pub node: Node,
    /// Whether the data directory was given, by a flag, the environment or the file.
    pub data_is_said: bool,
    /// `[admin]`.
    pub admin: Admin,
    /// `[upstream]`, if one was given.
    pub upstream: Option<Upstream>,
    /// All that holds where no node runs; or what is missing for that.
    pub config: Result<Config, Vec<Mistake>>,
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
    /// Whether each connection begins with a PROXY protocol header; it is demanded then.
    pub proxy_protocol: bool,
    /// Whose word on the client's address is taken: balancers that send `X-Forwarded-For`, and, if there are any, the only
    /// ones that may send a PROXY protocol header.
    pub trusted_proxies: Trusted,
    /// `tls.certificate` and `tls.key`: without them the port speaks plain HTTP.
    pub tls: Option<tls::Files>,
}

/// `[admin]`.
#[derive(Clone)]
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
        /// What to show to it if it asks who we are.
        client: Option<tls::Files>,
        /// What to go through.
        proxies: Arc<Proxies>,
        /// The file with the mirror's own credential.
        credentials: Option<PathBuf>,
    },
    /// A folder of bare repositories.
    Directory(PathBuf),
}

/// `[[mirror]]`: which repositories, and how.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// One must match.
    pub include: Vec<Pattern>,
    /// None may match.
    pub exclude: Vec<Pattern>,
    /// Whether a caller may have mirrored what is not here yet, default true; else only the operator and a folder's listing.
    pub on_demand: bool,
    /// When the upstream has to be asked, default [`Mode::Strict`].
    pub freshness: Mode,
    /// Whether what is here is served while the upstream is asked in vain, default true.
    pub serve_stale: bool,
    /// How long a fetch waits for what nothing here leads to, default 10 s.
    pub park: Duration,
    /// How long a reference advertisement waits for the upstream and the sync, default 20 s.
    pub wait: Duration,
    /// Which references are mirrored and shown.
    pub refs: Shown,
}

/// `[auth]`, and `hook` in `[upstream]`: who may read, and how long that is believed.
#[derive(Clone, Debug)]
pub struct Auth {
    /// How long a grant is remembered, default 60 s.
    pub ttl: Duration,
    /// How long a refusal is, default 5 s.
    pub negative_ttl: Duration,
    /// How long after that a grant still holds while the upstream does not answer, default: not at all.
    pub stale_if_error: Duration,
    /// The address of the service that says who may; the upstream itself if `None`.
    pub hook: Option<String>,
    /// The authorities by whose word it is believed, beside the public ones: `ca` in `[upstream]`.
    pub hook_ca: Option<PathBuf>,
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
    /// What nobody asks for goes while there are more bytes of packs than this; no limit if `None`.
    pub bytes: Option<u64>,
}

/// `[cache]`.
#[derive(Clone, Debug)]
pub struct Cache {
    /// What kept plans may take in memory and in files, default 256 MiB; 0: none is kept.
    pub bytes: u64,
}

/// `[limits]`: those of `core/src/limits.rs` that depend on the machine and on who connects.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections in all, default 10,000. Fewer where the process may not open as many files.
    pub connections: u32,
    /// Open connections of one address, or requests under way where a trusted balancer speaks for it; half of all if `None`.
    pub connections_per_address: Option<u32>,
    /// Plans of one repository at work at once, default 4.
    pub plans_per_repository: usize,
    /// Plans of one repository that wait for a worker, default 512.
    pub plans_waiting_per_repository: usize,
    /// How long one waits, default 30 s.
    pub plan_wait: Duration,
    /// Bytes of temporary files that all plans together may take, default 8 GiB.
    pub spool: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: HTTP_CONNECTIONS,
            connections_per_address: None,
            plans_per_repository: PLANS_RUNNING_PER_REPOSITORY,
            plans_waiting_per_repository: PLANS_WAITING_PER_REPOSITORY,
            plan_wait: PLAN_QUEUE_TIME,
            spool: SPOOL_BYTES,
        }
    }
}

impl Store {
    /// The same for the store.
    #[must_use]
    pub fn retention(&self) -> heliostat_core::store::Retention {
        heliostat_core::store::Retention { generations: self.generations_kept, grace: self.grace }
    }
}

/// What flags and environment say, as written; each overrides the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--upstream`.
    pub upstream: Option<String>,
    /// `--kind`.
    pub kind: Option<String>,
    /// `--data`.
    pub data: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--admin-listen`.
    pub admin_listen: Option<String>,
    /// `--mirror`, each.
    pub mirrors: Vec<String>,
    /// `--freshness`: for all rules.
    pub freshness: Option<String>,
    /// `--cores`.
    pub cores: Option<String>,
    /// The variables by which the environment names proxies, as it has them.
    pub proxies: BTreeMap<String, String>,
    /// Flags that were given and are not built: each is a mistake.
    pub not_built: Vec<&'static str>,
}

/// Where a setting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nowhere in particular: something is missing.
    Nowhere,
    /// A line of the file, from 1.
    Line(usize),
    /// A flag, or the environment variable that stands for it.
    Flag(&'static str),
}

/// Something wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where.
    pub origin: Origin,
    /// What, in words.
    pub text: String,
}

impl Mistake {
    fn new(origin: Origin, text: impl Into<String>) -> Self {
        Self { origin, text: text.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Nowhere => f.write_str(&self.text),
            Origin::Line(line) => write!(f, "line {line}: {}", self.text),
            Origin::Flag(flag) => write!(f, "{flag}: {}", self.text),
        }
    }
}

impl Config {
    /// Reads the file's `text` (empty if there is none) under `overrides`. All mistakes come back, in order of place.
    pub fn load(text: &str, overrides: &Overrides) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let file = file::read(text, &mut mistakes);
        if !file.is_whole {
            mistakes.sort();
            return Err(mistakes);
        }
        let settled = settle::settle(file, overrides, &mut mistakes);
        mistakes.sort();
        match settled.config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes),
        }
    }

    /// The same for a process that may find a node: what is only missing is no mistake yet.
    pub fn load_beside(text: &str, overrides: &Overrides) -> Result<Beside, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let file = file::read(text, &mut mistakes);
        if !file.is_whole {
            mistakes.sort();
            return Err(mistakes);
        }
        let settled = settle::settle(file, overrides, &mut mistakes);
        if mistakes.iter().any(|mistake| mistake.origin != Origin::Nowhere) {
            mistakes.sort();
            return Err(mistakes);
        }
        let config = settled.config.filter(|_| mistakes.is_empty()).ok_or(mistakes);
        Ok(Beside { config, ..settled.beside })
    }

    /// The first rule that mirrors `path` (`team/app.git`), if one does. At an upstream of kind git `team/app` and
    /// `team/app.git` are one repository: a pattern on either is one on both.
    pub fn rule(&self, path: &str) -> Option<&Mirror> {
        let other = match &self.upstream {
            Upstream::Directory(_) => None,
            Upstream::Git { .. } => path.parse().ok().and_then(|path: RepositoryPath| path.other_spelling()),
        };
        let names = |pattern: &Pattern| {
            pattern.matches(path) || other.as_ref().is_some_and(|other| pattern.matches(other.as_str()))
        };
        self.mirrors.iter().find(|rule| rule.include.iter().any(names) && !rule.exclude.iter().any(names))
    }

    /// The longest that any client waits for the upstream.
    pub fn wait_max(&self) -> Duration {
        self.mirrors.iter().map(|rule| rule.wait).max().unwrap_or_default()
    }

    /// Which references of the repository at `path` are mirrored and shown.
    pub fn shown(&self, path: &str) -> Cow<'_, Shown> {
        self.rule(path).map_or_else(|| Cow::Owned(Shown::default()), |rule| Cow::Borrowed(&rule.refs))
    }

    /// What is allowed and deserves a word in the log.
    pub fn warnings(&self) -> Vec<String> {
        let open = matches!(self.upstream, Upstream::Git { .. })
            && self.mirrors.iter().any(|m| m.include.iter().any(Pattern::is_everything));
        let open = open.then(|| {
            "pattern `*` mirrors whatever repository of the upstream anybody asks for who may read it, unless it is excluded; \
             name the ones you want"
                .to_owned()
        });
        let in_the_clear = |url: &str| {
            let host = url.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
            host.is_some_and(|host| host != "localhost" && !host.starts_with("127.") && !host.starts_with('['))
        };
        let upstream = match &self.upstream {
            Upstream::Git { url, .. } if in_the_clear(url) => Some("the upstream"),
            _ => None,
        };
        let hook = self.auth.hook.as_deref().is_some_and(in_the_clear).then_some("the hook");
        let clear = upstream.into_iter().chain(hook).map(|whose| {
            format!("{whose} is asked over plain http: the passwords and tokens of callers travel in the clear")
        });
        let anybody = (self.http.proxy_protocol && self.http.trusted_proxies.is_empty()).then(|| {
            "with `proxy_protocol` and without `trusted_proxies`, whoever can connect may say that it is anybody: let only \
             the load balancers connect, or name them"
                .to_owned()
        });
        let doubts = self.doubts.iter().map(ToString::to_string);
        doubts.chain(open).chain(clear).chain(anybody).collect()
    }
}

impl Upstream {
    /// How connections to it leave.
    pub fn egress(&self) -> Result<Egress, String> {
        match self {
            Self::Git { ca, client, proxies, .. } => Egress::new(ca.as_deref(), client.as_ref(), proxies.clone()),
            Self::Directory(_) => Egress::new(None, None, Proxies::default()),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git { url, .. } => f.write_str(url),
            Self::Directory(folder) => write!(f, "{}", crate::holder::canonical(folder).display()),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("listen", &self.listen).field("token", &self.token.as_ref().map(|_| "…")).finish()
    }
}

#[cfg(test)]
mod tests;
