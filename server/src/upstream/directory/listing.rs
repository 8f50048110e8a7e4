//! Which repositories a folder holds.
//!
//! A repository is a directory with `HEAD`, `objects` and `refs` in it. Nothing inside of one is looked at, nor inside of a
//! `.git`, and only a bounded depth. A symbolic link counts if it leads to a repository inside the folder; plain
//! directories behind links are not searched, so that no walk goes in circles or out.
//!
//! What can't be read below the folder hides what is in it and nothing else. Whatever is passed over is counted, so that
//! somebody hears of it.

use super::passed_over::{PassedOver, Reason};
use crate::upstream::UpstreamError;
use heliostat_core::{
    RepositoryPath,
    limits::{DIRECTORY_DEPTH_MAX, DIRECTORY_ENTRIES_MAX},
};
use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io::{self, ErrorKind},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Repositories by their path below the folder, with the directory that each one is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) repositories: BTreeMap<RepositoryPath, PathBuf>,
    pub(super) passed_over: PassedOver,
}

impl Listing {
    /// Walks `root`, which is canonical.
    pub(super) fn read(root: &Path, stop: &AtomicBool) -> Result<Self, UpstreamError> {
        let (mut repositories, mut unnameable) = (BTreeMap::new(), PassedOver::default());
        let mut passed_over = walk(root, stop, &mut |place, directory| {
            match path_of(root, place) {
                Some(path) => drop(repositories.insert(path, directory)),
                None => unnameable.note(Reason::Unnameable, place, None),
            }
            ControlFlow::Continue(())
        })?;
        passed_over.extend(unnameable);
        Ok(Self { repositories, passed_over })
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
        match Self::descend(root, path) {
            // Gone while we looked.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found,
        }
    }

    fn descend(root: &Path, path: &RepositoryPath) -> io::Result<Option<PathBuf>> {
        let mut folder = root.to_owned();
        let mut components = path.as_str().split('/').peekable();
        for _ in 0..DIRECTORY_DEPTH_MAX {
            let Some(component) = components.next() else { break };
            let mut named = None;
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_name() == component {
                    named = Some(entry);
                    break;
                }
            }
            let Some(named) = named else { return Ok(None) };
            match (Found::at(root, &named.path(), &named.metadata()?)?, components.peek().is_none()) {
                (Found::Repository(directory), true) => return Ok(Some(directory)),
                (Found::Folder, false) => folder = named.path(),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Under which path a repository at `place` can be asked for.
fn path_of(root: &Path, place: &Path) -> Option<RepositoryPath> {
    use std::os::unix::ffi::OsStrExt;
    RepositoryPath::new(place.strip_prefix(root).unwrap_or(place).as_os_str().as_bytes()).ok()
}

/// Shows each repository below `root`: where it lies, and the directory that it is. Fails only where nothing can be said of
/// the folder as a whole.
fn walk(
    root: &Path,
    stop: &AtomicBool,
    show: &mut dyn FnMut(&Path, PathBuf) -> ControlFlow<()>,
) -> Result<PassedOver, UpstreamError> {
    let mut passed_over = PassedOver::default();
    let mut pending = vec![(root.to_owned(), 0)];
    let mut entries_left = DIRECTORY_ENTRIES_MAX;
    while let Some((folder, depth)) = pending.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // The root must be there and readable; what is below may go while we look, or be somebody else's.
            Err(error) if depth == 0 => return Err(UpstreamError::away(root, &error)),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                passed_over.note(Reason::Unreadable, &folder, Some(&error));
                continue;
            }
        };
        for entry in entries {
            if stop.load(Relaxed) {
                return Err(UpstreamError::Stopped);
            }
            entries_left =
                entries_left.checked_sub(1).ok_or(UpstreamError::TooLarge("entries of the upstream's folder"))?;
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if depth == 0 => return Err(UpstreamError::away(root, &error)),
                Err(error) => {
                    passed_over.note(Reason::Unreadable, &folder, Some(&error));
                    break;
                }
            };
            let path = entry.path();
            match entry.metadata().and_then(|metadata| Found::at(root, &path, &metadata)) {
                Ok(Found::Repository(directory)) => {
                    if show(&path, directory).is_break() {
                        return Ok(passed_over);
                    }
                }
                Ok(Found::Folder) if depth + 1 < DIRECTORY_DEPTH_MAX => pending.push((path, depth + 1)),
                Ok(Found::Folder) => passed_over.note(Reason::TooDeep, &path, None),
                Ok(Found::RepositoryOutside) => passed_over.note(Reason::RepositoryOutside, &path, None),
                Ok(Found::LinkedFolder) => passed_over.note(Reason::LinkedFolder, &path, None),
                Ok(Found::Nothing) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => passed_over.note(Reason::Unreadable, &path, Some(&error)),
            }
        }
    }
    Ok(passed_over)
}

enum Found {
    Repository(PathBuf),
    Folder,
    /// Behind a link, a repository that lies elsewhere.
    RepositoryOutside,
    /// Behind a link, a directory that is no repository.
    LinkedFolder,
    Nothing,
}

impl Found {
    /// What is at `path`, whose own metadata (not that of what a link leads to) is `metadata`.
    fn at(root: &Path, path: &Path, metadata: &Metadata) -> io::Result<Self> {
        if metadata.is_symlink() {
            let target = match path.canonicalize() {
                Ok(target) => target,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
                // It leads nowhere, or in a circle.
                Err(_) => return Ok(Self::Nothing),
            };
            return Ok(match (target.starts_with(root), target.is_dir()) {
                (true, true) if is_repository(&target)? => Self::Repository(target),
                // Somebody else's, perhaps: nothing depends on whether it can be read.
                (false, true) if is_repository(&target).unwrap_or(false) => Self::RepositoryOutside,
                (_, true) => Self::LinkedFolder,
                (_, false) => Self::Nothing,
            });
        }
        if !metadata.is_dir() || path.file_name().is_some_and(|name| name == ".git") {
            return Ok(Self::Nothing);
        }
        Ok(if is_repository(path)? { Self::Repository(path.to_owned()) } else { Self::Folder })
    }
}

/// Whether a repository is there now. An error: that can't be told.
pub(super) fn is_repository(path: &Path) -> io::Result<bool> {
    let told = |found: io::Result<Metadata>, fits: fn(&Metadata) -> bool| match found {
        Ok(metadata) => Ok(fits(&metadata)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    };
    // HEAD may be a dangling link: the old form of a symbolic reference, unborn.
    Ok(told(fs::symlink_metadata(path.join("HEAD")), |metadata| !metadata.is_dir())?
        && told(fs::metadata(path.join("objects")), Metadata::is_dir)?
        && told(fs::metadata(path.join("refs")), Metadata::is_dir)?)
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
        for unnameable in [&b"\xff.git"[..], b"~user.git", b"back\\slash.git", "none\u{200b}.git".as_bytes()] {
            repository(&root.join(std::ffi::OsStr::from_bytes(unnameable)));
        }
        repository(&outside.path().join("secret.git"));
        symlink(outside.path().join("secret.git"), root.join("leak.git")).unwrap();
        symlink(outside.path(), root.join("outside")).unwrap();
        symlink(root.join("a.git"), root.join("alias.git")).unwrap();
        symlink(&root, root.join("team/circle")).unwrap();
        fs::write(root.join("file.git"), "").unwrap();
        repository(&root.join(vec!["d"; DIRECTORY_DEPTH_MAX + 2].join("/")));
        let deep = ["e"; DIRECTORY_DEPTH_MAX];
        repository(&root.join(deep.join("/")));
        let stop = AtomicBool::new(false);
        let listing = Listing::read(&root, &stop).unwrap();
        let found: Vec<_> = listing.repositories.keys().map(RepositoryPath::as_str).collect();
        assert_eq!(found, ["a.git", "alias.git", &deep.join("/"), "team/b.git", "team/deep/er/c"]);
        // Not the one inside of a repository, nor the one behind the links.
        let counts = [Reason::Unnameable, Reason::RepositoryOutside, Reason::LinkedFolder, Reason::TooDeep]
            .map(|reason| listing.passed_over.count(reason));
        assert_eq!((counts, listing.passed_over.count(Reason::Unreadable)), ([5, 1, 2, 1], 0));
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
            &vec!["d"; DIRECTORY_DEPTH_MAX + 2].join("/"),
            // Cut off where the search ends, it would name a repository.
            &format!("{}/x", deep.join("/")),
        ] {
            assert_eq!(Listing::look_up(&root, &path.parse().unwrap()).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn a_folder_that_is_gone_is_no_empty_folder() {
        let stop = AtomicBool::new(false);
        let gone = Listing::read(Path::new("/nonexistent/heliostat"), &stop);
        assert!(matches!(gone, Err(UpstreamError::Away(_))));
    }
}
