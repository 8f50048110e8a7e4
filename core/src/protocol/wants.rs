//! May the client have what it wants?

use super::{
    Phase, Version, View, WantPolicy,
    demand::graph,
    refusal::{Refused, not_our_ref, unreadable},
};
use crate::{
    ObjectId,
    limits::UNREACHABLE_MAX,
    objects::{Kind, Reader},
};
use std::collections::{BTreeSet, HashSet};

/// Grants `wants`, which are all here, or refuses as `policy` says. `phase` matters to v0 and v1 (see [`WantPolicy`]).
pub(super) fn check(wants: &[ObjectId], version: Version, phase: Phase, view: &View<'_>) -> Refused<()> {
    match view.policy.wants {
        WantPolicy::Recent => {
            let rest = without_tips(wants, &mut counted_tips(view));
            refuse(first_unreachable(&rest, view)?)
        }
        WantPolicy::Any => Ok(()),
        _ if version == Version::V2 => Ok(()),
        policy => {
            let rest = without_tips(wants, &mut counted_tips(view));
            let Some(first) = rest.first().copied() else { return Ok(()) };
            let walks =
                phase == Phase::Stateless || matches!(policy, WantPolicy::Reachable | WantPolicy::TipsAndReachable);
            // Stock Git names the first that is no tip, reachable or not.
            let reached = walks && first_unreachable(&commits(&rest, view)?, view)?.is_none();
            refuse((!reached).then_some(first))
        }
    }
}

/// The tips that the policy counts as the client's to have.
pub(super) fn counted_tips<'a>(view: &View<'a>) -> impl Iterator<Item = ObjectId> + use<'a> {
    let (recent, hidden): (&[_], &[_]) = match view.policy.wants {
        WantPolicy::Recent => (view.recent, &[]),
        WantPolicy::Tips | WantPolicy::Reachable | WantPolicy::TipsAndReachable => (&[], view.hidden),
        WantPolicy::Advertised | WantPolicy::Any => (&[], &[]),
    };
    let tables = std::iter::once(view.refs).chain(recent.iter().map(|table| &**table));
    tables
        .flat_map(|table| table.head_id().into_iter().chain(table.iter().map(|reference| reference.id)))
        .chain(hidden.iter().copied())
}

/// Those of `wants` that are no tip, in their order. Stops looking when there are none left.
fn without_tips(wants: &[ObjectId], tips: &mut dyn Iterator<Item = ObjectId>) -> Vec<ObjectId> {
    let mut rest: HashSet<ObjectId> = wants.iter().copied().collect();
    while !rest.is_empty() {
        let Some(tip) = tips.next() else { break };
        rest.remove(&tip);
    }
    wants.iter().filter(|want| rest.contains(*want)).copied().collect()
}

/// Those of `haves` that the client may have heard of without ever having been granted them. Stock Git believes a client. The
/// server's own policy takes for proven what is or lately was a tip; what the wants reach needs no proof. So an ancestor of
/// another tip counts as a claim too: to tell would take a walk, and all that it costs is a delta or two sent whole.
pub(super) fn claimed(haves: &[ObjectId], view: &View<'_>) -> BTreeSet<ObjectId> {
    match view.policy.wants {
        WantPolicy::Recent => without_tips(haves, &mut counted_tips(view)).into_iter().collect(),
        _ => BTreeSet::new(),
    }
}

/// The commits among `wants`, tags followed: stock Git checks nothing else for its own policies.
fn commits(wants: &[ObjectId], view: &View<'_>) -> Refused<Vec<ObjectId>> {
    let mut reader = Reader::new();
    let mut commits = Vec::new();
    for want in wants {
        let mut next = Some(*want);
        while let Some(id) = next.take() {
            let Some(number) = view.objects.number(&id) else { break };
            let object = view.objects.read(number, &mut reader).map_err(unreadable)?;
            match object.kind {
                Kind::Commit => commits.push(id),
                Kind::Tag => next = gix_object::TagRefIter::from_bytes(object.data, id.kind()).target_id().ok(),
                Kind::Tree | Kind::Blob => {}
            }
        }
    }
    Ok(commits)
}

fn first_unreachable(ids: &[ObjectId], view: &View<'_>) -> Refused<Option<ObjectId>> {
    if ids.is_empty() {
        return Ok(None);
    }
    graph(view).first_unreachable(ids, &mut counted_tips(view)).map_err(unreadable)
}

/// Those of `ids`, which are all here, that no counted tip reaches.
pub(super) fn unreachable(ids: Vec<ObjectId>, view: &View<'_>) -> Refused<BTreeSet<ObjectId>> {
    let mut rest = without_tips(&ids, &mut counted_tips(view));
    let mut found = BTreeSet::new();
    while let Some(id) = first_unreachable(&rest, view)? {
        if found.len() == UNREACHABLE_MAX {
            return Err(not_our_ref(&[id]));
        }
        found.insert(id);
        // Those before the first have been reached.
        rest.drain(..=rest.iter().position(|other| *other == id).unwrap_or(rest.len() - 1));
    }
    Ok(found)
}

fn refuse(id: Option<ObjectId>) -> Refused<()> {
    id.map_or(Ok(()), |id| Err(not_our_ref(&[id])))
}
