//! Where a schedule stands, in numbers, for whoever watches it.

use super::Schedule;
use std::time::Duration;

/// Lengths of queues, and what is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Questions that callers have asked for and that are not asked yet.
    pub questions_waiting: usize,
    /// Questions under way.
    pub questions_running: usize,
    /// Repositories whose references have moved and that wait for their fetch.
    pub fetches_waiting: usize,
    /// Fetches under way.
    pub fetches_running: usize,
    /// Callers that wait for an answer.
    pub callers_waiting: usize,
    /// Repositories that are compared at the interval.
    pub known: usize,
    /// Whether the upstream is not asked for a while, after outages in a row.
    pub upstream_is_left_alone: bool,
}

impl Schedule {
    /// The numbers at `now`.
    #[must_use]
    pub fn figures(&self, now: Duration) -> Figures {
        Figures {
            questions_waiting: self.demanded.len() + self.delayed.len(),
            questions_running: self.asking,
            fetches_waiting: self.moved,
            fetches_running: self.fetching,
            callers_waiting: self.waiting,
            known: self.known(),
            upstream_is_left_alone: self.breaker.is_open(now),
        }
    }
}
