//! What the wants reach, less what the haves reach, from the tables of commits: exact, and no tree is read but those of
//! commits whose parents the client lacks.
//!
//! What stands in the tree of a commit has been added by that commit or by an ancestor of it. So what a set of commits holds
//! that is closed over parents is what they add; where a commit is cut off from its parents, its tree is read as a whole.

use super::{
    history::History,
    omission::Omission,
    select::{Selection, Starts, Trust},
};
use crate::objects::{Commits, Follow, Number, NumberSet, ReadError, Row};

/// The commits to send, in no order.
pub(super) struct Difference {
    /// All of them.
    pub(super) commits: Vec<Number>,
    /// Those among them whose trees have to be read as a whole.
    pub(super) cut: Vec<Number>,
}

impl<'a> Selection<'a> {
    /// Whether this can be answered from the tables, and those.
    pub(super) fn tables(&self, wanted: &Starts) -> Option<&'a Commits> {
        let omission = &self.omission;
        let depths_are_told = omission.depth.is_none_or(|depth| depth <= u64::from(crate::pack::Added::DEPTH_MAX));
        // A tree that is asked for by name has its own rule for depths.
        let is_simple = omission.sparse.is_empty() && (omission.depth.is_none() || wanted.trees.is_empty());
        let graph = self.history.graph;
        graph.objects.commits().filter(|_| is_simple && depths_are_told && graph.grafts.is_empty())
    }

    /// Marks what the client has, and what is sent but for the trees below [`Difference::cut`].
    pub(super) fn subtract(
        &mut self,
        commits: &Commits,
        haves: &Starts,
        claims: &Starts,
        wanted: &Starts,
    ) -> Result<Difference, ReadError> {
        let looks = self.omission.looks_at(0);
        let mut met = commits.empty_set();
        self.mark_reached(commits, rows(commits, &haves.commits), &mut met, looks.then_some(Trust::Proven))?;
        let proven = met.clone();
        self.mark_reached(commits, rows(commits, &claims.commits), &mut met, looks.then_some(Trust::Claimed))?;
        let had = met.clone();

        let mut difference = Difference { commits: Vec::new(), cut: Vec::new() };
        let mut edges = Vec::new();
        {
            let Self { history, omission, had: had_objects, sent, .. } = self;
            commits.walk(rows(commits, &wanted.commits), &mut met, |row, number, _| {
                history.check_stop()?;
                difference.commits.push(number);
                let is_cut = history.is_cut(number);
                if is_cut && looks {
                    history.load(number)?;
                    difference.cut.push(number);
                } else if looks {
                    for added in commits.added(row) {
                        if !had_objects.contains(added.number) && travels(history, omission, &added)? {
                            sent.insert(added.number);
                        }
                    }
                }
                if is_cut {
                    return Ok(Follow::Nothing);
                }
                if !claims.commits.is_empty() {
                    let only_claimed = |number| had.contains(number) && !proven.contains(number);
                    edges.extend(commits.parents(row).filter(|parent| only_claimed(commits.number(*parent))));
                }
                Ok::<_, ReadError>(Follow::Parents)
            })?;
        }
        // What is sent was granted, and so is what its ancestors hold: bases, whatever the client only claims to have.
        if looks && !edges.is_empty() {
            let mut granted = proven;
            self.mark_reached(commits, edges, &mut granted, Some(Trust::Proven))?;
        }
        Ok(difference)
    }

    /// Marks what `starts` reach as being at the client, as far as it is not in `met`.
    fn mark_reached(
        &mut self,
        commits: &Commits,
        starts: Vec<Row>,
        met: &mut NumberSet,
        trust: Option<Trust>,
    ) -> Result<(), ReadError> {
        let mut cut = Vec::new();
        let (tree_bases, blob_bases) = self.kept_kinds(trust.unwrap_or(Trust::Claimed));
        {
            let Self { history, had, bases, .. } = self;
            // A checkpoint knows of no boundary, and not which of its objects are trees.
            let is_plain = trust.is_some() && history.cuts_nothing() && tree_bases == blob_bases;
            commits.walk(starts, met, |row, number, met| {
                history.check_stop()?;
                if let Some((start, bits)) = commits.checkpoint(row).filter(|_| is_plain) {
                    met.insert_all(start, bits);
                    had.insert_all(start, bits);
                    if tree_bases {
                        bases.insert_all(start, bits);
                    }
                    return Ok(Follow::Nothing);
                }
                let is_cut = history.is_cut(number);
                if trust.is_some() && is_cut {
                    cut.extend(commits.tree(row));
                } else if trust.is_some() {
                    for added in commits.added(row) {
                        had.insert(added.number);
                        let is_base = if added.is_tree { tree_bases } else { blob_bases };
                        if is_base {
                            bases.insert(added.number);
                        }
                    }
                }
                Ok::<_, ReadError>(if is_cut { Follow::Nothing } else { Follow::Parents })
            })?;
        }
        trust.map_or(Ok(()), |trust| self.mark_trees(&cut, trust))
    }
}

/// Whether the filter lets it pass.
fn travels(
    history: &mut History<'_>,
    omission: &Omission,
    added: &crate::objects::AddedObject,
) -> Result<bool, ReadError> {
    if omission.depth.is_some_and(|limit| u64::from(added.depth) >= limit) {
        return Ok(false);
    }
    if added.is_tree {
        return Ok(omission.trees);
    }
    match omission.blob_bytes {
        _ if !omission.blobs => Ok(false),
        None => Ok(true),
        Some(limit) => {
            let (_, bytes) = history.graph.objects.header(added.number, &mut history.reader)?;
            Ok(bytes < limit)
        }
    }
}

fn rows(commits: &Commits, numbers: &[Number]) -> Vec<Row> {
    numbers.iter().filter_map(|number| commits.row(*number)).collect()
}
