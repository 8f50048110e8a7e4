//! The type of each entry of a pack, from the entries' headers: nothing is inflated.

use super::{EntryTable, SealedPack};
use crate::objects::Kind;
use gix_pack::data::entry::Header;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many entries are looked at between two looks at the stop flag.
const ENTRIES_PER_STOP: u32 = 256;

/// Why the types could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindsError {
    /// The index does not fit the pack.
    Table(String),
    /// The entry of this rank is damaged.
    Entry {
        /// In the order of the pack.
        rank: u32,
        /// What is wrong.
        detail: String,
    },
    /// The stop flag was raised.
    Interrupted,
}

impl SealedPack {
    /// The type of each entry, by rank.
    pub fn kinds(&self, stop: &AtomicBool) -> Result<Vec<Kind>, KindsError> {
        let entries = self.entries().map_err(KindsError::Table)?;
        let mut kinds: Vec<Option<Kind>> = vec![None; entries.len() as usize];
        let mut chain = Vec::new();
        for first in 0..entries.len() {
            if first.is_multiple_of(ENTRIES_PER_STOP) && stop.load(Ordering::Relaxed) {
                return Err(KindsError::Interrupted);
            }
            let broken = |detail: String| KindsError::Entry { rank: first, detail };
            let mut rank = first;
            let kind = loop {
                if let Some(kind) = kinds[rank as usize] {
                    break kind;
                }
                // The indexer has resolved every chain, so none is a circle; the bound is for a disk that changed.
                if chain.len() > entries.len() as usize {
                    return Err(broken("the chain of deltas is a circle".into()));
                }
                chain.push(rank);
                match self.base_or_kind(entries, rank).map_err(broken)? {
                    Ok(kind) => break kind,
                    Err(base) => rank = base,
                }
            };
            while let Some(rank) = chain.pop() {
                kinds[rank as usize] = Some(kind);
            }
        }
        // Each has been set: the chains of all have been followed to their ends.
        Ok(kinds.into_iter().flatten().collect())
    }

    /// The type of a whole entry, or the rank of a delta's base.
    fn base_or_kind(&self, entries: &EntryTable, rank: u32) -> Result<Result<Kind, u32>, String> {
        let offset = entries.start(rank);
        let base = match self.entry(offset)?.header {
            Header::OfsDelta { base_distance } => offset.checked_sub(base_distance),
            Header::RefDelta { base_id } => self.find(&base_id).map(|position| self.offset_at(position)),
            whole => return whole.as_kind().map(Ok).ok_or_else(|| "unknown type of entry".into()),
        };
        let base = base.and_then(|offset| entries.rank(offset));
        base.map(Err).ok_or_else(|| "a delta's base is no entry of the pack".into())
    }
}
