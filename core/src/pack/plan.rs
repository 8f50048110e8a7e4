//! The plan of an answer: which bytes, from where, in which order.

use super::SealedPack;
use crate::{
    graph::Selected,
    objects::{Database, ReadError},
};
use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

/// What the client accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// `ofs-delta`: bases may be named by distance.
    pub ofs_delta: bool,
    /// `thin-pack`: bases may be objects that the client has.
    pub thin_pack: bool,
}

/// A run of bytes of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// `Plan::inline[start..start + len]`: entry headers.
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
    /// A byte range of the spool: entries that had to be encoded anew.
    Spool {
        /// First byte in the spool file.
        start: u64,
        /// Bytes.
        len: u64,
    },
}

/// Where newly encoded entries go when they outgrow memory: an unlinked temporary file in this directory.
#[derive(Clone, Debug)]
pub struct Spool {
    /// A directory on a file system with room.
    pub directory: PathBuf,
}

/// What will be sent, complete with sizes: streaming it needs no decision any more.
pub struct Plan {
    /// The runs, pack header included, trailer not.
    pub segments: Vec<Segment>,
    /// Bytes that `Segment::Inline` names.
    pub inline: Vec<u8>,
    /// The file that `Segment::Spool` names.
    pub spool: Option<File>,
    /// The packs that `Segment::Pack` names; held until the answer is sent.
    pub packs: Vec<Arc<SealedPack>>,
    /// How many objects travel.
    pub objects: u32,
    /// How many of them are copied as they are, how many of these as deltas, and how many were encoded anew: for logs.
    pub copied: u32,
    /// Deltas among the copied.
    pub deltas: u32,
    /// Bytes of the whole pack, trailer included.
    pub bytes: u64,
    /// The trailing checksum where it is known beforehand (a whole pack).
    pub trailer: Option<[u8; 20]>,
}

/// Why no plan could be made.
#[derive(Debug)]
pub enum PlanError {
    /// An object could not be read.
    Read(ReadError),
    /// The spool could not be written.
    Spool(std::io::Error),
    /// More than the format or a limit allows.
    TooLarge(&'static str),
}

/// Plans the pack of `selected`.
pub fn plan(
    _objects: &Database,
    _selected: &Selected,
    _encoding: Encoding,
    _spool: &Spool,
    _stop: &AtomicBool,
) -> Result<Plan, PlanError> {
    unimplemented!()
}
