//! The plan of an answer: which bytes, from where, in which order.
//!
//! Entries are copied compressed, pack by pack in the order of each pack, so that neighbours stay neighbours. A delta stays
//! a delta if its base travels too, or (thin) is at the client. Only what is left is inflated and encoded anew, whole.
//!
//! No cycle of deltas can arise, although an object may lie in several packs. Each object is sent from its first place
//! only. A delta that is kept has its base in its own pack; that base is sent from there or from an earlier pack, never from
//! a later one. So along the deltas of an answer the pack never rises, and within one pack they are deltas of that pack,
//! which are free of cycles if it can be read at all.

use super::{
    Outline, Plan, SealedPack, Segment,
    encoder::Encoder,
    entry::{write_ofs_delta, write_ref_delta},
    sealed::TRAILER_BYTES,
    spool::{Spool, SpoolWriter, Spooled},
};
use crate::{
    graph::Selected,
    objects::{Database, Number, NumberSet, Place, ReadError, Reader},
};
use gix_pack::data::entry::Header;
use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// What the client accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// `ofs-delta`: bases may be named by distance.
    pub ofs_delta: bool,
    /// `thin-pack`: bases may be objects that the client has.
    pub thin_pack: bool,
}

/// Why no plan could be made.
#[derive(Debug)]
pub enum PlanError {
    /// An object could not be read.
    Read(ReadError),
    /// The spool could not be written.
    Spool(std::io::Error),
    /// There is no room left in [`Spool::room`].
    NoRoom {
        /// There would be, if no other plan took any.
        would_fit: bool,
    },
    /// More than the format or a limit allows.
    TooLarge(&'static str),
}

/// Plans the pack of `selected`.
pub fn plan(
    objects: &Database,
    selected: &Selected,
    encoding: Encoding,
    spool: &Spool,
    stop: &AtomicBool,
) -> Result<Plan, PlanError> {
    let count = u32::try_from(selected.objects.len()).map_err(|_| PlanError::TooLarge("objects of one answer"))?;
    if let Some(whole) = whole_pack(objects, selected, encoding, count) {
        return Ok(whole);
    }
    let mut planner = Planner::new(objects, selected, encoding, spool, stop)?;
    planner.pack_header(count)?;
    let mut rest = selected.objects.as_slice();
    for pack in 0..objects.packs().len() as u32 {
        let end = rest.partition_point(|number| *number < objects.pack_end(pack));
        let (own, tail) = rest.split_at(end);
        rest = tail;
        planner.pack(pack, own)?;
    }
    for number in rest {
        planner.encode(*number)?;
    }
    planner.finish(count)
}

/// A pack that holds exactly what is selected goes out as it is. Exactly: what else a pack holds (hidden references,
/// branches forced away) must not travel.
fn whole_pack(objects: &Database, selected: &Selected, encoding: Encoding, count: u32) -> Option<Plan> {
    if !encoding.ofs_delta {
        // The pack may hold ofs-deltas; looking for one takes as long as planning.
        return None;
    }
    let Place::Packed { pack, position: 0 } = objects.place(*selected.objects.first()?) else { return None };
    let sealed = &objects.packs()[pack as usize];
    let last = selected.objects.last()?;
    if sealed.len() != count || last.0 >= objects.pack_end(pack).0 || !sealed.is_version_2() {
        return None;
    }
    let bytes = sealed.bytes().len() as u64;
    let outline = Outline {
        segments: vec![Segment::Pack { pack, start: 0, len: bytes - TRAILER_BYTES }],
        objects: count,
        copied: count,
        bytes,
        trailer: sealed.trailer().into(),
        ..Outline::default()
    };
    Some(Plan::new(objects, outline))
}

struct Planner<'a> {
    objects: &'a Database,
    encoding: Encoding,
    stop: &'a AtomicBool,
    sent: NumberSet,
    had: NumberSet,
    /// Whether deltas may stand on what does not travel.
    thin: bool,
    segments: Vec<Segment>,
    checks: Vec<(u32, u32)>,
    writer: SpoolWriter<'a>,
    /// Bytes planned so far.
    bytes: u64,
    copied: u32,
    kept: u32,
    deltas: u32,
    reader: Reader,
    encoder: Encoder,
}

/// Where the entries of the present pack went: from each input offset on, the output lies that far from the input.
struct Shifts(Vec<(u64, u64)>);

impl Shifts {
    /// Notes that what begins at `input` was put at `output`.
    fn note(&mut self, input: u64, output: u64) {
        let same = self.0.last().is_some_and(|(i, o)| input - i == output.wrapping_sub(*o));
        if !same {
            self.0.push((input, output));
        }
    }

    /// Where the sent entry at `input` was put.
    fn output(&self, input: u64) -> Option<u64> {
        let at = self.0.partition_point(|(start, _)| *start <= input).checked_sub(1)?;
        let (start, output) = self.0.get(at)?;
        Some(output + (input - start))
    }
}

/// What becomes of an entry.
enum Form {
    /// Copied with its header.
    Verbatim,
    /// Copied with a new header in front.
    Ofs(u64),
    Ref(crate::ObjectId),
    /// Inflated and encoded as a whole object.
    Anew,
}

impl<'a> Planner<'a> {
    fn new(
        objects: &'a Database,
        selected: &Selected,
        encoding: Encoding,
        spool: &'a Spool,
        stop: &'a AtomicBool,
    ) -> Result<Self, PlanError> {
        let set = |numbers: &[Number]| {
            let mut set = NumberSet::new(objects.numbers_end());
            numbers.iter().for_each(|number| _ = set.insert(*number));
            set
        };
        Ok(Self {
            objects,
            encoding,
            stop,
            sent: set(&selected.objects),
            had: set(if encoding.thin_pack { &selected.had } else { &[] }),
            thin: encoding.thin_pack && !selected.had.is_empty(),
            segments: Vec::new(),
            checks: Vec::new(),
            writer: SpoolWriter::new(spool),
            bytes: 0,
            copied: 0,
            kept: 0,
            deltas: 0,
            reader: Reader::new(),
            encoder: Encoder::new(),
        })
    }

    fn pack_header(&mut self, count: u32) -> Result<(), PlanError> {
        let segment = self.writer.header(|out| {
            out.extend_from_slice(b"PACK\0\0\0\x02");
            out.extend_from_slice(&count.to_be_bytes());
        })?;
        self.push(segment);
        Ok(())
    }

    /// Appends a segment, as part of the last one where they touch.
    fn push(&mut self, segment: Segment) {
        let len = segment.len();
        self.bytes += len;
        let touches = self.segments.last_mut().is_some_and(|last| last.extend(segment));
        if !touches && len > 0 {
            self.segments.push(segment);
        }
    }

    /// Plans the objects that are sent from one pack.
    fn pack(&mut self, pack: u32, numbers: &[Number]) -> Result<(), PlanError> {
        let Some(first) = numbers.first() else { return Ok(()) };
        let sealed = self.objects.packs()[pack as usize].clone();
        let corrupt = |detail| PlanError::Read(ReadError::Corrupt { id: self.objects.id(*first), detail });
        let table = sealed.entries().map_err(corrupt)?;
        let mut shifts = Shifts(Vec::new());
        let mut entry = |planner: &mut Self, rank: u32, position: u32| {
            let number = planner.objects.own_number(pack, position);
            planner.entry(&sealed, pack, number, table.range(rank), &mut shifts)
        };
        // Many of the pack's objects: run through the table. Few: sort them.
        if numbers.len() as u64 * 16 >= u64::from(table.len()) {
            for rank in 0..table.len() {
                let Some(position) = table.position(rank) else { break };
                if self.sent.contains(self.objects.own_number(pack, position)) {
                    entry(self, rank, position)?;
                }
            }
        } else {
            let mut ranks: Vec<(u32, u32)> = Vec::with_capacity(numbers.len());
            for number in numbers {
                let Place::Packed { position, .. } = self.objects.place(*number) else { continue };
                let rank = table.rank(sealed.offset_at(position));
                ranks.push((rank.ok_or_else(|| corrupt("its entry is not in the table".into()))?, position));
            }
            ranks.sort_unstable();
            for (rank, position) in ranks {
                entry(self, rank, position)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        sealed: &SealedPack,
        pack: u32,
        number: Number,
        range: std::ops::Range<u64>,
        shifts: &mut Shifts,
    ) -> Result<(), PlanError> {
        let corrupt = |detail| PlanError::Read(ReadError::Corrupt { id: self.objects.id(number), detail });
        let entry = sealed.entry(range.start).map_err(corrupt)?;
        if entry.data_offset >= range.end {
            return Err(corrupt("its header reaches into the next entry".into()));
        }
        let form = self.form(sealed, pack, &entry, range.start, shifts);
        shifts.note(range.start, self.bytes);
        let size = entry.decompressed_size;
        let start = match form {
            Form::Anew => return self.encode(number),
            Form::Verbatim => range.start,
            Form::Ofs(distance) => {
                let header = self.writer.header(|out| write_ofs_delta(out, size, distance))?;
                self.push(header);
                entry.data_offset
            }
            Form::Ref(base) => {
                let header = self.writer.header(|out| write_ref_delta(out, size, &base))?;
                self.push(header);
                entry.data_offset
            }
        };
        self.copied += 1;
        self.deltas += u32::from(entry.header.is_delta());
        self.push(Segment::Pack { pack, start, len: range.end - start });
        Ok(())
    }

    /// Decides how an entry travels. `shifts` knows the earlier entries of its pack.
    fn form(
        &self,
        sealed: &SealedPack,
        pack: u32,
        entry: &gix_pack::data::Entry,
        offset: u64,
        shifts: &Shifts,
    ) -> Form {
        let base_position = match entry.header {
            Header::OfsDelta { base_distance } => {
                let table = sealed.entries().ok();
                let base = entry.checked_base_pack_offset(base_distance);
                table.zip(base).and_then(|(table, base)| table.position(table.rank(base)?))
            }
            Header::RefDelta { base_id } => sealed.find(&base_id),
            _ => return Form::Verbatim,
        };
        // A base outside the pack (a thin pack on disk): nothing is known of its own bases, so no delta is kept.
        let Some(position) = base_position else { return Form::Anew };
        let base = self.objects.number_at(pack, position);
        let travels = self.sent.contains(base);
        if !travels && !self.had.contains(base) {
            return Form::Anew;
        }
        let own = base == self.objects.own_number(pack, position);
        if travels && own {
            let base_offset = sealed.offset_at(position);
            if base_offset > offset && self.thin {
                // A receiver that completes a thin pack takes a base that it happens to hold before it has resolved the
                // one that is still to come, then has it twice and dies: "REF_DELTA … already resolved".
                return Form::Anew;
            }
            if let Some(output) = shifts.output(base_offset).filter(|_| base_offset < offset && self.encoding.ofs_delta)
            {
                let distance = self.bytes - output;
                let same = matches!(entry.header, Header::OfsDelta { base_distance } if base_distance == distance);
                return if same { Form::Verbatim } else { Form::Ofs(distance) };
            }
        }
        if matches!(entry.header, Header::RefDelta { .. }) {
            return Form::Verbatim;
        }
        Form::Ref(sealed.id_at(position))
    }

    /// Encodes an object anew, whole, unless it was before.
    fn encode(&mut self, number: Number) -> Result<(), PlanError> {
        self.check_stop()?;
        let id = self.objects.id(number);
        if let Some(segment) = self.writer.find(&id) {
            self.kept += 1;
            self.push_encoded(segment);
            return Ok(());
        }
        let object = self.objects.read(number, &mut self.reader)?;
        if self.writer.keeps() {
            // What is kept outlives what it was made from: a fault in that is not to be kept with it.
            object.check(&id)?;
        }
        let entry = self.encoder.encode(object.kind, object.data)?;
        let segment = self.writer.keep(&id, entry)?;
        self.push_encoded(segment);
        Ok(())
    }

    /// Appends what was encoded anew. Kept entries have heads between them, so each is a segment of its own.
    fn push_encoded(&mut self, segment: Segment) {
        self.push(segment);
        if let Some(crc32) = self.writer.take_check() {
            self.checks.push((self.segments.len() as u32 - 1, crc32));
        }
    }

    fn check_stop(&self) -> Result<(), PlanError> {
        if self.stop.load(Ordering::Relaxed) { Err(PlanError::Read(ReadError::Interrupted)) } else { Ok(()) }
    }

    fn finish(self, objects: u32) -> Result<Plan, PlanError> {
        let Spooled { inline, files, own_bytes } = self.writer.finish()?;
        let mut segments = self.segments;
        segments.shrink_to_fit();
        let mut outline = Outline {
            segments,
            checks: self.checks,
            inline,
            files,
            spool_bytes: own_bytes,
            objects,
            copied: self.copied,
            kept: self.kept,
            deltas: self.deltas,
            bytes: self.bytes + TRAILER_BYTES,
            ..Outline::default()
        };
        outline.recognise_whole_pack(self.objects.packs());
        Ok(Plan::new(self.objects, outline))
    }
}

impl From<ReadError> for PlanError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { .. } => f.write_str("no room for newly encoded objects"),
            Self::Read(error) => error.fmt(f),
            Self::Spool(error) => write!(f, "could not write newly encoded objects: {error}"),
            Self::TooLarge(what) => write!(f, "too many {what}"),
        }
    }
}

impl std::error::Error for PlanError {}
