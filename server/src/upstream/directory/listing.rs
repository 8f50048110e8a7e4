//! Which repositories a folder holds.
//!
//! A repository is a directory with `HEAD`, `objects` and `refs` in it. Nothing inside of one is looked at, nor inside of a
//! `.git`, and only a bounded depth. A symbolic link counts if it leads to a repository inside the folder; plain
//! directories behind links are not searched, so that no walk goes in circles or out.

use crate::upstream::UpstreamError;
use heliostat_core::{
    RepositoryPath,
    limits::{DIRECTORY_DEPTH_MAX, DIRECTORY_ENTRIES_MAX},
};
use std::{
    collections::BTreeMap,
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Repositories by their path below the folder, with the directory that each one is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) repositories: BTreeMap<RepositoryPath, PathBuf>,
    /// Repositories whose names can't be asked for: not UTF-8, a control character, a leading dash.
    pub(super) unnameable: usize,
}

impl Listing {
    /// Walks `root`, which is canonical.
    pub(super) fn read(root: &Path, stop: &AtomicBool) -> Result<Self, UpstreamError> {
        let mut listing = Self::default();
        walk(root, stop, &mut |place, directory| {
            listing.add(root, place, directory);
            ControlFlow::Continue(())
        })?;
        Ok(listing)
    }

    /// Whether there is no repository below `root`.
    pub(super) fn is_empty(root: &Path) -> Result<bool, UpstreamError> {
        let mut is_empty = true;
        walk(root, &AtomicBool::new(false), &mut |_, _| {
            is_empty = false;
            ControlFlow::Break(())
        })?;
        Ok(is_empty)
    }

    /// Looks one path up on disk, component by component among the names that are there: request text is compared with
    /// names, never joined to a path.
    pub(super) fn look_up(root: &Path, path: &RepositoryPath) -> io::Result<Option<PathBuf>> {
        let mut folder = root.to_owned();
        let mut components = path.as_str().split('/').take(DIRECTORY_DEPTH_MAX + 1).peekable();
        while let Some(component) = components.next() {
            let mut named = None;
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_name() == component {
                    named = Some(entry.path());
                    break;
                }
            }
            let Some(named) = named else { return Ok(None) };
            match (Found::at(root, named.clone()), components.peek().is_none()) {
                (Found::Repository(directory), true) => return Ok(Some(directory)),
                (Found::Folder, false) => folder = named,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn add(&mut self, root: &Path, place: &Path, directory: PathBuf) {
        use std::os::unix::ffi::OsStrExt;
        let relative = place.strip_prefix(root).unwrap_or(place).as_os_str().as_bytes();
        match RepositoryPath::new(relative) {
            Ok(path) => drop(self.repositories.insert(path, directory)),
            Err(_) => self.unnameable += 1,
        }
    }
}

/// Shows each repository below `root`: where it lies, and the directory that it is.
fn walk(
    root: &Path,
    stop: &AtomicBool,
    show: &mut dyn FnMut(&Path, PathBuf) -> ControlFlow<()>,
) -> Result<(), UpstreamError> {
    let mut pending = vec![(root.to_owned(), 0)];
    let mut entries_left = DIRECTORY_ENTRIES_MAX;
    while let Some((folder, depth)) = pending.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // The root must be there; what is below may go while we look.
            Err(error) if depth > 0 && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&folder, &error)),
        };
        for entry in entries {
            if stop.load(Relaxed) {
                return Err(UpstreamError::Stopped);
            }
            entries_left =
                entries_left.checked_sub(1).ok_or(UpstreamError::TooLarge("entries of the upstream's folder"))?;
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            match Found::at(root, entry.path()) {
                Found::Repository(directory) => {
                    if show(&entry.path(), directory).is_break() {
                        return Ok(());
                    }
                }
                Found::Folder if depth + 1 < DIRECTORY_DEPTH_MAX => pending.push((entry.path(), depth + 1)),
                Found::Folder | Found::Nothing => {}
            }
        }
    }
    Ok(())
}

enum Found {
    Repository(PathBuf),
    Folder,
    Nothing,
}

impl Found {
    fn at(root: &Path, path: PathBuf) -> Self {
        let Ok(metadata) = fs::symlink_metadata(&path) else { return Self::Nothing };
        if metadata.is_symlink() {
            return match path.canonicalize() {
                Ok(target) if target.starts_with(root) && is_repository(&target) => Self::Repository(target),
                _ => Self::Nothing,
            };
        }
        if !metadata.is_dir() || path.file_name().is_some_and(|name| name == ".git") {
            return Self::Nothing;
        }
        if is_repository(&path) { Self::Repository(path) } else { Self::Folder }
    }
}

/// Whether a repository is there now.
pub(super) fn is_repository(path: &Path) -> bool {
    // HEAD may be a dangling link: the old form of a symbolic reference, unborn.
    fs::symlink_metadata(path.join("HEAD")).is_ok_and(|metadata| !metadata.is_dir())
        && path.join("objects").is_dir()
        && path.join("refs").is_dir()
}

fn unreadable(folder: &Path, error: &io::Error) -> UpstreamError {
    UpstreamError::Unreachable(format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{ffi::OsStrExt, fs::symlink};

    fn repository(path: &Path) {
        fs::create_dir_all(path.join("objects")).unwrap();
        fs::create_dir_all(path.join("refs")).unwrap();
        fs::write(path.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    }

    #[test]
    fn what_is_listed_and_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for path in ["a.git", "team/b.git", "team/deep/er/c", "a.git/inside.git", "work/.git", "-dash.git"] {
            repository(&root.join(path));
        }
        repository(&root.join(std::ffi::OsStr::from_bytes(b"\xff.git")));
        repository(&outside.path().join("secret.git"));
        symlink(outside.path().join("secret.git"), root.join("leak.git")).unwrap();
        symlink(outside.path(), root.join("outside")).unwrap();
        symlink(root.join("a.git"), root.join("alias.git")).unwrap();
        symlink(&root, root.join("team/circle")).unwrap();
        fs::write(root.join("file.git"), "").unwrap();
        repository(&root.join(vec!["d"; DIRECTORY_DEPTH_MAX + 2].join("/")));
        let stop = AtomicBool::new(false);
        let listing = Listing::read(&root, &stop).unwrap();
        let found: Vec<_> = listing.repositories.keys().map(RepositoryPath::as_str).collect();
        assert_eq!(found, ["a.git", "alias.git", "team/b.git", "team/deep/er/c"]);
        assert_eq!(listing.unnameable, 2);
        for (path, directory) in &listing.repositories {
            assert_eq!(Listing::look_up(&root, path).unwrap().as_ref(), Some(directory));
        }
        for path in [
            "leak.git",
            "outside/secret.git",
            "a.git/inside.git",
            "work/.git",
            "team",
            "file.git",
            "x/y",
            "team/circle/a.git",
        ] {
            assert_eq!(Listing::look_up(&root, &path.parse().unwrap()).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn a_folder_that_is_gone_is_no_empty_folder() {
        let stop = AtomicBool::new(false);
        let gone = Listing::read(Path::new("/nonexistent/heliostat"), &stop);
        assert!(matches!(gone, Err(UpstreamError::Unreachable(_))));
    }
}
