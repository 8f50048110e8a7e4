//! The path of a repository at the upstream, as a type that can't be wrong.
//!
//! A [`RepositoryPath`] is a key: catalogue and upstream adapters look it up. It never becomes a path of this machine's
//! store, which names its directories by internal ids. What it promises: relative, `/`-separated, no empty, `.` or `..`
//! component, no byte that a shell, a log, a file system or an HTTP head could take for something else. What it does not
//! promise: that there is such a repository, or that the upstream tells it apart from its other spelling (with and
//! without `.git`, see [`RepositoryPath::other_spelling`]). Whether two spellings are one repository is for the upstream's
//! adapter to say.

use crate::limits::REPOSITORY_PATH_BYTES_MAX;
use std::fmt;

/// `team/app.git`: valid by construction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryPath(Box<str>);

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryPathError {
    /// Nothing there, or nothing but `.git`.
    Empty,
    /// Longer than [`REPOSITORY_PATH_BYTES_MAX`].
    TooLong,
    /// Not UTF-8.
    Encoding,
    /// An empty, `.` or `..` component; a leading or trailing `/`.
    Component,
    /// A control character, a backslash, or a first character that means something to a shell or to Git (`~`, `-`).
    Character,
}

impl RepositoryPath {
    /// Checks `path`, already percent-decoded, without leading slash.
    pub fn new(path: &[u8]) -> Result<Self, RepositoryPathError> {
        if path.len() > REPOSITORY_PATH_BYTES_MAX {
            return Err(RepositoryPathError::TooLong);
        }
        let path = std::str::from_utf8(path).map_err(|_| RepositoryPathError::Encoding)?;
        if path.is_empty() || path == ".git" {
            return Err(RepositoryPathError::Empty);
        }
        if path.chars().any(|c| c.is_control() || c == '\\' || is_invisible(c)) {
            return Err(RepositoryPathError::Character);
        }
        for component in path.split('/') {
            match component {
                "" | "." | ".." => return Err(RepositoryPathError::Component),
                // A component that begins with a dash could be read as an option by whoever hands it to a program.
                _ if component.starts_with('-') => return Err(RepositoryPathError::Character),
                _ => {}
            }
        }
        if path.starts_with('~') {
            return Err(RepositoryPathError::Character);
        }
        Ok(Self(path.into()))
    }

    /// The path, `/`-separated.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same path with `.git` where it had none, and without where it had one. `None` where that is not a path, and
    /// for what ends in two: Git tries a path, and the path with `.git` behind it, so that `app.git.git` never leads to
    /// `app`. So at most two paths are spellings of one another.
    pub fn other_spelling(&self) -> Option<Self> {
        match self.0.strip_suffix(".git") {
            Some(stem) if stem.ends_with(".git") => None,
            Some(stem) => Self::new(stem.as_bytes()).ok(),
            None => Self::new(format!("{}.git", self.0).as_bytes()).ok(),
        }
    }

    /// The path as it stands in a URL: everything but unreserved characters and `/` is percent-encoded.
    pub fn to_url_path(&self) -> String {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut url = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    url.push(char::from(byte))
                }
                _ => {
                    url.push('%');
                    url.push(char::from(HEX[usize::from(byte >> 4)]));
                    url.push(char::from(HEX[usize::from(byte & 15)]));
                }
            }
        }
        url
    }
}

/// Characters that change how the text around them is shown: a log line must not lie.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for RepositoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl std::str::FromStr for RepositoryPath {
    type Err = RepositoryPathError;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        Self::new(path.as_bytes())
    }
}

impl fmt::Display for RepositoryPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the repository path is empty",
            Self::TooLong => "the repository path is too long",
            Self::Encoding => "the repository path is not UTF-8",
            Self::Component => "the repository path has an empty, '.' or '..' component",
            Self::Character => "the repository path has a character that is not allowed",
        })
    }
}

impl std::error::Error for RepositoryPathError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_a_path_and_what_is_not() {
        for good in ["app", "app.git", "team/app.git", "a/b/c/d.git", "ü/x", "a b", "a+b", "...", "a/.hidden"] {
            assert!(RepositoryPath::new(good.as_bytes()).is_ok(), "{good}");
        }
        use RepositoryPathError::{Character, Component, Empty, Encoding, TooLong};
        let long = "a".repeat(REPOSITORY_PATH_BYTES_MAX + 1);
        let cases: &[(&[u8], RepositoryPathError)] = &[
            (b"", Empty),
            (b".git", Empty),
            (b"/app", Component),
            (b"app/", Component),
            (b"a//b", Component),
            (b"..", Component),
            (b"a/../b", Component),
            (b"a/./b", Component),
            (b"a/..", Component),
            (b"~root/app", Character),
            (b"-x", Character),
            (b"team/--upload-pack=x", Character),
            (b"a\\..\\b", Character),
            (b"a\0b", Character),
            (b"a\nb", Character),
            (b"a\x1b[31m", Character),
            ("a\u{202e}b".as_bytes(), Character),
            (b"\xff", Encoding),
            (long.as_bytes(), TooLong),
        ];
        for (path, error) in cases {
            assert_eq!(RepositoryPath::new(path), Err(*error), "{:?}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn spellings_and_urls() {
        let path: RepositoryPath = "team/app.git".parse().unwrap();
        let other = path.other_spelling().unwrap();
        assert_eq!(other.as_str(), "team/app");
        assert_eq!(other.other_spelling(), Some(path));
        let odd: RepositoryPath = "a b/ü%?#.git".parse().unwrap();
        assert_eq!(odd.to_url_path(), "a%20b/%C3%BC%25%3F%23.git");
        for lonely in ["team/.git", "team/app.git.git", "app.git.git.git", "team/.git.git"] {
            assert_eq!(lonely.parse::<RepositoryPath>().unwrap().other_spelling(), None, "{lonely}");
        }
    }

    proptest! {
        #[test]
        fn spellings_come_in_pairs(name in "[a.~-]{0,3}(/[a.]{1,2})?(\\.git){0,3}") {
            if let Ok(path) = RepositoryPath::new(name.as_bytes())
                && let Some(other) = path.other_spelling()
            {
                prop_assert_ne!(&other, &path);
                prop_assert_eq!(other.other_spelling(), Some(path));
            }
        }

        /// Letters of another case, in another normal form, or that only look the same; a dot or a space more at the end: two
        /// names. Only `.git` makes two spellings of one.
        #[test]
        fn names_that_are_alike_are_told_apart(
            first in "[aA\u{e9}\u{e1}kK\u{212a}\u{fb01}.% ]{1,4}(\\.git){0,2}[. ]{0,1}",
            second in "[aA\u{e9}\u{e1}kK\u{212a}\u{fb01}.% ]{1,4}(\\.git){0,2}[. ]{0,1}",
            change in 0usize..8,
        ) {
            let changed = match change {
                0 => first.to_uppercase(),
                1 => first.to_lowercase(),
                2 => first.replace('\u{e9}', "e\u{301}").replace('\u{e1}', "a\u{301}"),
                3 => first.replace('\u{212a}', "K").replace('\u{fb01}', "fi"),
                4 => format!("{first}."),
                5 => format!("{first} "),
                6 => first.replace('%', "%25"),
                _ => second,
            };
            let (one, other) = (RepositoryPath::new(first.as_bytes()), RepositoryPath::new(changed.as_bytes()));
            if let (Ok(one), Ok(other)) = (one, other) {
                prop_assert_eq!(one == other, first == changed);
                prop_assert_eq!(one.to_url_path() == other.to_url_path(), first == changed);
                let differ_in_git = first == format!("{changed}.git") || changed == format!("{first}.git");
                prop_assert!(one.other_spelling().is_none_or(|spelling| spelling != other) || differ_in_git);
            }
        }

        #[test]
        fn an_accepted_path_stays_below_where_it_is_joined(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(path) = RepositoryPath::new(&bytes) {
                let joined = std::path::Path::new("/root").join(path.as_str());
                prop_assert!(joined.starts_with("/root"));
                prop_assert!(joined.components().all(|c| matches!(c, std::path::Component::RootDir | std::path::Component::Normal(_))));
                prop_assert_eq!(joined.components().count(), 2 + path.as_str().split('/').count());
            }
        }
    }
}
