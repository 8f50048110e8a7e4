//! Questions of reachability that need no list of objects.

use super::{
    Graph,
    history::{History, MISSING, Peeled},
    trees,
};
use crate::{
    ObjectId,
    objects::{Kind, Number, NumberSet, ReadError},
};
use std::collections::{BinaryHeap, HashMap, HashSet, hash_map::Entry};

/// Which of `commits` the tips reach. The walk goes by date, newest first, and ends when all are found.
pub(super) fn reached(
    history: &mut History<'_>,
    commits: &[Number],
    tips: &mut dyn Iterator<Item = ObjectId>,
) -> Result<HashSet<Number>, ReadError> {
    let mut sought: HashSet<Number> = commits.iter().copied().collect();
    let mut found = HashSet::new();
    let mut queue = Newest::new(history);
    for tip in tips {
        match history.peel(&tip) {
            Ok(Peeled { number, kind: Kind::Commit, .. }) => queue.push(history, number)?,
            Ok(_) | Err(ReadError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    while !sought.is_empty() {
        let Some(commit) = queue.pop(history)? else { break };
        if sought.remove(&commit) {
            found.insert(commit);
        }
    }
    Ok(found)
}

/// The first of `ids` that no tip reaches: commits and tags by a walk over commits, trees and blobs by reading the trees of
/// the newest commits first. Until then everything may have to be read: the caller's stop flag bounds it.
pub(super) fn first_unreachable(
    graph: &Graph<'_>,
    ids: &[ObjectId],
    tips: &mut dyn Iterator<Item = ObjectId>,
) -> Result<Option<ObjectId>, ReadError> {
    let mut sought: HashSet<Number> = HashSet::new();
    for id in ids {
        match graph.objects.number(id) {
            Some(number) => sought.insert(number),
            None => return Ok(Some(*id)),
        };
    }
    let mut history = History::new(graph, []);
    let mut queue = Newest::new(&history);
    let mut roots = Vec::new();
    for tip in tips {
        let peeled = match history.peel(&tip) {
            Ok(peeled) => peeled,
            // A tip that is not whole reaches nothing; the others may.
            Err(ReadError::Missing(_)) => continue,
            Err(error) => return Err(error),
        };
        sought.remove(&peeled.number);
        peeled.tags.iter().for_each(|tag| _ = sought.remove(tag));
        match peeled.kind {
            Kind::Commit => queue.push(&mut history, peeled.number)?,
            Kind::Tree => roots.push(peeled.number),
            Kind::Blob | Kind::Tag => {}
        }
    }
    let mut commits = HashSet::new();
    for number in &sought {
        if graph.objects.header(*number, &mut history.reader)?.0 == Kind::Commit {
            commits.insert(*number);
        }
    }
    sought.retain(|number| !commits.contains(number));
    let mut seen = NumberSet::new(graph.objects.numbers_end());
    for root in roots {
        trees::search(&mut history, root, &mut seen, &mut sought)?;
    }
    while !commits.is_empty() || !sought.is_empty() {
        let Some(commit) = queue.pop(&mut history)? else { break };
        commits.remove(&commit);
        if !sought.is_empty() {
            let tree = history.tree(commit);
            trees::search(&mut history, tree, &mut seen, &mut sought)?;
        }
    }
    let left = |id: &&ObjectId| {
        graph.objects.number(id).is_none_or(|number| sought.contains(&number) || commits.contains(&number))
    };
    Ok(ids.iter().find(left).copied())
}

/// Git's `ok_to_give_up` (`can_all_from_reach_with_flag`): whether every wanted commit reaches a commit of `haves` or a
/// parent of one, on ways that go through no commit older than the oldest have. What is no commit does not matter, but
/// without any have the answer is no.
pub(super) fn every_want_reaches_a_have(
    graph: &Graph<'_>,
    wants: &[ObjectId],
    haves: &[ObjectId],
) -> Result<bool, ReadError> {
    let mut history = History::new(graph, []);
    let mut known = NumberSet::new(graph.objects.numbers_end());
    let mut oldest: Option<u64> = None;
    let mut any = false;
    for id in haves {
        let Some(number) = graph.objects.number(id) else { continue };
        any = true;
        if graph.objects.header(number, &mut history.reader)?.0 != Kind::Commit {
            continue;
        }
        history.load(number)?;
        known.insert(number);
        let date = history.date(number);
        oldest = Some(oldest.map_or(date, |oldest| oldest.min(date)));
        for at in 0..history.parent_count(number) {
            known.insert(history.parent(number, at));
        }
    }
    if !any {
        return Ok(false);
    }
    let oldest = oldest.unwrap_or(0);
    // Whether a visited commit reaches one that is known; false while that is not found out.
    let mut reaches: HashMap<Number, bool> = HashMap::new();
    for want in history.commits_of(wants)? {
        history.load(want)?;
        // Met before as a parent that is too old to go on from, it may still begin a way itself.
        if reaches.get(&want) == Some(&false) && history.date(want) < oldest {
            reaches.remove(&want);
        }
        let mut path: Vec<(Number, usize)> = Vec::new();
        let mut enter = |history: &mut History<'_>, path: &mut Vec<_>, commit: Number| {
            if known.contains(commit) {
                reaches.insert(commit, true);
            } else if let Entry::Vacant(unknown) = reaches.entry(commit) {
                history.load(commit)?;
                unknown.insert(false);
                if path.is_empty() || history.date(commit) >= oldest {
                    path.push((commit, 0));
                }
            }
            Ok::<bool, ReadError>(reaches.get(&commit).copied().unwrap_or(false))
        };
        let mut found = enter(&mut history, &mut path, want)?;
        while let (false, Some((commit, at))) = (found, path.last().copied()) {
            if at == history.parent_count(commit) {
                path.pop();
                continue;
            }
            if let Some(last) = path.last_mut() {
                last.1 += 1;
            }
            let parent = history.parent(commit, at);
            if parent != MISSING {
                found = enter(&mut history, &mut path, parent)?;
            }
        }
        if !found {
            return Ok(false);
        }
        // Everything on the way there reaches it too.
        for (commit, _) in path {
            reaches.insert(commit, true);
        }
    }
    Ok(true)
}

/// Commits by date, newest first, each once.
struct Newest {
    queue: BinaryHeap<(u64, Number)>,
    seen: NumberSet,
}

impl Newest {
    fn new(history: &History<'_>) -> Self {
        Self { queue: BinaryHeap::new(), seen: NumberSet::new(history.graph.objects.numbers_end()) }
    }

    fn push(&mut self, history: &mut History<'_>, commit: Number) -> Result<(), ReadError> {
        if self.seen.insert(commit) {
            history.load(commit)?;
            self.queue.push((history.date(commit), commit));
        }
        Ok(())
    }

    /// The next commit; its parents are queued. Missing parents end the way there.
    fn pop(&mut self, history: &mut History<'_>) -> Result<Option<Number>, ReadError> {
        let Some((_, commit)) = self.queue.pop() else { return Ok(None) };
        for at in 0..history.parent_count(commit) {
            let parent = history.parent(commit, at);
            if parent != MISSING {
                self.push(history, parent)?;
            }
        }
        Ok(Some(commit))
    }
}
