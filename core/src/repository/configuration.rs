//! Git configuration as `git upload-pack` sees it: system, global, repository, worktree, command, in that order.
//!
//! Kept as a flat list in order of precedence, because order is meaning for multi-valued keys (`hideRefs`). Includes are
//! resolved where they stand. `includeIf "hasconfig:…"` never matches here.

mod include;
mod value;

pub use value::parse_boolean;

use super::environment::Environment;
use crate::limits::{CONFIG_FILE_BYTES_MAX, CONFIG_INCLUDE_DEPTH_MAX, CONFIG_OVERRIDES_MAX};
use bstr::{BStr, BString, ByteSlice, ByteVec};
use gix_config::parse::{EventRef, Events};
use std::{
    fmt, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Where Git's system-wide configuration lies unless `GIT_CONFIG_SYSTEM` says otherwise.
const SYSTEM_CONFIG: &str = "/etc/gitconfig";

/// How far a value is to be trusted: the repository's own files belong to whoever made the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// System or global; with the command's own what Git calls protected configuration.
    Protected,
    /// The command's own (`git -c`, `GIT_CONFIG_COUNT`).
    Command,
    /// The repository's.
    Repository,
}

/// One `section.subsection.name = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Lower case.
    pub section: BString,
    /// As written: case matters.
    pub subsection: Option<BString>,
    /// Lower case.
    pub name: BString,
    /// `None` for a name without `=`.
    pub value: Option<BString>,
    /// Whose file it stood in.
    pub scope: Scope,
}

/// All settings, of lowest precedence first.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    settings: Vec<Setting>,
}

/// What is wrong with a configuration, in Git's words.
#[derive(Debug)]
pub enum ConfigurationError {
    /// A file does not parse.
    BadLine {
        /// From 1.
        line: usize,
        /// The file.
        file: PathBuf,
    },
    /// A file could not be read.
    Io(PathBuf, io::Error),
    /// A file or the environment is larger than a limit.
    TooLarge(String),
    /// Includes nest too deeply.
    IncludeDepth {
        /// The file that is one too many.
        file: PathBuf,
        /// The file that includes it.
        from: PathBuf,
    },
    /// Not a boolean.
    BadBoolean {
        /// Full key.
        key: String,
        /// Its value.
        value: BString,
    },
    /// Not a number, or out of range.
    BadNumber {
        /// Full key.
        key: String,
        /// Its value.
        value: BString,
        /// `invalid unit` or `out of range`.
        reason: &'static str,
    },
    /// A name without `=` where a value is needed. Git says so as an error before it ends with where it stands.
    MissingValue {
        /// Full key.
        key: String,
        /// Whose setting it is.
        scope: Scope,
    },
    /// An environment variable that is not a boolean.
    BadEnvironmentBoolean {
        /// Which.
        name: &'static str,
        /// Its value.
        value: BString,
    },
    /// Not one of the words that a key takes; in Git's words.
    BadValue(String),
    /// `GIT_CONFIG_COUNT` or `GIT_CONFIG_PARAMETERS` is malformed; Git says so as an error before it ends with
    /// `unable to parse command-line config`.
    BadOverride(String),
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLine { line, file } => write!(f, "bad config line {line} in file {}", file.display()),
            Self::Io(path, error) => write!(f, "unable to access '{}': {error}", path.display()),
            Self::TooLarge(what) => write!(f, "{what} is larger than this program accepts"),
            Self::IncludeDepth { file, from } => {
                write!(f, "exceeded maximum include depth ({CONFIG_INCLUDE_DEPTH_MAX}) while including")?;
                write!(f, "\n\t{}\nfrom\n\t{}\n", file.display(), from.display())?;
                f.write_str("This might be due to circular includes.")
            }
            Self::BadBoolean { key, value } => write!(f, "bad boolean config value '{value}' for '{key}'"),
            Self::BadNumber { key, value, reason } => {
                write!(f, "bad numeric config value '{value}' for '{key}': {reason}")
            }
            Self::MissingValue { key, .. } => write!(f, "missing value for '{key}'"),
            Self::BadEnvironmentBoolean { name, value } => {
                write!(f, "bad boolean environment value '{value}' for '{name}'")
            }
            Self::BadValue(words) | Self::BadOverride(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for ConfigurationError {}

impl Setting {
    /// `section.subsection.name`, for messages.
    pub fn key(&self) -> String {
        match &self.subsection {
            Some(subsection) => format!("{}.{subsection}.{}", self.section, self.name),
            None => format!("{}.{}", self.section, self.name),
        }
    }

    /// Whether this is `section.name`, without a subsection. Both lower case.
    pub fn is(&self, section: &str, name: &str) -> bool {
        self.section == section && self.subsection.is_none() && self.name == name
    }

    /// The value as a boolean.
    pub fn boolean(&self) -> Result<bool, ConfigurationError> {
        parse_boolean(self.value.as_ref().map(|value| value.as_bstr())).ok_or_else(|| ConfigurationError::BadBoolean {
            key: self.key(),
            value: self.value.clone().unwrap_or_default(),
        })
    }

    /// The value as a number with an optional unit `k`, `m` or `g`.
    pub fn number(&self) -> Result<i64, ConfigurationError> {
        let value = self.value.as_ref().map(|value| value.as_bstr()).unwrap_or_default();
        value::parse_number(value).map_err(|reason| ConfigurationError::BadNumber {
            key: self.key(),
            value: value.into(),
            reason,
        })
    }

    /// The value as a number that is not negative.
    pub fn unsigned(&self) -> Result<u64, ConfigurationError> {
        u64::try_from(self.number()?).map_err(|_| ConfigurationError::BadNumber {
            key: self.key(),
            value: self.value.clone().unwrap_or_default(),
            reason: "invalid unit",
        })
    }

    /// The value, which must be there.
    pub fn text(&self) -> Result<&BStr, ConfigurationError> {
        let missing = || ConfigurationError::MissingValue { key: self.key(), scope: self.scope };
        self.value.as_ref().map(|value| value.as_bstr()).ok_or_else(missing)
    }
}

impl Configuration {
    /// What holds before a repository is known: system, global and command configuration.
    pub fn protected(environment: &Environment) -> Result<Self, ConfigurationError> {
        let mut configuration = Self::default();
        configuration.read_protected_files(environment, None)?;
        configuration.read_overrides(environment)?;
        Ok(configuration)
    }

    /// All that holds in the repository at `git_dir`, whose shared part is `common_dir`.
    pub fn of_repository(
        environment: &Environment,
        git_dir: &Path,
        common_dir: &Path,
    ) -> Result<Self, ConfigurationError> {
        let mut configuration = Self::default();
        configuration.read_protected_files(environment, Some(git_dir))?;
        let own = common_dir.join("config");
        configuration.read_file(&own, Scope::Repository, environment, Some(git_dir))?;
        let worktree_config = configuration
            .last(|setting| setting.scope == Scope::Repository && setting.is("extensions", "worktreeconfig"))
            .map_or(Ok(false), Setting::boolean)?;
        if worktree_config {
            configuration.read_file(&git_dir.join("config.worktree"), Scope::Repository, environment, Some(git_dir))?;
        }
        configuration.read_overrides(environment)?;
        Ok(configuration)
    }

    /// Only one file, without includes: what Git reads a repository's format from.
    pub fn of_file(path: &Path) -> Result<Self, ConfigurationError> {
        let mut configuration = Self::default();
        if let Some(bytes) = read_bounded(path)? {
            for setting in parse(&bytes, path, Scope::Repository)? {
                configuration.settings.push(setting);
            }
        }
        Ok(configuration)
    }

    /// All settings, of lowest precedence first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Setting> {
        self.settings.iter()
    }

    /// The setting of highest precedence for which `matches` holds.
    pub fn last(&self, matches: impl Fn(&Setting) -> bool) -> Option<&Setting> {
        self.settings.iter().rev().find(|setting| matches(setting))
    }

    /// `section.name` as a boolean. Both lower case.
    pub fn boolean(&self, section: &str, name: &str) -> Result<Option<bool>, ConfigurationError> {
        self.last(|setting| setting.is(section, name)).map(Setting::boolean).transpose()
    }

    fn read_protected_files(
        &mut self,
        environment: &Environment,
        git_dir: Option<&Path>,
    ) -> Result<(), ConfigurationError> {
        if !environment.boolean("GIT_CONFIG_NOSYSTEM")?.unwrap_or(false) {
            let path = environment.path("GIT_CONFIG_SYSTEM").unwrap_or_else(|| PathBuf::from(SYSTEM_CONFIG));
            self.read_file(&path, Scope::Protected, environment, git_dir)?;
        }
        if let Some(path) = environment.path("GIT_CONFIG_GLOBAL") {
            return self.read_file(&path, Scope::Protected, environment, git_dir);
        }
        let home = environment.path("HOME");
        let xdg = match environment.get("XDG_CONFIG_HOME") {
            Some(value) if !value.is_empty() => environment.path("XDG_CONFIG_HOME"),
            _ => home.as_ref().map(|home| home.join(".config")),
        };
        if let Some(directory) = xdg {
            self.read_file(&directory.join("git/config"), Scope::Protected, environment, git_dir)?;
        }
        if let Some(home) = home {
            self.read_file(&home.join(".gitconfig"), Scope::Protected, environment, git_dir)?;
        }
        Ok(())
    }

    fn read_file(
        &mut self,
        path: &Path,
        scope: Scope,
        environment: &Environment,
        git_dir: Option<&Path>,
    ) -> Result<(), ConfigurationError> {
        let reader = include::Reader { environment, git_dir, scope };
        reader.read(path, None, 0, &mut self.settings)
    }

    fn read_overrides(&mut self, environment: &Environment) -> Result<(), ConfigurationError> {
        let bad = |words: String| Err(ConfigurationError::BadOverride(words));
        if let Some(count) = environment.get("GIT_CONFIG_COUNT").filter(|count| !count.is_empty()) {
            let Some(count) = value::parse_count(count) else {
                return bad("bogus count in GIT_CONFIG_COUNT".into());
            };
            let Some(count) = usize::try_from(count).ok().filter(|count| *count <= CONFIG_OVERRIDES_MAX) else {
                return bad("too many entries in GIT_CONFIG_COUNT".into());
            };
            for index in 0..count {
                let (key, value) = (format!("GIT_CONFIG_KEY_{index}"), format!("GIT_CONFIG_VALUE_{index}"));
                let Some(key) = environment.get(&key) else {
                    return bad(format!("missing config key {key}"));
                };
                let Some(value) = environment.get(&value) else {
                    return bad(format!("missing config value {value}"));
                };
                self.override_with(key, Some(value))?;
            }
        }
        if let Some(parameters) = environment.get("GIT_CONFIG_PARAMETERS") {
            let Some(parameters) = value::split_parameters(parameters) else {
                return bad("bogus format in GIT_CONFIG_PARAMETERS".into());
            };
            for (key, value) in parameters {
                self.override_with(key.as_bstr(), value.as_ref().map(|value| value.as_bstr()))?;
            }
        }
        Ok(())
    }

    fn override_with(&mut self, key: &BStr, value: Option<&BStr>) -> Result<(), ConfigurationError> {
        let Some((section, rest)) = key.split_once_str(".").filter(|(section, _)| !section.is_empty()) else {
            return Err(ConfigurationError::BadOverride(format!("key does not contain a section: {key}")));
        };
        let (subsection, name) = match rest.rfind_byte(b'.') {
            Some(dot) => (Some(rest[..dot].into()), &rest[dot + 1..]),
            None => (None, rest),
        };
        if name.is_empty() {
            return Err(ConfigurationError::BadOverride(format!("key does not contain variable name: {key}")));
        }
        self.settings.push(Setting {
            section: section.to_ascii_lowercase().into(),
            subsection,
            name: name.to_ascii_lowercase().into(),
            value: value.map(Into::into),
            scope: Scope::Command,
        });
        Ok(())
    }
}

/// The file's bytes, or `None` if there is none (or it may not be read, as Git passes over such files).
fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, ConfigurationError> {
    let absent = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied)
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > CONFIG_FILE_BYTES_MAX => {
            return Err(ConfigurationError::TooLarge(format!("configuration file {}", path.display())));
        }
        Ok(_) => {}
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(ConfigurationError::Io(path.into(), error)),
    }
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(ConfigurationError::Io(path.into(), error)),
    }
}

/// Git counts a line more when the file ends, without a line feed, within the name of a section.
fn past_the_end(bytes: &[u8]) -> usize {
    let last = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let name = last.trim_start().strip_prefix(b"[");
    usize::from(name.is_some_and(|name| name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte))))
}

/// The settings of one file, in order.
fn parse(bytes: &[u8], path: &Path, scope: Scope) -> Result<Vec<Setting>, ConfigurationError> {
    let events = Events::from_bytes(bytes, None).map_err(|error| ConfigurationError::BadLine {
        line: error.line_number() + past_the_end(bytes),
        file: path.into(),
    })?;
    let mut settings = Vec::new();
    let (mut section, mut subsection) = (BString::default(), None);
    let mut value = BString::default();
    for event in events.iter() {
        match event {
            EventRef::SectionHeader { name, separator, subsection_name } => {
                section = name.to_ascii_lowercase().into();
                // `[section.subsection]`: the old form, whose subsection is lower case.
                subsection = match separator {
                    Some(separator) if separator == "." => {
                        subsection_name.map(|name| BString::from(name.to_ascii_lowercase()))
                    }
                    _ => subsection_name.map(BString::from),
                };
            }
            EventRef::SectionValueName(name) => {
                settings.push(Setting {
                    section: section.clone(),
                    subsection: subsection.clone(),
                    name: name.to_ascii_lowercase().into(),
                    value: None,
                    scope,
                });
            }
            EventRef::KeyValueSeparator => {
                value.clear();
                if let Some(setting) = settings.last_mut() {
                    setting.value = Some(BString::default());
                }
            }
            EventRef::ValueNotDone(part) => value.push_str(part),
            EventRef::Value(part) | EventRef::ValueDone(part) => {
                value.push_str(part);
                if let Some(Setting { value: whole @ Some(_), .. }) = settings.last_mut() {
                    *whole = Some(gix_config::value::normalize(&value).into_owned());
                }
            }
            EventRef::Comment { .. } | EventRef::Newline(_) | EventRef::Whitespace(_) => {}
        }
    }
    Ok(settings)
}

/// A path from configuration: `~/` is the user's home, anything else relative to `base`.
pub(super) fn expand_path(value: &BStr, base: &Path, environment: &Environment) -> Option<PathBuf> {
    let os = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    match value.strip_prefix(b"~/") {
        Some(rest) => Some(environment.path("HOME")?.join(os(rest))),
        None => Some(base.join(os(value))),
    }
}

#[cfg(test)]
mod tests;
