//! Which rows of a table are checkpoints, and what they reach.
//!
//! On every line of first parents there is one after so many commits, so that a walk that ends at them does not grow with
//! history. A commit that leads out of the pack is none. (Tried: one on every way through history, by the longest. Where much is
//! merged that is ten times as many, for walks of the same length.)

use super::{CommitTable, Target};

/// The checkpoints of a table, one on each line of `distance` commits: their rows, ascending, and the bits of each.
pub(super) fn of(table: &CommitTable, distance: u32) -> (Vec<u32>, Vec<u64>) {
    let mut found: Vec<(u32, Vec<u64>)> = Vec::new();
    if table.len() < distance {
        return (Vec::new(), Vec::new());
    }
    // How far the last checkpoint is by way of first parents, which is the line that others leave and come back to; nothing: the
    // commit leads out of the pack.
    let mut since: Vec<Option<u32>> = vec![None; table.len() as usize];
    // By row: one more than its place in `found`.
    let mut places = vec![0u32; table.len() as usize];
    for row in parents_first(table) {
        let within = |target| matches!(target, Target::Inside(_));
        let is_closed = table.added(row).all(|added| within(added.link.target()));
        let parents = table.parents(row).iter().map(|link| match link.target() {
            Target::Inside(parent) => since[parent as usize],
            _ => None,
        });
        let far = parents.collect::<Option<Vec<_>>>().map(|far| far.first().map_or(0, |first| first + 1));
        since[row as usize] = far.filter(|_| is_closed);
        if since[row as usize].is_some_and(|since| since >= distance) {
            since[row as usize] = Some(0);
            found.push((row, reached(table, row, &places, &found)));
            places[row as usize] = found.len() as u32;
        }
    }
    found.sort_unstable_by_key(|(row, _)| *row);
    (found.iter().map(|(row, _)| *row).collect(), found.into_iter().flat_map(|(_, words)| words).collect())
}

/// What `row` reaches, from the checkpoints that there are.
fn reached(table: &CommitTable, row: u32, places: &[u32], found: &[(u32, Vec<u64>)]) -> Vec<u64> {
    let mut words = vec![0u64; table.words()];
    let mut stack = vec![row];
    while let Some(row) = stack.pop() {
        if !insert(&mut words, table.position(row)) {
            continue;
        }
        if let Some((_, known)) = places[row as usize].checked_sub(1).and_then(|at| found.get(at as usize)) {
            words.iter_mut().zip(known).for_each(|(word, known)| *word |= known);
            continue;
        }
        for added in table.added(row) {
            if let Target::Inside(position) = added.link.target() {
                insert(&mut words, position);
            }
        }
        stack.extend(table.parents(row).iter().filter_map(|link| match link.target() {
            Target::Inside(parent) => Some(parent),
            _ => None,
        }));
    }
    words
}

/// Tells whether it is new.
fn insert(words: &mut [u64], position: u32) -> bool {
    let bit = 1 << (position % 64);
    let Some(word) = words.get_mut(position as usize / 64) else { return false };
    let is_new = *word & bit == 0;
    *word |= bit;
    is_new
}

/// All rows, each behind its parents. What stands in a circle, in a file that was made for it, is left out.
fn parents_first(table: &CommitTable) -> Vec<u32> {
    let inside = |row: u32| {
        table.parents(row).iter().filter_map(|link| match link.target() {
            Target::Inside(parent) => Some(parent),
            _ => None,
        })
    };
    let count = table.len() as usize;
    let mut waits_for: Vec<u32> = (0..table.len()).map(|row| inside(row).count() as u32).collect();
    // The children of each row, one list after the other.
    let mut ends = vec![0u32; count + 1];
    (0..table.len()).flat_map(inside).for_each(|parent| ends[parent as usize + 1] += 1);
    for row in 0..count {
        ends[row + 1] += ends[row];
    }
    let mut children = vec![0u32; ends[count] as usize];
    let mut next = ends.clone();
    for row in 0..table.len() {
        for parent in inside(row) {
            children[next[parent as usize] as usize] = row;
            next[parent as usize] += 1;
        }
    }
    let mut order: Vec<u32> = (0..table.len()).filter(|row| waits_for[*row as usize] == 0).collect();
    let mut at = 0;
    while let Some(row) = order.get(at).copied() {
        at += 1;
        for child in &children[ends[row as usize] as usize..ends[row as usize + 1] as usize] {
            waits_for[*child as usize] -= 1;
            if waits_for[*child as usize] == 0 {
                order.push(*child);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{Added, Link, Row};

    /// A line of commits, newest first, each with a tree and a blob, and a branch of half its length beside it.
    fn table(commits: u32) -> CommitTable {
        let mut table = CommitTable::new(commits * 3).unwrap();
        for row in 0..commits {
            let mut parents: Vec<Link> = (row + 1..commits).take(1).map(Link::inside).collect();
            if row == 0 {
                parents.push(Link::inside(commits / 2));
            }
            let added = [(1, true, 0), (2, false, 1)].map(|(at, is_tree, depth)| Added {
                link: Link::inside(row * 3 + at),
                is_tree,
                depth,
            });
            let tree = Link::inside(row * 3 + 1);
            assert!(table.push(Row { position: row * 3, date: 0, tree, parents: &parents, added: &added }));
        }
        table
    }

    #[test]
    fn one_on_each_line_and_each_says_what_it_reaches() {
        let commits = 100;
        let table = table(commits);
        let (rows, words) = of(&table, 30);
        assert_eq!(rows, [9, 39, 69]);
        for (row, words) in rows.iter().zip(words.chunks(table.words())) {
            let members: Vec<u32> = (0..commits * 3)
                .filter(|position| words[*position as usize / 64] & (1 << (position % 64)) != 0)
                .collect();
            assert_eq!(members, (row * 3..commits * 3).collect::<Vec<_>>());
        }
        assert!(of(&table, 101).0.is_empty(), "history is short");
    }

    #[test]
    fn what_leads_outside_is_none() {
        let mut table = CommitTable::new(20).unwrap();
        for row in 0..10 {
            let parents = [if row == 9 { Link::outside(0) } else { Link::inside(row + 1) }];
            let tree = Link::NOTHING;
            assert!(table.push(Row { position: row, date: 0, tree, parents: &parents, added: &[] }));
        }
        assert!(of(&table, 3).0.is_empty());
    }
}
