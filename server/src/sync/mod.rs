//! Keeping mirrored repositories equal to the upstream: one question at a time per repository, retries, an interval.
//!
//! The rest of the server knows only [`Syncs`]. The decisions are `heliostat_core::sync`'s; here are the threads that carry
//! them out: one that owns the schedule, a few that ask, a few that fetch, one that tidies up. None of them is pinned;
//! they are started before the shards, whose pins they would inherit.
//!
//! Nothing here deletes a repository because of what the upstream says: one that it denies having stays on disk and is asked
//! about again. Deleted is what an operator purges, and what nobody asks for while the store is full. Another exception is a second copy of one repository, under its other spelling (see `upstream::git`), as a data directory may
//! hold that was filled from a folder: it goes once the other copy is proven equal to the upstream.

mod arrivals;
mod by_id;
mod driver;
mod evict;
mod job;
pub(crate) mod pool;
mod purge;
mod seed;
mod tidy;
mod wants;

pub use arrivals::{Arrival, Pending};
pub use evict::clock;
pub use seed::{Seed, seed};

use crate::{
    config::Config,
    metrics::SyncCounts,
    upstream::{self, Context, Progress, Upstream, UpstreamError},
};
use arc_swap::ArcSwap;
use futures_channel::oneshot;
use heliostat_core::{
    ObjectId, RepositoryPath,
    fault::Fault,
    rights::Payers,
    store::{MirroredRepository, Refusal, Snapshot, Store},
    sync::Need,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The answer to "what does the upstream say of this repository now?".
#[derive(Clone)]
pub enum Confirmed {
    /// The upstream has confirmed these references since the question was asked, and their objects are here.
    Current(Arc<Snapshot>),
    /// The same, and their objects are on their way. Only who needs no objects is told so.
    Pending(Arc<Pending>),
    /// The upstream did not answer, or what it answered can't be used; this is what we had.
    Stale(Arc<Snapshot>, Arc<Fault>),
    /// The upstream says there is no such repository (404, or not in the folder), or no rule mirrors it.
    NotFound,
    /// The upstream wants credentials or refuses: its status, 401, 403, 410 or 451.
    Denied(u16),
    /// It can't be mirrored, and why (an upstream repository in SHA-256, a shallow one).
    Unsupported(Arc<Fault>),
    /// Nothing is here, and the upstream or the sync failed.
    Unavailable(Arc<Fault>),
    /// Nothing is here, and whoever answers does not answer as the upstream: it redirects, or is no Git host.
    Useless(Arc<Fault>),
}

impl From<Refusal> for Confirmed {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::NotFound,
            Refusal::Denied(status) => Self::Denied(status),
        }
    }
}

/// The handle to synchronisation: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Syncs {
    events: flume::Sender<driver::Event>,
    shared: Arc<Shared>,
}

/// All repositories that are mirrored here, and those that the upstream lists and a rule mirrors.
pub struct Repositories {
    /// Their paths.
    pub paths: BTreeSet<RepositoryPath>,
    /// Why the upstream did not list its own: only those that are here are in `paths` then.
    pub error: Option<UpstreamError>,
}

/// A sync that is under way.
#[derive(Clone)]
pub struct Activity {
    /// Which repository.
    pub path: RepositoryPath,
    /// How far it is.
    pub progress: Arc<Progress>,
}

/// What all threads of synchronisation share.
struct Shared {
    config: Arc<Config>,
    store: Arc<Store>,
    upstream: Box<dyn Upstream>,
    stop: Arc<AtomicBool>,
    /// Whether the upstream's list of repositories has been read, where it has one.
    listed: AtomicBool,
    /// Whether that has been tried.
    list_was_tried: AtomicBool,
    activities: Mutex<BTreeMap<Arc<str>, Arc<Progress>>>,
    counts: SyncCounts,
    /// What is on its way, by the path under which the schedule knows the repository. Written by the driver's thread only.
    pending: ArcSwap<HashMap<Arc<str>, Arc<Pending>>>,
    /// All times of the schedule count from here.
    origin: Instant,
}

/// The threads, to be ended with [`Threads::stop`].
pub struct Threads {
    shared: Arc<Shared>,
    events: flume::Sender<driver::Event>,
    handles: Vec<JoinHandle<()>>,
}

impl Syncs {
    /// Starts the threads. To be called before the shards exist, from a thread that is not pinned.
    pub fn start(config: Arc<Config>, store: Arc<Store>) -> Result<(Self, Threads), String> {
        let upstream = seed::open(&config)?;
        let shared = Arc::new(Shared {
            config,
            store,
            upstream,
            stop: Arc::default(),
            listed: AtomicBool::new(false),
            list_was_tried: AtomicBool::new(false),
            activities: Mutex::default(),
            counts: SyncCounts::default(),
            pending: ArcSwap::default(),
            origin: Instant::now(),
        });
        let (events, handles) = driver::start(&shared).map_err(|error| format!("starting threads: {error}"))?;
        let threads = Threads { shared: shared.clone(), events: events.clone(), handles };
        Ok((Self { events, shared }, threads))
    }

    /// The mirrored repository that a client calls `path`. Asks nobody, reads nothing.
    #[must_use]
    pub fn find(&self, path: &RepositoryPath) -> Option<Arc<MirroredRepository>> {
        upstream::find(&self.shared.store, &*self.shared.upstream, path)
    }

    /// Under which paths the upstream may know what a client calls `path`, the likeliest first. Asks nobody, reads nothing.
    #[must_use]
    pub fn spellings(&self, path: &RepositoryPath) -> Vec<RepositoryPath> {
        self.shared.upstream.spellings(path).collect()
    }

    /// Asks the upstream about `path` (`team/app.git`) and syncs what moved. Questions that arrive before one is asked
    /// share it. The sender never blocks; dropping the receiver does not cancel the sync. `payers` pay, if the repository is
    /// not mirrored yet; the operator has none.
    pub fn confirm(&self, path: &str, payers: Option<Payers>) -> oneshot::Receiver<Confirmed> {
        self.ask(path, Need::Objects, payers)
    }

    /// The same, without waiting for the objects of what moved.
    pub fn references(&self, path: &str, payers: Option<Payers>) -> oneshot::Receiver<Confirmed> {
        self.ask(path, Need::References, payers)
    }

    fn ask(&self, path: &str, need: Need, payers: Option<Payers>) -> oneshot::Receiver<Confirmed> {
        let (reply, receiver) = oneshot::channel();
        match path.parse::<RepositoryPath>() {
            // If the threads have ended the reply is dropped, and the receiver learns that nobody will answer.
            Ok(path) => drop(self.events.send(driver::Event::Confirm { path, need, payers, reply })),
            Err(_) => drop(reply.send(Confirmed::NotFound)),
        }
        receiver
    }

    /// Somebody says that `path` has changed: the upstream is asked, whoever waits for it. Never blocks.
    pub fn hint(&self, path: &str) {
        self.shared.counts.hints.one();
        if let Some(mirrored) = path.parse().ok().and_then(|path| self.find(&path)) {
            mirrored.standing().hinted(self.now());
        }
        drop(self.confirm(path, None));
    }

    /// What is on its way for what a client calls `path`. Asks nobody, takes no lock.
    #[must_use]
    pub fn pending(&self, path: &RepositoryPath) -> Option<Arc<Pending>> {
        self.shared.pending(path)
    }

    /// Hears how the fetch of `path` ends that is under way; at once if there is none.
    pub fn arrival(&self, path: &RepositoryPath) -> oneshot::Receiver<Arrival> {
        let (reply, receiver) = oneshot::channel();
        // As in `ask`.
        let _ = self.events.send(driver::Event::Park { path: path.clone(), reply });
        receiver
    }

    /// Has the upstream asked for `ids`, which nothing here leads to, in the sync that serves all who are parked by then.
    pub fn want(&self, path: &RepositoryPath, ids: Vec<ObjectId>) -> oneshot::Receiver<Arrival> {
        let (reply, receiver) = oneshot::channel();
        let want = arrivals::Want { ids, reply };
        // As in `ask`.
        let _ = self.events.send(driver::Event::Want { path: path.clone(), want });
        receiver
    }

    /// How long there has been synchronisation: the time of [`heliostat_core::store::Standing`].
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// What has been counted since the start.
    #[must_use]
    pub fn counts(&self) -> &SyncCounts {
        &self.shared.counts
    }

    /// Whether the upstream's list of repositories has been read since the start; true where it has none.
    #[must_use]
    pub fn catalogue_is_read(&self) -> bool {
        self.shared.listed.load(Relaxed)
    }

    /// Whether reading it has been tried since the start.
    #[must_use]
    pub fn catalogue_was_asked_for(&self) -> bool {
        self.shared.list_was_tried.load(Relaxed)
    }

    /// What there is to mirror. Asks the upstream, on a thread of ours. The sender never blocks.
    pub fn repositories(&self) -> oneshot::Receiver<Repositories> {
        let (reply, receiver) = oneshot::channel();
        // As in `confirm`.
        let _ = self.events.send(driver::Event::List { reply });
        receiver
    }

    /// The syncs that are under way, in order of their paths.
    #[must_use]
    pub fn activities(&self) -> Vec<Activity> {
        let activities = self.shared.lock_activities();
        activities
            .iter()
            .filter_map(|(path, progress)| Some(Activity { path: path.parse().ok()?, progress: progress.clone() }))
            .collect()
    }
}

impl Threads {
    /// Ends all threads: each within a slice of its waiting, a system call aside. Those that do not end within `patience`
    /// are left behind.
    pub fn stop(mut self, patience: Duration) {
        self.shared.stop.store(true, Relaxed);
        let _ = self.events.send(driver::Event::Stop);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && self.handles.iter().any(|handle| !handle.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        for handle in self.handles.drain(..) {
            if handle.is_finished() {
                let _ = handle.join();
            } else {
                tracing::warn!(thread = handle.thread().name().unwrap_or_default(), "does not end; left behind");
            }
        }
    }
}

impl Drop for Threads {
    /// Who forgets to stop them does not keep them.
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        let _ = self.events.send(driver::Event::Stop);
    }
}

impl Shared {
    /// The path under which the schedule knows the repository that lies here, or at the upstream, as `path`.
    fn scheduled_as(&self, path: RepositoryPath) -> RepositoryPath {
        if self.upstream.tells_spellings_apart() { path } else { self.canonical(&path) }
    }

    /// The one path for both spellings of what a client calls `path`.
    fn canonical(&self, path: &RepositoryPath) -> RepositoryPath {
        self.upstream.canonical(path, &|path| self.store.find(path.as_str()).is_some())
    }

    /// What there is to mirror. Asks the upstream.
    fn repositories(&self) -> Repositories {
        let context = Context { stop: self.stop.clone(), progress: Arc::default() };
        let (listed, error) = match self.upstream.list(&context) {
            Ok(listed) => (listed.unwrap_or_default(), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let here = self.store.all();
        let here = here.iter().filter_map(|repository| repository.path().parse().ok());
        let ruled = |path: &RepositoryPath| self.config.rule(path.as_str()).is_some();
        let all = listed.into_iter().chain(here).filter(ruled);
        Repositories { paths: all.map(|path| self.scheduled_as(path)).collect(), error }
    }

    /// The mirrored repository that the schedule knows as `path`.
    fn mirrored(&self, path: &str) -> Option<Arc<MirroredRepository>> {
        upstream::mirrored(&self.store, &*self.upstream, &path.parse().ok()?)
    }

    /// Other copies of the repository that the schedule knows as `path`.
    fn superseded(&self, path: &str) -> Vec<Arc<MirroredRepository>> {
        let Some(mirrored) = self.mirrored(path).filter(|_| !self.upstream.tells_spellings_apart()) else {
            return Vec::new();
        };
        let spellings = path.parse().map(|path| self.upstream.spellings(&path)).into_iter().flatten();
        let all = spellings.filter_map(|path| self.store.find(path.as_str()));
        all.filter(|copy| copy.id() != mirrored.id()).collect()
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// A question begins. It is not shown beside a fetch of the same repository.
    fn begin(&self, path: &RepositoryPath) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        self.lock_activities().entry(path.as_str().into()).or_insert_with(|| progress.clone());
        progress
    }

    /// `pending` is all that is under way for `path`.
    fn show(&self, path: &Arc<str>, pending: Option<Pending>) {
        let mut activities = self.lock_activities();
        match &pending {
            Some(pending) => drop(activities.insert(path.clone(), pending.progress.clone())),
            None => drop(activities.remove(path)),
        }
        drop(activities);
        if pending.is_none() && !self.pending.load().contains_key(path) {
            return;
        }
        let mut all = HashMap::clone(&self.pending.load());
        match pending {
            Some(pending) => all.insert(path.clone(), Arc::new(pending)),
            None => all.remove(path),
        };
        self.pending.store(Arc::new(all));
    }

    /// What is on its way for the repository that the schedule knows as `path`.
    fn pending_as(&self, path: &str) -> Option<Arc<Pending>> {
        self.pending.load().get(path).cloned()
    }

    /// And for the one that a client calls `path`.
    fn pending(&self, path: &RepositoryPath) -> Option<Arc<Pending>> {
        let pending = self.pending.load();
        if pending.is_empty() {
            return None;
        }
        if !self.upstream.tells_spellings_apart() {
            return pending.get(self.canonical(path).as_str()).cloned();
        }
        match upstream::find(&self.store, &*self.upstream, path) {
            Some(mirrored) => pending.get(mirrored.path()).cloned(),
            None => self.upstream.spellings(path).find_map(|path| pending.get(path.as_str()).cloned()),
        }
    }

    fn lock_activities(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Arc<Progress>>> {
        self.activities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
