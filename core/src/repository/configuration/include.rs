//! `include.path` and `includeIf.<condition>.path` (`git-config`, "Includes").

use super::{ConfigurationError, Denied, Scope, Setting, parse, read_bounded};
use crate::{limits::CONFIG_INCLUDE_DEPTH_MAX, repository::environment::Environment};
use bstr::{BStr, BString, ByteSlice};
use gix_glob::wildmatch;
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Reads files and what they include. A file is called as Git calls it, which works inside the repository: `config` is the
/// one in `git_dir`.
pub(super) struct Reader<'a> {
    pub(super) environment: &'a Environment,
    /// For conditions; `None` while no repository is known: then no condition holds.
    pub(super) git_dir: Option<&'a Path>,
    pub(super) scope: Scope,
}

impl Reader<'_> {
    /// Appends the settings of `file`. One that is not there has none.
    pub(super) fn read(
        &self,
        file: &Path,
        denied: Denied,
        settings: &mut Vec<Setting>,
    ) -> Result<(), ConfigurationError> {
        self.read_at(0, file, denied, settings)
    }

    fn read_at(
        &self,
        depth: usize,
        file: &Path,
        denied: Denied,
        settings: &mut Vec<Setting>,
    ) -> Result<(), ConfigurationError> {
        let Some(bytes) = read_bounded(&self.place(file), file, denied)? else { return Ok(()) };
        for (line, setting) in parse(&bytes, file, self.scope)? {
            settings.push(setting.clone());
            self.follow(&setting, Some(file), depth, settings)?.map_err(|reason| ConfigurationError::BadInclude {
                reason,
                line,
                file: file.into(),
            })?;
        }
        Ok(())
    }

    /// Appends what `setting` includes, if it is one that does; it stands in `from`, or on the command line. `Ok(Err(…))`:
    /// it says nothing that could be followed.
    pub(super) fn follow(
        &self,
        setting: &Setting,
        from: Option<&Path>,
        depth: usize,
        settings: &mut Vec<Setting>,
    ) -> Result<Result<(), String>, ConfigurationError> {
        let condition = setting.subsection.as_ref().filter(|_| setting.section == "includeif");
        let holds = setting.is("include", "path")
            || setting.name == "path" && condition.is_some_and(|condition| self.holds(condition.as_bstr(), from));
        if !holds {
            return Ok(Ok(()));
        }
        let Some(target) = &setting.value else { return Ok(Err("missing value for 'include.path'".into())) };
        let Some(path) = expand_path(target.as_bstr(), self.environment) else {
            return Ok(Err(format!("could not expand include path '{target}'")));
        };
        let file = match from {
            Some(from) => from.parent().unwrap_or(Path::new("/")).join(path),
            None if path.is_absolute() => path,
            None => return Ok(Err("relative config includes must come from files".into())),
        };
        // Nothing, beside a file that Git calls by its name alone, is a file that is not there.
        if file.as_os_str().is_empty() {
            return Ok(Ok(()));
        }
        if depth == CONFIG_INCLUDE_DEPTH_MAX {
            let from = from.unwrap_or(&file).into();
            return Err(ConfigurationError::IncludeDepth { file, from });
        }
        self.read_at(depth + 1, &file, Denied::Refused, settings).map(Ok)
    }

    /// Where it lies; what has no name, nowhere.
    fn place(&self, file: &Path) -> PathBuf {
        if file.as_os_str().is_empty() {
            return PathBuf::new();
        }
        self.git_dir.unwrap_or(self.environment.directory()).join(file)
    }

    fn holds(&self, condition: &BStr, file: Option<&Path>) -> bool {
        let Some(git_dir) = self.git_dir else { return false };
        if let Some(pattern) = condition.strip_prefix(b"gitdir:") {
            self.git_dir_matches(pattern, file, git_dir, wildmatch::Mode::empty())
        } else if let Some(pattern) = condition.strip_prefix(b"gitdir/i:") {
            self.git_dir_matches(pattern, file, git_dir, wildmatch::Mode::IGNORE_CASE)
        } else if let Some(pattern) = condition.strip_prefix(b"onbranch:") {
            let Ok(head) = std::fs::read(git_dir.join("HEAD")) else { return false };
            let Some(branch) = head.trim().strip_prefix(b"ref: refs/heads/") else { return false };
            wildmatch(
                with_trailing_wildcard(pattern.into()).as_bstr(),
                branch.as_bstr(),
                wildmatch::Mode::NO_MATCH_SLASH_LITERAL,
            )
        } else {
            false
        }
    }

    fn git_dir_matches(&self, pattern: &[u8], file: Option<&Path>, git_dir: &Path, mode: wildmatch::Mode) -> bool {
        let pattern: BString = if let Some(rest) = pattern.strip_prefix(b"./") {
            let file = file.map(|file| self.place(file));
            let base = file.as_ref().and_then(|file| file.parent()).and_then(|base| base.canonicalize().ok());
            let Some(base) = base else { return false };
            [base.as_os_str().as_bytes(), b"/", rest].concat().into()
        } else if let Some(rest) = pattern.strip_prefix(b"~/") {
            let Some(home) = self.environment.path("HOME").and_then(|home| home.canonicalize().ok()) else {
                return false;
            };
            [home.as_os_str().as_bytes(), b"/", rest].concat().into()
        } else if pattern.starts_with(b"/") {
            pattern.into()
        } else {
            [b"**/", pattern].concat().into()
        };
        let pattern = with_trailing_wildcard(pattern);
        let mode = mode | wildmatch::Mode::NO_MATCH_SLASH_LITERAL;
        let resolved = git_dir.canonicalize();
        [Some(git_dir), resolved.as_deref().ok()]
            .into_iter()
            .flatten()
            .any(|path| wildmatch(pattern.as_bstr(), path.as_os_str().as_bytes().as_bstr(), mode))
    }
}

/// `foo/` means all below.
fn with_trailing_wildcard(mut pattern: BString) -> BString {
    if pattern.ends_with(b"/") {
        pattern.extend_from_slice(b"**");
    }
    pattern
}

/// A path from configuration: `~/` and `~user/` are homes. `None`: of a user who is not found, or what only Git itself could
/// expand, the place where it is installed; to pass over it would be to pass over what stands there.
pub(in crate::repository) fn expand_path(value: &BStr, environment: &Environment) -> Option<PathBuf> {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let Some(rest) = value.strip_prefix(b"~") else {
        return (!value.starts_with(b"%(prefix)/")).then(|| path(value));
    };
    let (user, below) = rest.split_at(rest.find_byte(b'/').unwrap_or(rest.len()));
    let home = [environment.home_of(user)?.as_slice(), below].concat();
    Some(environment.directory().join(path(&home)))
}
