//! What both sides have: the haves of a negotiation.

use super::{
    View,
    demand::{Demand, graph},
    refusal::{Refused, refused, unreadable},
};
use crate::{
    ObjectId,
    limits::HAVES_MAX,
    objects::{Kind, ReadError, Reader},
};
use std::collections::HashSet;

/// The client's haves as far as they are here.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Those that say something new, in the order received: neither repeated nor a parent of an earlier one.
    pub haves: Vec<ObjectId>,
    /// The haves and the parents of those that are commits: the client has these too.
    had: HashSet<ObjectId>,
    /// How many were received, known here or not.
    received: usize,
    /// Whether the wants lead to the haves, if that is known for the present haves.
    enough: Option<bool>,
}

impl Common {
    /// Takes a have. Whether the object is here.
    pub fn have(&mut self, id: ObjectId, demand: &Demand, view: &View<'_>) -> Refused<bool> {
        self.received += 1;
        if self.received > HAVES_MAX {
            return refused("upload-pack: too many haves");
        }
        if view.objects.number(&id).is_none() {
            return Ok(false);
        }
        let parents = if demand.shallows.contains(&id) { Vec::new() } else { parents(id, view)? };
        if self.had.insert(id) {
            self.haves.push(id);
            self.enough = self.enough.filter(|enough| *enough);
        }
        self.had.extend(parents);
        Ok(true)
    }

    /// Whether every wanted commit, and each of `more`, leads to something that the client has, so that more haves would
    /// save little. Asked again, it walks only if there are new haves.
    pub fn is_enough(&mut self, demand: &Demand, more: &[ObjectId], view: &View<'_>) -> Refused<bool> {
        if self.haves.is_empty() {
            return Ok(false);
        }
        if let Some(enough) = self.enough {
            return Ok(enough);
        }
        let wants: Vec<ObjectId> = demand.wants.iter().chain(more).copied().collect();
        let had: Vec<ObjectId> = self.had.iter().copied().collect();
        let enough = graph(view).every_want_reaches_a_have(&wants, &had).map_err(unreadable)?;
        self.enough = Some(enough);
        Ok(enough)
    }
}

/// The parents of a commit that are here; nothing of other objects.
pub(super) fn parents(id: ObjectId, view: &View<'_>) -> Refused<Vec<ObjectId>> {
    if view.shallow.contains(&id) {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new();
    let number = view.objects.number(&id).ok_or(ReadError::Missing(id)).map_err(unreadable)?;
    let object = view.objects.read(number, &mut reader).map_err(unreadable)?;
    if object.kind != Kind::Commit {
        return Ok(Vec::new());
    }
    let commit = gix_object::CommitRefIter::from_bytes(object.data, id.kind());
    Ok(commit.parent_ids().filter(|parent| view.objects.number(parent).is_some()).collect())
}
