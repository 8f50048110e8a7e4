//! The shallow boundary (`gitprotocol-pack`, "Packfile Negotiation"; Git's `shallow.c`).

use super::{
    Boundary, Deepen, Graph,
    history::{History, numbers_of},
    reach::reached,
    walk::{SLOP, walk},
};
use crate::{
    ObjectId,
    objects::{Number, NumberSet, ReadError},
};
use std::{collections::BTreeSet, num::NonZeroU32};

/// `deepen 2147483647` asks for all of history.
const INFINITE_DEPTH: u32 = 0x7fff_ffff;

/// Commits told apart by a walk.
struct Told {
    /// At the new boundary, each once.
    shallow: Vec<Number>,
    /// Not at the boundary: their parents travel too.
    inner: NumberSet,
}

pub(super) fn deepen(
    graph: &Graph<'_>,
    wants: &[ObjectId],
    deepen: &Deepen,
    client_shallow: &BTreeSet<ObjectId>,
    tips: Option<&mut dyn Iterator<Item = ObjectId>>,
) -> Result<Option<Boundary>, ReadError> {
    let mut history = History::new(graph, []);
    let told = match deepen.depth {
        Some(depth) if depth >= INFINITE_DEPTH && graph.grafts.is_empty() => {
            let mut inner = NumberSet::new(graph.objects.numbers_end());
            for number in reachable_shallow(graph, client_shallow, tips)? {
                inner.insert(number);
            }
            Told { shallow: Vec::new(), inner }
        }
        Some(depth) => {
            let (heads, depth) = if deepen.relative {
                (reachable_shallow(graph, client_shallow, tips)?, depth.saturating_add(1).min(INFINITE_DEPTH))
            } else {
                (history.commits_of(wants)?, depth)
            };
            by_depth(&mut history, &heads, NonZeroU32::new(depth.max(1)))?
        }
        None if deepen.since.is_some() || !deepen.not.is_empty() => match by_walk(&mut history, wants, deepen)? {
            Some(told) => told,
            None => return Ok(None),
        },
        None => return Ok(Some(Boundary::default())),
    };
    let id = |number: Number| graph.objects.id(number);
    let shallow = told.shallow.iter().map(|number| id(*number)).filter(|id| !client_shallow.contains(id)).collect();
    let known = numbers_of(graph, client_shallow);
    let unshallow = known.into_iter().filter(|number| told.inner.contains(*number)).map(id).collect();
    Ok(Some(Boundary { shallow, unshallow }))
}

/// The client's shallow commits that are here and that the tips reach.
fn reachable_shallow(
    graph: &Graph<'_>,
    client_shallow: &BTreeSet<ObjectId>,
    tips: Option<&mut dyn Iterator<Item = ObjectId>>,
) -> Result<Vec<Number>, ReadError> {
    let known: Vec<Number> = numbers_of(graph, client_shallow);
    let Some(tips) = tips else { return Ok(known) };
    let mut history = History::new(graph, []);
    let found = reached(&mut history, &known, tips)?;
    Ok(known.into_iter().filter(|number| found.contains(number)).collect())
}

/// The sets that Git's `get_shallow_commits` finds, level by level, so that each commit is met once, at its least depth. (Git
/// goes depth first and visits a commit again whenever it finds a shorter way there: on a history made for it, the square of
/// its length: 60,000 commits took a minute, where this takes two seconds.)
fn by_depth(history: &mut History<'_>, heads: &[Number], depth: Option<NonZeroU32>) -> Result<Told, ReadError> {
    let depth_max = depth.map_or(1, NonZeroU32::get);
    let end = history.graph.objects.numbers_end();
    let mut told = Told { shallow: Vec::new(), inner: NumberSet::new(end) };
    let mut met = NumberSet::new(end);
    let mut level: Vec<Number> = heads.iter().copied().filter(|head| met.insert(*head)).collect();
    let mut next = Vec::new();
    let mut depth = 1;
    while !level.is_empty() {
        for commit in level.drain(..) {
            history.load(commit)?;
            if (depth_max != INFINITE_DEPTH && depth >= depth_max) || history.is_cut(commit) {
                told.shallow.push(commit);
                continue;
            }
            told.inner.insert(commit);
            for at in 0..history.parent_count(commit) {
                let parent = history.existing_parent(commit, at)?;
                if met.insert(parent) {
                    next.push(parent);
                }
            }
        }
        std::mem::swap(&mut level, &mut next);
        depth += 1;
    }
    Ok(told)
}

/// Git's `get_shallow_commits_by_rev_list`. `None`: no commit is selected.
fn by_walk(history: &mut History<'_>, wants: &[ObjectId], deepen: &Deepen) -> Result<Option<Told>, ReadError> {
    let wanted = history.commits_of(wants)?;
    let excluded = history.commits_of(&deepen.not)?;
    let walk = walk(history, &wanted, &excluded, deepen.since, SLOP)?;
    if walk.commits.is_empty() {
        return Ok(None);
    }
    let end = history.graph.objects.numbers_end();
    let mut selected = NumberSet::new(end);
    for commit in &walk.commits {
        selected.insert(*commit);
    }
    let mut told = Told { shallow: Vec::new(), inner: NumberSet::new(end) };
    for commit in walk.commits {
        let parents = history.parent_count(commit);
        if (0..parents).all(|at| selected.contains(history.parent(commit, at))) {
            told.inner.insert(commit);
        } else {
            told.shallow.push(commit);
        }
    }
    Ok(Some(told))
}
