//! The circuit breaker of one upstream: after several outages in a row it is left alone, then asked once, then again
//! at full width step by step.
//!
//! ```text
//! Closed --outages in a row--> Open --its time is over--> one probe --success--> Closed, width 1, 2, 3, ...
//!                               ^------------- failure -----'
//! ```
//!
//! It holds back what nobody in particular waits for. What must not be answered from memory is asked in spite of it,
//! within whoever's own bound: any answer closes it.

use crate::retry::{Attempts, Backoff};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// When the breaker opens and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerPolicy {
    /// Different repositories whose questions met an outage, with no answer in between, that open it.
    pub threshold: u32,
    /// How long it stays open, growing with each failed probe.
    pub open: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Duration },
    Probing,
}

/// Counts outages only: an upstream that answers 404, 500 or sends a bad pack is up.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    /// Whose questions met an outage since the last answer; no name twice, `threshold` names at most.
    outages: Vec<u64>,
    openings: Attempts,
    width: usize,
    width_max: usize,
}

impl Breaker {
    /// A closed breaker that lets `width_max` questions run at once.
    #[must_use]
    pub fn new(policy: BreakerPolicy, width_max: usize) -> Self {
        let width_max = width_max.max(1);
        Self {
            policy,
            state: State::Closed,
            outages: Vec::new(),
            openings: Attempts::default(),
            width: width_max,
            width_max,
        }
    }

    /// Whether a question that would make `running + 1` at once may be asked now. Tell [`Breaker::asked`] if it is.
    #[must_use]
    pub fn admits(&self, now: Duration, running: usize) -> bool {
        match self.state {
            State::Closed => running < self.width,
            State::Open { until } => now >= until,
            State::Probing => false,
        }
    }

    /// Whether the upstream is being left alone: who asks now is better told so than kept waiting.
    #[must_use]
    pub fn is_open(&self, now: Duration) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { until } => now < until,
            State::Probing => true,
        }
    }

    /// When an open breaker lets a probe through.
    #[must_use]
    pub fn opens_until(&self) -> Option<Duration> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed | State::Probing => None,
        }
    }

    /// A question is on its way.
    pub fn asked(&mut self, now: Duration) {
        if matches!(self.state, State::Open { until } if now >= until) {
            self.state = State::Probing;
        }
    }

    /// The upstream answered, whatever it said.
    pub fn answered(&mut self) {
        self.outages.clear();
        match self.state {
            State::Closed => self.width = (self.width + 1).min(self.width_max),
            State::Probing | State::Open { .. } => {
                self.state = State::Closed;
                self.openings.verified();
                self.width = 1;
            }
        }
    }

    /// The upstream could not be reached, or did not answer in time. `who` names the repository: one that always fails must
    /// not shut out the others.
    pub fn outage(&mut self, now: Duration, who: &str, random: u64) {
        let who = name_of(who);
        if self.outages.len() < self.policy.threshold as usize && !self.outages.contains(&who) {
            self.outages.push(who);
        }
        let open = match self.state {
            State::Probing => true,
            State::Closed => self.outages.len() >= self.policy.threshold as usize,
            State::Open { .. } => false,
        };
        if open {
            let delay = self.openings.failed(&self.policy.open, random);
            self.state = State::Open { until: now + delay };
        }
    }

    /// The probe ended without telling anything of the upstream (it was stopped, or failed for what it asked): ask again.
    pub fn undecided(&mut self, now: Duration) {
        if self.state == State::Probing {
            self.state = State::Open { until: now };
        }
    }
}

/// A name for a repository; the same in every run.
fn name_of(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        let open = Backoff { base: SECOND, cap: 60 * SECOND };
        Breaker::new(BreakerPolicy { threshold: 3, open }, 4)
    }

    #[test]
    fn opens_probes_closes_and_widens() {
        let mut breaker = breaker();
        for n in 0..3 {
            assert!(breaker.admits(SECOND, n), "{n}");
            breaker.asked(SECOND);
            breaker.outage(SECOND, &n.to_string(), u64::MAX);
        }
        assert!(breaker.is_open(SECOND) && !breaker.admits(SECOND, 0));
        let later = 2 * SECOND;
        assert!(breaker.admits(later, 0));
        breaker.asked(later);
        assert!(!breaker.admits(later, 0), "one probe at a time");
        breaker.outage(later, "7", u64::MAX);
        assert!(!breaker.admits(later + SECOND, 0), "the second opening is longer");
        let later = 5 * SECOND;
        breaker.asked(later);
        breaker.answered();
        assert!(breaker.admits(later, 0) && !breaker.admits(later, 1), "width 1 after an outage");
        breaker.answered();
        assert!(breaker.admits(later, 1) && !breaker.admits(later, 2));
        for _ in 0..10 {
            breaker.answered();
        }
        assert!(breaker.admits(later, 3) && !breaker.admits(later, 4));
    }

    #[test]
    fn whatever_is_answered_while_it_is_open_closes_it() {
        let mut breaker = breaker();
        for n in 0..3 {
            breaker.outage(SECOND, &n.to_string(), u64::MAX);
        }
        assert!(breaker.is_open(SECOND));
        breaker.answered();
        assert!(breaker.admits(SECOND, 0) && !breaker.admits(SECOND, 1), "width 1 after an outage");
    }

    #[test]
    fn an_answer_between_outages_keeps_it_closed() {
        let mut breaker = breaker();
        for _ in 0..100 {
            breaker.outage(SECOND, "1", u64::MAX);
            breaker.outage(SECOND, "2", u64::MAX);
            breaker.answered();
        }
        assert!(!breaker.is_open(SECOND));
    }

    #[test]
    fn one_repository_that_always_fails_does_not_open_it() {
        let mut breaker = breaker();
        for _ in 0..100 {
            breaker.outage(SECOND, "1", u64::MAX);
        }
        assert!(!breaker.is_open(SECOND));
    }

    #[test]
    fn a_probe_that_tells_nothing_is_asked_again() {
        let mut breaker = breaker();
        for n in 0..3 {
            breaker.outage(SECOND, &n.to_string(), 0);
        }
        breaker.asked(SECOND);
        breaker.undecided(2 * SECOND);
        assert!(breaker.admits(2 * SECOND, 0));
    }
}
