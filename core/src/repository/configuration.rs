//! Git configuration as `git upload-pack` sees it: system, global, repository, worktree, command, in that order.
//!
//! Kept as a flat list in order of precedence, because order is meaning for multi-valued keys (`hideRefs`). Includes are
//! resolved where they stand. `includeIf "hasconfig:…"` never matches here.

mod include;
mod value;

pub(super) use include::expand_path;
pub use value::parse_boolean;

use super::environment::Environment;
use crate::limits::{CONFIG_FILE_BYTES_MAX, CONFIG_INCLUDE_DEPTH_MAX, CONFIG_OVERRIDES_MAX};
use bstr::{BStr, BString, ByteSlice, ByteVec};
use gix_config::parse::{EventRef, Events};
use include::Reader;
use std::{
    fmt, io,
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
    /// A file is there and can't be read.
    Io(PathBuf, io::Error),
    /// An include can't be followed. Git says why as an error before it ends with where it stands.
    BadInclude {
        /// In Git's words.
        reason: String,
        /// From 1.
        line: usize,
        /// The file that includes.
        file: PathBuf,
    },
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
            Self::Io(path, error) => write!(f, "unable to access '{}': {}", path.display(), without_number(error)),
            Self::BadInclude { reason, .. } => f.write_str(reason),
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

/// `os error N` is no part of what Git says.
fn without_number(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().into()
}

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
        configuration.read_overrides(environment, None)?;
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
        let reader = Reader { environment, git_dir: Some(git_dir), scope: Scope::Repository };
        // Git, which works inside the repository, calls its files so.
        let own = if common_dir == git_dir { "config".into() } else { common_dir.join("config") };
        reader.read(&own, Denied::Refused, &mut configuration.settings)?;
        let worktree_config = configuration
            .last(|setting| setting.scope == Scope::Repository && setting.is("extensions", "worktreeconfig"))
            .map_or(Ok(false), Setting::boolean)?;
        if worktree_config {
            reader.read(Path::new("config.worktree"), Denied::Refused, &mut configuration.settings)?;
        }
        configuration.read_overrides(environment, Some(git_dir))?;
        Ok(configuration)
    }

    /// Only one file, without includes: what Git reads a repository's format from. Git calls it `shown`.
    pub fn of_file(path: &Path, shown: &Path) -> Result<Self, ConfigurationError> {
        let mut configuration = Self::default();
        if let Some(bytes) = read_bounded(path, shown, Denied::Refused)? {
            configuration.settings = parse(&bytes, shown, Scope::Repository)?.into_iter().map(|(_, one)| one).collect();
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
        let reader = Reader { environment, git_dir, scope: Scope::Protected };
        if !environment.boolean("GIT_CONFIG_NOSYSTEM")?.unwrap_or(false) {
            let path = environment.path("GIT_CONFIG_SYSTEM").unwrap_or_else(|| PathBuf::from(SYSTEM_CONFIG));
            let denied = if git_dir.is_none() { Denied::PassedOver } else { Denied::Refused };
            reader.read(&path, denied, &mut self.settings)?;
        }
        for path in global_files(environment) {
            reader.read(&path, Denied::PassedOver, &mut self.settings)?;
        }
        Ok(())
    }

    fn read_overrides(&mut self, environment: &Environment, git_dir: Option<&Path>) -> Result<(), ConfigurationError> {
        let reader = Reader { environment, git_dir, scope: Scope::Command };
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
                self.override_with(key, Some(value), &reader)?;
            }
        }
        if let Some(parameters) = environment.get("GIT_CONFIG_PARAMETERS") {
            for (key, value) in value::split_parameters(parameters).map_err(ConfigurationError::BadOverride)? {
                self.override_with(key.as_bstr(), value.as_ref().map(|value| value.as_bstr()), &reader)?;
            }
        }
        Ok(())
    }

    fn override_with(
        &mut self,
        key: &BStr,
        value: Option<&BStr>,
        reader: &Reader<'_>,
    ) -> Result<(), ConfigurationError> {
        let (section, subsection, name) = value::parse_key(key).map_err(ConfigurationError::BadOverride)?;
        let setting = Setting { section, subsection, name, value: value.map(Into::into), scope: Scope::Command };
        self.settings.push(setting.clone());
        reader.follow(&setting, None, 0, &mut self.settings)?.map_err(ConfigurationError::BadOverride)
    }
}

/// Where the user's own configuration may lie.
fn global_files(environment: &Environment) -> Vec<PathBuf> {
    if let Some(path) = environment.path("GIT_CONFIG_GLOBAL") {
        return vec![path];
    }
    let home = environment.folder("HOME");
    let xdg = match environment.get("XDG_CONFIG_HOME") {
        Some(value) if !value.is_empty() => environment.path("XDG_CONFIG_HOME"),
        _ => home.as_ref().map(|home| home.join(".config")),
    };
    let files = [xdg.map(|directory| directory.join("git/config")), home.map(|home| home.join(".gitconfig"))];
    files.into_iter().flatten().collect()
}

/// What becomes of a file that is there and may not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    /// Git passes over the user's own: it may run as somebody else.
    PassedOver,
    /// What the repository's owner demands (`hideRefs`) may stand there.
    Refused,
}

/// The file's bytes, or `None` if there is none. Messages call it `shown`.
fn read_bounded(path: &Path, shown: &Path, denied: Denied) -> Result<Option<Vec<u8>>, ConfigurationError> {
    let absent = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => true,
        io::ErrorKind::PermissionDenied => denied == Denied::PassedOver,
        _ => false,
    };
    let read = || {
        if std::fs::metadata(path)?.len() > CONFIG_FILE_BYTES_MAX {
            return Ok(None);
        }
        std::fs::read(path).map(Some)
    };
    match read() {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => Err(ConfigurationError::TooLarge(format!("configuration file {}", shown.display()))),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(ConfigurationError::Io(shown.into(), error)),
    }
}

/// Git counts a line more when the file ends, without a line feed, within the name of a section.
fn past_the_end(bytes: &[u8]) -> usize {
    let last = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let name = last.trim_start().strip_prefix(b"[");
    usize::from(name.is_some_and(|name| name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte))))
}

/// The settings of one file, in order, each with the line that it ends on.
fn parse(bytes: &[u8], shown: &Path, scope: Scope) -> Result<Vec<(usize, Setting)>, ConfigurationError> {
    let events = Events::from_bytes(bytes, None).map_err(|error| ConfigurationError::BadLine {
        line: error.line_number() + past_the_end(bytes),
        file: shown.into(),
    })?;
    let mut settings: Vec<(usize, Setting)> = Vec::new();
    let (mut section, mut subsection) = (BString::default(), None);
    let mut value = BString::default();
    let mut line = 1;
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
                let setting = Setting {
                    section: section.clone(),
                    subsection: subsection.clone(),
                    name: name.to_ascii_lowercase().into(),
                    value: None,
                    scope,
                };
                settings.push((line, setting));
            }
            EventRef::KeyValueSeparator => {
                value.clear();
                if let Some((_, setting)) = settings.last_mut() {
                    setting.value = Some(BString::default());
                }
            }
            EventRef::ValueNotDone(part) => value.push_str(part),
            EventRef::Value(part) | EventRef::ValueDone(part) => {
                value.push_str(part);
                if let Some((end, Setting { value: whole @ Some(_), .. })) = settings.last_mut() {
                    *whole = Some(gix_config::value::normalize(&value).into_owned());
                    *end = line;
                }
            }
            EventRef::Newline(breaks) => line += breaks.iter().filter(|byte| **byte == b'\n').count(),
            EventRef::Comment { .. } | EventRef::Whitespace(_) => {}
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests;
