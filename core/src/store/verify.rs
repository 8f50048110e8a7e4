//! The proof that a state may be published.
//!
//! The objects that are published already are closed: whatever one of them names is among them (see the invariant in
//! `store`). So it is enough to look at each new object once and to see that every object it names exists, with the
//! right type: then old and new together are closed again, and everything that a reference in them reaches is here. This
//! holds for new objects that no reference reaches too, which a walk from the tips would not see, and which a later
//! reference may name. No walk, no recursion; one byte an object.

use super::{
    Quarantine, Verified, VerifyError,
    fsck::{self, Findings},
    tables,
    tally::Tally,
};
use crate::{
    ObjectId,
    limits::{COMMIT_TABLE_AT_ONCE_MAX, READER_CACHE_BYTES_MAX},
    objects::{Database, Number, ReadError, Reader},
    pack::KindsError,
    refs::{Head, RefTable},
};
use gix_object::Kind;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

/// How many objects are looked at between two looks at the stop flag.
const OBJECTS_PER_STOP: u32 = 256;

pub(super) fn verify(
    quarantine: Quarantine,
    refs: RefTable,
    kept: Vec<RefTable>,
    stop: &AtomicBool,
) -> Result<Verified, VerifyError> {
    let objects = quarantine.objects.clone();
    let old_packs = quarantine.base.as_ref().map_or(0, |base| base.objects.packs().len());
    let new = objects.packs().iter().skip(old_packs).map(|pack| pack.len()).sum();
    quarantine.tally.begin_checks(new);
    let mut proof = Proof::over(&objects, &quarantine.tally, stop);
    proof.check_packs(old_packs)?;
    let known = quarantine.base.as_ref().map(|base| &*base.refs);
    let refs = proof.check_refs(refs, known)?;
    let kept = kept.into_iter().map(|table| proof.check_refs(table, known)).collect::<Result<_, _>>()?;
    let findings = proof.findings;
    // Before anybody fetches from it. Without one it is only slower.
    let _ = tables::complete(&*quarantine.directory.disk, &objects, old_packs, COMMIT_TABLE_AT_ONCE_MAX, stop);
    let Quarantine { repository, purges, base, packs, directory, .. } = quarantine;
    Ok(Verified { repository, purges, refs, kept, base, packs, findings, _directory: directory })
}

/// Whether the packs of `objects` from the `from`-th on, checked before, name only objects that are in `objects`. The
/// packs before are closed.
pub(super) fn check_closed(objects: &Database, from: usize, stop: &AtomicBool) -> Result<(), VerifyError> {
    Proof::over(objects, &Tally::default(), stop).check_packs(from)
}

struct Proof<'a> {
    objects: &'a Database,
    /// By number; of old objects only those that were asked for.
    kinds: Vec<Option<Kind>>,
    /// What the tags that references lead to finally peel to.
    peeled: HashMap<Number, ObjectId>,
    reader: Reader,
    findings: Findings,
    tally: &'a Tally,
    stop: &'a AtomicBool,
}

impl<'a> Proof<'a> {
    fn over(objects: &'a Database, tally: &'a Tally, stop: &'a AtomicBool) -> Self {
        Self {
            objects,
            kinds: vec![None; objects.numbers_end() as usize],
            peeled: HashMap::new(),
            // Every object came in through an ingest, under limits of its own.
            reader: Reader::with_limits(READER_CACHE_BYTES_MAX, u64::MAX),
            findings: Findings::default(),
            tally,
            stop,
        }
    }

    fn check_packs(&mut self, from: usize) -> Result<(), VerifyError> {
        for pack in from..self.objects.packs().len() {
            self.read_kinds(pack as u32)?;
        }
        for pack in from..self.objects.packs().len() {
            self.check_pack(pack as u32)?;
        }
        Ok(())
    }

    fn check_stop(&self, count: u32) -> Result<(), VerifyError> {
        match count.is_multiple_of(OBJECTS_PER_STOP) && self.stop.load(Ordering::Relaxed) {
            true => Err(VerifyError::Interrupted),
            false => Ok(()),
        }
    }

    /// Learns the type of each object of a new pack.
    fn read_kinds(&mut self, pack_index: u32) -> Result<(), VerifyError> {
        let pack = &self.objects.packs()[pack_index as usize];
        let io = |detail| VerifyError::Io(std::io::Error::other(detail));
        let entries = pack.entries().map_err(io)?;
        let kinds = pack.kinds(self.stop).map_err(|error| match error {
            KindsError::Table(detail) => io(detail),
            KindsError::Interrupted => VerifyError::Interrupted,
            KindsError::Entry { rank, detail } => match entries.position(rank) {
                Some(position) => VerifyError::Broken { id: pack.id_at(position), detail },
                None => io(detail),
            },
        })?;
        for (rank, kind) in kinds.into_iter().enumerate() {
            if let Some(position) = entries.position(rank as u32) {
                let number = self.objects.number_at(pack_index, position);
                self.kinds[number.0 as usize] = Some(kind);
            }
        }
        Ok(())
    }

    /// Looks at every object that a new pack brought, in the order of the pack, where the bases of deltas are near.
    fn check_pack(&mut self, pack_index: u32) -> Result<(), VerifyError> {
        let pack = &self.objects.packs()[pack_index as usize];
        let entries = pack.entries().map_err(|detail| VerifyError::Io(std::io::Error::other(detail)))?;
        let mut links = Vec::new();
        for rank in 0..entries.len() {
            self.check_stop(rank)?;
            self.tally.add_checked();
            let Some(position) = entries.position(rank) else { continue };
            let number = self.objects.number_at(pack_index, position);
            let kind = self.kind(number)?;
            // What an earlier pack holds too was looked at there. Blobs name nothing; they were hashed on their way in.
            if kind == Kind::Blob || self.objects.place(number) != here(pack_index, position) {
                continue;
            }
            let id = pack.id_at(position);
            let object = self.objects.read(number, &mut self.reader)?;
            let findings = &mut self.findings;
            links.clear();
            fsck::check(kind, object.data, &mut |id, kind| links.push((id, kind)), &mut |fault| {
                findings.add(id, fault)
            })
            .map_err(|broken| VerifyError::Broken { id, detail: broken.0.into() })?;
            for &(target, expected) in &links {
                let found = self.objects.number(&target).ok_or(VerifyError::Missing(target))?;
                let found = self.kind(found)?;
                if found != expected {
                    let detail = format!("names {target} as a {expected}, which is a {found}");
                    return Err(VerifyError::Broken { id, detail });
                }
            }
        }
        Ok(())
    }

    fn kind(&mut self, number: Number) -> Result<Kind, VerifyError> {
        if let Some(kind) = self.kinds[number.0 as usize] {
            return Ok(kind);
        }
        let (kind, _) = self.objects.header(number, &mut self.reader)?;
        self.kinds[number.0 as usize] = Some(kind);
        Ok(kind)
    }

    /// Every reference names an object that is here. What annotated tags peel to is read from the objects: it is theirs
    /// to say, not the advertisement's.
    fn check_refs(&mut self, refs: RefTable, known: Option<&RefTable>) -> Result<RefTable, VerifyError> {
        let head_peeled = match refs.head() {
            Head::Detached(id) => self.peel(*id)?,
            _ => None,
        };
        let mut corrected = Vec::new();
        for (index, reference) in refs.iter().enumerate() {
            self.check_stop(index as u32)?;
            let before = known.and_then(|known| known.find(reference.name)).filter(|before| before.id == reference.id);
            let peeled = match before {
                Some(before) => before.peeled,
                None => self.peel(reference.id)?,
            };
            if peeled != reference.peeled {
                corrected.push((index, peeled));
            }
        }
        if corrected.is_empty() {
            return Ok(refs.with_head_peeled(head_peeled));
        }
        let mut all = refs.to_refs();
        for (index, peeled) in corrected {
            all[index].peeled = peeled;
        }
        Ok(RefTable::new(all, refs.head().clone()).with_head_peeled(head_peeled))
    }

    /// What an annotated tag finally peels to. Each is read once, however many are tags of it.
    fn peel(&mut self, id: ObjectId) -> Result<Option<ObjectId>, VerifyError> {
        let mut tags = Vec::new();
        let mut at = id;
        let end = loop {
            let number = self.objects.require(&at)?;
            if let Some(end) = self.peeled.get(&number) {
                break *end;
            }
            if self.kind(number)? != Kind::Tag {
                break at;
            }
            let object = self.objects.read(number, &mut self.reader)?;
            let mut target = None;
            fsck::check(Kind::Tag, object.data, &mut |id, _| target = Some(id), &mut |_| {})
                .map_err(|broken| VerifyError::Broken { id: at, detail: broken.0.into() })?;
            tags.push(number);
            // Only on a disk that changed can tags name each other.
            let target = target.filter(|_| tags.len() <= self.objects.numbers_end() as usize);
            at = target.ok_or(VerifyError::Broken { id: at, detail: "a tag of nothing but tags".into() })?;
        };
        self.peeled.extend(tags.into_iter().map(|tag| (tag, end)));
        Ok((end != id).then_some(end))
    }
}

fn here(pack: u32, position: u32) -> crate::objects::Place {
    crate::objects::Place::Packed { pack, position }
}

impl From<ReadError> for VerifyError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Missing(id) => Self::Missing(id),
            ReadError::Corrupt { id, detail } => Self::Broken { id, detail },
            ReadError::TooLarge { id, bytes, bytes_max } => {
                Self::Broken { id, detail: format!("{bytes} bytes are too many; the limit is {bytes_max}") }
            }
            ReadError::Io(error) => Self::Io(error),
            ReadError::Interrupted => Self::Interrupted,
        }
    }
}
