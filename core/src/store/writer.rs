//! What the writer of one repository remembers between publications: earlier generations and packs on their way out.
//!
//! Nothing is removed by a destructor: a snapshot may end on a thread that serves. The writer looks, at each
//! publication and expiry, whether a pack that left the layout still has readers. Those that it can't see are a stock
//! `git` in the published directory, which has listed the packs and opens them when it needs them: when the last reader
//! that it can see is gone, a pack stays for the grace period, as the directory of a generation does.

use super::{
    Retention, StoreError,
    disk::{Disk, gone_is_fine},
    record::DirectoryName,
};
use crate::{limits::KEPT_TABLES_MAX, pack::SealedPack, refs::RefTable};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

/// A generation's directory that is not current any more.
pub(super) struct Retired {
    pub name: DirectoryName,
    pub directory: PathBuf,
    /// When it was superseded; `None`: before this process began, so the grace counts from the first expiry.
    pub since: Option<Instant>,
    /// Its references, unless a later directory holds the same.
    pub table: Option<Arc<RefTable>>,
}

/// A pack on its way out.
pub(super) struct Leaving {
    pub path: PathBuf,
    pub bytes: u64,
    /// Who reads it.
    pub pack: Weak<SealedPack>,
    /// When it was first found without readers.
    pub unread_since: Option<Instant>,
}

/// References that were never current, and whose objects are servable all the same: what was fetched by its id.
pub(super) struct Kept {
    pub since: Instant,
    pub table: Arc<RefTable>,
}

/// The writer's memory.
#[derive(Default)]
pub(super) struct Writer {
    /// The current directory, if anything is published.
    pub current: Option<(DirectoryName, PathBuf)>,
    /// The highest layout number ever seen here.
    pub layout_last: u64,
    /// The highest generation number ever seen in the current epoch.
    pub n_last: u64,
    /// Newest first.
    pub retired: Vec<Retired>,
    /// Newest first. In memory only: after a start these objects have to be asked for again.
    pub kept: Vec<Kept>,
    /// Packs that the layout does not hold any more, until their last reader has been gone for the grace period.
    pub leaving: Vec<Leaving>,
    /// Why nothing may be written any more: the disk is in a state that only a new start can read.
    pub failed: Option<String>,
    /// How often objects were purged.
    pub purges: u64,
    /// The repository has been removed.
    pub removed: bool,
}

impl Writer {
    /// Whether anything may still be written.
    pub fn check_usable(&self) -> Result<(), StoreError> {
        match &self.failed {
            _ if self.removed => Err(StoreError::Removed),
            Some(reason) => Err(StoreError::Failed(reason.clone())),
            None => Ok(()),
        }
    }

    /// The tables whose tips are servable beside `current`, newest first, each once.
    pub fn recent_tables(&self, current: &RefTable) -> Vec<Arc<RefTable>> {
        let mut tables: Vec<Arc<RefTable>> = Vec::new();
        for table in self.servable_tables() {
            let known = |other: &RefTable| other.digest() == table.digest();
            if !known(current) && !tables.iter().any(|other| known(other)) {
                tables.push(table.clone());
            }
        }
        tables
    }

    /// All tables beside the current one whose tips have to stay.
    pub fn servable_tables(&self) -> impl Iterator<Item = &Arc<RefTable>> {
        let earlier = self.retired.iter().filter_map(|retired| retired.table.as_ref());
        earlier.chain(self.kept.iter().map(|kept| &kept.table))
    }

    /// Keeps what `tables` lead to servable for as long as an earlier generation.
    pub fn keep(&mut self, tables: Vec<RefTable>, now: Instant) {
        for table in tables {
            self.kept.retain(|kept| kept.table.digest() != table.digest());
            self.kept.insert(0, Kept { since: now, table: Arc::new(table) });
        }
        self.kept.truncate(KEPT_TABLES_MAX);
    }

    /// Takes out of `retired` what has had its time at `now`; forgets what of `kept` has.
    pub fn take_expired(&mut self, retention: Retention, now: Instant) -> Vec<Retired> {
        self.kept.retain(|kept| now.saturating_duration_since(kept.since) < retention.grace);
        let (mut tables, mut layouts) = (0, 0);
        let (kept, expired) = std::mem::take(&mut self.retired).into_iter().partition(|retired| {
            // Generations and mere layouts are counted apart, so that consolidation pushes no generation out.
            let count = if retired.table.is_some() { &mut tables } else { &mut layouts };
            *count += 1;
            let age = retired.since.map_or_else(Default::default, |since| now.saturating_duration_since(since));
            *count <= retention.generations && age < retention.grace
        });
        self.retired = kept;
        for retired in &mut self.retired {
            retired.since.get_or_insert(now);
        }
        expired
    }

    /// Removes the packs that left and that nobody has read for `grace` at `now`. What cannot be removed is tried again
    /// next time.
    pub fn remove_unread_packs(&mut self, disk: &dyn Disk, grace: Duration, now: Instant) {
        self.leaving.retain_mut(|leaving| {
            if leaving.pack.strong_count() > 0 {
                leaving.unread_since = None;
                return true;
            }
            let since = *leaving.unread_since.get_or_insert(now);
            now.saturating_duration_since(since) < grace || remove_pack(disk, &leaving.path).is_err()
        });
    }

    /// Bytes of the packs that are still to be removed.
    pub fn leaving_bytes(&self) -> u64 {
        self.leaving.iter().map(|leaving| leaving.bytes).sum()
    }
}

/// Removes a pack, its index first: a pack without index is nothing to Git.
pub(super) fn remove_pack(disk: &dyn Disk, pack: &Path) -> io::Result<()> {
    for sidecar in ["commits", "idx"] {
        gone_is_fine(disk.remove_file(&pack.with_extension(sidecar)))?;
    }
    gone_is_fine(disk.remove_file(pack))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{refs::Head, store::Generation};

    fn retired(n: u64, since: Option<Instant>, with_table: bool) -> Retired {
        let name = DirectoryName { generation: Generation { epoch: 1, n }, layout: n };
        let head = crate::ObjectId::from_bytes_or_panic(&[n as u8; 20]);
        let table = with_table.then(|| Arc::new(RefTable::new(Vec::new(), Head::Detached(head))));
        Retired { name, directory: PathBuf::new(), since, table }
    }

    #[test]
    fn generations_leave_by_number_and_by_age() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let retention = Retention { generations: 2, grace: Duration::from_secs(60) };
        let mut writer = Writer {
            retired: vec![
                retired(6, Some(at(50)), true),
                retired(5, Some(at(40)), false),
                retired(4, Some(at(30)), true),
                retired(3, Some(at(20)), true),
            ],
            ..Writer::default()
        };
        let expired = |writer: &mut Writer, now| {
            writer.take_expired(retention, now).iter().map(|r| r.name.layout).collect::<Vec<_>>()
        };
        assert_eq!(expired(&mut writer, at(50)), [3], "more than two generations");
        assert_eq!(expired(&mut writer, at(89)), [0u64; 0]);
        assert_eq!(expired(&mut writer, at(100)), [5, 4], "older than the grace");
        assert_eq!(writer.recent_tables(&RefTable::empty()).len(), 1);
        assert_eq!(expired(&mut writer, at(110)), [6]);
    }

    #[test]
    fn what_was_there_before_the_start_gets_a_whole_grace() {
        let start = Instant::now();
        let retention = Retention { generations: 2, grace: Duration::from_secs(60) };
        let mut writer = Writer { retired: vec![retired(1, None, true)], ..Writer::default() };
        assert_eq!(writer.take_expired(retention, start).len(), 0);
        assert_eq!(writer.take_expired(retention, start + Duration::from_secs(59)).len(), 0);
        assert_eq!(writer.take_expired(retention, start + Duration::from_secs(60)).len(), 1);
    }
}
