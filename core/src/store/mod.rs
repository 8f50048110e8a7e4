//! Mirrored repositories on disk: quarantine, verification, atomic publication, lock-free snapshots, consolidation.
//!
//! The invariant that everything stands on: **the packs of a published layout are closed**. Whatever an object in them
//! names, reachable from a reference or not, is in them too. Ingest keeps it by checking every link of every new object
//! (`verify`), consolidation by selecting whole closures, and a start by sweeping packs that no layout lists.

mod asked;
mod catalogue;
mod consolidate;
mod data_directory;
mod directory;
mod disk;
mod entries;
mod fsck;
mod generation;
mod index;
mod ingest;
mod layout;
mod load;
mod publish;
mod purge;
mod record;
mod snapshot;
mod standing;
mod tables;
mod tally;
mod verify;
mod writer;

pub use catalogue::{Store, StoreError};
pub use consolidate::worth_consolidating;
pub use data_directory::DataDirectory;
pub use disk::{Disk, Entry, EntryKind, LocalDisk};
pub use entries::{EntryCache, KeptEntry};
pub use fsck::{Finding, Findings};
pub use generation::Generation;
pub use ingest::{IngestError, IngestLimits, Ingested, Quarantine, ingest_bytes, ingest_entries};
pub use layout::RepositoryId;
pub use publish::{Verified, VerifyError};
pub use snapshot::{MirroredRepository, Retention, Snapshot};
pub use standing::{Refusal, Stale, Standing};
pub use tally::Tally;
