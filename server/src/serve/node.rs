//! What all shards share: configuration, the mirrored repositories, the counters, the workers.

use super::workers::Workers;
use crate::{
    admin::desk::Desk, config::Config, holder::Holder, http::admission::Admission, metrics::ShardCounts,
    shard::drain::Stage, sync::Syncs,
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
    /// What is offered to clients.
    pub policy: Arc<Policy>,
    /// When the process started.
    pub started: Instant,
    /// The repositories, once they are loaded.
    mirrors: OnceLock<Mirrors>,
    /// Requests under way on all shards.
    live: AtomicU32,
}

/// The mirrored repositories, and what keeps them equal to the upstream.
pub struct Mirrors {
    /// What is on disk.
    pub store: Arc<Store>,
    /// What asks the upstream.
    pub syncs: Syncs,
}

impl Node {
    /// A node with so many shards that does not serve yet.
    pub fn new(
        config: Arc<Config>,
        holder: Holder,
        admission: Admission,
        workers: Workers,
        desk: Desk,
        policy: Arc<Policy>,
        shards: usize,
    ) -> Self {
        Self {
            config,
            holder,
            stage: Stage::default(),
            admission: Arc::new(admission),
            workers,
            desk,
            counts: (0..shards).map(|_| ShardCounts::default()).collect(),
            policy,
            started: Instant::now(),
            mirrors: OnceLock::new(),
            live: AtomicU32::new(0),
        }
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

    /// When the upstream has to be asked about `path`, and how long a client may wait for its word.
    pub fn terms(&self, path: &RepositoryPath) -> (Mode, Duration) {
        /// For a path that no rule mirrors: `confirm` says so at once.
        const UNRULED: (Mode, Duration) = (Mode::Strict, Duration::from_secs(20));
        self.config.rule(path.as_str()).map_or(UNRULED, |rule| (rule.freshness, rule.wait))
    }

    /// Requests under way.
    pub fn live(&self) -> u32 {
        self.live.load(Ordering::Acquire)
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
