//! A disk that records what is done to it, can fail at a given operation, and can be replayed as a crash would leave it.

use heliostat_core::store::{Disk, LocalDisk};
use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// One change of the disk. Paths are relative to the recorder's root.
#[derive(Clone, Debug)]
pub enum Op {
    CreateDir(PathBuf),
    CreateFile(PathBuf),
    /// With the content that became durable.
    SyncFile(PathBuf, Vec<u8>),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Symlink(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    RemoveDir(PathBuf),
}

impl Op {
    /// The directory whose entries this changes; it is durable once that directory is synced.
    fn entry_in(&self) -> Option<&Path> {
        match self {
            Self::CreateDir(path) | Self::CreateFile(path) | Self::RemoveFile(path) | Self::RemoveDir(path) => {
                path.parent()
            }
            Self::Rename(_, to) | Self::Symlink(_, to) => to.parent(),
            Self::SyncFile(..) | Self::SyncDir(_) => None,
        }
    }
}

pub struct Recorder {
    root: PathBuf,
    ops: Mutex<Vec<Op>>,
    countdown: AtomicUsize,
    error: i32,
}

impl Recorder {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), ops: Mutex::default(), countdown: AtomicUsize::new(usize::MAX), error: 0 }
    }

    /// One whose operations fail with the error number when told to ([`Recorder::fail_in`]).
    pub fn failing(root: &Path, error: i32) -> Self {
        Self { error, ..Self::new(root) }
    }

    /// The `nth` operation from now fails, the writing of a file counted as one; `usize::MAX`: none does.
    pub fn fail_in(&self, nth: usize) {
        self.countdown.store(nth, Ordering::SeqCst);
    }

    /// Whether the failure is still to come.
    pub fn is_armed(&self) -> bool {
        self.countdown.load(Ordering::SeqCst) < usize::MAX / 2
    }

    pub fn ops(&self) -> Vec<Op> {
        self.ops.lock().unwrap().clone()
    }

    /// Whether it is this operation that was to fail.
    fn fails(&self) -> bool {
        self.countdown.fetch_sub(1, Ordering::SeqCst) == 0
    }

    fn note(
        &self,
        op: impl FnOnce(&dyn Fn(&Path) -> PathBuf) -> Op,
        done: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if self.fails() {
            return Err(io::Error::from_raw_os_error(self.error));
        }
        done()?;
        let relative = |path: &Path| path.strip_prefix(&self.root).unwrap().to_owned();
        self.ops.lock().unwrap().push(op(&relative));
        Ok(())
    }
}

impl Disk for Recorder {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.note(|r| Op::CreateDir(r(path)), || LocalDisk.create_dir(path))
    }

    fn create_file(&self, path: &Path) -> io::Result<File> {
        let mut file = None;
        self.note(|r| Op::CreateFile(r(path)), || LocalDisk.create_file(path).map(|created| file = Some(created)))?;
        // Writing to it is another operation that may fail, whose error comes from the kernel: ENOSPC.
        if self.fails() {
            return File::options().read(true).write(true).open("/dev/full");
        }
        Ok(file.unwrap())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.note(|r| Op::SyncFile(r(path), fs::read(path).unwrap()), || LocalDisk.sync_file(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note(|r| Op::SyncDir(r(path)), || LocalDisk.sync_dir(path))
    }

    fn set_read_only(&self, path: &Path) -> io::Result<()> {
        LocalDisk.set_read_only(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(|r| Op::Rename(r(from), r(to)), || LocalDisk.rename(from, to))
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.note(|r| Op::Symlink(target.to_owned(), r(link)), || LocalDisk.symlink(target, link))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.note(|r| Op::RemoveFile(r(path)), || LocalDisk.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.note(|r| Op::RemoveDir(r(path)), || LocalDisk.remove_dir(path))
    }

    fn fresh_number(&self) -> io::Result<u64> {
        LocalDisk.fresh_number()
    }
}

/// The changes of `ops` that a power cut after them may undo. Those in a quarantine don't count: a file that has been
/// moved on durably is where it is, whatever became of its earlier names, and the rest is swept.
fn volatile(ops: &[Op]) -> Vec<usize> {
    let mut volatile = Vec::new();
    // Directories whose entries are durable from here on, as seen from the end: synced later, or durably removed.
    let mut settled: HashSet<&Path> = HashSet::new();
    for (at, op) in ops.iter().enumerate().rev() {
        if let Op::SyncDir(directory) = op {
            settled.insert(directory);
        }
        let Some(directory) = op.entry_in() else { continue };
        if settled.contains(directory) || directory.to_string_lossy().contains("quarantine") {
            if let Op::RemoveDir(removed) = op {
                settled.insert(removed);
            }
        } else {
            volatile.push(at);
        }
    }
    volatile.reverse();
    volatile
}

/// What a crash after `ops` may have lost: nothing (the process was killed), everything that was not synced, and, for
/// the last `each_max` of these, each one alone, and all but each one.
pub fn losses(ops: &[Op], each_max: usize) -> Vec<HashSet<usize>> {
    let volatile = volatile(ops);
    let all: HashSet<_> = volatile.iter().copied().collect();
    let mut losses = vec![HashSet::new()];
    for &at in volatile.iter().rev().take(each_max) {
        losses.push(HashSet::from([at]));
        losses.push(all.iter().copied().filter(|other| *other != at).collect());
    }
    losses.push(all);
    losses
}

/// Does `ops` in `root`, without the lost ones and what depends on them.
pub fn replay(root: &Path, ops: &[Op], lost: &HashSet<usize>) {
    for (at, op) in ops.iter().enumerate() {
        if lost.contains(&at) {
            continue;
        }
        let path = |path: &PathBuf| root.join(path);
        // What fails depends on something that was lost.
        let _ = match op {
            Op::CreateDir(at) => fs::create_dir(path(at)),
            Op::CreateFile(at) => fs::write(path(at), b""),
            Op::SyncFile(at, content) if path(at).exists() => fs::write(path(at), content),
            Op::Rename(from, to) => fs::rename(path(from), path(to)),
            Op::Symlink(target, link) => std::os::unix::fs::symlink(target, path(link)),
            Op::RemoveFile(at) => fs::remove_file(path(at)),
            Op::RemoveDir(at) => fs::remove_dir(path(at)),
            Op::SyncFile(..) | Op::SyncDir(_) => Ok(()),
        };
    }
}

/// A directory for replays: a thousand of them need no disk that survives anything, and are ten times faster in memory.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Copies a tree, links as links.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, from, to) = (entry.file_type().unwrap(), entry.path(), to.join(entry.file_name()));
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else if kind.is_dir() {
            copy_tree(&from, &to);
        } else {
            // Hard links would share what a replay changes.
            fs::write(&to, fs::read(&from).unwrap()).unwrap();
        }
    }
}
