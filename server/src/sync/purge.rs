//! Dropping a repository, or what nothing in it reaches, from the disk at once. Blocks: not to be called on a shard.

use super::{Shared, Syncs, driver::Event};
use futures_channel::oneshot;
use futures_lite::future::block_on;
use heliostat_core::{
    RepositoryPath,
    store::{MirroredRepository, StoreError},
};
use std::sync::Arc;

impl Syncs {
    /// Drops the repository that a client calls `path`, a second copy of it too. Gives how many bytes of packs went; `None`
    /// if it is not here. Who is reading it finishes. The interval does not bring it back, unless the upstream lists it.
    pub fn purge(&self, path: &RepositoryPath) -> Result<Option<u64>, StoreError> {
        let copies = self.shared.copies(path);
        let mut bytes = None;
        for copy in &copies {
            // Its own file of references, and what else is not a pack, is not counted.
            let size = copy.disk_bytes();
            if remove(&self.shared, &self.events, copy)? {
                bytes = Some(bytes.unwrap_or(0) + size);
            }
        }
        Ok(bytes)
    }

    /// Drops what no reference reaches from the repository that a client calls `path`, likewise.
    pub fn purge_unreachable(&self, path: &RepositoryPath) -> Result<Option<u64>, StoreError> {
        let mut bytes = None;
        for copy in self.shared.copies(path) {
            bytes = Some(bytes.unwrap_or(0) + copy.purge_unreachable(&self.shared.stop)?);
        }
        Ok(bytes)
    }
}

/// Removes one, once nothing but a caller brings it back.
pub(super) fn remove(
    shared: &Shared,
    events: &flume::Sender<Event>,
    repository: &MirroredRepository,
) -> Result<bool, StoreError> {
    if let Ok(path) = repository.path().parse() {
        let (reply, forgotten) = oneshot::channel();
        let _ = events.send(Event::Forget { path: shared.scheduled_as(path), reply });
        // Where the threads have ended, nothing brings it back.
        let _ = block_on(forgotten);
    }
    shared.store.remove(repository.path())
}

impl Shared {
    /// All that is here of what a client calls `path`.
    pub(super) fn copies(&self, path: &RepositoryPath) -> Vec<Arc<MirroredRepository>> {
        let found = crate::upstream::find(&self.store, &*self.upstream, path);
        if self.upstream.tells_spellings_apart() {
            return found.into_iter().collect();
        }
        self.upstream.spellings(path).filter_map(|path| self.store.find(path.as_str())).collect()
    }
}
