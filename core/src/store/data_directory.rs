//! A data directory that this process has to itself.

use super::{StoreError, disk::Disk};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes of a lock file that are looked at.
const HOLDER_BYTES_MAX: u64 = 1 << 10;

/// Made if need be, and locked until it is dropped. Nothing in it has been looked at: a process takes the lock before it
/// does anything that others could see, and reads what lies here when it comes to that ([`super::Store::load`]).
pub struct DataDirectory {
    pub(super) repositories: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) lock: File,
}

impl DataDirectory {
    /// Creates `data` if it is not there and takes its lock. [`StoreError::InUse`] if another process has it.
    pub fn lock(data: &Path) -> Result<Self, StoreError> {
        Self::lock_on(Arc::new(super::LocalDisk), data)
    }

    /// The same on another disk.
    pub fn lock_on(disk: Arc<dyn Disk>, data: &Path) -> Result<Self, StoreError> {
        let repositories = data.join("repositories");
        for directory in data.ancestors().collect::<Vec<_>>().into_iter().rev().chain([repositories.as_path()]) {
            if !directory.as_os_str().is_empty() && !directory.exists() {
                disk.create_dir(directory)?;
            }
        }
        let is_new = !data.join("lock").exists();
        let lock = disk.lock(&data.join("lock")).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StoreError::InUse,
            _ => StoreError::Io(error),
        })?;
        if is_new {
            disk.sync_dir(data)?;
        }
        Ok(Self { repositories, disk, lock })
    }

    /// Writes into the lock file who holds it, for those who are refused. Not made durable: it is of this process.
    pub fn sign(&self, holder: &str) -> io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.write_all_at(holder.as_bytes(), 0)
    }

    /// What the last holder of `data`'s lock has signed with. Whether it is still held this does not say.
    pub fn signature(data: &Path) -> io::Result<String> {
        let mut text = String::new();
        File::open(data.join("lock"))?.take(HOLDER_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    }
}
