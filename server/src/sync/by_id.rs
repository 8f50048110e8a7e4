//! Objects that are asked for by their ids: what was told to clients and overtaken before it was fetched, and what clients
//! want that no reference leads to. What comes is kept servable for as long as an earlier generation, and never advertised.
//!
//! It comes after what the upstream advertises has been published, into a quarantine of its own: whatever goes wrong here
//! leaves that as it is.

use super::{
    Shared,
    job::{of_store, of_verify},
};
use crate::upstream::{self, Asked, ById, Context, Grounds, Have, UpstreamError};
use heliostat_core::{
    ObjectId, RepositoryPath,
    refs::{Head, Ref, RefName, RefTable},
    store::{IngestLimits, MirroredRepository, Quarantine, Snapshot},
};
use std::{collections::HashSet, sync::Arc, time::Instant};

/// Brings the tips of `overtaken` that `snapshot`, which has just been published, does not name.
pub(super) fn bring_overtaken(
    shared: &Shared,
    path: &RepositoryPath,
    asked: &mut dyn Asked,
    snapshot: &Snapshot,
    overtaken: &[Arc<RefTable>],
    context: &Context,
) {
    let known: HashSet<_> = snapshot.refs.tips().collect();
    let mut seen = HashSet::new();
    let tips = overtaken.iter().flat_map(|table| table.tips());
    let ids: Vec<_> = tips.filter(|id| !known.contains(id) && seen.insert(*id)).collect();
    let Some(repository) = upstream::mirrored(&shared.store, &*shared.upstream, path) else { return };
    let groups: Vec<_> = ids.into_iter().map(|id| vec![id]).collect();
    let kept = |quarantine: &Quarantine, _: &[ObjectId]| {
        let whole = overtaken.iter().map(|table| {
            let here = table.to_refs().into_iter().filter(|reference| quarantine.has(&reference.id));
            RefTable::new(here.collect(), Head::Absent)
        });
        whole.filter(|table| !table.is_empty()).collect()
    };
    if let Err(error) = bring(&repository, asked, &groups, Grounds::WasAdvertised, context, kept) {
        tracing::warn!(repository = repository.path(), %error, "what was overtaken could not be fetched by its id");
    }
}

/// Brings what clients want by its id. What could not be found out is in neither list of the answer.
pub(super) fn bring_wanted(
    shared: &Shared,
    path: &RepositoryPath,
    asked: &mut dyn Asked,
    groups: &[Vec<ObjectId>],
    context: &Context,
) -> ById {
    if asked.advertised().hides {
        // It may be what a hidden reference reaches, which nobody may have.
        return ById { given: Vec::new(), refused: groups.concat() };
    }
    let Some(repository) = upstream::mirrored(&shared.store, &*shared.upstream, path) else { return ById::default() };
    let kept = |_: &Quarantine, given: &[ObjectId]| {
        let named = given.iter().filter_map(|id| {
            let name = RefName::new(format!("refs/by-id/{id}").as_bytes()).ok()?;
            Some(Ref { name, id: *id, peeled: None, symbolic: None })
        });
        vec![RefTable::new(named.collect(), Head::Absent)]
    };
    bring(&repository, asked, groups, Grounds::IsWanted, context, kept).unwrap_or_else(|error| {
        tracing::warn!(repository = repository.path(), %error, "what clients want could not be fetched by its id");
        ById::default()
    })
}

/// Asks for ids and publishes what comes, with the tables that `kept` makes of it.
fn bring(
    repository: &MirroredRepository,
    asked: &mut dyn Asked,
    groups: &[Vec<ObjectId>],
    grounds: Grounds,
    context: &Context,
    kept: impl FnOnce(&Quarantine, &[ObjectId]) -> Vec<RefTable>,
) -> Result<ById, UpstreamError> {
    let Some(snapshot) = repository.snapshot().filter(|_| !groups.is_empty()) else { return Ok(ById::default()) };
    let limits = IngestLimits::default();
    let mut quarantine = repository.quarantine(limits).map_err(of_store)?;
    let have = Have { refs: &snapshot.refs, objects: Some(&snapshot.objects) };
    let answer = asked.fetch_by_id(groups, grounds, have, &mut quarantine, limits.pack_bytes)?;
    if answer.given.is_empty() {
        return Ok(answer);
    }
    let kept = kept(&quarantine, &answer.given);
    let verified = quarantine.verify_keeping(snapshot.refs.as_ref().clone(), kept, &context.stop).map_err(of_verify)?;
    repository.publish(verified, Instant::now()).map_err(of_store)?;
    Ok(answer)
}
