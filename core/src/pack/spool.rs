//! Where newly encoded entries are kept, or wait to be sent: in the repository's own file, or else in memory with the entry
//! headers, and then in an unlinked file.

use super::{
    PlanError, Segment,
    entry_file::{EntryFile, Window},
    room::{Room, Taken},
};
use crate::{
    limits, oid,
    store::{EntryCache, KeptEntry},
};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where newly encoded entries go.
#[derive(Clone)]
pub struct Spool {
    /// What outgrows memory: an unlinked temporary file in this directory, on a file system with room.
    pub directory: PathBuf,
    /// Where entries are kept for other plans, if they are.
    pub entries: Option<Arc<EntryCache>>,
    /// What the temporary files of all plans may take together; all that there is, if `None`.
    pub room: Option<Arc<Room>>,
}

/// The bytes of a plan that lie in no pack.
pub(super) struct SpoolWriter<'a> {
    spool: &'a Spool,
    pub(super) inline: Vec<u8>,
    encoded_inline: usize,
    /// The plan's own file, by its place in `files`.
    own: Option<u32>,
    own_bytes: u64,
    taken: Option<Taken>,
    files: Vec<Arc<EntryFile>>,
    /// Written to the plan's own file in pieces that are worth a system call.
    buffer: Vec<u8>,
    window: Window,
    /// The CRC-32 of the kept entry that was given last, until it is taken.
    check: Option<u32>,
    /// The disk is full, or fails: nothing more is kept by this plan.
    gave_up: bool,
}

/// What a plan gets of it.
pub(super) struct Spooled {
    pub(super) inline: Vec<u8>,
    pub(super) files: Vec<Arc<EntryFile>>,
    pub(super) own_bytes: u64,
}

const BUFFER_BYTES: usize = 256 << 10;

impl<'a> SpoolWriter<'a> {
    pub(super) fn new(spool: &'a Spool) -> Self {
        Self {
            spool,
            inline: Vec::new(),
            encoded_inline: 0,
            own: None,
            own_bytes: 0,
            taken: spool.room.as_ref().map(Taken::nothing),
            files: Vec::new(),
            buffer: Vec::new(),
            window: Window::default(),
            check: None,
            gave_up: false,
        }
    }

    /// Whether entries are kept for other plans.
    pub(super) fn keeps(&self) -> bool {
        self.spool.entries.is_some() && !self.gave_up
    }

    /// The entry of an object, if one is kept and whole.
    pub(super) fn find(&mut self, id: &oid) -> Option<Segment> {
        let kept = self.spool.entries.as_ref()?.find(id, &mut self.window)?;
        Some(self.kept(kept))
    }

    /// Keeps an encoded entry, for other plans too if that can be.
    pub(super) fn keep(&mut self, id: &oid, entry: &[u8]) -> Result<Segment, PlanError> {
        if let Some(entries) = self.spool.entries.as_ref().filter(|_| !self.gave_up) {
            match entries.keep(id, entry) {
                Ok(Some(kept)) => return Ok(self.kept(kept)),
                Ok(None) => {}
                // It costs others their time, not this client its answer.
                Err(_) => self.gave_up = true,
            }
        }
        if self.own.is_none() && self.encoded_inline + entry.len() <= limits::SPOOL_MEMORY_BYTES_MAX {
            let start = self.inline.len();
            self.encoded_inline += entry.len();
            self.inline.extend_from_slice(entry);
            return inline_segment(start, entry.len());
        }
        if let Some(Err(would_fit)) = self.taken.as_mut().map(|taken| taken.grow(entry.len() as u64)) {
            return Err(PlanError::NoRoom { would_fit });
        }
        let own = match self.own {
            Some(own) => own,
            None => {
                let file = unlinked(&self.spool.directory).map_err(PlanError::Spool)?;
                let own = self.place(Arc::new(EntryFile::new(file)));
                self.own = Some(own);
                own
            }
        };
        let start = self.own_bytes;
        self.own_bytes += entry.len() as u64;
        self.buffer.extend_from_slice(entry);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush().map_err(PlanError::Spool)?;
        }
        Ok(Segment::File { file: own, start, len: entry.len() as u64 })
    }

    /// Keeps an entry header, which `write` appends.
    pub(super) fn header(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<Segment, PlanError> {
        let start = self.inline.len();
        write(&mut self.inline);
        inline_segment(start, self.inline.len() - start)
    }

    /// The CRC-32 of the segment that was given last, if that is a kept entry.
    pub(super) fn take_check(&mut self) -> Option<u32> {
        self.check.take()
    }

    fn kept(&mut self, KeptEntry { file, start, len, crc32 }: KeptEntry) -> Segment {
        self.check = Some(crc32);
        Segment::File { file: self.place(file), start, len }
    }

    /// Where `file` stands among the plan's: there are a handful.
    fn place(&mut self, file: Arc<EntryFile>) -> u32 {
        let known = self.files.iter().position(|known| Arc::ptr_eq(known, &file));
        let place = known.unwrap_or_else(|| {
            self.files.push(file);
            self.files.len() - 1
        });
        place as u32
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(own) = self.own {
            self.files[own as usize].file().write_all(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// All that was kept.
    pub(super) fn finish(mut self) -> Result<Spooled, PlanError> {
        self.flush().map_err(PlanError::Spool)?;
        if let Some((own, taken)) = self.own.zip(self.taken) {
            self.files[own as usize].take(taken);
        }
        Ok(Spooled { inline: self.inline, files: self.files, own_bytes: self.own_bytes })
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
