//! Dropping what no current reference reaches, from the disk and at once: nothing of it waits for a grace period.
//!
//! Earlier generations are given up first, so that nothing but the current references keeps an object; then the packs are
//! merged, and all that is left of earlier layouts goes, whoever reads it: a reader here has its packs mapped and finishes,
//! a stock `git` in the published directory may have to be started again. What was proven or merged meanwhile against
//! objects that have gone is not published ([`StoreError::Purged`]): it might bring them back.
//!
//! A crash leaves a whole generation, the old layout or the new one, and perhaps packs of the old one: they go after the
//! grace period, or when somebody purges again.

use super::{
    EntryCache, MirroredRepository, Snapshot, StoreError,
    consolidate::Merged,
    disk::gone_is_fine,
    writer::{Writer, remove_pack},
};
use std::{
    io,
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// Merges that are tried while publications come between.
const ATTEMPTS_MAX: usize = 5;

impl MirroredRepository {
    /// Drops every object that no current reference reaches, and every earlier generation. Gives how many bytes of packs
    /// there are less.
    pub fn purge_unreachable(&self, stop: &AtomicBool) -> Result<u64, StoreError> {
        if let Some(damage) = self.damage() {
            return Err(StoreError::Damaged(damage.to_string()));
        }
        let before = self.disk_bytes();
        for _ in 0..ATTEMPTS_MAX {
            let mut writer = self.lock_usable()?;
            self.give_up_earlier(&mut writer)?;
            drop(writer);
            if self.merge(stop)? == Merged::Overtaken {
                continue;
            }
            let mut writer = self.lock_usable()?;
            // A publication may have come in between, with a generation before it that still counted as one to serve.
            if writer.servable_tables().next().is_some() {
                continue;
            }
            self.give_up_earlier(&mut writer)?;
            self.give_up_entries()?;
            // Under the lock: who has begun before and publishes later finds another number.
            writer.purges += 1;
            self.purges.store(writer.purges, Ordering::SeqCst);
            // One that can't be removed is tried again as any other that leaves.
            let mut failed = None;
            writer.leaving.retain(|leaving| {
                let removed = remove_pack(&*self.disk, &leaving.path);
                let stays = removed.is_err();
                failed = failed.take().or(removed.err());
                stays
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            self.disk.sync_dir(&self.paths.packs)?;
            drop(writer);
            return Ok(before.saturating_sub(self.disk_bytes()));
        }
        Err(StoreError::Purged)
    }

    /// Bytes of the packs, their indexes and tables that lie on the disk, those on their way out too, and of kept entries.
    pub fn disk_bytes(&self) -> u64 {
        let leaving = self.lock_writer().leaving_bytes();
        self.snapshot().map_or(0, |snapshot| snapshot.pack_bytes()) + leaving + self.entries.load().bytes()
    }

    /// What is kept beside the packs may hold what they hold no more. Who plans on a snapshot of before finds nothing, and
    /// brings nothing back.
    fn give_up_entries(&self) -> io::Result<()> {
        self.entries.load().close()?;
        self.disk.sync_dir(&self.paths.root)?;
        let fresh = Arc::new(EntryCache::open(self.disk.clone(), self.paths.entries.clone()));
        self.entries.store(fresh.clone());
        if let Some(current) = self.snapshot() {
            let Snapshot { generation, ref refs, ref recent, ref objects, .. } = *current;
            let (refs, recent, objects) = (refs.clone(), recent.clone(), objects.clone());
            fresh.fit(current.pack_bytes());
            self.current.store(Some(Arc::new(Snapshot { generation, refs, recent, objects, entries: fresh })));
        }
        Ok(())
    }

    fn lock_usable(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        let writer = self.lock_writer();
        writer.check_usable()?;
        Ok(writer)
    }

    /// Earlier generations and layouts go, and what was fetched by its id, for readers first.
    fn give_up_earlier(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if let Some(current) = self.snapshot().filter(|current| !current.recent.is_empty()) {
            let Snapshot { generation, ref refs, ref objects, ref entries, .. } = *current;
            let (refs, objects, entries) = (refs.clone(), objects.clone(), entries.clone());
            self.current.store(Some(Arc::new(Snapshot { generation, refs, recent: Vec::new(), objects, entries })));
        }
        writer.kept.clear();
        while let Some(retired) = writer.retired.pop() {
            if let Err(error) = gone_is_fine(self.disk.remove_tree(&retired.directory)) {
                // Come back after a crash, its tips must not count: what they name may be gone by then.
                writer.retired.push(retired);
                return Err(error.into());
            }
        }
        self.disk.sync_dir(&self.paths.generations).map_err(|error| {
            writer.failed = Some(format!("earlier generations may or may not be gone from disk: {error}"));
            error.into()
        })
    }
}

impl Snapshot {
    /// Bytes of its packs with their indexes and tables of commits.
    pub fn pack_bytes(&self) -> u64 {
        self.objects.packs().iter().map(|pack| pack.disk_bytes()).sum()
    }
}
