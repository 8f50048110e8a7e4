//! Which directory a path names: the rules of `git upload-pack` (`enter_repo`), and whether its owner is trusted.

use super::{
    OpenError,
    configuration::{Configuration, Scope},
    environment::Environment,
};
use crate::limits::{GITFILE_BYTES_MAX, REPOSITORY_PATH_BYTES_MAX_LOCAL};
use bstr::{BStr, BString, ByteSlice};
use rustix::fs::Access;
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Tried in this order unless the caller is strict.
const SUFFIXES: [&str; 4] = ["/.git", "", ".git/.git", ".git"];

/// A repository's directories.
pub(super) struct Located {
    /// Where `HEAD` is.
    pub(super) git_dir: PathBuf,
    /// Where objects and configuration are: the same but for linked worktrees, and where `GIT_COMMON_DIR` says so.
    pub(super) common_dir: PathBuf,
    /// Where references are: the same but for linked worktrees. `GIT_COMMON_DIR` moves them no more than it does in Git.
    pub(super) refs_dir: PathBuf,
}

/// Finds the repository that `dir` names and checks its owner.
pub(super) fn locate(dir: &Path, environment: &Environment, strict: bool) -> Result<Located, OpenError> {
    let absent = || OpenError::NotARepository(dir.into());
    if strict && dir.as_os_str().is_empty() {
        // Nobody owns what has no name.
        return Err(OpenError::DubiousOwnership(dir.into()));
    }
    let found = if strict { dir.to_path_buf() } else { try_suffixes(dir, environment).ok_or_else(absent)? };
    let path = environment.directory().join(&found);
    let gitfile = read_gitfile(&path, &found, environment)?;
    check_owner(gitfile.as_deref(), &path, &found, environment)?;
    let git_dir = gitfile.unwrap_or(path);
    if !is_git_directory(&git_dir, environment) {
        return Err(absent());
    }
    let git_dir = git_dir.canonicalize().map_err(|_| absent())?;
    let common_dir = common_dir(&git_dir, environment);
    let refs_dir = own_common_dir(&git_dir);
    Ok(Located { git_dir, common_dir, refs_dir })
}

fn try_suffixes(dir: &Path, environment: &Environment) -> Option<PathBuf> {
    let mut given = dir.as_os_str().as_bytes();
    while given.len() > 1 && given.ends_with(b"/") {
        given = &given[..given.len() - 1];
    }
    if given.len() >= REPOSITORY_PATH_BYTES_MAX_LOCAL {
        return None;
    }
    let base: BString = match given.strip_prefix(b"~") {
        Some(rest) => {
            let (user, below) = rest.split_at(rest.find_byte(b'/').unwrap_or(rest.len()));
            [environment.home_of(user)?.as_slice(), below].concat().into()
        }
        None => given.into(),
    };
    SUFFIXES.iter().find_map(|suffix| {
        let candidate = PathBuf::from(OsStr::from_bytes(&[base.as_slice(), suffix.as_bytes()].concat()));
        let absolute = environment.directory().join(&candidate);
        let metadata = fs::metadata(&absolute).ok()?;
        (metadata.is_file() || metadata.is_dir() && is_git_directory(&absolute, environment)).then_some(candidate)
    })
}

/// Where a `.git` file points, if `path` is one. `shown` is what the user called it.
fn read_gitfile(path: &Path, shown: &Path, environment: &Environment) -> Result<Option<PathBuf>, OpenError> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(None) };
    if !metadata.is_file() {
        return Ok(None);
    }
    let bad = |words: &str| OpenError::Gitfile(format!("{words}{}", shown.display()));
    if metadata.len() > GITFILE_BYTES_MAX {
        return Err(OpenError::Gitfile(format!("too large to be a .git file: '{}'", shown.display())));
    }
    let content = fs::read(path).map_err(|_| bad("error reading "))?;
    let Some(target) = content.strip_prefix(b"gitdir: ") else { return Err(bad("invalid gitfile format: ")) };
    let target = target.trim_end_with(|c| c == '\n' || c == '\r');
    if target.is_empty() {
        return Err(bad("no path in gitfile: "));
    }
    let shown = shown.parent().unwrap_or(Path::new("")).join(OsStr::from_bytes(target));
    let target = path.parent().unwrap_or(Path::new("/")).join(OsStr::from_bytes(target));
    if !is_git_directory(&target, environment) {
        return Err(OpenError::Gitfile(format!("not a git repository: {}", shown.display())));
    }
    Ok(Some(target.canonicalize().unwrap_or(target)))
}

fn is_git_directory(path: &Path, environment: &Environment) -> bool {
    let searchable = |path: &Path| rustix::fs::access(path, Access::EXEC_OK).is_ok();
    let common = common_dir(path, environment);
    let objects = environment.path("GIT_OBJECT_DIRECTORY").unwrap_or_else(|| common.join("objects"));
    is_head(&path.join("HEAD")) && searchable(&objects) && searchable(&common.join("refs"))
}

/// Whether the file at `path` could be a `HEAD`.
fn is_head(path: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    if metadata.is_symlink() {
        return fs::read_link(path).is_ok_and(|target| target.as_os_str().as_bytes().starts_with(b"refs/"));
    }
    let Ok(content) = super::references::read_reference_file(path) else { return false };
    match content.strip_prefix(b"ref:") {
        Some(target) => target.trim_start().starts_with(b"refs/"),
        None => content.get(..40).is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit)),
    }
}

fn common_dir(git_dir: &Path, environment: &Environment) -> PathBuf {
    environment.folder("GIT_COMMON_DIR").unwrap_or_else(|| own_common_dir(git_dir))
}

/// Whatever the environment says.
fn own_common_dir(git_dir: &Path) -> PathBuf {
    match fs::read(git_dir.join("commondir")) {
        Ok(target) => {
            let target = target.trim_end_with(|c| c == '\n' || c == '\r');
            let joined = git_dir.join(OsStr::from_bytes(target));
            joined.canonicalize().unwrap_or(joined)
        }
        Err(_) => git_dir.into(),
    }
}

/// `safe.directory`: a repository of another user may hold configuration that runs commands. We run none, but a
/// stand-in that serves what Git would not is a hole all the same.
fn check_owner(gitfile: Option<&Path>, path: &Path, shown: &Path, environment: &Environment) -> Result<(), OpenError> {
    let owned = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| is_own(metadata.uid(), environment));
    let distrusted = environment.boolean("GIT_TEST_ASSUME_DIFFERENT_OWNER")?.unwrap_or(false);
    if !distrusted && gitfile.is_none_or(owned) && owned(path) {
        return Ok(());
    }
    let trusted = path.canonicalize().is_ok_and(|real| is_declared_safe(&real, environment).unwrap_or(false));
    if trusted { Ok(()) } else { Err(OpenError::DubiousOwnership(gitfile.unwrap_or(shown).into())) }
}

fn is_own(owner: u32, environment: &Environment) -> bool {
    if owner == environment.user() {
        return true;
    }
    let sudo = || environment.get("SUDO_UID")?.to_str().ok()?.parse::<u32>().ok();
    environment.user() == 0 && sudo() == Some(owner)
}

fn is_declared_safe(real: &Path, environment: &Environment) -> Result<bool, OpenError> {
    let configuration = Configuration::protected(environment)?;
    let mut safe = false;
    for setting in configuration.iter().filter(|setting| setting.is("safe", "directory")) {
        debug_assert_ne!(setting.scope, Scope::Repository);
        match setting.value.as_ref().map(|value| value.as_bytes()) {
            None | Some(b"") => safe = false,
            Some(b"*") => safe = true,
            Some(value) => safe |= names(value.as_bstr(), real, environment),
        }
    }
    Ok(safe)
}

fn names(value: &BStr, real: &Path, environment: &Environment) -> bool {
    let Some(path) = super::configuration::expand_path(value, environment) else { return false };
    let path = environment.directory().join(path);
    let absolute = value.starts_with(b"/") || value.starts_with(b"~");
    if !absolute && value != "." {
        return false;
    }
    let (parent, all_below) = match path.file_name() {
        Some(name) if name == "*" => (path.parent(), true),
        _ => (Some(path.as_path()), false),
    };
    let Some(Ok(resolved)) = parent.map(Path::canonicalize) else { return false };
    if all_below { real.starts_with(&resolved) && real != resolved } else { real == resolved }
}
