//! The repository's own shallow boundary.

use super::{OpenError, Repository};
use crate::{ObjectId, limits::SHALLOW_BYTES_MAX};
use bstr::ByteSlice;
use std::{collections::BTreeSet, fs, io};

impl Repository {
    /// Commits whose parents are not here and are not to be followed. Empty: the history is whole.
    pub fn shallow(&self) -> Result<BTreeSet<ObjectId>, OpenError> {
        match fs::metadata(&self.shallow_file) {
            Ok(metadata) if metadata.len() > SHALLOW_BYTES_MAX => {
                return Err(OpenError::Unsupported("the shallow file is larger than this program accepts".into()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(OpenError::Io("shallow", error)),
        }
        let text = fs::read(&self.shallow_file).map_err(|error| OpenError::Io("shallow", error))?;
        let id_of = |line: &[u8]| line.get(..40).and_then(|id| ObjectId::from_hex(id).ok());
        text.lines()
            .map(|line| {
                id_of(line).ok_or_else(|| OpenError::PackedRefs(format!("bad shallow line: {}", line.as_bstr())))
            })
            .collect()
    }
}
