//! Where a repository's objects are: its own directory, and those it borrows from (`gitrepository-layout`, alternates).

use super::{OpenError, Repository, environment::Environment};
use crate::{
    limits::{ALTERNATES_BYTES_MAX, ALTERNATES_DEPTH_MAX, PACKS_MAX},
    objects::Database,
    pack::SealedPack,
};
use bstr::{BString, ByteSlice};
use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// `objects` directories, the repository's own first.
#[derive(Clone, Debug, Default)]
pub struct ObjectDirectories {
    /// Canonical where the directory exists.
    pub paths: Vec<PathBuf>,
    /// What Git would say on standard error of alternates that it passes over, `error: ` included.
    pub complaints: Vec<String>,
}

impl ObjectDirectories {
    pub(super) fn of(git_dir: &Path, common_dir: &Path, environment: &Environment) -> Self {
        let mut found = Self::default();
        let named = |name| environment.get(name).map(|value| git_dir.join(OsStr::from_bytes(value)));
        let own = named("GIT_OBJECT_DIRECTORY").unwrap_or_else(|| common_dir.join("objects"));
        let own = own.canonicalize().unwrap_or(own);
        found.paths.push(own.clone());
        if let Some(list) = environment.get("GIT_ALTERNATE_OBJECT_DIRECTORIES") {
            for entry in split_path_list(list) {
                found.add(&git_dir.join(OsStr::from_bytes(&entry)), 0);
            }
        }
        found.follow(&own, 0);
        found
    }

    fn add(&mut self, path: &Path, depth: usize) {
        let Some(path) = path.canonicalize().ok().filter(|path| path.is_dir()) else {
            let path = path.display();
            self.complaints
                .push(format!("error: object directory {path} does not exist; check .git/objects/info/alternates"));
            return;
        };
        if !self.paths.contains(&path) {
            self.paths.push(path.clone());
            self.follow(&path, depth + 1);
        }
    }

    fn follow(&mut self, directory: &Path, depth: usize) {
        let path = directory.join("info/alternates");
        let Ok(metadata) = fs::metadata(&path) else { return };
        if metadata.len() == 0 || metadata.len() > ALTERNATES_BYTES_MAX {
            return;
        }
        let Ok(text) = fs::read(&path) else { return };
        if depth > ALTERNATES_DEPTH_MAX {
            self.complaints
                .push(format!("error: {}: ignoring alternate object stores, nesting too deep", directory.display()));
            return;
        }
        // A carriage return belongs to the path.
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#")) {
            let entry = unquote(line).unwrap_or_else(|| line.into());
            self.add(&directory.join(OsStr::from_bytes(&entry)), depth);
        }
    }
}

impl Repository {
    /// Opens all packs and lists all loose objects, now. Packs that can't be opened are passed over, as Git does, and
    /// named in the second value.
    pub fn objects(&self) -> Result<(Database, Vec<String>), OpenError> {
        let (mut packs, mut complaints) = (Vec::new(), Vec::new());
        for directory in &self.object_directories.paths {
            for path in pack_files(&directory.join("pack")).map_err(|error| OpenError::Io("objects/pack", error))? {
                if packs.len() >= PACKS_MAX {
                    return Err(OpenError::Unsupported("more packs than this program accepts".into()));
                }
                match SealedPack::open(&path) {
                    Ok(pack) => packs.push(Arc::new(pack)),
                    Err(error) => complaints.push(format!("error: packfile {}: {error}", path.display())),
                }
            }
        }
        let database = Database::with_loose(packs, &self.object_directories.paths)
            .map_err(|error| OpenError::Io("objects", error))?;
        Ok((database, complaints))
    }
}

/// `*.pack` files that have an index, newest first: the order in which Git looks into them.
fn pack_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() != Some(OsStr::new("pack")) || !path.with_extension("idx").is_file() {
            continue;
        }
        if let Ok(modified) = fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            found.push((std::cmp::Reverse(modified), path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Entries of a colon-separated list; one that begins with a double quote is quoted as in C.
fn split_path_list(list: &[u8]) -> Vec<BString> {
    let mut rest = list;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let quoted_end = rest.starts_with(b"\"").then(|| closing_quote(rest)).flatten();
        let end = match quoted_end {
            Some(end) if rest.get(end).is_none_or(|byte| *byte == b':') => end,
            _ => rest.find_byte(b':').unwrap_or(rest.len()),
        };
        let entry = &rest[..end];
        if !entry.is_empty() && !entry.starts_with(b"#") {
            entries.push(unquote(entry).unwrap_or_else(|| entry.into()));
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    entries
}

/// The position behind the quote that closes the one at the start.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// Takes off C-style quotes. `None`: not quoted, or malformed.
fn unquote(text: &[u8]) -> Option<BString> {
    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut plain = BString::default();
    let mut rest = inner;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        let (escape, behind) = rest.split_first()?;
        rest = behind;
        plain.push(match escape {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'"' | b'\\' => *escape,
            b'0'..=b'3' => {
                let digits = [*escape, *rest.first()?, *rest.get(1)?];
                rest = &rest[2..];
                digits.iter().try_fold(0u8, |sum, digit| {
                    (b'0'..=b'7').contains(digit).then(|| sum.wrapping_mul(8).wrapping_add(digit - b'0'))
                })?
            }
            _ => return None,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_lists_are_split_and_unquoted() {
        let check = |list: &str, expected: &[&str]| {
            let entries = split_path_list(list.as_bytes());
            assert_eq!(entries, expected.iter().map(|entry| BString::from(*entry)).collect::<Vec<_>>(), "{list}");
        };
        check("", &[]);
        check("/a:/b", &["/a", "/b"]);
        check("/a::/b:", &["/a", "/b"]);
        check("\"/a:b\":/c", &["/a:b", "/c"]);
        check("\"/\\141\\n\":/c", &["/a\n", "/c"]);
        check("\"/broken:/c", &["\"/broken", "/c"]);
        check("#no:/c", &["/c"]);
    }
}
