//! How a mirrored repository stands to its upstream: when that last confirmed what is here, whether it has kept silent
//! since, whether it refuses the repository, and whether it has moved on. Written by synchronisation, read by whoever
//! serves, without a lock.
//!
//! Times are a [`Duration`] since any origin that the caller chose, the same for all calls. Nothing of it is on disk.

use crate::fault::Fault;
use arc_swap::ArcSwapOption;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What is known of one repository.
#[derive(Debug, Default)]
pub struct Standing {
    /// Milliseconds of the last confirmation and one more; 0: none yet.
    confirmed: AtomicU64,
    /// The same of the last hint that something has changed.
    hinted: AtomicU64,
    /// Why the last question was in vain, if it was.
    doubt: ArcSwapOption<Fault>,
    /// The status of HTTP that says it; 0: not refused.
    refusal: AtomicU16,
    moving: AtomicBool,
}

/// What is here may be old: how long ago the upstream confirmed it, if it has since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Since the last confirmation.
    pub age: Option<Duration>,
}

/// The upstream's last word on the repository was that nobody gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such repository (404, or not in the folder).
    Missing,
    /// It wants credentials or refuses, 401 or 403, or says that the repository is gone for good, 410.
    Denied(u16),
}

/// [`Refusal::Missing`] as a status.
const NOT_FOUND: u16 = 404;

impl Standing {
    /// The upstream has confirmed what is here, asked at `asked_at`.
    pub fn confirmed(&self, asked_at: Duration) {
        self.confirmed.store(stamp(asked_at), Relaxed);
        self.doubt.store(None);
        self.moving.store(false, Relaxed);
        self.refusal.store(0, Relaxed);
    }

    /// Somebody says, at `now`, that the upstream has changed: what was confirmed before does not count any more.
    pub fn hinted(&self, now: Duration) {
        self.hinted.store(stamp(now), Relaxed);
    }

    /// Whether nobody has said since `asked_at`, when a question was asked, that the upstream has changed.
    pub fn counts(&self, asked_at: Duration) -> bool {
        stamp(asked_at) > self.hinted.load(Relaxed)
    }

    /// The upstream was asked, and `why` what it has now could not be found out or brought here.
    pub fn unanswered(&self, why: &Arc<Fault>) {
        self.doubt.store(Some(why.clone()));
    }

    /// Why what is here may be old.
    pub fn doubt(&self) -> Option<Arc<Fault>> {
        self.doubt.load_full()
    }

    /// The upstream shows the repository, and it has other references than what is here: that is old.
    pub fn moved(&self) {
        self.moving.store(true, Relaxed);
        self.refusal.store(0, Relaxed);
    }

    /// Nothing is on its way any more.
    pub fn settled(&self) {
        self.moving.store(false, Relaxed);
    }

    /// The upstream refuses the repository. Holds until it shows it again: an outage takes nothing back.
    pub fn refused(&self, refusal: Refusal) {
        let status = match refusal {
            Refusal::Missing => NOT_FOUND,
            Refusal::Denied(status) => status,
        };
        self.refusal.store(status, Relaxed);
    }

    /// Whether the last question was in vain.
    pub fn stale(&self, now: Duration) -> Option<Stale> {
        self.doubt.load().is_some().then(|| Stale { age: self.age(now) })
    }

    /// Whether the upstream refuses the repository.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.refusal.load(Relaxed) {
            0 => None,
            NOT_FOUND => Some(Refusal::Missing),
            status => Some(Refusal::Denied(status)),
        }
    }

    /// Whether what the upstream has now is known to be something else, and is on its way.
    pub fn is_moving(&self) -> bool {
        self.moving.load(Relaxed)
    }

    /// How long ago the upstream confirmed what is here, if it has since the process started.
    pub fn age(&self, now: Duration) -> Option<Duration> {
        let millis = self.confirmed.load(Relaxed).checked_sub(1)?;
        Some(now.saturating_sub(Duration::from_millis(millis)))
    }
}

/// Milliseconds and one more.
fn stamp(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Arc<Fault> {
        Arc::new(Fault::upstream("away", "away"))
    }

    #[test]
    fn stale_is_what_was_asked_about_in_vain_since_it_was_confirmed() {
        let at = Duration::from_secs;
        let standing = Standing::default();
        assert_eq!(standing.stale(at(5)), None, "nobody has asked");
        standing.unanswered(&fault());
        assert_eq!(standing.stale(at(6)), Some(Stale { age: None }));
        standing.confirmed(at(0));
        assert_eq!(standing.stale(at(7)), None);
        standing.unanswered(&fault());
        standing.unanswered(&fault());
        assert_eq!(standing.stale(at(8)), Some(Stale { age: Some(at(8)) }));
        standing.confirmed(at(10));
        standing.unanswered(&fault());
        assert_eq!(standing.stale(at(9)), Some(Stale { age: Some(at(0)) }), "two threads, two clocks");
    }

    #[test]
    fn a_hint_ends_what_was_asked_before() {
        let at = Duration::from_millis;
        let standing = Standing::default();
        assert!(standing.counts(at(0)), "nobody has said anything");
        standing.hinted(at(5));
        for (asked_at, counts) in [(0, false), (4, false), (5, false), (6, true)] {
            assert_eq!(standing.counts(at(asked_at)), counts, "{asked_at}");
        }
        standing.confirmed(at(2));
        assert_eq!(standing.age(at(10)), Some(at(8)), "it stays what it was");
    }

    #[test]
    fn a_refusal_holds_until_the_upstream_shows_the_repository_again() {
        let standing = Standing::default();
        assert_eq!(standing.refusal(), None);
        for refusal in [Refusal::Missing, Refusal::Denied(401), Refusal::Denied(403)] {
            standing.refused(refusal);
            standing.unanswered(&fault());
            standing.settled();
            assert_eq!(standing.refusal(), Some(refusal), "silence takes nothing back");
            standing.confirmed(Duration::ZERO);
            assert_eq!(standing.refusal(), None);
        }
        standing.refused(Refusal::Missing);
        standing.moved();
        assert_eq!((standing.refusal(), standing.is_moving()), (None, true));
        standing.settled();
        assert!(!standing.is_moving());
    }
}
