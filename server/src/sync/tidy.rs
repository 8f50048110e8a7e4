//! What may wait: tables of large packs, consolidation where it pays, expiry of earlier generations, removal of second copies.
//! One thread, at low priority.

use super::{Shared, driver::Event, evict};
use std::{
    collections::{BTreeSet, HashMap},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often earlier generations are looked at.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
/// Consolidation waits this long after it was asked for, so that a burst of small publications is consolidated once.
const SETTLE: Duration = Duration::from_secs(5);
/// One that failed, or that could not be done now, is not tried again before this: each question to the upstream asks for it.
const AGAIN: Duration = Duration::from_secs(60);
/// How far this thread steps back behind all others.
const NICENESS: i32 = 10;

/// What there is to do for one repository, under the path that the schedule knows it by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chore {
    /// It has been verified, and lies here a second time.
    SecondCopies(Arc<str>),
    /// A pack has no table of its commits.
    Tables(Arc<str>),
    /// It has many packs.
    Consolidation(Arc<str>),
    /// There may be more bytes than there should be.
    Eviction,
}

/// Starts the thread. It takes chores.
pub(super) fn start(
    shared: &Arc<Shared>,
    events: flume::Sender<Event>,
    handles: &mut Vec<JoinHandle<()>>,
) -> io::Result<flume::Sender<Chore>> {
    let (sender, chores) = flume::unbounded();
    let shared = shared.clone();
    let work = move || {
        // On Linux this is the thread's own priority. Without it the work is done all the same.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        run(&shared, &events, &chores);
    };
    handles.push(std::thread::Builder::new().name("sync-tidy".into()).spawn(work)?);
    Ok(sender)
}

fn run(shared: &Shared, events: &flume::Sender<Event>, chores: &flume::Receiver<Chore>) {
    let mut waiting: BTreeSet<Chore> = BTreeSet::new();
    let mut put_off: HashMap<Arc<str>, Instant> = HashMap::new();
    let mut settled = Instant::now();
    let mut expiry = Instant::now() + EXPIRY_INTERVAL;
    loop {
        let next = if waiting.is_empty() { expiry } else { expiry.min(settled) };
        match chores.recv_deadline(next) {
            Ok(chore) => {
                if waiting.is_empty() {
                    settled = Instant::now() + SETTLE;
                }
                waiting.insert(chore);
            }
            Err(flume::RecvTimeoutError::Timeout) => {}
            Err(flume::RecvTimeoutError::Disconnected) => return write_asked(shared),
        }
        if shared.stop.load(Relaxed) {
            write_asked(shared);
            return;
        }
        let now = Instant::now();
        if now >= settled {
            let mut is_full = false;
            for chore in std::mem::take(&mut waiting) {
                let _ = catch_unwind(AssertUnwindSafe(|| match chore {
                    Chore::SecondCopies(path) => remove_superseded(shared, &path),
                    Chore::Tables(path) => complete_tables(shared, &path),
                    Chore::Consolidation(path) => consolidate(shared, &path, &mut put_off),
                    Chore::Eviction => is_full = evict::evict(shared, events),
                }));
            }
            if is_full {
                settled = Instant::now() + SETTLE;
                waiting.insert(Chore::Eviction);
            }
        }
        if now >= expiry {
            let _ = catch_unwind(AssertUnwindSafe(|| {
                shared.store.expire(Instant::now());
                evict::evict(shared, events);
                write_asked(shared);
            }));
            put_off.retain(|_, until| *until > now);
            expiry = now + EXPIRY_INTERVAL;
        }
    }
}

/// When repositories were asked for last outlives the process.
fn write_asked(shared: &Shared) {
    if let Err(error) = shared.store.write_asked() {
        tracing::warn!(%error, "when repositories were asked for could not be written down");
    }
}

/// Without them it is served all the same, only slower: a failure is tried again with the next question to the upstream.
fn complete_tables(shared: &Shared, path: &Arc<str>) {
    let Some(repository) = shared.mirrored(path) else { return };
    let began = Instant::now();
    match repository.complete_tables(&shared.stop) {
        Ok(0) => {}
        Ok(made) => tracing::info!(repository = &**path, made, elapsed = ?began.elapsed(), "tables of commits made"),
        Err(error) => tracing::warn!(repository = &**path, ?error, "tables of commits could not be made"),
    }
}

fn consolidate(shared: &Shared, path: &Arc<str>, put_off: &mut HashMap<Arc<str>, Instant>) {
    if put_off.get(path).is_some_and(|until| *until > Instant::now()) {
        return;
    }
    let Some(repository) = shared.mirrored(path).filter(|repository| repository.is_worth_consolidating()) else {
        return;
    };
    // A panic counts as a failure.
    put_off.insert(path.clone(), Instant::now() + AGAIN);
    match repository.consolidate(&shared.stop) {
        Ok(true) => {
            put_off.remove(path);
            shared.counts.consolidations.one();
            tracing::info!(repository = &**path, "consolidated");
        }
        Ok(false) => {}
        Err(error) => {
            shared.counts.consolidations_failed.one();
            tracing::warn!(repository = &**path, ?error, "consolidation failed");
        }
    }
}

/// Second copies of a repository, under its other spelling. Only called when the first has been verified.
fn remove_superseded(shared: &Shared, path: &str) {
    for copy in shared.superseded(path) {
        match shared.store.remove(copy.path()) {
            Ok(_) => tracing::info!(repository = path, copy = copy.path(), id = %copy.id(), "second copy removed"),
            Err(error) => tracing::warn!(repository = path, copy = copy.path(), %error, "a second copy stays on disk"),
        }
    }
}
