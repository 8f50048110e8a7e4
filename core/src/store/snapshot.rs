//! A mirrored repository and its current snapshot.

use super::{Generation, IngestLimits, Quarantine, RepositoryId, StoreError, Verified};
use crate::{objects::Database, refs::RefTable};
use std::{path::Path, sync::Arc};

/// An immutable view of one repository. Readers hold it as long as they like; packs live until the last one goes.
pub struct Snapshot {
    /// Which version of the references.
    pub generation: Generation,
    /// The references.
    pub refs: Arc<RefTable>,
    /// Earlier tables, newest first, whose tips are still servable (the last K generations within the grace period).
    pub recent: Vec<Arc<RefTable>>,
    /// The objects.
    pub objects: Arc<Database>,
}

/// One mirrored repository.
pub struct MirroredRepository {}

impl MirroredRepository {
    /// Its internal name.
    pub fn id(&self) -> RepositoryId {
        unimplemented!()
    }

    /// Its path at the upstream, `team/app.git`.
    pub fn path(&self) -> &str {
        unimplemented!()
    }

    /// The published bare repository (the symbolic link).
    pub fn directory(&self) -> &Path {
        unimplemented!()
    }

    /// The current snapshot: one atomic load. `None` before the first publication.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        unimplemented!()
    }

    /// Begins an ingest.
    pub fn quarantine(&self, _limits: IngestLimits) -> Result<Quarantine, StoreError> {
        unimplemented!()
    }

    /// Makes a verified state durable and current. The one door to visibility.
    pub fn publish(&self, _verified: Verified) -> Result<Arc<Snapshot>, StoreError> {
        unimplemented!()
    }

    /// Merges packs when there are many; a new layout of the same generation. Tells whether anything changed.
    pub fn consolidate(&self, _stop: &std::sync::atomic::AtomicBool) -> Result<bool, StoreError> {
        unimplemented!()
    }
}
