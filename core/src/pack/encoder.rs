//! Deflating whole objects into entries.

use super::{PlanError, entry::write_whole};
use crate::{limits, objects::Kind};
use flate2::{Compress, Compression, FlushCompress, Status};

/// Deflates whole objects.
pub(super) struct Encoder {
    state: Compress,
    out: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { state: Compress::new(Compression::new(limits::DEFLATE_LEVEL), true), out: Vec::new() }
    }

    /// The whole entry, header included.
    pub(super) fn encode(&mut self, kind: Kind, data: &[u8]) -> Result<&[u8], PlanError> {
        self.out.clear();
        write_whole(&mut self.out, kind, data.len() as u64);
        self.state.reset();
        loop {
            // Deflate adds at most a few bytes a block to what it cannot compress.
            let rest = data.get(self.state.total_in() as usize..).unwrap_or_default();
            self.out.reserve(rest.len() + rest.len() / 1024 + 64);
            let status = self.state.compress_vec(rest, &mut self.out, FlushCompress::Finish);
            match status {
                Ok(Status::StreamEnd) => return Ok(&self.out),
                Ok(Status::Ok | Status::BufError) => {}
                Err(error) => return Err(PlanError::Spool(std::io::Error::other(error))),
            }
        }
    }
}
