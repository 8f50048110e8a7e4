//! The shallow boundary (`gitprotocol-pack`, "Packfile Negotiation"; Git's `shallow.c`).

use super::{
    Boundary, Deepen, Graph,
    history::{History, MISSING, numbers_of},
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
    let known = numbers_of(graph, client_shallow);
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
        None if deepen.since.is_some() || !deepen.not.is_empty() => {
            let wanted = history.commits_of(wants)?;
            let Some(mut told) = by_walk(&mut history, &wanted, deepen)? else { return Ok(None) };
            retain_met(&mut history, &mut told, wanted, &known)?;
            told
        }
        None => return Ok(Some(Boundary::default())),
    };
    let id = |number: Number| graph.objects.id(number);
    let shallow = told.shallow.iter().map(|number| id(*number)).filter(|id| !client_shallow.contains(id)).collect();
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
fn by_walk(history: &mut History<'_>, wanted: &[Number], deepen: &Deepen) -> Result<Option<Told>, ReadError> {
    let excluded = history.commits_of(&deepen.not)?;
    let walk = walk(history, wanted, &excluded, deepen.since, SLOP)?;
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

/// Leaves in `told.shallow` what the client is going to be sent (or has, on the way there). Beyond a merge of which one parent
/// is cut off nothing travels, though the other is selected and may be at the boundary itself: a client that is told of it
/// keeps the name of a commit that it lacks, and can't be deepened any more. (Stock Git tells it.)
///
/// The roots and the ends are those of what is sent (`Selection::wants` in `select`). [`by_depth`] finds the boundary by such a
/// walk, and has nothing to leave out.
fn retain_met(
    history: &mut History<'_>,
    told: &mut Told,
    wanted: Vec<Number>,
    client_shallow: &[Number],
) -> Result<(), ReadError> {
    let end = history.graph.objects.numbers_end();
    let (mut cut, mut kept, mut met) = (NumberSet::new(end), NumberSet::new(end), NumberSet::new(end));
    told.shallow.iter().for_each(|commit| _ = cut.insert(*commit));
    client_shallow.iter().for_each(|commit| _ = kept.insert(*commit));
    let mut stack = wanted;
    // A want that is not selected travels with all its history: last, so that it is read only if something is still unmet.
    stack.sort_by_key(|commit| cut.contains(*commit) || told.inner.contains(*commit));
    for commit in client_shallow.iter().filter(|commit| told.inner.contains(**commit)) {
        stack.extend((0..history.parent_count(*commit)).map(|at| history.parent(*commit, at)));
    }
    let mut unmet = told.shallow.len();
    while unmet > 0
        && let Some(commit) = stack.pop()
    {
        if commit == MISSING || !met.insert(commit) {
            continue;
        }
        if cut.contains(commit) {
            unmet -= 1;
        } else if !kept.contains(commit) {
            history.load(commit)?;
            stack.extend((0..history.parent_count(commit)).map(|at| history.parent(commit, at)));
        }
    }
    told.shallow.retain(|commit| met.contains(*commit));
    Ok(())
}
