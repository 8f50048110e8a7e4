//! What both sides have: the haves of a negotiation.

use super::{
    View,
    demand::{Demand, graph},
    refusal::{Refused, refused, unreadable},
};
use crate::{
    ObjectId,
    graph::Graph,
    limits::{HAVES_MAX, NEGOTIATION_WALKS_MAX},
    objects::{Kind, Reader},
};
use std::collections::{BTreeSet, HashSet};

/// The client's haves as far as they are here.
#[derive(Default)]
pub(super) struct Common {
    /// All of them, each once, in the order received.
    pub all: Vec<ObjectId>,
    /// Those that are no parent of an earlier one: what v2 acknowledges.
    pub news: Vec<ObjectId>,
    known: HashSet<ObjectId>,
    /// The parents of those that are commits: the client has these too.
    parents: HashSet<ObjectId>,
    /// Commits without parents for the client as well as for the repository.
    grafts: BTreeSet<ObjectId>,
    /// How many were received, known here or not.
    received: usize,
    reader: Reader,
    walks: usize,
    /// Whether the wants lead to the haves, if that is known for the present haves.
    enough: Option<bool>,
}

impl Common {
    /// Nothing yet, where history ends at `shallow` too. (v2 learns of the client's shallow commits too late for that.)
    pub fn within(shallow: impl Iterator<Item = ObjectId>, view: &View<'_>) -> Self {
        Self { grafts: shallow.chain(view.shallow.iter().copied()).collect(), ..Self::default() }
    }

    /// Takes a have. Whether the object is here.
    pub fn have(&mut self, id: ObjectId, view: &View<'_>) -> Refused<bool> {
        self.received += 1;
        if self.received > HAVES_MAX {
            return refused("upload-pack: too many haves");
        }
        if view.objects.number(&id).is_none() {
            return Ok(false);
        }
        if self.known.insert(id) {
            self.all.push(id);
            self.enough = self.enough.filter(|enough| *enough);
            if !self.parents.contains(&id) {
                self.news.push(id);
            }
            if !self.grafts.contains(&id) {
                self.parents.extend(parents(id, view, &mut self.reader)?);
            }
        }
        Ok(true)
    }

    /// Whether every wanted commit, and each of `more`, leads to something that the client has, so that more haves would
    /// save little. Asked again, it walks only if there are new haves, and no more than [`NEGOTIATION_WALKS_MAX`] times: then
    /// the answer is no, and the negotiation takes its course.
    pub fn is_enough(&mut self, demand: &Demand, more: &[ObjectId], view: &View<'_>) -> Refused<bool> {
        if self.all.is_empty() {
            return Ok(false);
        }
        if let Some(enough) = self.enough {
            return Ok(enough);
        }
        if self.walks == NEGOTIATION_WALKS_MAX {
            return Ok(false);
        }
        self.walks += 1;
        let grafts = if self.grafts.is_empty() { view.shallow } else { &self.grafts };
        let wants: Vec<ObjectId> = demand.wants.iter().chain(more).copied().collect();
        let enough =
            Graph { grafts, ..graph(view) }.every_want_reaches_a_have(&wants, &self.all).map_err(unreadable)?;
        self.enough = Some(enough);
        Ok(enough)
    }
}

/// The parents of a commit; nothing of other objects, and of commits at which the repository is shallow.
pub(super) fn parents(id: ObjectId, view: &View<'_>, reader: &mut Reader) -> Refused<Vec<ObjectId>> {
    if view.shallow.contains(&id) {
        return Ok(Vec::new());
    }
    let number = view.objects.require(&id).map_err(unreadable)?;
    let object = view.objects.read(number, reader).map_err(unreadable)?;
    if object.kind != Kind::Commit {
        return Ok(Vec::new());
    }
    Ok(gix_object::CommitRefIter::from_bytes(object.data, id.kind()).parent_ids().collect())
}
