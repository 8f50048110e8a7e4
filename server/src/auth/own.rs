//! The mirror's own credential at the upstream, from a file that only its user may read.
//!
//! For listing references and fetching objects, and for nothing else: a caller is judged by what the caller brings.

use crate::secret::Secret;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, fs::File, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};
use zeroize::{Zeroize as _, Zeroizing};

/// A longer file is something else.
const BYTES_MAX: u64 = 16 << 10;

/// `user:password`, or a token.
#[derive(Clone)]
pub struct OwnCredential(Secret);

impl OwnCredential {
    /// Reads `file`: one line. The error never says what is in it, nor its name if there is no such file: that may be the
    /// credential itself, written where its file's name belongs.
    pub fn read(file: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("{}: {why}", file.display());
        let mut open = File::open(file).map_err(|error| {
            format!("{error}: it is the name of a file that holds `user:password` or a token, never that itself")
        })?;
        let metadata = open.metadata().map_err(|error| wrong(error.to_string()))?;
        if !metadata.is_file() {
            return Err(wrong("not a file".into()));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(wrong(format!("its mode is {mode:03o}, so that others may use it too: chmod 600 it")));
        }
        let mut text = Zeroizing::new(Vec::new());
        (&mut open).take(BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
        if text.len() as u64 > BYTES_MAX {
            return Err(wrong("too long for a credential".into()));
        }
        Self::parse(text.trim_ascii()).ok_or_else(|| wrong("not one line with user:password, or with a token".into()))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.iter().any(u8::is_ascii_control) {
            return None;
        }
        let line = if text.contains(&b':') {
            let mut encoded = STANDARD.encode(text);
            let line = [b"Basic ", encoded.as_bytes()].concat();
            encoded.zeroize();
            line
        } else {
            if !text.iter().all(u8::is_ascii_graphic) {
                return None;
            }
            [b"Bearer ", text].concat()
        };
        Some(Self(Secret::new(line)))
    }

    /// The line behind `Authorization:`.
    pub(crate) fn line(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for OwnCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnCredential(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_of_one_line_that_nobody_else_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let read = |text: &str, mode: u32| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            OwnCredential::read(&file)
        };
        let line =
            |own: Result<OwnCredential, String>| String::from_utf8(own.unwrap().line().expose().to_vec()).unwrap();
        assert_eq!(line(read("mirror:s:cret\n", 0o600)), "Basic bWlycm9yOnM6Y3JldA==");
        assert_eq!(line(read("glpat-abc\n", 0o400)), "Bearer glpat-abc");
        for (text, mode, expected) in [
            ("mirror:s3cret", 0o640, "its mode is 640"),
            ("mirror:s3cret", 0o604, "its mode is 604"),
            ("", 0o600, "not one line"),
            ("mirror:s3cret\nsecond", 0o600, "not one line"),
            ("s3cret with spaces", 0o600, "not one line"),
            (&"x".repeat(20 << 10), 0o600, "too long"),
        ] {
            let error = read(text, mode).unwrap_err();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
        }
        assert!(OwnCredential::read(folder.path()).unwrap_err().contains("not a file"));
        for name in ["mirror:s3cret", "s3cret", "s3cret/with/slashes"] {
            let error = OwnCredential::read(&folder.path().join(name)).unwrap_err();
            assert!(error.contains("the name of a file") && !error.contains("s3cret"), "{error}");
        }
    }
}
