//! Mirrored repositories on disk: quarantine, verification, atomic publication, lock-free snapshots, consolidation.

mod generation;
mod ingest;
mod layout;
mod publish;
mod snapshot;

pub use generation::Generation;
pub use ingest::{IngestError, IngestLimits, Ingested, Quarantine};
pub use layout::{RepositoryId, Store, StoreError};
pub use publish::{Verified, VerifyError};
pub use snapshot::{MirroredRepository, Snapshot};
