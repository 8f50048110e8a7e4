//! What to believe of an upstream that suddenly advertises nothing.
//!
//! A repository that had references and now has none is, far more often than a wish, a host that lost its disk, a proxy
//! that answers for it, or a half-restored backup. So the empty answer is held back and the mirror goes on with what it
//! has, until the same answer has come again and again over a span of time: [`EmptyGuard::ANSWERS`] answers over at
//! least [`EmptyGuard::SPAN`]. Then it is believed. Any other answer in between starts anew.
//!
//! Not here: a guard on large but partial changes.

use std::time::Duration;

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Publish it.
    Believe,
    /// Keep what is here and ask again.
    Hold,
}

/// The memory of one repository's empty answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmptyGuard {
    first: Option<Duration>,
    answers: u32,
}

impl EmptyGuard {
    /// How many empty answers it takes.
    pub const ANSWERS: u32 = 3;
    /// How long it takes from the first of them.
    pub const SPAN: Duration = Duration::from_secs(10 * 60);

    /// Judges an answer with `has` references where the mirror has `had`.
    pub fn judge(&mut self, now: Duration, had: usize, has: usize) -> Judgement {
        if had == 0 || has != 0 {
            *self = Self::default();
            return Judgement::Believe;
        }
        let first = *self.first.get_or_insert(now);
        self.answers = self.answers.saturating_add(1);
        if self.answers >= Self::ANSWERS && now.saturating_sub(first) >= Self::SPAN {
            *self = Self::default();
            return Judgement::Believe;
        }
        Judgement::Hold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptiness_needs_answers_and_time() {
        let minute = Duration::from_secs(60);
        let mut guard = EmptyGuard::default();
        for n in 0..100 {
            assert_eq!(guard.judge(minute + Duration::from_millis(n), 5, 0), Judgement::Hold, "many answers, no time");
        }
        assert_eq!(guard.judge(11 * minute, 5, 0), Judgement::Believe);

        let mut guard = EmptyGuard::default();
        assert_eq!(guard.judge(minute, 5, 0), Judgement::Hold);
        assert_eq!(guard.judge(60 * minute, 5, 0), Judgement::Hold, "much time, few answers");
        assert_eq!(guard.judge(61 * minute, 5, 0), Judgement::Believe);
    }

    #[test]
    fn another_answer_starts_anew() {
        let minute = Duration::from_secs(60);
        let mut guard = EmptyGuard::default();
        for n in 0..2 {
            assert_eq!(guard.judge(minute * n, 5, 0), Judgement::Hold);
        }
        assert_eq!(guard.judge(20 * minute, 5, 5), Judgement::Believe);
        assert_eq!(guard.judge(21 * minute, 5, 0), Judgement::Hold);
    }

    #[test]
    fn a_new_and_empty_repository_is_believed() {
        assert_eq!(EmptyGuard::default().judge(Duration::ZERO, 0, 0), Judgement::Believe);
    }
}
