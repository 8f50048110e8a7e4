//! A pack and its index, complete and immutable, mapped.

use crate::{ObjectId, oid};
use std::path::{Path, PathBuf};

/// A mapped pack with its index.
pub struct SealedPack {
    path: PathBuf,
}

/// Why a pack could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The file could not be opened or mapped.
    Io(std::io::Error),
    /// Header, size or checksum is wrong.
    Corrupt(String),
}

impl SealedPack {
    /// Opens `PATH.pack`'s pack and index. `path` is the `.pack` file. Checks headers, sizes and that the index belongs to
    /// the pack; does not read all bytes.
    pub fn open(_path: &Path) -> Result<Self, OpenError> {
        unimplemented!()
    }

    /// The `.pack` file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many objects.
    pub fn len(&self) -> u32 {
        unimplemented!()
    }

    /// Whether it holds no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pack's trailing checksum.
    pub fn checksum(&self) -> ObjectId {
        unimplemented!()
    }

    /// The index position of an object.
    pub fn find(&self, _id: &oid) -> Option<u32> {
        unimplemented!()
    }

    /// The id at an index position.
    pub fn id_at(&self, _position: u32) -> ObjectId {
        unimplemented!()
    }

    /// The mapped bytes of the pack file.
    pub fn bytes(&self) -> &[u8] {
        unimplemented!()
    }
}
