//! Many packs become two: what heads and tags reach, and what else is still needed.
//!
//! Entries and deltas are copied as they are by the same plan that serves a clone; what nothing reaches is left out.
//! The result is read back through the indexer, which hashes every object again, so that a consolidation can't turn rot
//! into something that looks whole. It becomes a new layout of the same generation. Publications go on meanwhile; the
//! packs that they bring stay beside the new ones, if they are closed over them, which is checked.

use super::{
    IngestError, IngestLimits, MirroredRepository, Snapshot, StoreError,
    index::index_pack,
    ingest::{NewPack, QuarantineDirectory},
    tables,
    tally::Tally,
    verify,
    writer::Writer,
};
use crate::{
    ObjectId,
    graph::{Graph, Query, Selected},
    limits::{
        CONSOLIDATE_LEAVING_BYTES_FREE, CONSOLIDATE_LEAVING_PERCENT, CONSOLIDATE_PACKS_MAX, CONSOLIDATE_PACKS_MIN,
        CONSOLIDATE_SHARE,
    },
    objects::{Database, Number, ReadError},
    pack::{Chunk, EmitError, Emitter, Encoding, Framing, PlanError, SealedPack, Spool, plan},
    refs::RefTable,
};
use std::{
    collections::BTreeSet,
    io::{self, BufRead, Read},
    sync::{Arc, atomic::AtomicBool},
};

/// Whether what earlier consolidations have replaced and what still lies on the disk, in bytes, leaves room for another one
/// beside the packs in use: how often a repository is consolidated within one grace period is bounded by that.
fn has_room(leaving_bytes: u64, bytes: u64) -> bool {
    leaving_bytes <= CONSOLIDATE_LEAVING_BYTES_FREE.max(bytes.saturating_mul(CONSOLIDATE_LEAVING_PERCENT) / 100)
}

/// Whether packs of these sizes in bytes are worth consolidating: too many of them, or too much outside the two that a
/// consolidation leaves.
pub fn worth_consolidating(pack_bytes: &[u64]) -> bool {
    let mut sizes = pack_bytes.to_vec();
    sizes.sort_unstable();
    let small: u64 = sizes.iter().rev().skip(2).sum();
    let large: u64 = sizes.iter().rev().take(2).sum();
    sizes.len() >= CONSOLIDATE_PACKS_MAX || (sizes.len() >= CONSOLIDATE_PACKS_MIN && small > large / CONSOLIDATE_SHARE)
}

/// What came of merging all packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// A new layout.
    Replaced,
    /// The same layout: nothing is left to merge or to leave out.
    Same,
    /// What was published or purged meanwhile does not go with it.
    Overtaken,
}

impl MirroredRepository {
    /// Whether there are so many packs that merging them pays ([`worth_consolidating`]). Takes no lock.
    pub fn is_worth_consolidating(&self) -> bool {
        self.pack_bytes().is_some_and(|sizes| worth_consolidating(&sizes))
    }

    /// Merges packs when it pays and when those that were replaced lately do not fill the disk: a new layout of the same
    /// generation. Tells whether anything changed.
    pub fn consolidate(&self, stop: &AtomicBool) -> Result<bool, StoreError> {
        let Some(sizes) = self.pack_bytes().filter(|sizes| worth_consolidating(sizes)) else { return Ok(false) };
        let leaving_bytes = self.lock_writer().leaving_bytes();
        if has_room(leaving_bytes, sizes.iter().sum()) { self.consolidate_now(stop) } else { Ok(false) }
    }

    fn pack_bytes(&self) -> Option<Vec<u64>> {
        let snapshot = self.snapshot()?;
        Some(snapshot.objects.packs().iter().map(|pack| pack.bytes().len() as u64).collect())
    }

    /// The same whether it is worth it or not: drops what nothing reaches.
    pub fn consolidate_now(&self, stop: &AtomicBool) -> Result<bool, StoreError> {
        Ok(self.merge(stop)? == Merged::Replaced)
    }

    pub(super) fn merge(&self, stop: &AtomicBool) -> Result<Merged, StoreError> {
        let (earlier, purges) = {
            let writer = self.lock_writer();
            writer.check_usable()?;
            let earlier = writer.servable_tables().cloned().collect::<Vec<_>>();
            (earlier, writer.purges)
        };
        // After `purges`, as in `quarantine`.
        let Some(snapshot) = self.snapshot() else { return Ok(Merged::Same) };
        let directory = QuarantineDirectory { disk: self.disk.clone(), path: self.next_quarantine() };
        self.disk.create_dir(&directory.path)?;
        let work = Work { objects: &snapshot.objects, directory: &directory, stop };
        let first = work.reached(branch_and_tag_tips(&snapshot.refs))?;
        let all = work.reached(snapshot.recent_and_own(&earlier).flat_map(RefTable::tips).collect())?;
        let rest = difference(&all, &first);
        let mut packs = Vec::new();
        for numbers in [first, rest] {
            packs.extend(work.write(numbers, packs.len())?);
        }
        let merged = Database::new(packs.iter().map(|pack| pack.sealed.clone()).collect());
        tables::complete(&*self.disk, &merged, 0, u32::MAX, stop)?;
        self.replace(&snapshot, &packs, purges, stop)
    }

    /// Puts `packs` in the place of those of `before`.
    fn replace(
        &self,
        before: &Snapshot,
        packs: &[NewPack],
        purges: u64,
        stop: &AtomicBool,
    ) -> Result<Merged, StoreError> {
        let mut writer = self.lock_writer();
        writer.check_usable()?;
        let Some(current) = self.snapshot().filter(|_| purges == writer.purges) else { return Ok(Merged::Overtaken) };
        let stem = |pack: &SealedPack| pack.path().file_stem().map(ToOwned::to_owned);
        let was_there = |pack: &SealedPack| before.objects.packs().iter().any(|old| stem(old) == stem(pack));
        let newer: Vec<_> = current.objects.packs().iter().filter(|pack| !was_there(pack)).cloned().collect();
        if newer.is_empty() && same_names(packs, before.objects.packs()) {
            return Ok(Merged::Same);
        }
        // What was published meanwhile may stand on something that has just been left out.
        let trial = packs.iter().map(|pack| pack.sealed.clone()).chain(newer.iter().cloned()).collect();
        if !closed(&writer, &current, &Database::new(trial), packs.len(), stop)? {
            return Ok(Merged::Overtaken);
        }
        let sealed = self.seal(&mut writer, packs, current.objects.packs())?;
        // A pack that was there already, by its name, is kept as it is.
        let known = current.objects.packs().iter();
        let kept =
            known.filter(|pack| packs.iter().any(|new| pack.path().file_stem().is_some_and(|s| *s == *new.stem)));
        let layout: Vec<_> = sealed.iter().cloned().chain(kept.cloned()).chain(newer).collect();
        let switched = self.switch(&mut writer, current.generation, current.refs.clone(), layout, None);
        if switched.is_err() {
            self.give_up(&writer, &sealed);
        }
        switched?;
        Ok(Merged::Replaced)
    }
}

/// Whether the packs of `objects` from the `from`-th on name only what is in `objects`, and all servable tips are in it.
/// The packs before are closed.
pub(super) fn closed(
    writer: &Writer,
    current: &Snapshot,
    objects: &Database,
    from: usize,
    stop: &AtomicBool,
) -> Result<bool, StoreError> {
    let earlier: Vec<_> = writer.servable_tables().cloned().collect();
    if current.recent_and_own(&earlier).flat_map(RefTable::tips).any(|tip| objects.number(&tip).is_none()) {
        return Ok(false);
    }
    match verify::check_closed(objects, from, stop) {
        Ok(()) => Ok(true),
        Err(super::VerifyError::Missing(_)) => Ok(false),
        Err(super::VerifyError::Interrupted) => Err(StoreError::Interrupted),
        Err(error) => Err(StoreError::Damaged(error.to_string())),
    }
}

impl Snapshot {
    fn recent_and_own<'a>(&'a self, earlier: &'a [Arc<RefTable>]) -> impl Iterator<Item = &'a RefTable> {
        [&*self.refs].into_iter().chain(earlier.iter().map(|table| &**table))
    }
}

/// What a clone takes: branches, tags, and `HEAD` wherever it points.
fn branch_and_tag_tips(refs: &RefTable) -> BTreeSet<ObjectId> {
    let of = |prefix: &'static [u8]| refs.with_prefix(prefix).map(|reference| reference.id);
    of(b"refs/heads/").chain(of(b"refs/tags/")).chain(refs.head_id()).collect()
}

fn difference(all: &[Number], without: &[Number]) -> Vec<Number> {
    all.iter().copied().filter(|number| without.binary_search(number).is_err()).collect()
}

fn same_names(new: &[NewPack], old: &[Arc<SealedPack>]) -> bool {
    let old = old.iter().filter_map(|pack| pack.path().file_stem()).collect::<BTreeSet<_>>();
    old == new.iter().map(|pack| pack.stem.as_ref()).collect()
}

struct Work<'a> {
    objects: &'a Database,
    directory: &'a QuarantineDirectory,
    stop: &'a AtomicBool,
}

impl Work<'_> {
    /// Everything that `tips` reach, ascending.
    fn reached(&self, tips: BTreeSet<ObjectId>) -> Result<Vec<Number>, StoreError> {
        let grafts = BTreeSet::new();
        let graph = Graph { objects: self.objects, grafts: &grafts, stop: self.stop };
        Ok(graph.select(&Query { wants: tips.into_iter().collect(), ..Query::default() })?.objects)
    }

    /// Writes a pack of exactly these objects; none if there are none.
    fn write(&self, numbers: Vec<Number>, serial: usize) -> Result<Option<NewPack>, StoreError> {
        if numbers.is_empty() {
            return Ok(None);
        }
        let selected = Selected { objects: numbers, had: Vec::new() };
        let encoding = Encoding { ofs_delta: true, thin_pack: false };
        let spool = Spool { directory: self.directory.path.clone(), entries: None, room: None };
        let plan = Arc::new(plan(self.objects, &selected, encoding, &spool, self.stop)?);
        let mut stream = PlanStream { emitter: Emitter::new(plan, Framing::Bare), chunk: Vec::new(), at: 0 };
        let disk = &*self.directory.disk;
        let directory = self.directory.path.join(format!("consolidated-{serial}"));
        disk.create_dir(&directory)?;
        // Everything in it came through an ingest with limits of its own.
        let limits = IngestLimits {
            pack_bytes: u64::MAX,
            objects: u32::MAX,
            object_bytes: u64::MAX / 2,
            inflated_bytes: u64::MAX,
            ..IngestLimits::default()
        };
        let indexed =
            index_pack(disk, &directory, &mut stream, &mut |_, _| Ok(None), &limits, &Tally::default(), self.stop)?;
        let Some(indexed) = indexed else { return Ok(None) };
        let sealed = Arc::new(SealedPack::open(&indexed.path)?);
        self.check_holds(&sealed, &selected.objects)?;
        Ok(Some(NewPack { path: indexed.path, stem: indexed.stem, sealed }))
    }

    /// The new pack holds the selected objects and no others.
    fn check_holds(&self, pack: &SealedPack, numbers: &[Number]) -> Result<(), StoreError> {
        let held = |position| {
            let number = self.objects.number(&pack.id_at(position));
            number.is_some_and(|number| numbers.binary_search(&number).is_ok())
        };
        if pack.len() as usize != numbers.len() || !(0..pack.len()).all(held) {
            return Err(StoreError::Damaged("a consolidated pack does not hold what was selected".into()));
        }
        Ok(())
    }
}

/// A plan as a stream of bytes.
struct PlanStream {
    emitter: Emitter,
    chunk: Vec<u8>,
    at: usize,
}

impl BufRead for PlanStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            self.chunk.clear();
            self.at = 0;
            if let Some(chunk) = self.emitter.next_chunk()? {
                let (Chunk::Bytes(bytes) | Chunk::Mapped(bytes)) = chunk;
                self.chunk.extend_from_slice(bytes);
            }
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = self.chunk.len().min(self.at + count);
    }
}

impl Read for PlanStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Interrupted => Self::Interrupted,
            ReadError::Io(error) => Self::Io(error),
            damaged => Self::Damaged(damaged.to_string()),
        }
    }
}

impl From<PlanError> for StoreError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Read(error) => error.into(),
            PlanError::Spool(error) => Self::Io(error),
            other @ (PlanError::TooLarge(_) | PlanError::NoRoom { .. }) => Self::Damaged(other.to_string()),
        }
    }
}

impl From<IngestError> for StoreError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Interrupted => Self::Interrupted,
            IngestError::Disk(error) => Self::Io(error),
            damaged => Self::Damaged(damaged.to_string()),
        }
    }
}

impl From<EmitError> for io::Error {
    fn from(error: EmitError) -> Self {
        io::Error::other(format!("{error:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_packs_are_bounded() {
        const FREE: u64 = CONSOLIDATE_LEAVING_BYTES_FREE;
        for (leaving, bytes, room) in [
            (0, 0, true),
            (FREE, 1, true),
            (FREE + 1, 1, false),
            (15 * FREE, 10 * FREE, true),
            (15 * FREE + 1, 10 * FREE, false),
            (u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(has_room(leaving, bytes), room, "{leaving} beside {bytes}");
        }
    }

    #[test]
    fn consolidation_waits_until_it_pays() {
        for (sizes, worth) in [
            (vec![], false),
            (vec![1_000], false),
            (vec![1_000, 300], false),
            (vec![10, 1_000, 300, 10, 10], false),
            (vec![400, 1_000, 300, 300, 10], true),
            (vec![1; CONSOLIDATE_PACKS_MAX], true),
            (vec![1_000_000; 3], false),
        ] {
            assert_eq!(worth_consolidating(&sizes), worth, "{sizes:?}");
        }
    }
}
