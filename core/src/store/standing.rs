//! How a mirrored repository stands to its upstream: when that last confirmed what is here, and whether it has kept silent
//! since. Written by synchronisation, read by whoever serves, without a lock.
//!
//! Times are a [`Duration`] since any origin that the caller chose, the same for all calls. Nothing of it is on disk.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What is known of one repository.
#[derive(Debug, Default)]
pub struct Standing {
    /// Milliseconds of the last confirmation and one more; 0: none yet.
    confirmed: AtomicU64,
    silent: AtomicBool,
}

/// What is here may be old: how long ago the upstream confirmed it, if it has since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Since the last confirmation.
    pub age: Option<Duration>,
}

impl Standing {
    /// The upstream has confirmed, at `now`, what is here.
    pub fn confirmed(&self, now: Duration) {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX - 1);
        self.confirmed.store(millis + 1, Relaxed);
        self.silent.store(false, Relaxed);
    }

    /// The upstream was asked and what it has now could not be found out or brought here.
    pub fn unanswered(&self) {
        self.silent.store(true, Relaxed);
    }

    /// Whether the last question was in vain.
    pub fn stale(&self, now: Duration) -> Option<Stale> {
        self.silent.load(Relaxed).then(|| Stale { age: self.age(now) })
    }

    fn age(&self, now: Duration) -> Option<Duration> {
        let millis = self.confirmed.load(Relaxed).checked_sub(1)?;
        Some(now.saturating_sub(Duration::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_is_what_was_asked_about_in_vain_since_it_was_confirmed() {
        let at = Duration::from_secs;
        let standing = Standing::default();
        assert_eq!(standing.stale(at(5)), None, "nobody has asked");
        standing.unanswered();
        assert_eq!(standing.stale(at(6)), Some(Stale { age: None }));
        standing.confirmed(at(0));
        assert_eq!(standing.stale(at(7)), None);
        standing.unanswered();
        standing.unanswered();
        assert_eq!(standing.stale(at(8)), Some(Stale { age: Some(at(8)) }));
        standing.confirmed(at(10));
        standing.unanswered();
        assert_eq!(standing.stale(at(9)), Some(Stale { age: Some(at(0)) }), "two threads, two clocks");
    }
}
