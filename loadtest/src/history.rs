//! What clients pushed and what they saw, and whether the one fits the other.
//!
//! Pure: events with their times in, violations out. A branch with one writer is a register, and [`History::violations`]
//! finds whatever an atomic one could not have shown: a push missed that had ended before a fetch began, a value that
//! nobody had written yet, a step back between two fetches of which one had ended before the other began. What happened
//! at the same time may have been seen or not.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

/// A push that has succeeded. Times are since one instant that all events of a history share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Where it went. Pushes to one branch never overlap.
    pub branch: String,
    /// What the branch leads to since, for the first time: no two pushes to a branch leave the same.
    pub id: String,
    /// Before it was begun.
    pub began: Duration,
    /// After it was known to have succeeded.
    pub ended: Duration,
}

/// A fetch that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Who fetched.
    pub client: u32,
    /// Before it was begun.
    pub began: Duration,
    /// After it had ended.
    pub ended: Duration,
    /// What each branch led to. A branch that is not here was not shown.
    pub saw: BTreeMap<String, String>,
}

/// Everything that happened to some branches, none of which existed before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In any order.
    pub pushes: Vec<Push>,
    /// In any order.
    pub fetches: Vec<Fetch>,
}

/// What can't be. A fetch is named by its place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The fetch shows less than a push that had ended before it began.
    Missed {
        /// Which.
        fetch: usize,
        /// Whose fetch it was.
        client: u32,
        /// Where.
        branch: String,
        /// What had been pushed.
        pushed: String,
        /// What was shown, if anything.
        saw: Option<String>,
        /// From the end of the push to the beginning of the fetch.
        after: Duration,
    },
    /// The fetch shows what nobody had pushed there before it ended.
    Unknown {
        /// Which.
        fetch: usize,
        /// Where.
        branch: String,
        /// What.
        saw: String,
    },
    /// The fetch shows less than another one that had ended before it began.
    Backwards {
        /// Which.
        fetch: usize,
        /// Where.
        branch: String,
        /// What the other one showed.
        before: String,
        /// What this one shows, if anything.
        saw: Option<String>,
    },
    /// Two pushes to this branch overlap, or leave the same id: nothing can be said of who should see which.
    Disorder {
        /// Where.
        branch: String,
    },
}

impl History {
    /// Whatever does not fit, by branch.
    pub fn violations(&self) -> Vec<Violation> {
        let mut branches: BTreeMap<&str, Vec<&Push>> = BTreeMap::new();
        for push in &self.pushes {
            branches.entry(&push.branch).or_default().push(push);
        }
        for branch in self.fetches.iter().flat_map(|fetch| fetch.saw.keys()) {
            branches.entry(branch).or_default();
        }
        branches.into_iter().flat_map(|(branch, pushes)| self.of_branch(branch, pushes)).collect()
    }

    fn of_branch(&self, branch: &str, mut pushes: Vec<&Push>) -> Vec<Violation> {
        pushes.sort_by_key(|push| push.began);
        // An id's place: how many pushes it takes to get there.
        let places: HashMap<&str, usize> = pushes.iter().enumerate().map(|(at, push)| (&*push.id, at + 1)).collect();
        if places.len() < pushes.len() || pushes.windows(2).any(|pair| pair[0].ended > pair[1].began) {
            return vec![Violation::Disorder { branch: branch.to_owned() }];
        }
        let mut found = Vec::new();
        // The place that each fetch shows.
        let mut shown = Vec::new();
        for (at, fetch) in self.fetches.iter().enumerate() {
            let saw = fetch.saw.get(branch);
            let place = saw.map_or(Some(0), |id| places.get(&**id).copied());
            let place = place.filter(|&place| place == 0 || pushes[place - 1].began < fetch.ended);
            let Some(place) = place else {
                found.extend(saw.map(|saw| Violation::Unknown {
                    fetch: at,
                    branch: branch.to_owned(),
                    saw: saw.clone(),
                }));
                continue;
            };
            shown.push((at, place));
            let due = pushes.partition_point(|push| push.ended < fetch.began);
            if place < due {
                found.push(Violation::Missed {
                    fetch: at,
                    client: fetch.client,
                    branch: branch.to_owned(),
                    pushed: pushes[due - 1].id.clone(),
                    saw: saw.cloned(),
                    after: fetch.began - pushes[due - 1].ended,
                });
            }
        }
        found.extend(self.steps_back(branch, &pushes, shown));
        found
    }

    fn steps_back(&self, branch: &str, pushes: &[&Push], mut shown: Vec<(usize, usize)>) -> Vec<Violation> {
        let mut ended = shown.clone();
        shown.sort_by_key(|&(at, _)| self.fetches[at].began);
        ended.sort_by_key(|&(at, _)| self.fetches[at].ended);
        let mut ended = ended.into_iter().peekable();
        let (mut found, mut furthest) = (Vec::new(), 0);
        for (at, place) in shown {
            let fetch = &self.fetches[at];
            while let Some((_, earlier)) = ended.next_if(|&(other, _)| self.fetches[other].ended < fetch.began) {
                furthest = furthest.max(earlier);
            }
            if place < furthest {
                found.push(Violation::Backwards {
                    fetch: at,
                    branch: branch.to_owned(),
                    before: pushes[furthest - 1].id.clone(),
                    saw: fetch.saw.get(branch).cloned(),
                });
            }
        }
        found
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nothing = || "nothing".to_owned();
        match self {
            Self::Missed { fetch, client, branch, pushed, saw, after } => {
                let saw = saw.clone().unwrap_or_else(nothing);
                let ms = after.as_millis();
                write!(
                    f,
                    "fetch {fetch}, of client {client}: {branch} at {saw}, {ms} ms after the push of {pushed} ended"
                )
            }
            Self::Unknown { fetch, branch, saw } => {
                write!(f, "fetch {fetch}: {branch} at {saw}, which nobody had pushed")
            }
            Self::Backwards { fetch, branch, before, saw } => {
                let saw = saw.clone().unwrap_or_else(nothing);
                write!(f, "fetch {fetch}: {branch} at {saw}, after it was seen at {before}")
            }
            Self::Disorder { branch } => write!(f, "{branch}: pushes overlap, or leave the same id"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRANCH: &str = "main";

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn push(id: &str, began: u64, ended: u64) -> Push {
        Push { branch: BRANCH.into(), id: id.into(), began: ms(began), ended: ms(ended) }
    }

    fn fetch(saw: &str, began: u64, ended: u64) -> Fetch {
        let saw = (!saw.is_empty()).then(|| (BRANCH.to_owned(), saw.to_owned()));
        Fetch { client: 0, began: ms(began), ended: ms(ended), saw: saw.into_iter().collect() }
    }

    /// The words for each violation, without the ids.
    fn check(pushes: &[Push], fetches: &[Fetch], expected: &[(&str, usize)]) {
        let history = History { pushes: pushes.into(), fetches: fetches.into() };
        let found = history.violations();
        let kinds: Vec<(&str, usize)> = found
            .iter()
            .map(|violation| match violation {
                Violation::Missed { fetch, .. } => ("missed", *fetch),
                Violation::Unknown { fetch, .. } => ("unknown", *fetch),
                Violation::Backwards { fetch, .. } => ("backwards", *fetch),
                Violation::Disorder { .. } => ("disorder", 0),
            })
            .collect();
        assert_eq!(kinds, expected, "{found:?}");
    }

    #[test]
    fn what_has_ended_is_seen() {
        let pushes = [push("a", 10, 20), push("b", 30, 40)];
        let cases = [
            ("", 0, 50, false),
            ("", 15, 50, false),
            // Not before: they touch.
            ("", 20, 50, false),
            ("", 21, 50, true),
            ("a", 0, 11, false),
            ("a", 21, 22, false),
            ("a", 35, 36, false),
            ("a", 41, 50, true),
            ("", 41, 50, true),
            ("b", 41, 50, false),
            // While it was pushed.
            ("b", 21, 31, false),
        ];
        for (saw, began, ended, missed) in cases {
            let expected: &[(&str, usize)] = if missed { &[("missed", 0)] } else { &[] };
            check(&pushes, &[fetch(saw, began, ended)], expected);
        }
        let history = History { pushes: pushes.into(), fetches: vec![fetch("a", 45, 50)] };
        let words = history.violations()[0].to_string();
        assert_eq!(words, "fetch 0, of client 0: main at a, 5 ms after the push of b ended");
    }

    #[test]
    fn what_nobody_pushed_is_not_seen() {
        let pushes = [push("a", 10, 20)];
        check(&pushes, &[fetch("c", 5, 15)], &[("unknown", 0)]);
        check(&pushes, &[fetch("a", 5, 9)], &[("unknown", 0)]);
        check(&pushes, &[fetch("a", 5, 11)], &[]);
        check(&[], &[fetch("a", 5, 11)], &[("unknown", 0)]);
    }

    #[test]
    fn nobody_goes_back() {
        let pushes = [push("a", 10, 100), push("b", 110, 200)];
        check(&pushes, &[fetch("a", 20, 30), fetch("", 31, 40)], &[("backwards", 1)]);
        check(&pushes, &[fetch("a", 20, 30), fetch("", 30, 40)], &[]);
        check(&pushes, &[fetch("", 31, 40), fetch("a", 20, 30)], &[("backwards", 0)]);
        check(&pushes, &[fetch("b", 120, 130), fetch("a", 140, 150), fetch("b", 160, 170)], &[("backwards", 1)]);
        // Both, if it misses a push as well.
        let both = [fetch("b", 150, 160), fetch("a", 201, 210)];
        check(&pushes, &both, &[("missed", 1), ("backwards", 1)]);
    }

    #[test]
    fn one_writer_at_a_time() {
        check(&[push("a", 10, 20), push("b", 19, 30)], &[], &[("disorder", 0)]);
        check(&[push("a", 10, 20), push("a", 30, 40)], &[], &[("disorder", 0)]);
        check(&[push("b", 20, 30), push("a", 10, 20)], &[fetch("b", 31, 32)], &[]);
    }
}
