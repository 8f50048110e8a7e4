//! The process environment as a value: `core` reads none of its own.

use super::configuration::{ConfigurationError, parse_boolean};
use bstr::{BStr, BString, ByteSlice};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The users of the machine (`passwd(5)`). Those of directory services are not among them: to ask these takes C.
const USERS: &str = "/etc/passwd";

/// Environment variables, working directory and user that a repository is opened with.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    user: u32,
}

impl Environment {
    /// `directory`: what relative paths are relative to. `user`: the effective user id.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>, directory: PathBuf, user: u32) -> Self {
        Self { variables: variables.into_iter().collect(), directory, user }
    }

    /// What a server reads repositories with that it was told to trust: no configuration but the repository's own, no
    /// namespace, and any owner.
    pub fn isolated(directory: PathBuf, user: u32) -> Self {
        let variables = [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
        ];
        Self::new(variables.map(|(name, value)| (name.into(), value.into())), directory, user)
    }

    /// The variable's value, empty or not.
    pub fn get(&self, name: &str) -> Option<&BStr> {
        self.variables.get(OsStr::new(name)).map(|value| value.as_bytes().as_bstr())
    }

    /// The variable's value as a path, taken relative to the working directory. An empty one stays empty and names no
    /// file, as in Git.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.variables.get(OsStr::new(name))?;
        Some(if value.is_empty() { PathBuf::new() } else { self.directory.join(value) })
    }

    /// The variable's value as the path of a directory. Git puts a slash and a name behind it: an empty one is the root.
    pub fn folder(&self, name: &str) -> Option<PathBuf> {
        self.path(name).map(|path| if path.as_os_str().is_empty() { "/".into() } else { path })
    }

    /// A boolean variable, by the rules of configuration values.
    pub fn boolean(&self, name: &'static str) -> Result<Option<bool>, ConfigurationError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match parse_boolean(Some(value)) {
            Some(value) => Ok(Some(value)),
            None => Err(ConfigurationError::BadEnvironmentBoolean { name, value: value.into() }),
        }
    }

    /// The home of `user` (nobody's name: of this user), as bytes that a path goes on from.
    pub fn home_of(&self, user: &[u8]) -> Option<BString> {
        if user.is_empty() {
            return self.get("HOME").map(ToOwned::to_owned);
        }
        let users = std::fs::read(USERS).ok()?;
        let found = users.split(|byte| *byte == b'\n').find_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            (fields.next() == Some(user)).then(|| fields.nth(4))?
        });
        found.map(BString::from)
    }

    /// The working directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The effective user id.
    pub fn user(&self) -> u32 {
        self.user
    }
}
