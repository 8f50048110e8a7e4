//! What all shards share: configuration, the mirrored repositories, the counters, the workers.

use super::{
    places::{Place, Places},
    workers::Workers,
};
use crate::{
    admin::desk::Desk,
    auth::Rights,
    config::Config,
    holder::Holder,
    http::{admission::Admission, handshake, response},
    metrics::ShardCounts,
    shard::{Door, drain::Stage},
    sync::Syncs,
    tls::Serving,
};
use heliostat_core::{RepositoryPath, protocol::Policy, store::Store, sync::Mode};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// One per process.
pub struct Node {
    /// What the operator asked for.
    pub config: Arc<Config>,
    /// This process, as it has signed the data directory.
    pub holder: Holder,
    /// Where the node stands.
    pub stage: Stage,
    /// Who may connect.
    pub admission: Arc<Admission>,
    /// Who plans.
    pub workers: Workers,
    /// Who answers what takes a shard too long on the admin port.
    pub desk: Desk,
    /// What each shard counts.
    pub counts: Box<[ShardCounts]>,
    /// Who may read.
    pub rights: Rights,
    /// What is offered to clients.
    pub policy: Arc<Policy>,
    /// What clients are shown, where the main port speaks TLS.
    tls: Option<Arc<Serving>>,
    /// When the process started.
    pub started: Instant,
    /// The repositories, once they are loaded.
    mirrors: OnceLock<Mirrors>,
    /// Requests under way on all shards.
    live: AtomicU32,
    /// For fetches that wait for their objects.
    parked: Arc<Places>,
}

/// Threads that work for all shards.
pub struct Staff {
    /// Who plans.
    pub workers: Workers,
    /// Who answers what takes a shard too long on the admin port.
    pub desk: Desk,
    /// Who may read.
    pub rights: Rights,
}

/// The mirrored repositories, and what keeps them equal to the upstream.
pub struct Mirrors {
    /// What is on disk.
    pub store: Arc<Store>,
    /// What asks the upstream.
    pub syncs: Syncs,
}

/// What a rule says of waiting.
#[derive(Clone, Copy)]
pub struct Terms {
    /// Whether a caller may have mirrored what is not here yet.
    pub on_demand: bool,
    /// Whether what is here is served while the upstream is asked in vain.
    pub serve_stale: bool,
    /// When the upstream has to be asked.
    pub freshness: Mode,
    /// How long a client may wait for its word.
    pub wait: Duration,
    /// How long for what nothing here leads to.
    pub park: Duration,
}

/// For a path that no rule mirrors: the upstream is not asked.
const UNRULED: Terms = Terms {
    on_demand: false,
    serve_stale: false,
    freshness: Mode::Strict,
    wait: Duration::from_secs(20),
    park: Duration::ZERO,
};

impl Node {
    /// A node with so many shards that does not serve yet.
    pub fn new(
        config: Arc<Config>,
        holder: Holder,
        admission: Admission,
        staff: Staff,
        policy: Arc<Policy>,
        shards: usize,
    ) -> Self {
        let Staff { workers, desk, rights } = staff;
        Self {
            config,
            holder,
            stage: Stage::default(),
            admission: Arc::new(admission),
            workers,
            desk,
            counts: (0..shards).map(|_| ShardCounts::default()).collect(),
            rights,
            policy,
            tls: None,
            started: Instant::now(),
            mirrors: OnceLock::new(),
            live: AtomicU32::new(0),
            parked: Arc::default(),
        }
    }

    /// The same, with TLS on the main port.
    pub fn with_tls(self, tls: Option<Arc<Serving>>) -> Self {
        Self { tls, ..self }
    }

    /// What clients that come in by `door` are shown, if TLS is spoken there.
    pub fn tls(&self, door: Door) -> Option<&Serving> {
        self.tls.as_deref().filter(|_| door == Door::Main)
    }

    /// What who comes in by `door` hears when the server is full, without anything being parsed or allocated.
    pub fn full(&self, door: Door) -> &'static [u8] {
        if self.tls(door).is_some() { handshake::FULL } else { response::FULL }
    }

    /// The repositories; `None` while they are being loaded.
    pub fn mirrors(&self) -> Option<&Mirrors> {
        self.mirrors.get()
    }

    /// Hands over the loaded repositories: from now on they are served.
    pub fn serve(&self, mirrors: Mirrors) {
        // Called once, by the thread that loads.
        let _ = self.mirrors.set(mirrors);
        self.stage.advance(crate::shard::drain::State::Serving);
    }

    /// The terms on which `path` is served.
    pub fn terms(&self, path: &RepositoryPath) -> Terms {
        let rule = self.config.rule(path.as_str());
        rule.map_or(UNRULED, |rule| Terms {
            on_demand: rule.on_demand,
            serve_stale: rule.serve_stale,
            freshness: rule.freshness,
            wait: rule.wait,
            park: rule.park,
        })
    }

    /// Requests under way.
    pub fn live(&self) -> u32 {
        self.live.load(Ordering::Acquire)
    }

    /// A place to wait for objects of `path`; `None` if too many do.
    pub fn park(&self, path: &RepositoryPath) -> Option<Place> {
        self.parked.take(path)
    }

    /// Counts a request that draining waits for.
    pub fn begin_request(self: &Arc<Self>) -> Live {
        self.live.fetch_add(1, Ordering::AcqRel);
        Live(self.clone())
    }
}

/// A request under way; counts down when dropped.
pub struct Live(Arc<Node>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::AcqRel);
    }
}
