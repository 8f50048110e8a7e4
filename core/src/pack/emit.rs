//! A plan as bytes for the peer: side-band frames around segments, the checksum computed on the way, once for each plan.
//!
//! Frames are always full (but the last), whatever the segments: short runs are gathered in one reused buffer, long ones are
//! handed out as they lie in the map. Nothing is allocated per piece.

use super::{Outline, Plan, Segment, entry_file::Window, sealed::TRAILER_BYTES};
use crate::limits;
use sha1::{Digest, Sha1};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

/// How the pack is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No side-band: the bare pack.
    Bare,
    /// `side-band`: frames of at most 1000 bytes.
    SideBand,
    /// `side-band-64k`: frames of at most 65,520 bytes (always in v2).
    SideBand64k,
}

/// A piece to write, in order.
#[derive(Debug)]
pub enum Chunk<'a> {
    /// Frame headers, entry headers, the trailer, or payload that lies in memory.
    Bytes(&'a [u8]),
    /// Payload in a mapped pack.
    Mapped(&'a [u8]),
}

/// Why an answer ends early. The stream must then be closed without a valid trailer (band 3 says so where there is one).
#[derive(Debug)]
pub enum EmitError {
    /// Newly encoded entries could not be read.
    Spool(std::io::Error),
    /// A segment lies outside its file.
    OutOfRange,
    /// A kept entry is not what it was when this was planned. Another plan does without it.
    Damaged,
}

/// Runs at least this long are handed out where they lie; shorter ones are copied together.
const MAPPED_BYTES_MIN: u64 = 8 << 10;

/// Walks a plan once.
pub struct Emitter {
    plan: Arc<Plan>,
    framing: Framing,
    /// The next segment, and how much of it is out.
    segment: usize,
    segment_done: u64,
    /// Bytes of the trailer that are out.
    trailer_done: usize,
    /// Bytes of the pack that are not out yet.
    left: u64,
    /// Bytes of payload that the open frame still needs.
    frame_left: u64,
    /// Of what is out; `None` once another emitter of the plan knows the trailer.
    hash: Option<Sha1>,
    buffer: Vec<u8>,
    window: Window,
    /// Of the present segment, if that lies in a file.
    crc: crc32fast::Hasher,
    /// How many of the plan's checks are done.
    checked: usize,
    failed: bool,
}

/// What stands next.
enum Next {
    /// A run of this many bytes of the present segment.
    Run(Segment, u64),
    Trailer,
}

impl Framing {
    /// Most bytes of payload in a frame, band byte not counted; of a piece, where there are no frames.
    pub fn payload_max(self) -> usize {
        match self {
            Self::Bare | Self::SideBand64k => limits::SIDE_BAND_64K_PAYLOAD_MAX,
            Self::SideBand => limits::SIDE_BAND_PAYLOAD_MAX,
        }
    }
}

impl Emitter {
    /// An emitter at the plan's start.
    pub fn new(plan: Arc<Plan>, framing: Framing) -> Self {
        let left = plan.bytes;
        Self {
            plan,
            framing,
            segment: 0,
            segment_done: 0,
            trailer_done: 0,
            left,
            frame_left: 0,
            hash: Some(Sha1::new()),
            buffer: Vec::new(),
            window: Window::default(),
            crc: crc32fast::Hasher::new(),
            checked: 0,
            failed: false,
        }
    }

    /// Whether what was handed out so far ends with a frame: only then may frames of progress, or those that keep the
    /// connection alive, be put between (`wire::sideband`).
    pub fn is_between_frames(&self) -> bool {
        self.framing != Framing::Bare && self.frame_left == 0
    }

    /// Bytes of the pack (frame headers not counted) that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next piece; `None` after the trailer. Pieces are at most one frame long. After an error there is no more.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, EmitError> {
        if self.failed || self.left == 0 {
            return Ok(None);
        }
        // Until all is there, nothing more can be said than this.
        self.failed = true;
        self.buffer.clear();
        if self.hash.is_some() && self.plan.trailer.get().is_some() {
            self.hash = None;
        }
        self.open_frame();
        loop {
            let next = self.next()?;
            if let Next::Run(Segment::Pack { pack, start, .. }, run) = next {
                if run >= MAPPED_BYTES_MIN && self.buffer.is_empty() {
                    self.advance(run);
                    let bytes = mapped(&self.plan, pack, start, run)?;
                    if let Some(hash) = &mut self.hash {
                        hash.update(bytes);
                    }
                    self.failed = false;
                    return Ok(Some(Chunk::Mapped(bytes)));
                }
                if run >= MAPPED_BYTES_MIN {
                    break;
                }
            }
            self.gather(next)?;
            if self.frame_left == 0 {
                break;
            }
        }
        self.failed = false;
        Ok(Some(Chunk::Bytes(&self.buffer)))
    }

    fn open_frame(&mut self) {
        if self.frame_left > 0 {
            return;
        }
        let payload = self.left.min(self.framing.payload_max() as u64);
        self.frame_left = payload;
        if self.framing != Framing::Bare {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let length = payload as usize + 5;
            for shift in [12, 8, 4, 0] {
                self.buffer.push(HEX[length >> shift & 0xf]);
            }
            self.buffer.push(crate::wire::sideband::Band::Data as u8);
        }
    }

    /// What stands next, cut to the open frame.
    fn next(&mut self) -> Result<Next, EmitError> {
        while let Some(segment) = self.plan.segments.get(self.segment).copied() {
            let rest = segment.len() - self.segment_done;
            if rest > 0 {
                return Ok(Next::Run(segment.behind(self.segment_done), rest.min(self.frame_left)));
            }
            self.check_segment(segment)?;
            self.segment += 1;
            self.segment_done = 0;
        }
        // The plan's sizes must add up, or the frames would not.
        if self.left != TRAILER_BYTES - self.trailer_done as u64 {
            return Err(EmitError::OutOfRange);
        }
        Ok(Next::Trailer)
    }

    /// A segment of a file is out: it was to be what it is said to be, or the answer ends here, without its trailer.
    fn check_segment(&mut self, segment: Segment) -> Result<(), EmitError> {
        if !matches!(segment, Segment::File { .. }) {
            return Ok(());
        }
        let found = std::mem::take(&mut self.crc).finalize();
        let check = self.plan.checks.get(self.checked).filter(|(at, _)| *at as usize == self.segment);
        let Some((_, expected)) = check else { return Ok(()) };
        self.checked += 1;
        if found == *expected { Ok(()) } else { Err(self.plan.damaged(EmitError::Damaged)) }
    }

    /// Copies what stands next into the buffer.
    fn gather(&mut self, next: Next) -> Result<(), EmitError> {
        let before = self.buffer.len();
        match next {
            Next::Run(segment, run) => {
                match segment {
                    Segment::Pack { pack, start, .. } => {
                        self.buffer.extend_from_slice(mapped(&self.plan, pack, start, run)?);
                    }
                    Segment::Inline { start, .. } => {
                        let range = start as usize..start as usize + run as usize;
                        self.buffer.extend_from_slice(self.plan.inline.get(range).ok_or(EmitError::OutOfRange)?);
                    }
                    Segment::File { file, start, .. } => {
                        let file = self.plan.files.get(file as usize).ok_or(EmitError::OutOfRange)?;
                        let read = self.window.read(file, start, run as usize, u64::MAX);
                        let bytes = read.map_err(|error| self.plan.damaged(EmitError::Spool(error)))?;
                        self.buffer.extend_from_slice(bytes);
                        self.crc.update(bytes);
                    }
                }
                self.advance(run);
                if let Some(hash) = &mut self.hash {
                    hash.update(&self.buffer[before..]);
                }
            }
            Next::Trailer => {
                if let Some(hash) = self.hash.take() {
                    // Another may have been faster. Should the two differ, then the files have changed in between, and it
                    // is well that this answer is not taken for whole.
                    self.plan.trailer.get_or_init(|| hash.finalize().into());
                }
                let trailer = self.plan.trailer.get().ok_or(EmitError::OutOfRange)?;
                let rest = &trailer[self.trailer_done..];
                let run = rest.len().min(self.frame_left as usize);
                self.buffer.extend_from_slice(&rest[..run]);
                self.trailer_done += run;
                self.left -= run as u64;
                self.frame_left -= run as u64;
            }
        }
        Ok(())
    }

    fn advance(&mut self, run: u64) {
        self.segment_done += run;
        self.left -= run;
        self.frame_left -= run;
    }
}

fn mapped(plan: &Plan, pack: u32, start: u64, len: u64) -> Result<&[u8], EmitError> {
    let bytes = plan.packs.get(pack as usize).ok_or(EmitError::OutOfRange)?.bytes();
    let range = usize::try_from(start).ok().zip(usize::try_from(start + len).ok());
    range.and_then(|(start, end)| bytes.get(start..end)).ok_or(EmitError::OutOfRange)
}

impl Outline {
    /// Nobody else shall be sent what has just failed.
    fn damaged(&self, error: EmitError) -> EmitError {
        self.is_damaged.store(true, Ordering::Relaxed);
        error
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spool(error) => write!(f, "could not read newly encoded objects: {error}"),
            Self::OutOfRange => f.write_str("the plan does not fit its files"),
            Self::Damaged => f.write_str("what was kept of newly encoded objects is damaged"),
        }
    }
}

impl std::error::Error for EmitError {}
