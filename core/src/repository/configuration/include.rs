//! `include.path` and `includeIf.<condition>.path` (`git-config`, "Includes").

use super::{ConfigurationError, Scope, Setting, expand_path, parse, read_bounded};
use crate::{limits::CONFIG_INCLUDE_DEPTH_MAX, repository::environment::Environment};
use bstr::{BStr, BString, ByteSlice};
use gix_glob::wildmatch;
use std::{os::unix::ffi::OsStrExt, path::Path};

/// Reads a file and what it includes.
pub(super) struct Reader<'a> {
    pub(super) environment: &'a Environment,
    /// For conditions; `None` while no repository is known: then no condition holds.
    pub(super) git_dir: Option<&'a Path>,
    pub(super) scope: Scope,
}

impl Reader<'_> {
    /// Appends the settings of `path`, which `from` includes. A file that is not there has none.
    pub(super) fn read(
        &self,
        path: &Path,
        from: Option<&Path>,
        depth: usize,
        settings: &mut Vec<Setting>,
    ) -> Result<(), ConfigurationError> {
        if depth > CONFIG_INCLUDE_DEPTH_MAX {
            return Err(ConfigurationError::IncludeDepth { file: path.into(), from: from.unwrap_or(path).into() });
        }
        let Some(bytes) = read_bounded(path)? else { return Ok(()) };
        for setting in parse(&bytes, path, self.scope)? {
            let included = if setting.name != "path" {
                false
            } else if setting.is("include", "path") {
                true
            } else {
                setting.section == "includeif"
                    && setting.subsection.as_ref().is_some_and(|condition| self.holds(condition.as_bstr(), path))
            };
            let target = included.then(|| setting.value.clone()).flatten();
            settings.push(setting);
            if let Some(target) = target {
                let base = path.parent().unwrap_or(Path::new("/"));
                if let Some(target) = expand_path(target.as_bstr(), base, self.environment) {
                    self.read(&target, Some(path), depth + 1, settings)?;
                }
            }
        }
        Ok(())
    }

    fn holds(&self, condition: &BStr, file: &Path) -> bool {
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

    fn git_dir_matches(&self, pattern: &[u8], file: &Path, git_dir: &Path, mode: wildmatch::Mode) -> bool {
        let pattern: BString = if let Some(rest) = pattern.strip_prefix(b"./") {
            let Some(base) = file.parent().and_then(|base| base.canonicalize().ok()) else { return false };
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
