//! Any repository on disk, as `git upload-pack` would see it: found by its rules, with its configuration, its namespace
//! and the objects it borrows.
//!
//! Everything is read when it is asked for and never again; nothing is written. There is no environment here: it is an
//! argument. Not supported, and refused in words: SHA-256 objects, the `reftable` format. Not honoured: grafts (long
//! deprecated), multi-pack indexes, commit graphs and bitmaps (only faster ways to the same answers).

mod configuration;
mod environment;
mod format;
mod hidden;
mod locate;
mod meaningless;
mod object_directories;
mod policy;
mod references;
mod revision;
mod shallow;

pub use configuration::{Configuration, ConfigurationError, Scope, Setting, parse_boolean};
pub use environment::Environment;
pub use hidden::HiddenRefs;
pub use object_directories::ObjectDirectories;
pub use policy::Service;
pub use references::References;
pub use revision::blob_named;

use bstr::{BString, ByteSlice};
use std::{
    fmt, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// A repository that was found, is trusted, and is of a format that is understood.
#[derive(Debug)]
pub struct Repository {
    git_dir: PathBuf,
    common_dir: PathBuf,
    refs_dir: PathBuf,
    /// `refs/namespaces/…/`, or nothing.
    namespace: BString,
    shallow_file: PathBuf,
    configuration: Configuration,
    object_directories: ObjectDirectories,
}

/// Why a repository can't be served, in Git's words.
#[derive(Debug)]
pub enum OpenError {
    /// There is none at that path.
    NotARepository(PathBuf),
    /// Its `.git` file is malformed; the words are Git's.
    Gitfile(String),
    /// It belongs to another user and no `safe.directory` names it.
    DubiousOwnership(PathBuf),
    /// Its configuration, or the environment's.
    Configuration(ConfigurationError),
    /// Its format is newer or of a kind that is not served; in words.
    Unsupported(String),
    /// `GIT_NAMESPACE` is malformed.
    Namespace(BString),
    /// `packed-refs` or `shallow` is malformed; the words are Git's.
    PackedRefs(String),
    /// A file could not be read: which, and why.
    Io(&'static str, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARepository(path) => write!(f, "'{}' does not appear to be a git repository", path.display()),
            Self::DubiousOwnership(path) => {
                writeln!(f, "detected dubious ownership in repository at '{}'", path.display())?;
                writeln!(f, "To add an exception for this directory, call:\n")?;
                write!(f, "\tgit config --global --add safe.directory {}", quoted(path))
            }
            Self::Configuration(error) => error.fmt(f),
            Self::Namespace(name) => write!(f, "bad git namespace path \"{name}\""),
            Self::Gitfile(words) | Self::PackedRefs(words) | Self::Unsupported(words) => f.write_str(words),
            Self::Io(what, error) => write!(f, "unable to read {what}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<ConfigurationError> for OpenError {
    fn from(error: ConfigurationError) -> Self {
        Self::Configuration(error)
    }
}

impl Repository {
    /// Finds and opens the repository that `dir` names: itself, its `.git`, or with `.git` at the end; when `strict`,
    /// only itself.
    pub fn open(dir: &Path, environment: &Environment, strict: bool) -> Result<Self, OpenError> {
        let locate::Located { git_dir, common_dir, refs_dir } = locate::locate(dir, environment, strict)?;
        format::check(&common_dir, if common_dir == git_dir { Path::new(".") } else { &common_dir })?;
        let configuration = Configuration::of_repository(environment, &git_dir, &common_dir)?;
        let object_directories = ObjectDirectories::of(&git_dir, &common_dir, environment);
        let shallow_file = match environment.get("GIT_SHALLOW_FILE") {
            // Git's own way to say that there is none.
            Some(path) if path.is_empty() => PathBuf::new(),
            Some(path) => git_dir.join(std::ffi::OsStr::from_bytes(path)),
            None => common_dir.join("shallow"),
        };
        let namespace = expand_namespace(environment)?;
        Ok(Self { git_dir, common_dir, refs_dir, namespace, shallow_file, configuration, object_directories })
    }

    /// Where `HEAD` is; canonical.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Where objects and configuration are.
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// How Git, which works inside the repository, names the directory in messages, with the slash.
    fn shown_refs_dir(&self) -> String {
        if self.refs_dir == self.git_dir { "./".into() } else { format!("{}/", self.refs_dir.display()) }
    }

    /// All that is configured.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Where its objects are.
    pub fn object_directories(&self) -> &ObjectDirectories {
        &self.object_directories
    }
}

/// `GIT_NAMESPACE=a/b` is `refs/namespaces/a/refs/namespaces/b/` (`gitnamespaces`).
fn expand_namespace(environment: &Environment) -> Result<BString, OpenError> {
    let mut namespace = BString::default();
    let Some(given) = environment.get("GIT_NAMESPACE") else { return Ok(namespace) };
    for part in given.split_str("/").filter(|part| !part.is_empty()) {
        namespace.extend_from_slice(b"refs/namespaces/");
        namespace.extend_from_slice(part);
        namespace.push(b'/');
    }
    let name = namespace.trim_end_with(|c| c == '/');
    if !given.is_empty() && (given.ends_with(b"/") || gix_validate::reference::name(name.as_bstr()).is_err()) {
        return Err(OpenError::Namespace(given.into()));
    }
    Ok(namespace)
}

/// For the shell, quoted only where it must be.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "+,-./:=@_^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''").replace('!', "'\\!'"))
}

#[cfg(test)]
mod tests;
