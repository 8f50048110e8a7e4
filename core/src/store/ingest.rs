//! Packs from outside: into quarantine, indexed under limits.

use super::{Verified, VerifyError};
use crate::{ObjectId, oid, refs::RefTable};
use std::{io::BufRead, sync::atomic::AtomicBool};

/// Bounds of one ingest.
#[derive(Clone, Copy, Debug)]
pub struct IngestLimits {
    /// Bytes of one pack.
    pub pack_bytes: u64,
    /// Objects of one pack.
    pub objects: u32,
    /// Inflated bytes of one object.
    pub object_bytes: u64,
    /// Links of one delta chain.
    pub delta_depth: u32,
}

/// What one pack brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// Objects stored, completed bases included.
    pub objects: u32,
    /// Bytes stored.
    pub bytes: u64,
}

/// Why a pack is refused. Nothing of it remains.
#[derive(Debug)]
pub enum IngestError {
    /// The stream broke or the disk failed.
    Io(std::io::Error),
    /// The pack is not valid.
    Corrupt(String),
    /// A limit was reached.
    TooLarge(&'static str),
    /// A delta base that is neither in the pack nor here.
    MissingBase(ObjectId),
    /// The stop flag was raised.
    Interrupted,
}

/// Packs on their way in: on disk, not visible. Dropping it removes them.
pub struct Quarantine {}

impl Quarantine {
    /// Whether an object is here already: in the repository or in this quarantine.
    pub fn has(&self, _id: &oid) -> bool {
        unimplemented!()
    }

    /// Indexes one pack from `stream`, which ends after the trailer or goes on (not read further).
    /// Thin bases come from the repository and from this quarantine.
    pub fn ingest(&mut self, _stream: &mut dyn BufRead, _stop: &AtomicBool) -> Result<Ingested, IngestError> {
        unimplemented!()
    }

    /// Checks the new objects (structure refuses, cosmetics are recorded) and that everything `refs` names is complete.
    pub fn verify(self, _refs: RefTable, _stop: &AtomicBool) -> Result<Verified, VerifyError> {
        unimplemented!()
    }
}
