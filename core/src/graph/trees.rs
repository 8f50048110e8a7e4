//! Trees: their entries as numbers, and walks that ask or mark.

use super::history::{History, MISSING, is_empty_tree};
use crate::objects::{EntryKind, Kind, Number, NumberSet, ReadError, TreeEntries};
use std::collections::HashSet;

/// An entry of a tree that names an object (a submodule's commit is none of ours).
pub(super) struct Entry {
    /// Perhaps [`MISSING`].
    pub(super) number: Number,
    pub(super) is_tree: bool,
}

/// Which absent entries are an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strict {
    Nothing,
    Trees,
    All,
}

/// The entries of a tree, into `out`.
pub(super) fn entries(
    history: &mut History<'_>,
    tree: Number,
    strict: Strict,
    out: &mut Vec<Entry>,
) -> Result<(), ReadError> {
    each_entry(history, tree, strict, out, |_| {})
}

/// The entries of a tree and their names.
pub(super) fn named_entries(
    history: &mut History<'_>,
    tree: Number,
    strict: Strict,
    out: &mut Vec<Entry>,
    names: &mut Vec<Vec<u8>>,
) -> Result<(), ReadError> {
    names.clear();
    each_entry(history, tree, strict, out, |name| names.push(name.to_vec()))
}

fn each_entry(
    history: &mut History<'_>,
    tree: Number,
    strict: Strict,
    out: &mut Vec<Entry>,
    mut name: impl FnMut(&[u8]),
) -> Result<(), ReadError> {
    history.check_stop()?;
    out.clear();
    let objects = history.graph.objects;
    let object = objects.read(tree, &mut history.reader)?;
    let corrupt = |detail: String| ReadError::Corrupt { id: objects.id(tree), detail };
    if object.kind != Kind::Tree {
        return Err(corrupt(format!("a {} stands where a tree should", object.kind)));
    }
    for entry in TreeEntries::of(object.data) {
        let entry = entry.map_err(|what| corrupt(what.into()))?;
        if entry.kind == EntryKind::Commit {
            continue;
        }
        let is_tree = entry.kind == EntryKind::Tree;
        match history.memo.number(objects, entry.id) {
            Some(number) => {
                name(entry.name);
                out.push(Entry { number, is_tree });
            }
            None if is_tree && is_empty_tree(&entry.to_id()) => {}
            None if strict == Strict::All || (is_tree && strict == Strict::Trees) => {
                return Err(ReadError::Missing(entry.to_id()));
            }
            None => {
                name(entry.name);
                out.push(Entry { number: MISSING, is_tree });
            }
        }
    }
    Ok(())
}

/// Strikes from `sought` what `root` reaches, skipping the trees in `seen`; ends when nothing is sought any more. What is
/// missing or damaged reaches nothing.
pub(super) fn search(
    history: &mut History<'_>,
    root: Number,
    seen: &mut NumberSet,
    sought: &mut HashSet<Number>,
) -> Result<(), ReadError> {
    let mut stack = Vec::new();
    let mut found = Vec::new();
    if root != MISSING && seen.insert(root) {
        stack.push(root);
    }
    while let Some(tree) = stack.pop() {
        sought.remove(&tree);
        if sought.is_empty() {
            break;
        }
        match entries(history, tree, Strict::Nothing, &mut found) {
            Ok(()) => {}
            Err(ReadError::Corrupt { .. } | ReadError::Missing(_)) => continue,
            Err(error) => return Err(error),
        }
        for entry in &found {
            if entry.number == MISSING || !seen.insert(entry.number) {
                continue;
            }
            if entry.is_tree {
                stack.push(entry.number);
            } else {
                sought.remove(&entry.number);
            }
        }
    }
    Ok(())
}
