//! How far the objects of a quarantine are, for whoever looks: written by the threads that work, read by any.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

/// Counts of the pack that is on its way in, and of the objects that are checked afterwards. Each is what has been done,
/// not what was announced, but for the totals.
#[derive(Debug, Default)]
pub struct Tally {
    announced: AtomicU32,
    received: AtomicU32,
    /// Counted by gix-pack.
    pub(super) indexed: Arc<AtomicUsize>,
    to_check: AtomicU32,
    checked: AtomicU32,
}

impl Tally {
    /// Another pack comes. `announced`: what its head says; 0 before it has come.
    pub fn begin(&self, announced: u32) {
        self.announced.store(announced, Relaxed);
        self.received.store(0, Relaxed);
        self.indexed.store(0, Relaxed);
    }

    pub(super) fn set_received(&self, count: u32) {
        self.received.store(count, Relaxed);
    }

    pub(super) fn begin_checks(&self, total: u32) {
        self.to_check.store(total, Relaxed);
        self.checked.store(0, Relaxed);
    }

    pub(super) fn add_checked(&self) {
        self.checked.fetch_add(1, Relaxed);
    }

    /// Whether the pack has come whole, so that it is being indexed or was.
    #[must_use]
    pub fn has_come(&self) -> bool {
        let announced = self.announced.load(Relaxed);
        announced > 0 && self.received.load(Relaxed) >= announced
    }

    /// Objects that have come, out of those that the pack's head promises (0: it has not come).
    #[must_use]
    pub fn received(&self) -> (u64, u64) {
        let announced = self.announced.load(Relaxed);
        // Bases that the pack lacked are appended and count as entries.
        (self.received.load(Relaxed).min(announced).into(), announced.into())
    }

    /// Objects whose ids are known, out of those of the pack, the appended bases included.
    #[must_use]
    pub fn indexed(&self) -> (u64, u64) {
        let received = u64::from(self.received.load(Relaxed));
        ((self.indexed.load(Relaxed) as u64).min(received), received)
    }

    /// Objects that have been looked at, out of the new ones.
    #[must_use]
    pub fn checked(&self) -> (u64, u64) {
        (self.checked.load(Relaxed).into(), self.to_check.load(Relaxed).into())
    }
}
