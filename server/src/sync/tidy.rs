//! What may wait: consolidation after publications, expiry of earlier generations, removal of second copies. One thread,
//! at low priority.

use super::Shared;
use std::{
    collections::BTreeSet,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often earlier generations are looked at.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
/// Consolidation waits this long after a publication, so that a burst of small ones is consolidated once.
const SETTLE: Duration = Duration::from_secs(5);
/// How far this thread steps back behind all others.
const NICENESS: i32 = 10;

/// Starts the thread. It takes the paths of repositories that have been published.
pub(super) fn start(shared: &Arc<Shared>, handles: &mut Vec<JoinHandle<()>>) -> io::Result<flume::Sender<Arc<str>>> {
    let (sender, published) = flume::unbounded();
    let shared = shared.clone();
    let work = move || {
        // On Linux this is the thread's own priority. Without it the work is done all the same.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        run(&shared, &published);
    };
    handles.push(std::thread::Builder::new().name("sync-tidy".into()).spawn(work)?);
    Ok(sender)
}

fn run(shared: &Shared, published: &flume::Receiver<Arc<str>>) {
    let mut waiting: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut settled = Instant::now();
    let mut expiry = Instant::now() + EXPIRY_INTERVAL;
    loop {
        let next = if waiting.is_empty() { expiry } else { expiry.min(settled) };
        match published.recv_deadline(next) {
            Ok(path) => {
                if waiting.is_empty() {
                    settled = Instant::now() + SETTLE;
                }
                waiting.insert(path);
            }
            Err(flume::RecvTimeoutError::Timeout) => {}
            Err(flume::RecvTimeoutError::Disconnected) => return,
        }
        if shared.stop.load(Relaxed) {
            return;
        }
        let now = Instant::now();
        if now >= settled {
            for path in std::mem::take(&mut waiting) {
                let _ = catch_unwind(AssertUnwindSafe(|| consolidate(shared, &path)));
            }
        }
        if now >= expiry {
            let _ = catch_unwind(AssertUnwindSafe(|| shared.store.expire(Instant::now())));
            expiry = now + EXPIRY_INTERVAL;
        }
    }
}

fn consolidate(shared: &Shared, path: &str) {
    remove_superseded(shared, path);
    let Some(repository) = shared.mirrored(path) else { return };
    match repository.consolidate(&shared.stop) {
        Ok(true) => tracing::info!(repository = path, "consolidated"),
        Ok(false) => {}
        Err(error) => tracing::warn!(repository = path, ?error, "consolidation failed"),
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
