//! From verified to visible.
//!
//! The order is the promise: pack, index, directory of packs; the generation's files and directories; then the link
//! `current`, renamed into place, and its directory. Before the rename a crash leaves the old generation, after it the
//! new one, and both are whole. A failed `fsync` before the rename fails the publication, and the files are given up
//! (never synced again: the kernel may have dropped the dirty pages). One after the rename leaves a state on disk that
//! this process cannot know, so the repository accepts no further writes until it is opened anew.

use super::{
    Generation, MirroredRepository, RepositoryId, Snapshot, StoreError,
    consolidate::closed,
    directory,
    disk::gone_is_fine,
    ingest::{NewPack, QuarantineDirectory},
    record::DirectoryName,
    writer::{Leaving, Retired, Writer, remove_pack},
};
use crate::{ObjectId, objects::Database, pack::SealedPack, refs::RefTable, store::fsck::Findings};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

/// A complete set of references and objects, proven. Only the verifier makes one.
pub struct Verified {
    pub(super) repository: RepositoryId,
    pub(super) purges: u64,
    pub(super) refs: RefTable,
    /// Not to be advertised, but to stay servable.
    pub(super) kept: Vec<RefTable>,
    /// What the proof stood on: its packs stay in the layout.
    pub(super) base: Option<Arc<Snapshot>>,
    pub(super) packs: Vec<NewPack>,
    pub(super) findings: Findings,
    /// Removed when the packs have left it, or with everything in it if they never do.
    pub(super) _directory: QuarantineDirectory,
}

impl Verified {
    /// The references that will be published. What annotated tags peel to has been read from the objects.
    pub fn refs(&self) -> &RefTable {
        &self.refs
    }

    /// Cosmetic faults of the new objects: mirrored as they are, since the upstream is the authority.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }
}

/// Why a state is not publishable.
#[derive(Debug)]
pub enum VerifyError {
    /// A reference or an object names an object that is not here.
    Missing(ObjectId),
    /// An object is structurally broken.
    Broken {
        /// The object.
        id: ObjectId,
        /// What is wrong.
        detail: String,
    },
    /// The disk failed.
    Io(io::Error),
    /// The stop flag was raised.
    Interrupted,
}

impl MirroredRepository {
    /// Makes a verified state durable and current. The one door to visibility. `now` is the monotonic time; all calls for
    /// one store use the same clock. References that are equal to the current ones keep their generation.
    pub fn publish(&self, verified: Verified, now: Instant) -> Result<Arc<Snapshot>, StoreError> {
        let mut writer = self.lock_writer();
        writer.check_usable()?;
        if verified.repository != self.id() {
            return Err(StoreError::Damaged("verified for another repository".into()));
        }
        if verified.purges != writer.purges {
            return Err(StoreError::Purged);
        }
        let current = self.snapshot();
        let same_refs = current.as_ref().filter(|current| current.refs.digest() == verified.refs.digest());
        if let (Some(same), true) = (same_refs, verified.packs.is_empty()) {
            let same = same.clone();
            writer.keep(verified.kept, now);
            self.expire_locked(&mut writer, now);
            return Ok(self.snapshot().unwrap_or(same));
        }
        let generation = match (&current, same_refs) {
            (_, Some(same)) => same.generation,
            (Some(current), None) => Generation { n: writer.n_last + 1, ..current.generation },
            (None, None) => Generation { epoch: self.disk.fresh_number()?, n: 1 },
        };
        let mut packs: Vec<Arc<SealedPack>> =
            current.iter().flat_map(|current| current.objects.packs()).cloned().collect();
        packs.extend(lost_since(&writer, &verified, current.as_deref(), &packs)?);
        let sealed = self.seal(&mut writer, &verified.packs, &packs)?;
        packs.extend(sealed.iter().cloned());
        let refs = match same_refs {
            Some(same) => same.refs.clone(),
            None => Arc::new(verified.refs),
        };
        let published = self.switch(&mut writer, generation, refs, packs, Some(now));
        if published.is_err() {
            self.give_up(&writer, &sealed);
        }
        let published = published?;
        self.damage.store(None);
        writer.keep(verified.kept, now);
        self.expire_locked(&mut writer, now);
        Ok(self.snapshot().unwrap_or(published))
    }

    /// Lets go of earlier generations whose grace is over at `now`, and of packs that left the layout and that nobody has
    /// read for as long. To be called every now and then; publishing does it too.
    pub fn expire(&self, now: Instant) {
        let mut writer = self.lock_writer();
        if writer.check_usable().is_ok() {
            self.expire_locked(&mut writer, now);
        }
    }

    fn expire_locked(&self, writer: &mut Writer, now: Instant) {
        let expired = writer.take_expired(self.retention, now);
        if let Some(current) = self.snapshot() {
            let recent = writer.recent_tables(&current.refs);
            let is_same = |(a, b): (&Arc<RefTable>, &Arc<RefTable>)| Arc::ptr_eq(a, b);
            if recent.len() != current.recent.len() || !recent.iter().zip(&current.recent).all(is_same) {
                let Snapshot { generation, ref refs, ref objects, ref entries, .. } = *current;
                let (refs, objects, entries) = (refs.clone(), objects.clone(), entries.clone());
                self.current.store(Some(Arc::new(Snapshot { generation, refs, recent, objects, entries })));
            }
        }
        // Readers see the shorter list before anything goes. A consolidation keeps what the tables in `retired` name, so a
        // directory leaves that list only when it is durably gone: come back after a crash, it would promise objects that
        // have been left out meanwhile. One that cannot be removed is tried again.
        let gone = !expired.is_empty();
        for retired in expired {
            if self.disk.remove_tree(&retired.directory).is_err() {
                writer.retired.push(retired);
            }
        }
        if gone && let Err(error) = self.disk.sync_dir(&self.paths.generations) {
            writer.failed = Some(format!("earlier generations may or may not be gone from disk: {error}"));
        }
        self.entries.load().rest();
        writer.remove_unread_packs(&*self.disk, self.retention.grace, now);
    }

    /// Removes sealed packs whose publication failed, unless they may be published after all. They are part of no layout;
    /// what stays is swept at the next start.
    pub(super) fn give_up(&self, writer: &Writer, sealed: &[Arc<SealedPack>]) {
        if writer.failed.is_none() {
            for pack in sealed {
                let _ = remove_pack(&*self.disk, pack.path());
            }
        }
    }

    /// Moves new packs to their place, durably. A pack that the layout has already is left where it is.
    pub(super) fn seal(
        &self,
        writer: &mut Writer,
        new: &[NewPack],
        layout: &[Arc<SealedPack>],
    ) -> Result<Vec<Arc<SealedPack>>, StoreError> {
        let mut moved = Vec::new();
        let result = (|| {
            for pack in new {
                let place = self.paths.packs.join(format!("{}.pack", pack.stem));
                if layout.iter().any(|known| known.path() == place) || moved.contains(&place) {
                    continue;
                }
                for extension in ["pack", "idx"] {
                    let file = pack.path.with_extension(extension);
                    self.disk.set_read_only(&file)?;
                    self.disk.sync_file(&file)?;
                }
                // A pack of this name may be lying here without belonging to the layout: on its way out, or left by a
                // failed publication. Equal names are equal bytes; the new file takes the place and is not on its way out.
                writer.leaving.retain(|leaving| leaving.path != place);
                moved.push(place.clone());
                self.disk.rename(&pack.path, &place)?;
                self.disk.rename(&pack.path.with_extension("idx"), &place.with_extension("idx"))?;
                // Not every pack has its table yet.
                gone_is_fine(self.disk.rename(&pack.sealed.commits_path(), &place.with_extension("commits")))?;
            }
            if !moved.is_empty() {
                self.disk.sync_dir(&self.paths.packs)?;
            }
            let open = |path: &PathBuf| SealedPack::open(path).map(Arc::new).map_err(StoreError::from);
            moved.iter().map(open).collect::<Result<Vec<_>, _>>()
        })();
        if result.is_err() {
            for place in &moved {
                let _ = remove_pack(&*self.disk, place);
            }
        }
        result
    }

    /// Writes the directory of a generation, makes it current on disk and then in memory.
    pub(super) fn switch(
        &self,
        writer: &mut Writer,
        generation: Generation,
        refs: Arc<RefTable>,
        packs: Vec<Arc<SealedPack>>,
        now: Option<Instant>,
    ) -> Result<Arc<Snapshot>, StoreError> {
        writer.layout_last += 1;
        let name = DirectoryName { generation, layout: writer.layout_last };
        let stems = packs.iter().filter_map(|pack| Some(pack.path().file_stem()?.to_str()?.to_owned())).collect();
        let directory = self.paths.generations.join(name.to_string());
        if let Err(error) = self.prepare(name, &refs, stems) {
            let _ = self.disk.remove_tree(&directory);
            return Err(error.into());
        }
        let beside = self.paths.root.join("current.new");
        if let Err(error) = self.disk.rename(&beside, &self.paths.current) {
            let _ = self.disk.remove_tree(&directory);
            return Err(error.into());
        }
        if let Err(error) = self.disk.sync_dir(&self.paths.root) {
            writer.failed = Some(format!("the publication of {name} may or may not be on disk: {error}"));
            return Err(error.into());
        }
        let before = self.snapshot();
        if let (Some(before), Some((name, directory))) = (&before, writer.current.take()) {
            let table = (before.generation != generation).then(|| before.refs.clone());
            writer.retired.insert(0, Retired { name, directory, since: now, table });
            for pack in before.objects.packs() {
                if !packs.iter().any(|kept| kept.path() == pack.path()) {
                    writer.leaving.push(Leaving {
                        path: pack.path().to_owned(),
                        bytes: pack.bytes().len() as u64,
                        pack: Arc::downgrade(pack),
                        unread_since: None,
                    });
                }
            }
        }
        // A pack that came back is not on its way out any more.
        writer.leaving.retain(|leaving| !packs.iter().any(|kept| kept.path() == leaving.path));
        writer.current = Some((name, directory));
        writer.n_last = writer.n_last.max(generation.n);
        let recent = writer.recent_tables(&refs);
        let objects = Arc::new(match &before {
            Some(before) => Database::following(packs, &before.objects),
            None => Database::new(packs),
        });
        let entries = self.entries.load_full();
        let snapshot = Arc::new(Snapshot { generation, refs, recent, objects, entries });
        snapshot.entries.fit(snapshot.pack_bytes());
        self.current.store(Some(snapshot.clone()));
        Ok(snapshot)
    }

    /// Everything up to the rename that publishes.
    fn prepare(&self, name: DirectoryName, refs: &RefTable, packs: Vec<String>) -> io::Result<()> {
        directory::write(&*self.disk, &self.paths.generations, name, refs, packs)?;
        let beside = self.paths.root.join("current.new");
        gone_is_fine(self.disk.remove_file(&beside))?;
        self.disk.symlink(&Path::new("generations").join(name.to_string()), &beside)
    }
}

/// The packs that the proof stood on and that a consolidation has taken out of the layout since. If the new packs are
/// closed over the layout as it is now, none are needed; if not, they come back, until the next consolidation sees what
/// is needed of them.
fn lost_since(
    writer: &Writer,
    verified: &Verified,
    current: Option<&Snapshot>,
    layout: &[Arc<SealedPack>],
) -> Result<Vec<Arc<SealedPack>>, StoreError> {
    let base = verified.base.iter().flat_map(|base| base.objects.packs());
    let lost: Vec<_> = base.filter(|pack| !layout.iter().any(|other| other.path() == pack.path())).cloned().collect();
    let Some(current) = current.filter(|_| !lost.is_empty()) else { return Ok(lost) };
    let new = verified.packs.iter().map(|pack| pack.sealed.clone());
    let trial = Database::new(layout.iter().cloned().chain(new).collect());
    let mut tips = std::iter::once(&verified.refs).chain(&verified.kept).flat_map(RefTable::tips);
    let tips_are_here = tips.all(|tip| trial.number(&tip).is_some());
    let closed = tips_are_here && closed(writer, current, &trial, layout.len(), &AtomicBool::new(false))?;
    Ok(if closed { Vec::new() } else { lost })
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(id) => write!(f, "object {id} is named but not here"),
            Self::Broken { id, detail } => write!(f, "object {id} is broken: {detail}"),
            Self::Io(error) => write!(f, "the store's disk failed: {error}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for VerifyError {}
