//! When each repository was asked for last, in milliseconds since 1970: in memory one atomic a repository, on the disk one small
//! file, `DATA/asked`, so that a restart does not make all of them equal. It is written now and then; what a crash loses of
//! it is the last moments.

use super::{MirroredRepository, RepositoryId, Store, disk::Disk};
use std::{
    collections::HashMap,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::{PoisonError, atomic::Ordering::Relaxed},
};

/// Bytes of the file: some 2,000,000 repositories. Longer: it counts as none.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl MirroredRepository {
    /// Somebody asks for it, at so many milliseconds since 1970.
    pub fn note_asked(&self, millis: u64) {
        self.asked.fetch_max(millis, Relaxed);
    }

    /// When somebody asked for it last; 0 if nobody has.
    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    /// Whether anything of it is being read now.
    pub fn is_being_read(&self) -> bool {
        use std::sync::Arc;
        let Some(snapshot) = self.snapshot() else { return false };
        // One snapshot is the repository's own, one ours.
        Arc::strong_count(&snapshot) > 2
            || Arc::strong_count(&snapshot.objects) > 1
            || snapshot.objects.packs().iter().any(|pack| Arc::strong_count(pack) > 1)
    }
}

impl Store {
    /// Writes down when each was asked for last, if that has changed.
    pub fn write_asked(&self) -> io::Result<()> {
        let mut text = String::new();
        for repository in self.all() {
            if repository.asked() > 0 {
                // Writing to a String does not fail.
                let _ = writeln!(text, "{} {}", repository.id(), repository.asked());
            }
        }
        let mut written = self.asked_written.lock().unwrap_or_else(PoisonError::into_inner);
        let checksum = crc32fast::hash(text.as_bytes());
        if *written == Some(checksum) {
            return Ok(());
        }
        let file = file_of(&self.repositories);
        let beside = file.with_extension("new");
        super::disk::gone_is_fine(self.disk.remove_file(&beside))?;
        self.disk.write_file(&beside, text.as_bytes())?;
        self.disk.rename(&beside, &file)?;
        *written = Some(checksum);
        Ok(())
    }
}

/// What was written down; nothing, if that can't be read.
pub(super) fn read(disk: &dyn Disk, repositories: &Path) -> HashMap<RepositoryId, u64> {
    let bytes = disk.read_file(&file_of(repositories), FILE_BYTES_MAX).unwrap_or_default();
    let line = |line: &str| {
        let (id, millis) = line.split_once(' ')?;
        Some((id.parse().ok()?, millis.parse().ok()?))
    };
    String::from_utf8_lossy(&bytes).lines().filter_map(line).collect()
}

fn file_of(repositories: &Path) -> PathBuf {
    repositories.with_file_name("asked")
}
