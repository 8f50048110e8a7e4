//! A plan as bytes for the peer: side-band frames around segments, the checksum computed on the way.

use super::Plan;
use std::sync::Arc;

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
    /// The spool could not be read.
    Spool(std::io::Error),
    /// A segment lies outside its file.
    OutOfRange,
}

/// Walks a plan once.
pub struct Emitter {
    _plan: Arc<Plan>,
}

impl Emitter {
    /// An emitter at the plan's start.
    pub fn new(plan: Arc<Plan>, _framing: Framing) -> Self {
        Self { _plan: plan }
    }

    /// The next piece; `None` after the trailer. Pieces are at most one frame long.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, EmitError> {
        unimplemented!()
    }
}
