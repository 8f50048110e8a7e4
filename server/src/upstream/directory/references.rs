//! The references of a repository in the folder, without those that name no object: each of these would keep the whole
//! repository from being mirrored, and stock Git serves the rest of it.
//!
//! Git shows a reference whose file holds no id with the null id, and one whose object is missing as it is. A reference is
//! left out only where it is sure that its object is missing: all packs and alternates could be looked at, it was missing
//! twice, and others were there. For tables that were found whole nothing is looked up again.

use super::{Listing, of_open};
use crate::upstream::{Advertised, UpstreamError, tips_of};
use heliostat_core::{
    ObjectId,
    objects::Database,
    refs::{Head, RefTable},
    repository::{HiddenRefs, References, Repository},
};
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// How many of those left out are kept for the log.
const EXAMPLES_MAX: usize = 5;
/// How often references are read in one question while they move.
const READINGS_MAX: usize = 4;

/// For each repository the references of which all objects were last seen to be there, with what their tags peel to.
#[derive(Default)]
pub(super) struct FoundWhole(Mutex<HashMap<PathBuf, Arc<RefTable>>>);

impl FoundWhole {
    /// The same references as `table`, if they were found whole.
    fn same_as(&self, repository: &Repository, table: &RefTable) -> Option<Arc<RefTable>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(repository.git_dir()).filter(|known| known.digest() == table.digest()).cloned()
    }

    fn note(&self, repository: &Repository, table: &Arc<RefTable>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(repository.git_dir().to_owned(), table.clone());
    }

    /// Forgets what is not in the folder any more.
    pub(super) fn keep(&self, listing: &Listing) {
        let here: HashSet<_> = listing.repositories.values().collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|directory, _| here.contains(directory));
    }
}

/// Reads them now.
pub(super) fn read(repository: &Repository, found_whole: &FoundWhole) -> Result<Advertised, UpstreamError> {
    let mut references = listed(repository, None)?;
    if let Some(whole) = found_whole.same_as(repository, &references.table) {
        return Ok(Advertised {
            refs: whole,
            skipped: references.complaints.len(),
            examples: some(references.complaints),
            hides: false,
        });
    }
    let mut absent: Option<HashSet<ObjectId>> = None;
    for _ in 1..READINGS_MAX {
        let Some(seen) = Seen::of(repository, &references.table)? else { break };
        // A repack or a push at work may hide an object for a moment: it has to be missing twice.
        let missing_twice = absent.is_some();
        absent = Some(match absent {
            Some(before) => seen.missing.intersection(&before).copied().collect(),
            None => seen.missing,
        });
        let again = listed(repository, Some(&seen.objects))?;
        let is_still = again.table.digest() == references.table.digest();
        references = again;
        if is_still && (missing_twice || absent.as_ref().is_some_and(HashSet::is_empty)) {
            break;
        }
    }
    let is_whole = absent.as_ref().is_some_and(HashSet::is_empty);
    let advertised = advertised(references, &absent.unwrap_or_default());
    if is_whole {
        found_whole.note(repository, &advertised.refs);
    }
    Ok(advertised)
}

/// With `objects` tags are peeled.
fn listed(repository: &Repository, objects: Option<&Database>) -> Result<References, UpstreamError> {
    let hidden = HiddenRefs::from_configuration(repository.configuration())
        .map_err(|error| UpstreamError::Broken(error.to_string()))?;
    repository.references(&hidden, objects).map_err(of_open)
}

/// The objects that are here, and ids of references that are none of them.
struct Seen {
    objects: Database,
    missing: HashSet<ObjectId>,
}

impl Seen {
    /// `None`: that can't be told.
    fn of(repository: &Repository, table: &RefTable) -> Result<Option<Self>, UpstreamError> {
        // After the references, so that it holds what they name.
        let (objects, complaints) = repository.objects().map_err(of_open)?;
        if !complaints.is_empty() || !repository.object_directories().complaints.is_empty() {
            return Ok(None);
        }
        let mut some_are_here = false;
        let is_missing = |id: &ObjectId| {
            let is_here = objects.number(id).is_some();
            some_are_here |= is_here;
            !is_here
        };
        let missing: HashSet<_> = tips_of(table).filter(|id| !id.is_null()).filter(is_missing).collect();
        // A place of a file system that is not mounted looks like a repository without any object.
        Ok((missing.is_empty() || some_are_here).then_some(Self { objects, missing }))
    }
}

fn advertised(references: References, absent: &HashSet<ObjectId>) -> Advertised {
    let References { table, complaints, .. } = references;
    let fits = |id: &ObjectId| !id.is_null() && !absent.contains(id);
    let mut left_out = complaints;
    let head = match table.head() {
        Head::Detached(id) if !fits(id) => Some(("HEAD".to_owned(), *id)),
        _ => None,
    };
    let refs = table.iter().filter(|reference| !fits(&reference.id)).map(|r| (r.name.to_string(), r.id));
    left_out.extend(head.into_iter().chain(refs).map(|(name, id)| match id.is_null() {
        true => format!("{name}: no id"),
        false => format!("{name}: object {id} is missing"),
    }));
    let skipped = left_out.len();
    let refs = if table.tips().chain(table.head_id()).all(|id| fits(&id)) { table } else { table.without(fits) };
    Advertised { refs: Arc::new(refs), skipped, examples: some(left_out), hides: false }
}

fn some(mut left_out: Vec<String>) -> Vec<String> {
    left_out.truncate(EXAMPLES_MAX);
    left_out
}
