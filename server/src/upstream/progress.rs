//! How far a sync has come, for whoever looks: written by its thread, read by any.

use std::sync::{
    Mutex,
    atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
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
    /// The pack is coming and is indexed.
    Receiving,
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
    objects: AtomicU32,
    message: Mutex<String>,
}

impl Progress {
    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        const ALL: [Phase; 7] = [
            Phase::Waiting,
            Phase::Asking,
            Phase::Negotiating,
            Phase::Receiving,
            Phase::Verifying,
            Phase::Publishing,
            Phase::Done,
        ];
        ALL.get(usize::from(self.phase.load(Relaxed))).copied().unwrap_or_default()
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

    /// The pack says how many objects it holds.
    pub fn set_objects(&self, objects: u32) {
        self.objects.store(objects, Relaxed);
    }

    /// Objects of the pack that is coming; 0 before it says.
    #[must_use]
    pub fn objects(&self) -> u32 {
        self.objects.load(Relaxed)
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
            Self::Verifying => "verifying",
            Self::Publishing => "publishing",
            Self::Done => "done",
        }
    }
}
