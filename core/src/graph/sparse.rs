//! `sparse:oid`: blobs that a sparse checkout with the patterns of a stored blob would populate.
//!
//! Patterns are those of `gitignore`, the last match decides; what none matches follows its folder, and at the top is left
//! out. All trees travel, as with stock Git.

use super::{
    Graph,
    history::{History, MISSING},
    omission::Omission,
    trees::{self, Entry, Strict},
};
use crate::{
    ObjectId,
    objects::{Kind, Number, NumberSet, ReadError},
};
use bstr::{BStr, ByteSlice};
use gix_glob::{Pattern, pattern::Case, wildmatch};
use std::collections::HashSet;

/// The patterns of one blob.
pub(super) struct Sparse {
    patterns: Vec<Pattern>,
}

impl Sparse {
    /// Reads the blob that a filter names. Only ids are understood here: whoever parses requests knows the references, and
    /// puts the id in the place of an expression ([`super::Filter::resolve_sparse`]).
    pub(super) fn read(history: &mut History<'_>, name: &[u8]) -> Result<Self, ReadError> {
        let graph: &Graph<'_> = history.graph;
        let id = ObjectId::from_hex(name).unwrap_or_else(|_| ObjectId::null(gix_hash::Kind::Sha1));
        let refused =
            || ReadError::Corrupt { id, detail: format!("unable to access sparse blob in '{}'", name.as_bstr()) };
        let number = graph.objects.number(&id).ok_or_else(refused)?;
        let object = graph.objects.read(number, &mut history.reader)?;
        if object.kind != Kind::Blob {
            return Err(refused());
        }
        Ok(Self::parse(object.data))
    }

    fn parse(text: &[u8]) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with(b"#"));
        Self { patterns: lines.filter_map(Pattern::from_bytes).collect() }
    }

    /// Whether the path is in, `default` where no pattern says anything.
    fn takes(&self, path: &BStr, is_dir: bool, default: bool) -> bool {
        let basename = path.rfind_byte(b'/').map(|slash| slash + 1);
        let decides = |pattern: &&Pattern| {
            let mode = wildmatch::Mode::NO_MATCH_SLASH_LITERAL;
            pattern.matches_repo_relative_path(path, basename, Some(is_dir), Case::Sensitive, mode)
        };
        self.patterns.iter().rev().find(decides).map_or(default, |pattern| !pattern.is_negative())
    }
}

/// A walk that knows the paths: the same tree may have to be visited under several.
pub(super) struct SparseWalk<'s> {
    pub(super) patterns: &'s [Sparse],
    pub(super) omission: &'s Omission,
    pub(super) had: &'s NumberSet,
    pub(super) sent: &'s mut NumberSet,
    visited: HashSet<(Number, Vec<u8>)>,
}

/// A tree to look into.
struct Visit {
    tree: Number,
    /// With a slash at the end, but for the root.
    path: Vec<u8>,
    depth: u64,
    /// What each pattern list says of the folder.
    defaults: Vec<bool>,
}

impl<'s> SparseWalk<'s> {
    pub(super) fn new(
        patterns: &'s [Sparse],
        omission: &'s Omission,
        had: &'s NumberSet,
        sent: &'s mut NumberSet,
    ) -> Self {
        Self { patterns, omission, had, sent, visited: HashSet::new() }
    }

    /// Sends what the filter leaves of the tree, whose entries are at `depth`.
    pub(super) fn send(&mut self, history: &mut History<'_>, root: Number, depth: u64) -> Result<(), ReadError> {
        let mut stack = vec![Visit { tree: root, path: Vec::new(), depth, defaults: vec![false; self.patterns.len()] }];
        let mut entries = Vec::new();
        while let Some(visit) = stack.pop() {
            if !self.omission.looks_at(visit.depth) || !self.visited.insert((visit.tree, visit.path.clone())) {
                continue;
            }
            let strict = if self.omission.blobs { Strict::All } else { Strict::Trees };
            let mut names = Vec::new();
            trees::named_entries(history, visit.tree, strict, &mut entries, &mut names)?;
            for (Entry { number, is_tree }, name) in entries.drain(..).zip(names) {
                if number == MISSING || self.had.contains(number) {
                    continue;
                }
                let mut path = visit.path.clone();
                path.extend_from_slice(&name);
                let takes = |(patterns, default): (&Sparse, &bool)| patterns.takes(path.as_bstr(), is_tree, *default);
                let taken: Vec<bool> = self.patterns.iter().zip(&visit.defaults).map(takes).collect();
                if is_tree {
                    if self.omission.trees {
                        self.sent.insert(number);
                    }
                    path.push(b'/');
                    stack.push(Visit { tree: number, path, depth: visit.depth + 1, defaults: taken });
                } else if self.omission.blobs && taken.iter().all(|taken| *taken) && self.fits(history, number)? {
                    self.sent.insert(number);
                }
            }
        }
        Ok(())
    }

    fn fits(&self, history: &mut History<'_>, blob: Number) -> Result<bool, ReadError> {
        let Some(limit) = self.omission.blob_bytes else { return Ok(true) };
        Ok(history.graph.objects.header(blob, &mut history.reader)?.1 < limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let sparse = Sparse::parse(b"# comment\n/*.md\nsrc/\n!src/old/\n*.rs\n");
        let cases = [
            ("README.md", false, false, true),
            ("a/README.md", false, false, false),
            ("src", true, false, true),
            ("src/old", true, true, false),
            ("src/x.c", false, true, true),
            ("a/b/c.rs", false, false, true),
            ("a/b/c.c", false, false, false),
        ];
        for (path, is_dir, default, taken) in cases {
            assert_eq!(sparse.takes(path.into(), is_dir, default), taken, "{path}");
        }
    }
}
