//! What to tell the upstream about what is here, so that it sends little in few rounds.
//!
//! Measured on a mirror of the cargo repository: telling all our tips and `done` costs one round; walking our history
//! costs five for the same pack. But after a force-push on a repository with one branch our only tip is unknown
//! upstream, and the one round brings everything anew (13,591 objects for one amended commit; 11 with a walk). Hence:
//!
//! 1. Nothing that both had has moved (only new names): tell the tips that are upstream's too, and be done.
//! 2. Something moved: tell the old values of what moved, and listen. The upstream knows them all (fast-forwards): it
//!    sends the pack at once, or one more round with our other tips ends it.
//! 3. It does not know one of them (forced): walk our history, newest first, until it knows enough.

use super::conversation::{Conversation, Round, TakePack};
use crate::upstream::{Have, UpstreamError, tips_of};
use heliostat_core::{
    ObjectId,
    limits::{UPSTREAM_NEGOTIATED_HAVES_MAX, UPSTREAM_TIP_HAVES_MAX},
    objects::{Database, Reader},
    refs::{Head, RefTable},
};
use std::{
    cell::RefCell,
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Old values told in the first round when something moved: what Git's own client tells in vain before it gives up.
const MOVED_MAX: usize = 256;

/// Our tips against what the upstream advertises.
struct Tips {
    /// Old values of names that have another value upstream now, and that no name upstream has.
    moved: Vec<ObjectId>,
    /// Ids that upstream advertises too.
    common: Vec<ObjectId>,
}

impl Tips {
    fn compare(ours: &RefTable, theirs: &RefTable) -> Self {
        let theirs_ids: HashSet<ObjectId> = tips_of(theirs).collect();
        let (mut moved, mut common, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        // Branches first: their histories are the long ones.
        let branches = ours.with_prefix(b"refs/heads/");
        for reference in branches.chain(ours.iter().filter(|r| !r.name.starts_with(b"refs/heads/"))) {
            if !seen.insert(reference.id) {
                continue;
            }
            if theirs_ids.contains(&reference.id) {
                common.push(reference.id);
            } else if theirs.find(reference.name).is_some() {
                moved.push(reference.peeled.unwrap_or(reference.id));
            }
        }
        if let Head::Detached(id) = ours.head()
            && seen.insert(*id)
        {
            if theirs_ids.contains(id) { common.push(*id) } else { moved.push(*id) }
        }
        moved.truncate(MOVED_MAX);
        common.truncate(UPSTREAM_TIP_HAVES_MAX);
        Self { moved, common }
    }
}

/// Fetches `wants` with as much as needs to be said of what `have` holds.
pub(super) fn fetch(
    conversation: &mut Conversation,
    wants: &[ObjectId],
    theirs: &RefTable,
    have: Option<Have<'_>>,
    stop: &AtomicBool,
    take: &mut TakePack<'_>,
) -> Result<(), UpstreamError> {
    let mut fetch = conversation.fetch(wants)?;
    let last_round = |result| match result {
        Ok(Round::Pack) => Ok(()),
        Ok(Round::Acknowledged(_)) => Err(UpstreamError::Broken("no pack came".into())),
        Err(error) => Err(error),
    };
    let Some(have) = have else { return last_round(fetch.round(&[], true, take)) };
    let Tips { moved, common } = Tips::compare(have.refs, theirs);
    if moved.is_empty() && !common.is_empty() {
        return last_round(fetch.round(&common, true, take));
    }
    if !moved.is_empty() {
        let known = match fetch.round(&moved, false, take)? {
            Round::Pack => return Ok(()),
            Round::Acknowledged(known) => known,
        };
        if moved.iter().all(|id| known.contains(id)) {
            let all: Vec<_> = moved.into_iter().chain(common).collect();
            return last_round(fetch.round(&all, true, take));
        }
    }
    match have.objects {
        Some(objects) => walk(&mut fetch, have.refs, objects, &common, stop, take),
        None => {
            let all: Vec<_> = moved.into_iter().chain(common).collect();
            last_round(fetch.round(&all, true, take))
        }
    }
}

/// Tells our commits newest first, in growing rounds, until the upstream is ready or has heard enough.
fn walk(
    fetch: &mut super::conversation::Fetch<'_>,
    refs: &RefTable,
    database: &Database,
    common: &[ObjectId],
    stop: &AtomicBool,
    take: &mut TakePack<'_>,
) -> Result<(), UpstreamError> {
    let objects = Objects { database, reader: RefCell::new(Reader::new()) };
    let mut graph = gix_negotiate::Graph::new(&objects, None);
    let mut negotiator = gix_negotiate::Algorithm::Consecutive.into_negotiator();
    let ours = |error: gix_error::Error| UpstreamError::Ours(format!("negotiation: {error:?}"));
    let common: HashSet<_> = common.iter().collect();
    for reference in refs.iter().take(UPSTREAM_NEGOTIATED_HAVES_MAX) {
        let tip = reference.peeled.unwrap_or(reference.id);
        if !objects.is_commit(&tip) {
            continue;
        }
        if common.contains(&reference.id) {
            negotiator.known_common(tip, &mut graph).map_err(ours)?;
        } else {
            negotiator.add_tip(tip, &mut graph).map_err(ours)?;
        }
    }
    // A stateless upstream forgets between rounds: what it knows has to be told each time.
    let mut known: Vec<ObjectId> = Vec::new();
    let (mut told, mut in_vain) = (0, 0);
    let mut window = gix_negotiate::window_size(true, None);
    loop {
        if stop.load(Relaxed) {
            return Err(UpstreamError::Stopped);
        }
        let mut haves = known.clone();
        let before = haves.len();
        while haves.len() - before < window {
            match negotiator.next_have(&mut graph) {
                Some(have) => haves.push(have.map_err(ours)?),
                None => break,
            }
        }
        let fresh = haves.len() - before;
        told += fresh;
        in_vain += fresh;
        // As Git's client: enough in vain after something was common, or nothing left to tell.
        let done =
            fresh < window || told >= UPSTREAM_NEGOTIATED_HAVES_MAX || (!known.is_empty() && in_vain >= MOVED_MAX);
        match fetch.round(&haves, done, take)? {
            Round::Pack => return Ok(()),
            Round::Acknowledged(acknowledged) => {
                for id in acknowledged {
                    if !known.contains(&id) {
                        negotiator.in_common_with_remote(id, &mut graph).map_err(ours)?;
                        known.push(id);
                        in_vain = 0;
                    }
                }
            }
        }
        window = gix_negotiate::window_size(true, Some(window));
    }
}

/// A snapshot's objects as gix wants them.
struct Objects<'a> {
    database: &'a Database,
    reader: RefCell<Reader>,
}

impl Objects<'_> {
    fn is_commit(&self, id: &ObjectId) -> bool {
        let Some(number) = self.database.number(id) else { return false };
        let header = self.database.header(number, &mut self.reader.borrow_mut());
        header.is_ok_and(|(kind, _)| kind == heliostat_core::objects::Kind::Commit)
    }
}

impl gix_object::Find for Objects<'_> {
    fn try_find<'b>(
        &self,
        id: &gix_hash::oid,
        buffer: &'b mut Vec<u8>,
    ) -> gix_error::Result<Option<gix_object::Data<'b>>> {
        let Some(number) = self.database.number(id) else { return Ok(None) };
        let mut reader = self.reader.borrow_mut();
        let object = self
            .database
            .read(number, &mut reader)
            .map_err(|error| gix_error::ErrorExt::raise(gix_error::message!("{error:?}")))?;
        buffer.clear();
        buffer.extend_from_slice(object.data);
        Ok(Some(gix_object::Data::new(buffer, object.kind, gix_hash::Kind::Sha1)))
    }
}
