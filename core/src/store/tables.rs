//! The tables of commits beside sealed packs: made when a pack comes, or later where that takes long.
//!
//! They are made from the packs, and nothing depends on them but speed: one that is lost or damaged is made again, and their
//! writing is not synced.

use super::{
    MirroredRepository, StoreError,
    disk::{Disk, gone_is_fine},
};
use crate::{graph::commit_table, objects::Database, pack::SealedPack};
use std::{io::Write as _, sync::atomic::AtomicBool};

impl MirroredRepository {
    /// Whether a pack lacks its table. Takes no lock, and reads no file.
    pub fn lacks_tables(&self) -> bool {
        self.snapshot().is_some_and(|snapshot| snapshot.objects.packs().iter().any(|pack| pack.lacks_commits()))
    }

    /// Makes the tables that are lacking; tells how many. Takes no lock.
    pub fn complete_tables(&self, stop: &AtomicBool) -> Result<usize, StoreError> {
        let Some(snapshot) = self.snapshot() else { return Ok(0) };
        complete(&*self.disk, &snapshot.objects, 0, u32::MAX, stop)
    }
}

/// Makes the tables that are lacking of the packs of `objects` from the `from`-th on, as far as these have no more than
/// `objects_max` objects; tells how many. Each goes beside its pack.
pub(super) fn complete(
    disk: &dyn Disk,
    objects: &Database,
    from: usize,
    objects_max: u32,
    stop: &AtomicBool,
) -> Result<usize, StoreError> {
    let mut made = 0;
    for (at, pack) in objects.packs().iter().enumerate().skip(from) {
        if pack.len() > objects_max || pack.commits().is_some() || !pack.lacks_commits() {
            continue;
        }
        let table = commit_table(objects, at as u32, stop)?;
        if let Some(table) = &table {
            write(disk, pack, &table.to_bytes(&pack.checksum()))?;
            made += 1;
        }
        pack.set_commits(table);
    }
    Ok(made)
}

fn write(disk: &dyn Disk, pack: &SealedPack, content: &[u8]) -> Result<(), StoreError> {
    let (place, beside) = (pack.commits_path(), pack.path().with_extension("commits.new"));
    gone_is_fine(disk.remove_file(&beside))?;
    disk.create_file(&beside)?.write_all(content)?;
    Ok(disk.rename(&beside, &place)?)
}
