//! A mirrored repository and its current snapshot.
//!
//! Reading is one atomic load. What changes the repository ([`MirroredRepository::publish`],
//! [`MirroredRepository::consolidate`], [`MirroredRepository::expire`]) takes the writer's lock, which no reader meets.

use super::{
    EntryCache, Generation, IngestLimits, Quarantine, RepositoryId, Standing, StoreError, disk::Disk, layout::Paths,
    load::Found, writer::Writer,
};
use crate::{
    limits::{GENERATION_GRACE, GENERATIONS_KEPT},
    objects::Database,
    refs::{RefTable, Shown},
};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// An immutable view of one repository. Readers hold it as long as they like; packs live until the last one goes.
pub struct Snapshot {
    /// Which version of the references.
    pub generation: Generation,
    /// The references.
    pub refs: Arc<RefTable>,
    /// Other tables whose tips are still servable: the last K generations within the grace period, newest first, then what
    /// was fetched by its id.
    pub recent: Vec<Arc<RefTable>>,
    /// The objects. Closed: whatever an object in here names is in here too.
    pub objects: Arc<Database>,
    /// Their entries that had to be encoded anew.
    pub entries: Arc<EntryCache>,
}

impl Snapshot {
    /// What there is before the first publication.
    pub fn nothing() -> Self {
        Self {
            generation: Generation { epoch: 0, n: 0 },
            refs: Arc::new(RefTable::empty()),
            recent: Vec::new(),
            objects: Arc::new(Database::new(Vec::new())),
            entries: Arc::new(EntryCache::none()),
        }
    }
}

/// How long earlier generations stay servable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many generations before the current one at most.
    pub generations: usize,
    /// For how long after they were superseded.
    pub grace: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { generations: GENERATIONS_KEPT, grace: GENERATION_GRACE }
    }
}

/// One mirrored repository.
pub struct MirroredRepository {
    id: RepositoryId,
    path: String,
    pub(super) paths: Paths,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) retention: Retention,
    pub(super) current: ArcSwapOption<Snapshot>,
    /// Those of all snapshots since the last purge.
    pub(super) entries: ArcSwap<EntryCache>,
    pub(super) damage: ArcSwapOption<String>,
    writer: Mutex<Writer>,
    quarantines: AtomicU64,
    /// As in the writer, for those who don't write yet.
    pub(super) purges: AtomicU64,
    standing: Standing,
    pub(super) asked: AtomicU64,
}

impl MirroredRepository {
    /// Takes what opening found in the repository's directory.
    pub(super) fn new(
        id: RepositoryId,
        path: String,
        paths: Paths,
        disk: Arc<dyn Disk>,
        retention: Retention,
        found: Found,
    ) -> Self {
        let entries = Arc::new(EntryCache::open(disk.clone(), paths.entries.clone()));
        let mut repository = Self {
            id,
            path,
            entries: ArcSwap::new(entries.clone()),
            paths,
            disk,
            retention,
            current: ArcSwapOption::empty(),
            damage: ArcSwapOption::from_pointee(found.damage),
            writer: Mutex::new(found.writer),
            quarantines: AtomicU64::new(0),
            purges: AtomicU64::new(0),
            standing: Standing::default(),
            asked: AtomicU64::new(0),
        };
        if let Some(current) = found.current {
            entries.fit(current.pack_bytes());
            let recent =
                repository.writer.get_mut().unwrap_or_else(PoisonError::into_inner).recent_tables(&current.refs);
            repository.current.store(Some(Arc::new(Snapshot { recent, entries, ..current })));
        }
        repository
    }

    /// Its internal name.
    pub fn id(&self) -> RepositoryId {
        self.id
    }

    /// Its path at the upstream, `team/app.git`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The published bare repository (the symbolic link).
    pub fn directory(&self) -> &Path {
        &self.paths.current
    }

    /// The current snapshot: one atomic load. `None` before the first publication, and when what lies on disk is damaged
    /// ([`MirroredRepository::damage`]).
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// How it stands to its upstream.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What was found damaged when the repository was opened and has not been replaced by a publication since. With a
    /// snapshot, an older generation is served; without one the repository has to be mirrored again.
    pub fn damage(&self) -> Option<Arc<String>> {
        self.damage.load_full()
    }

    /// Takes what `shown` hides out of what was loaded, earlier generations too, as if it had never been mirrored. For the start,
    /// before anything is served: a rule may have changed since it was written.
    pub fn show_only(&self, shown: &Shown) {
        let mut writer = self.lock_writer();
        let Some(current) = self.snapshot() else { return };
        for table in writer.retired.iter_mut().filter_map(|retired| retired.table.as_mut()) {
            if let Some(rest) = shown.only(table) {
                *table = Arc::new(rest);
            }
        }
        let refs = shown.only(&current.refs).map_or_else(|| current.refs.clone(), Arc::new);
        let recent = writer.recent_tables(&refs);
        let (generation, objects, entries) = (current.generation, current.objects.clone(), current.entries.clone());
        self.current.store(Some(Arc::new(Snapshot { generation, refs, recent, objects, entries })));
    }

    /// Whether it has ever been published: also if what was published is damaged now.
    pub fn has_been_published(&self) -> bool {
        self.current.load().is_some() || self.damage.load().is_some()
    }

    /// Begins an ingest. Several may be under way; each is verified against the snapshot of its beginning, and publishing
    /// keeps that snapshot's packs.
    pub fn quarantine(&self, limits: IngestLimits) -> Result<Quarantine, StoreError> {
        self.lock_writer().check_usable()?;
        // Before the snapshot: one of before a purge never goes with a number of after it.
        let purges = self.purges.load(Ordering::SeqCst);
        let (path, base) = (self.next_quarantine(), self.snapshot());
        Ok(Quarantine::begin(self.id, purges, self.disk.clone(), path, base, limits)?)
    }

    /// A directory for packs on their way in that nobody has used since the start.
    pub(super) fn next_quarantine(&self) -> PathBuf {
        self.paths.quarantine.join(self.quarantines.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// The state of the one who writes. A panic under the lock leaves it as of the last completed step, which is sound:
    /// every step on disk leaves a whole repository.
    pub(super) fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MirroredRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MirroredRepository").field("id", &self.id).field("path", &self.path).finish_non_exhaustive()
    }
}
