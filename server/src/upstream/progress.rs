//! How far a sync has come, for whoever looks: written by its thread, read by any.

use heliostat_core::store::Tally;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};

/// What a sync is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Waiting for a slot.
    #[default]
    Waiting,
    /// Asking for references.
    Asking,
    /// Finding out what is common.
    Negotiating,
    /// The pack is coming.
    Receiving,
    /// It has come, and the ids of its objects are found.
    Indexing,
    /// Objects and connectivity are checked.
    Verifying,
    /// On its way to the disk.
    Publishing,
    /// Over.
    Done,
}

/// Counters of one sync.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    bytes: AtomicU64,
    requests: AtomicU64,
    /// Bytes that [`Progress::take_traffic`] has given.
    bytes_taken: AtomicU64,
    tally: Arc<Tally>,
    message: Mutex<String>,
}

impl Progress {
    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        if phase == Phase::Receiving {
            // What an earlier pack has left says nothing of this one.
            self.tally.begin(0);
        }
        self.phase.store(phase as u8, Relaxed);
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        const ALL: [Phase; 8] = [
            Phase::Waiting,
            Phase::Asking,
            Phase::Negotiating,
            Phase::Receiving,
            Phase::Indexing,
            Phase::Verifying,
            Phase::Publishing,
            Phase::Done,
        ];
        match ALL.get(usize::from(self.phase.load(Relaxed))).copied().unwrap_or_default() {
            // Both are one call.
            Phase::Receiving if self.tally.has_come() => Phase::Indexing,
            phase => phase,
        }
    }

    /// How many objects the phase has dealt with, and of how many; `None` where nothing is known to count.
    #[must_use]
    pub fn objects(&self) -> Option<(u64, u64)> {
        let counted = match self.phase() {
            Phase::Receiving => self.tally.received(),
            Phase::Indexing => self.tally.indexed(),
            Phase::Verifying => self.tally.checked(),
            _ => return None,
        };
        Some(counted).filter(|(_, total)| *total > 0)
    }

    /// Where the store counts objects.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Counts bytes that came.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Bytes that came, of all answers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Counts a request that goes out.
    pub fn add_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Requests that went out and bytes that came since the last call, for the counters of all syncs.
    pub fn take_traffic(&self) -> (u64, u64) {
        let bytes = self.bytes();
        (self.requests.swap(0, Relaxed), bytes.saturating_sub(self.bytes_taken.swap(bytes, Relaxed)))
    }

    /// The upstream says what it does (side-band 2), already escaped.
    pub fn say(&self, text: String) {
        *self.message.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text;
    }

    /// The upstream's last words.
    #[must_use]
    pub fn message(&self) -> String {
        self.message.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Phase {
    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Asking => "asking the upstream",
            Self::Negotiating => "negotiating",
            Self::Receiving => "receiving",
            Self::Indexing => "indexing",
            Self::Verifying => "checking",
            Self::Publishing => "publishing",
            Self::Done => "done",
        }
    }
}
