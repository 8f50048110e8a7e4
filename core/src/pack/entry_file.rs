//! Files of newly encoded entries that plans name, and reading them in pieces that are worth a system call.

use super::room::Taken;
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// A file that ranges of plans lie in: a plan's own spool, or entries that a repository keeps. What a plan names in it does
/// not change; it stays readable after its name has gone.
pub struct EntryFile {
    file: File,
    is_dropped: AtomicBool,
    /// What it takes of the room for plans.
    taken: OnceLock<Taken>,
}

/// What was read last of such files, and what lies behind it where the next range is likely to follow.
#[derive(Default)]
pub(crate) struct Window {
    file: Option<Arc<EntryFile>>,
    start: u64,
    bytes: Vec<u8>,
}

/// Bytes that are read at once where ranges follow each other.
const WINDOW_BYTES: usize = 64 << 10;
/// A range that begins so closely behind the last one follows it: kept entries have their records' heads between them.
const GAP_BYTES_MAX: u64 = 4 << 10;

impl EntryFile {
    pub(crate) fn new(file: File) -> Self {
        Self { file, is_dropped: AtomicBool::new(false), taken: OnceLock::new() }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// From now on it takes this, until it is gone.
    pub(super) fn take(&self, taken: Taken) {
        let _ = self.taken.set(taken);
    }

    /// Its name goes: whoever only keeps it for later should let go of it.
    pub(crate) fn drop_name(&self) {
        self.is_dropped.store(true, Ordering::Relaxed);
    }

    /// Whether it has no name any more that it should have.
    pub(crate) fn is_dropped(&self) -> bool {
        self.is_dropped.load(Ordering::Relaxed)
    }
}

impl Window {
    /// `len` bytes at `start`. Up to `end` the file may be read ahead: what lies there does not change any more.
    pub(crate) fn read(&mut self, file: &Arc<EntryFile>, start: u64, len: usize, end: u64) -> io::Result<&[u8]> {
        let is_same = self.file.as_ref().is_some_and(|own| Arc::ptr_eq(own, file));
        let behind = self.start + self.bytes.len() as u64;
        let skipped = start.checked_sub(self.start).filter(|_| is_same && start + len as u64 <= behind);
        if let Some(skipped) = skipped {
            return Ok(&self.bytes[skipped as usize..skipped as usize + len]);
        }
        let follows = is_same && (self.start..=behind + GAP_BYTES_MAX).contains(&start);
        let ahead = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        let wanted = if follows { len.max(ahead) } else { len };
        // Whatever fails here, nothing of before is taken for what was asked for.
        self.file = None;
        self.bytes.resize(wanted, 0);
        let mut filled = 0;
        while filled < wanted {
            match file.file.read_at(&mut self.bytes[filled..], start + filled as u64) {
                Ok(0) if filled < len => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.truncate(filled);
        (self.file, self.start) = (Some(file.clone()), start);
        Ok(&self.bytes[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> Arc<EntryFile> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(EntryFile::new(file))
    }

    #[test]
    fn whatever_is_read_in_whatever_order() {
        let bytes: Vec<u8> = (0..300_000u32).map(|at| (at / 7 + at % 251) as u8).collect();
        let (one, other) = (file(&bytes), file(&bytes[1_000..]));
        let mut window = Window::default();
        let end = bytes.len() as u64;
        for (start, len) in
            [(0, 10), (10, 100), (142, 70_000), (70_142, 1), (5, 3), (299_000, 1_000), (299_999, 1), (0, 0)]
        {
            assert_eq!(window.read(&one, start, len, end).unwrap(), &bytes[start as usize..][..len], "{start} {len}");
            assert_eq!(window.read(&other, 0, 5, end - 1_000).unwrap(), &bytes[1_000..1_005]);
            assert_eq!(window.read(&one, start, len, end).unwrap(), &bytes[start as usize..][..len], "{start} {len}");
        }
        assert_eq!(window.read(&one, 299_990, 11, end).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(window.read(&one, 299_990, 10, end).unwrap(), &bytes[299_990..]);
    }

    /// What may still change is not remembered.
    #[test]
    fn it_is_read_ahead_to_the_end_and_no_further() {
        let file = file(&[1; 100]);
        let mut window = Window::default();
        window.read(&file, 0, 10, 50).unwrap();
        window.read(&file, 10, 10, 50).unwrap();
        assert_eq!((window.start, window.bytes.len()), (10, 40));
        file.file().write_all_at(&[2; 50], 50).unwrap();
        assert_eq!(window.read(&file, 48, 4, 100).unwrap(), [1, 1, 2, 2]);
    }
}
