//! What is planned: the bytes of an answer as segments, with and without the packs that these name.

use super::{
    SealedPack,
    entry_file::EntryFile,
    sealed::{HEADER_BYTES, TRAILER_BYTES},
};
use crate::objects::Database;
use std::{
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// A run of bytes of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// `Outline::inline[start..start + len]`: entry headers, and small entries that had to be encoded anew.
    Inline {
        /// First byte.
        start: u32,
        /// Bytes.
        len: u32,
    },
    /// A byte range of `Plan::packs[pack]`.
    Pack {
        /// Which pack.
        pack: u32,
        /// First byte in the pack file.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// A byte range of `Outline::files[file]`: entries that had to be encoded anew.
    File {
        /// Which file.
        file: u32,
        /// First byte in it.
        start: u64,
        /// Bytes.
        len: u64,
    },
}

/// What will be sent, complete with sizes: streaming it needs no decision any more. It holds what it names: packs and files
/// that are removed meanwhile stay readable.
pub struct Plan {
    /// The packs that `Segment::Pack` names.
    pub packs: Vec<Arc<SealedPack>>,
    pub(super) outline: Arc<Outline>,
}

/// A plan without its packs, so that keeping it keeps no pack. It stands for the same bytes on the very same packs only.
#[derive(Default)]
pub struct Outline {
    /// The runs, pack header included, trailer not.
    pub segments: Vec<Segment>,
    /// Bytes that `Segment::Inline` names.
    pub inline: Vec<u8>,
    /// The files that `Segment::File` names. Other plans may share them, but for the plan's own spool.
    pub files: Vec<Arc<EntryFile>>,
    /// Bytes of its own spool; 0: it has none.
    pub spool_bytes: u64,
    /// The serials of the plan's packs.
    pub(super) packs: Vec<u64>,
    /// The CRC-32 of segments that are kept entries, by their place among `segments`, ascending: checked when they are sent.
    pub(super) checks: Vec<(u32, u32)>,
    /// Such a segment was not what it had been.
    pub(super) is_damaged: AtomicBool,
    /// How many objects travel.
    pub objects: u32,
    /// How many of them are copied as they are: for logs.
    pub copied: u32,
    /// How many had been encoded anew before, and were kept. The others were encoded for this plan.
    pub kept: u32,
    /// Deltas among the copied. Not counted (0) when a whole pack is sent: that would mean to look at each entry.
    pub deltas: u32,
    /// Bytes of the whole pack, trailer included.
    pub bytes: u64,
    /// The trailing checksum: that of a whole pack is known beforehand, others once they have been sent for the first time.
    pub trailer: OnceLock<[u8; 20]>,
}

impl Plan {
    /// What was planned on the packs of `objects`.
    pub(super) fn new(objects: &Database, outline: Outline) -> Self {
        let (packs, mut outline) = (objects.packs().to_vec(), outline);
        outline.packs = packs.iter().map(|pack| pack.serial()).collect();
        Self { packs, outline: Arc::new(outline) }
    }

    /// All but the packs.
    pub fn outline(&self) -> &Arc<Outline> {
        &self.outline
    }
}

impl Deref for Plan {
    type Target = Outline;

    fn deref(&self) -> &Outline {
        &self.outline
    }
}

impl Outline {
    /// The plan again, if `objects` has the packs that it was made on.
    pub fn on(self: &Arc<Self>, objects: &Database) -> Option<Plan> {
        let same = objects.packs().iter().map(|pack| pack.serial()).eq(self.packs.iter().copied());
        same.then(|| Plan { packs: objects.packs().to_vec(), outline: self.clone() })
    }

    /// Whether a file of it has been found damaged: another plan has to be made.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Whether it holds a file whose name has gone, and that takes room on the disk only for it.
    pub fn is_outdated(&self) -> bool {
        self.files.iter().any(|file| file.is_dropped())
    }

    /// Bytes of memory and of its own file that it takes.
    pub fn kept_bytes(&self) -> u64 {
        let segments = size_of_val(self.segments.as_slice()) + size_of_val(self.checks.as_slice());
        (size_of::<Self>() + segments + 8 * self.packs.len() + self.inline.len()) as u64 + self.spool_bytes
    }

    /// Nothing but a header and all entries of a pack: then the pack's own checksum is that of the answer.
    pub(super) fn recognise_whole_pack(&mut self, packs: &[Arc<SealedPack>]) {
        let [Segment::Inline { len: 12, .. }, Segment::Pack { pack, start: HEADER_BYTES, .. }] = self.segments[..]
        else {
            return;
        };
        let sealed = &packs[pack as usize];
        if sealed.len() == self.objects && sealed.bytes().len() as u64 == self.bytes && sealed.is_version_2() {
            self.segments = vec![Segment::Pack { pack, start: 0, len: self.bytes - TRAILER_BYTES }];
            self.trailer = sealed.trailer().into();
        }
    }
}

impl Segment {
    /// Bytes of the answer.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline { len, .. } => u64::from(*len),
            Self::Pack { len, .. } | Self::File { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in `next` if it follows in the same place.
    pub(super) fn extend(&mut self, next: Segment) -> bool {
        match (self, next) {
            (Self::Inline { start, len }, Self::Inline { start: next, len: more }) if *start + *len == next => {
                *len += more;
                true
            }
            (Self::Pack { pack, start, len }, Self::Pack { pack: other, start: next, len: more })
                if *pack == other && *start + *len == next =>
            {
                *len += more;
                true
            }
            (Self::File { file, start, len }, Self::File { file: other, start: next, len: more })
                if *file == other && *start + *len == next =>
            {
                *len += more;
                true
            }
            _ => false,
        }
    }

    /// What is left of it when its first `done` bytes are out.
    pub(super) fn behind(self, done: u64) -> Self {
        match self {
            Self::Inline { start, len } => Self::Inline { start: start + done as u32, len: len - done as u32 },
            Self::Pack { pack, start, len } => Self::Pack { pack, start: start + done, len: len - done },
            Self::File { file, start, len } => Self::File { file, start: start + done, len: len - done },
        }
    }
}
