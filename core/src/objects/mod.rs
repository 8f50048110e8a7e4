//! The object database: several sealed packs and loose directories, seen as one immutable set of objects.
//!
//! A [`Database`] is a snapshot: it never looks at the disk's directories again, so a walk sees one consistent set.
//! Every object has a dense [`Number`], so that sets of objects are bit sets and walks need no hash tables.

use crate::{ObjectId, oid, pack::SealedPack};
use std::sync::Arc;

pub use gix_object::Kind;

/// An object of one [`Database`]: packs in order, positions of their index in order, then loose objects.
/// An object that several packs hold has the number of its first place only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u32);

/// Where an object's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `Database::packs()[pack]`, at `position` of its index (sorted by id).
    Packed {
        /// Which pack.
        pack: u32,
        /// Position in the pack's index.
        position: u32,
    },
    /// In a loose object file.
    Loose {
        /// Which directory.
        directory: u32,
        /// Position in the directory's sorted listing.
        position: u32,
    },
}

/// Why an object could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The database does not hold it.
    Missing(ObjectId),
    /// Its bytes do not inflate, resolve or parse.
    Corrupt {
        /// The object.
        id: ObjectId,
        /// What is wrong.
        detail: String,
    },
    /// Larger than the reader's limit.
    TooLarge {
        /// The object.
        id: ObjectId,
        /// Its declared size in bytes.
        bytes: u64,
    },
    /// The file could not be read.
    Io(std::io::Error),
    /// The caller's stop flag was raised.
    Interrupted,
}

/// An immutable set of objects.
pub struct Database {
    packs: Vec<Arc<SealedPack>>,
}

/// One caller's scratch space: inflate state, output buffers and a bounded cache of delta bases.
pub struct Reader {}

/// An object in memory, borrowed from the [`Reader`].
pub struct Object<'a> {
    /// Its type.
    pub kind: Kind,
    /// Its inflated content, without header.
    pub data: &'a [u8],
}

impl Database {
    /// A database over `packs`, in that order of preference.
    pub fn new(packs: Vec<Arc<SealedPack>>) -> Self {
        Self { packs }
    }

    /// The packs, in order of preference.
    pub fn packs(&self) -> &[Arc<SealedPack>] {
        &self.packs
    }

    /// Numbers are below this; some below it may be unused (duplicates).
    pub fn numbers_end(&self) -> u32 {
        unimplemented!()
    }

    /// The object's number, if it is here.
    pub fn number(&self, _id: &oid) -> Option<Number> {
        unimplemented!()
    }

    /// The id of a numbered object.
    pub fn id(&self, _number: Number) -> ObjectId {
        unimplemented!()
    }

    /// Where a numbered object lies.
    pub fn place(&self, _number: Number) -> Place {
        unimplemented!()
    }

    /// Type and inflated size in bytes.
    pub fn header(&self, _number: Number, _reader: &mut Reader) -> Result<(Kind, u64), ReadError> {
        unimplemented!()
    }

    /// The object, inflated and resolved, into the reader's buffer.
    pub fn read<'r>(&self, _number: Number, _reader: &'r mut Reader) -> Result<Object<'r>, ReadError> {
        unimplemented!()
    }
}
