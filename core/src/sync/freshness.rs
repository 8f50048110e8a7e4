//! Whether an answer may be given from what is known, or the upstream has to be asked first.
//!
//! | the answer tells | `strict` | `lease` | `eventual` |
//! |---|---|---|---|
//! | references | ask | answer while the last confirmation is younger than the lease | answer |
//! | what the server can do | ask, not for long, if the last confirmation is old | the same, beyond the lease | answer |
//! | objects | answer | answer | answer |
//!
//! What is not here, or refused by the upstream, is asked about in every mode: there is nothing to answer from.

use crate::limits::CAPABILITIES_AGE;
use std::time::Duration;

/// `freshness` of a mirror rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// References are told only if the upstream has confirmed them since the request arrived.
    Strict,
    /// A confirmation counts for this long, or until somebody says that something has changed.
    Lease(Duration),
    /// What is here is told; the interval brings it up to date.
    Eventual,
}

/// What an answer has to know of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Which references there are: the answer tells the client.
    Always,
    /// The same, and their objects have to be here: the client has no place to wait for them later.
    Whole,
    /// That the repository is still there: the answer names no reference, but what is gone has no answer.
    IfOld,
    /// Nothing: the client has been told of what it asks for.
    IfAbsent,
}

/// What is known of a repository that is here and not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Since the question whose answer confirmed what is known, if there has been one since the process started and nobody
    /// has said since that something has changed.
    pub age: Option<Duration>,
    /// The question after that was in vain.
    pub is_stale: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Answer from what is known.
    Answer,
    /// Ask the upstream, and wait for its word as long as the rule says.
    Ask,
    /// Ask, and answer from what is known if the upstream's word does not come soon.
    AskBriefly,
}

impl Mode {
    /// What to do for an answer that needs `ask`, knowing `known` of the repository if it is here.
    #[must_use]
    pub fn decide(self, ask: Ask, known: Option<Known>) -> Decision {
        let Some(Known { age, is_stale }) = known else { return Decision::Ask };
        let is_younger_than = |time| age.is_some_and(|age| age < time);
        match (ask, self) {
            (Ask::IfAbsent, _) | (_, Self::Eventual) => Decision::Answer,
            (_, Self::Lease(lease)) if is_younger_than(lease) => Decision::Answer,
            (Ask::Always | Ask::Whole, _) => Decision::Ask,
            // An upstream that keeps silent is not waited for twice by one clone.
            (Ask::IfOld, _) if is_stale || is_younger_than(CAPABILITIES_AGE) => Decision::Answer,
            (Ask::IfOld, _) => Decision::AskBriefly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const ALL: [Mode; 3] = [Mode::Strict, Mode::Lease(LEASE), Mode::Eventual];

    fn known(seconds: u64) -> Option<Known> {
        Some(Known { age: Some(Duration::from_secs(seconds)), is_stale: false })
    }

    #[test]
    fn what_is_not_here_is_asked_about() {
        for mode in ALL {
            for ask in [Ask::Always, Ask::Whole, Ask::IfOld, Ask::IfAbsent] {
                assert_eq!(mode.decide(ask, None), Decision::Ask, "{mode:?} {ask:?}");
            }
        }
    }

    #[test]
    fn references_are_told_as_the_mode_says() {
        for (mode, age, expected) in [
            (Mode::Strict, known(0), Decision::Ask),
            (Mode::Lease(LEASE), known(0), Decision::Answer),
            (Mode::Lease(LEASE), known(29), Decision::Answer),
            (Mode::Lease(LEASE), known(30), Decision::Ask),
            (Mode::Lease(LEASE), Some(Known { age: None, is_stale: false }), Decision::Ask),
            (Mode::Lease(LEASE), Some(Known { age: None, is_stale: true }), Decision::Ask),
            (Mode::Eventual, known(1_000_000), Decision::Answer),
            (Mode::Eventual, Some(Known { age: None, is_stale: true }), Decision::Answer),
        ] {
            assert_eq!(mode.decide(Ask::Always, age), expected, "{mode:?} {age:?}");
            assert_eq!(mode.decide(Ask::Whole, age), expected, "{mode:?} {age:?}");
        }
    }

    #[test]
    fn objects_need_no_word_and_capabilities_none_that_takes_long() {
        for mode in ALL {
            assert_eq!(mode.decide(Ask::IfAbsent, known(1_000_000)), Decision::Answer, "{mode:?}");
            assert_eq!(mode.decide(Ask::IfOld, known(1)), Decision::Answer, "{mode:?}");
        }
        let stale = Some(Known { age: known(100).and_then(|known| known.age), is_stale: true });
        for (mode, known, expected) in [
            (Mode::Strict, known(5), Decision::AskBriefly),
            (Mode::Strict, stale, Decision::Answer),
            (Mode::Lease(LEASE), known(29), Decision::Answer),
            (Mode::Lease(LEASE), known(30), Decision::AskBriefly),
            (Mode::Eventual, known(1_000), Decision::Answer),
        ] {
            assert_eq!(mode.decide(Ask::IfOld, known), expected, "{mode:?} {known:?}");
        }
    }
}
