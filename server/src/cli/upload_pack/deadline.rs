//! `--timeout`: the process ends when nothing has moved for so long, as by `alarm(2)` in `git-upload-pack`.
//!
//! Unlike there it holds in protocol v2 as well.

use signal_hook::{consts::SIGALRM, low_level::emulate_default_handler};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Counts inactivity. Without a limit it does nothing.
pub(super) struct Deadline {
    start: Instant,
    /// Milliseconds after `start` at which something moved last.
    moved_ms: Option<Arc<AtomicU64>>,
}

impl Deadline {
    /// Begins to count.
    pub(super) fn after(limit: Option<Duration>) -> Self {
        let start = Instant::now();
        let Some(limit) = limit else { return Self { start, moved_ms: None } };
        let moved_ms = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&moved_ms);
        thread::spawn(move || {
            loop {
                let end = Duration::from_millis(seen.load(Ordering::Relaxed)) + limit;
                let Some(left) = end.checked_sub(start.elapsed()) else {
                    // Ends the process the way an alarm does; if that should fail, with the shell's code for it.
                    let _ = emulate_default_handler(SIGALRM);
                    std::process::exit(128 + SIGALRM);
                };
                thread::sleep(left.max(Duration::from_millis(1)));
            }
        });
        Self { start, moved_ms: Some(moved_ms) }
    }

    /// Something moved.
    pub(super) fn postpone(&self) {
        if let Some(moved_ms) = &self.moved_ms {
            moved_ms.store(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}
