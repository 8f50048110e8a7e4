//! Reachability: what is wanted, minus what is had.
//!
//! From the tables of commits where every pack has one (`added` makes them, `difference` reads them); else, and where a client's
//! boundary cuts history, by walks that decode commits and trees.

mod added;
mod deepen;
mod difference;
mod filter;
mod history;
mod omission;
mod reach;
mod select;
mod sparse;
mod trees;
mod walk;

pub use added::commit_table;
pub use filter::{Filter, FilterError};

use crate::{
    ObjectId,
    objects::{Database, Number, ReadError},
};
use std::{collections::BTreeSet, sync::atomic::AtomicBool};

/// A client's demand for a changed shallow boundary (`gitprotocol-v2`, fetch; `gitprotocol-pack`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deepen {
    /// `deepen N`; 2147483647 asks for everything.
    pub depth: Option<u32>,
    /// `deepen-relative`: `depth` counts from the client's present boundary.
    pub relative: bool,
    /// `deepen-since`, seconds since the epoch.
    pub since: Option<u64>,
    /// `deepen-not`, resolved to objects.
    pub not: Vec<ObjectId>,
}

/// What changes at the client's shallow boundary: the `shallow-info` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boundary {
    /// Commits that become shallow.
    pub shallow: Vec<ObjectId>,
    /// Commits that were shallow at the client and get their parents now.
    pub unshallow: Vec<ObjectId>,
}

/// What a fetch asks to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Objects wanted, of any type.
    pub wants: Vec<ObjectId>,
    /// Objects the client has, with their history (as far as it is not shallow).
    pub haves: Vec<ObjectId>,
    /// Those of `haves` that the client may only claim to have: what only they hold is no base of a delta, which would tell
    /// of it.
    pub claimed: BTreeSet<ObjectId>,
    /// Commits whose parents the client lacks, before this fetch.
    pub client_shallow: BTreeSet<ObjectId>,
    /// What this fetch changes at the boundary.
    pub boundary: Boundary,
    /// Objects left out.
    pub filter: Option<Filter>,
    /// Annotated tags to add when what they peel to is sent: (tag, peeled).
    pub include_tags: Vec<(ObjectId, ObjectId)>,
}

/// The objects to send, and what may serve as delta bases without being sent.
pub struct Selected {
    /// Objects to send, ascending.
    pub objects: Vec<Number>,
    /// Objects known to be at the client, ascending: allowed as bases of a thin pack.
    pub had: Vec<Number>,
}

/// Walks over one database.
pub struct Graph<'a> {
    /// The objects.
    pub objects: &'a Database,
    /// The repository's own shallow commits: their parents are not followed.
    pub grafts: &'a BTreeSet<ObjectId>,
    /// Raised by the caller to end a walk with [`ReadError::Interrupted`].
    pub stop: &'a AtomicBool,
}

impl Graph<'_> {
    /// The change at the client's boundary for `wants` under `deepen`. `None`: nothing is selected (`deepen-since` or
    /// `deepen-not` exclude every wanted commit), for which stock Git dies with "no commits selected for shallow requests".
    ///
    /// `tips` are asked only where the client's own shallow commits are the starting points (a relative depth, or all of
    /// history): those that no tip reaches are left alone, lest their ancestors leak. `None` trusts the client.
    pub fn deepen(
        &self,
        wants: &[ObjectId],
        deepen: &Deepen,
        client_shallow: &BTreeSet<ObjectId>,
        tips: Option<&mut dyn Iterator<Item = ObjectId>>,
    ) -> Result<Option<Boundary>, ReadError> {
        deepen::deepen(self, wants, deepen, client_shallow, tips)
    }

    /// The first of `ids` that no tip reaches or that is not here. Ids of any type.
    pub fn first_unreachable(
        &self,
        ids: &[ObjectId],
        tips: &mut dyn Iterator<Item = ObjectId>,
    ) -> Result<Option<ObjectId>, ReadError> {
        reach::first_unreachable(self, ids, tips)
    }

    /// Whether every wanted commit reaches at least one of `haves`: then negotiation may end (`ready`). As stock Git's
    /// `ok_to_give_up`: without any have the answer is no, and ways through commits older than the oldest have don't count.
    pub fn every_want_reaches_a_have(&self, wants: &[ObjectId], haves: &[ObjectId]) -> Result<bool, ReadError> {
        reach::every_want_reaches_a_have(self, wants, haves)
    }

    /// The objects that `query` asks for. What a want needs and the database lacks is [`ReadError::Missing`], also in a
    /// partial repository: like stock upload-pack since Git 2.45, it does not fetch from a promisor on a client's behalf.
    pub fn select(&self, query: &Query) -> Result<Selected, ReadError> {
        select::select(self, query)
    }
}
