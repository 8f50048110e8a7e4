//! Where newly encoded entries wait to be sent: first in memory with the entry headers, then in an unlinked file.

use super::{PlanError, Segment};
use crate::limits;
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where newly encoded entries go when they outgrow memory: an unlinked temporary file in this directory.
#[derive(Clone, Debug)]
pub struct Spool {
    /// A directory on a file system with room.
    pub directory: PathBuf,
}

/// The bytes of a plan that lie in no pack.
pub(super) struct SpoolWriter<'a> {
    directory: &'a Path,
    pub(super) inline: Vec<u8>,
    encoded_inline: usize,
    file: Option<File>,
    file_bytes: u64,
    /// Written to the file in pieces that are worth a system call.
    buffer: Vec<u8>,
}

const BUFFER_BYTES: usize = 256 << 10;

impl<'a> SpoolWriter<'a> {
    pub(super) fn new(spool: &'a Spool) -> Self {
        Self {
            directory: &spool.directory,
            inline: Vec::new(),
            encoded_inline: 0,
            file: None,
            file_bytes: 0,
            buffer: Vec::new(),
        }
    }

    /// Keeps an encoded entry.
    pub(super) fn keep(&mut self, entry: &[u8]) -> Result<Segment, PlanError> {
        if self.file.is_none() && self.encoded_inline + entry.len() <= limits::SPOOL_MEMORY_BYTES_MAX {
            let start = self.inline.len();
            self.encoded_inline += entry.len();
            self.inline.extend_from_slice(entry);
            return inline_segment(start, entry.len());
        }
        if self.file.is_none() {
            self.file = Some(unlinked(self.directory).map_err(PlanError::Spool)?);
        }
        let start = self.file_bytes;
        self.file_bytes += entry.len() as u64;
        self.buffer.extend_from_slice(entry);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush().map_err(PlanError::Spool)?;
        }
        Ok(Segment::File { file: 0, start, len: entry.len() as u64 })
    }

    /// Keeps an entry header, which `write` appends.
    pub(super) fn header(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<Segment, PlanError> {
        let start = self.inline.len();
        write(&mut self.inline);
        inline_segment(start, self.inline.len() - start)
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// The bytes in memory, and the file with its size.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Option<(Arc<File>, u64)>), PlanError> {
        self.flush().map_err(PlanError::Spool)?;
        Ok((self.inline, self.file.map(|file| (Arc::new(file), self.file_bytes))))
    }
}

fn inline_segment(start: usize, len: usize) -> Result<Segment, PlanError> {
    let too_large = |_| PlanError::TooLarge("headers of one answer");
    let start = u32::try_from(start).map_err(too_large)?;
    let len = u32::try_from(len).map_err(too_large)?;
    start.checked_add(len).map(|_| Segment::Inline { start, len }).ok_or(PlanError::TooLarge("headers of one answer"))
}

/// A file in `directory` that has no name: it is gone when the last descriptor is.
fn unlinked(directory: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        // Some file systems have no O_TMPFILE: a name nobody guesses, removed at once.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            let serial = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let path = directory.join(format!("spool-{}-{serial}", std::process::id()));
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(error) => Err(error.into()),
    }
}
