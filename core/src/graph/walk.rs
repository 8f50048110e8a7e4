//! The walk from wanted commits by date, newest first, away from what is not wanted: Git's `limit_list`.

use super::history::{History, MISSING};
use crate::objects::{Number, ReadError};
use std::{cmp::Reverse, collections::BinaryHeap};

/// How far a walk goes on after only excluded commits are left, in case their dates lie (Git's `SLOP`).
pub(super) const SLOP: u32 = 5;

const SEEN: u8 = 1;
const EXCLUDED: u8 = 2;
const QUEUED: u8 = 4;

/// A finished walk.
pub(super) struct Walk {
    /// The wanted commits, newest first.
    pub(super) commits: Vec<Number>,
    flags: Vec<u8>,
}

impl Walk {
    /// Whether the commit is known to be excluded or an ancestor of what is.
    pub(super) fn is_excluded(&self, commit: Number) -> bool {
        self.flags.get(commit.0 as usize).is_some_and(|flags| flags & EXCLUDED != 0)
    }
}

/// The commits that `wanted` reach and `excluded` don't, and that are not older than `since` (nor behind older ones).
///
/// As in Git, a commit whose descendants have lying dates may be taken for wanted although `excluded` reaches it: the walk
/// ends `slop` commits after the last wanted one. A parent that is missing behind a wanted commit is an error, behind an
/// excluded one it is not.
pub(super) fn walk(
    history: &mut History<'_>,
    wanted: &[Number],
    excluded: &[Number],
    since: Option<u64>,
    slop: u32,
) -> Result<Walk, ReadError> {
    let mut state = State {
        flags: vec![0; history.graph.objects.numbers_end() as usize],
        queue: BinaryHeap::new(),
        sequence: 0,
        wanted_in_queue: 0,
    };
    for number in excluded {
        state.exclude(*number);
    }
    for number in excluded.iter().chain(wanted) {
        history.load(*number)?;
        state.push(history, *number);
    }
    let mut commits = Vec::new();
    let (mut last_date, mut left) = (u64::MAX, slop);
    while let Some((date, _, number)) = state.pop() {
        if since.is_some_and(|since| date < since) {
            if excluded.is_empty() {
                // Git walks without a limited list then: an old commit is passed over, and says nothing of newer ancestors.
                continue;
            }
            state.exclude(number);
        }
        if state.is_excluded(number) {
            state.exclude_ancestors(history, number);
            for at in 0..history.parent_count(number) {
                let parent = history.parent(number, at);
                if parent == MISSING || state.is_seen(parent) {
                    continue;
                }
                history.load(parent)?;
                state.push(history, parent);
            }
            let Some((next_date, _, _)) = state.queue.peek() else { break };
            if last_date <= *next_date || state.wanted_in_queue > 0 {
                left = slop;
            } else if left <= 1 {
                break;
            } else {
                left -= 1;
            }
            continue;
        }
        for at in 0..history.parent_count(number) {
            let parent = history.existing_parent(number, at)?;
            if !state.is_seen(parent) {
                history.load(parent)?;
                state.push(history, parent);
            }
        }
        last_date = date;
        commits.push(number);
    }
    commits.retain(|number| !state.is_excluded(*number));
    Ok(Walk { commits, flags: state.flags })
}

struct State {
    flags: Vec<u8>,
    /// By date, newest first; among equals, first come first served.
    queue: BinaryHeap<(u64, Reverse<u64>, Number)>,
    sequence: u64,
    wanted_in_queue: usize,
}

impl State {
    fn is_seen(&self, number: Number) -> bool {
        self.flags[number.0 as usize] & SEEN != 0
    }

    fn is_excluded(&self, number: Number) -> bool {
        self.flags[number.0 as usize] & EXCLUDED != 0
    }

    fn push(&mut self, history: &History<'_>, number: Number) {
        if self.is_seen(number) {
            return;
        }
        self.flags[number.0 as usize] |= SEEN | QUEUED;
        self.wanted_in_queue += usize::from(!self.is_excluded(number));
        self.sequence += 1;
        self.queue.push((history.date(number), Reverse(self.sequence), number));
    }

    fn pop(&mut self) -> Option<(u64, Reverse<u64>, Number)> {
        let top = self.queue.pop()?;
        self.flags[top.2.0 as usize] &= !QUEUED;
        self.wanted_in_queue -= usize::from(!self.is_excluded(top.2));
        Some(top)
    }

    /// Tells whether it is new.
    fn exclude(&mut self, number: Number) -> bool {
        let flags = &mut self.flags[number.0 as usize];
        let new = *flags & EXCLUDED == 0;
        if new && *flags & QUEUED != 0 {
            self.wanted_in_queue -= 1;
        }
        *flags |= EXCLUDED;
        new
    }

    /// Spreads the exclusion as far as the history is known.
    fn exclude_ancestors(&mut self, history: &History<'_>, number: Number) {
        let mut stack = vec![number];
        while let Some(number) = stack.pop() {
            for at in 0..history.parent_count(number) {
                let parent = history.parent(number, at);
                if parent != MISSING && self.exclude(parent) && history.is_loaded(parent) {
                    stack.push(parent);
                }
            }
        }
    }
}
