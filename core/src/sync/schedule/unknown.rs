//! Paths that are not mirrored here, and what is remembered of them for a while: so many, and the idle ones go.

use super::Schedule;
use std::{sync::Arc, time::Duration};

impl Schedule {
    /// What nothing is done for, and nothing will be, is forgotten in a while.
    pub(super) fn rest(&mut self, now: Duration, path: &Arc<str>) {
        if self.repositories.get(path).is_some_and(|repository| repository.timer.is_none() && repository.is_idle()) {
            self.set_timer(path, Some(now + self.policy.refusal_ttl));
        }
    }

    /// Makes room by forgetting the idle unknown path whose memory ends first.
    pub(super) fn forget_one_unknown(&mut self) -> bool {
        let oldest =
            self.timers.iter().find(|(_, path)| self.repositories.get(path).is_some_and(|r| !r.known)).cloned();
        let Some(entry) = oldest else { return false };
        self.timers.remove(&entry);
        self.repositories.remove(&entry.1);
        self.unknown -= 1;
        true
    }
}
