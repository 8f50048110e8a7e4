//! The seam between the store and the file system.
//!
//! Everything that the store changes on disk goes through one [`Disk`], so that a test can record every operation and
//! replay any prefix of it, as a crash would. Reads go through it where they decide something; sealed packs are mapped
//! directly. Paths are absolute. Nothing here retries: a failed `fsync` is a failure of the operation that asked for it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

/// What a directory entry is. Symbolic links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, lossily decoded: the store's own names are ASCII.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// The file system as the store uses it.
pub trait Disk: Send + Sync {
    /// Creates a directory whose parent exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a file that must not exist yet, for reading and writing.
    fn create_file(&self, path: &Path) -> io::Result<File>;
    /// Makes a file's content durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory's entries durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the write permission from a file.
    fn set_read_only(&self, path: &Path) -> io::Result<()>;
    /// Renames, replacing what `to` names.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Creates a symbolic link at `link` that says `target`.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// Removes a file or a symbolic link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// A number that was never drawn before, for the names of numberings.
    fn fresh_number(&self) -> io::Result<u64>;

    /// Takes the lock file `path` for as long as the returned file is open. `WouldBlock`: another process has it.
    fn lock(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    }

    /// Writes a new file whole and makes its content durable. Its name is durable after [`Disk::sync_dir`].
    fn write_file(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.create_file(path)?.write_all(content)?;
        self.sync_file(path)
    }

    /// Reads a whole file of at most `bytes_max`; a longer one is `InvalidData`.
    fn read_file(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let read = File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
        if read as u64 > bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "file is larger than it may be"));
        }
        Ok(content)
    }

    /// What a symbolic link says.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    /// The entries of a directory, sorted by name. A directory that is not there has none.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let listing = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing?,
        };
        let mut entries = Vec::new();
        for entry in listing {
            let entry = entry?;
            let kind = entry.file_type()?;
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                kind: match (kind.is_symlink(), kind.is_dir(), kind.is_file()) {
                    (true, _, _) => EntryKind::Link,
                    (_, true, _) => EntryKind::Directory,
                    (_, _, true) => EntryKind::File,
                    _ => EntryKind::Other,
                },
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Removes a directory with all it holds; one that is not there is fine. Symbolic links are removed, not followed.
    fn remove_tree(&self, root: &Path) -> io::Result<()> {
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.last().cloned() {
            let mut children = Vec::new();
            for entry in self.list(&directory)? {
                let path = directory.join(&entry.name);
                match entry.kind {
                    EntryKind::Directory => children.push(path),
                    _ => gone_is_fine(self.remove_file(&path))?,
                }
            }
            if children.is_empty() {
                gone_is_fine(self.remove_dir(&directory))?;
                open.pop();
            } else {
                open.append(&mut children);
            }
        }
        Ok(())
    }
}

/// Success also when what should go had gone already.
pub(super) fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create_file(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn set_read_only(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o444))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        symlink(target, link)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn fresh_number(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_removed_without_following_links() {
        let root = tempfile::tempdir().unwrap();
        let disk = LocalDisk;
        let outside = root.path().join("outside");
        disk.write_file(&outside, b"stays").unwrap();
        let tree = root.path().join("tree");
        for directory in [tree.clone(), tree.join("a"), tree.join("a/b")] {
            disk.create_dir(&directory).unwrap();
        }
        disk.write_file(&tree.join("a/b/file"), b"goes").unwrap();
        disk.symlink(root.path(), &tree.join("a/link")).unwrap();
        disk.remove_tree(&tree).unwrap();
        disk.remove_tree(&tree).unwrap();
        assert_eq!(fs::read(&outside).unwrap(), b"stays");
        assert!(!tree.exists());
    }

    #[test]
    fn a_lock_excludes_a_second_holder_until_it_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("lock");
        let held = LocalDisk.lock(&path).unwrap();
        assert_eq!(LocalDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        LocalDisk.lock(&path).unwrap();
    }

    #[test]
    fn a_file_larger_than_allowed_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        LocalDisk.write_file(&path, b"12345").unwrap();
        assert_eq!(LocalDisk.read_file(&path, 5).unwrap(), b"12345");
        assert_eq!(LocalDisk.read_file(&path, 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
