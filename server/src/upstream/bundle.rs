//! The head of a bundle (`gitformat-bundle`): version 2 or 3, prerequisites, references; the pack follows.

use heliostat_core::{
    ObjectId,
    limits::{UPSTREAM_REFS_BYTES_MAX, UPSTREAM_REFS_MAX},
    refs::{Head, Ref, RefName, RefTable},
};
use std::{
    fmt,
    io::{self, BufRead, Read},
};

/// A bundle's head.
#[derive(Clone, Debug)]
pub struct BundleHead {
    /// Commits that the receiver must have.
    pub prerequisites: Vec<ObjectId>,
    /// What the bundle brings.
    pub refs: RefTable,
}

/// Why a file is no bundle that can be used.
#[derive(Debug)]
pub enum BundleError {
    /// It could not be read, or ends too early.
    Io(io::Error),
    /// It does not begin as a bundle of version 2 or 3.
    NotABundle,
    /// A line of the head that is no reference and no prerequisite.
    Malformed,
    /// SHA-256, a filter, or a capability of the future.
    Unsupported(String),
    /// More references than we take.
    TooLarge,
}

impl BundleHead {
    /// Reads up to the empty line; the pack begins where `bundle` then stands.
    pub fn read(bundle: &mut dyn BufRead) -> Result<Self, BundleError> {
        let mut bundle = bundle.take(UPSTREAM_REFS_BYTES_MAX);
        let mut line = Vec::new();
        bundle.by_ref().take(64).read_until(b'\n', &mut line)?;
        let version_3 = match line.as_slice() {
            b"# v2 git bundle\n" => false,
            b"# v3 git bundle\n" => true,
            _ => return Err(BundleError::NotABundle),
        };
        let (mut prerequisites, mut refs, mut head) = (Vec::new(), Vec::new(), Head::Absent);
        loop {
            line.clear();
            bundle.read_until(b'\n', &mut line)?;
            let Some(text) = line.strip_suffix(b"\n") else {
                return Err(BundleError::Io(io::ErrorKind::UnexpectedEof.into()));
            };
            match text.first() {
                None => return Ok(Self { prerequisites, refs: RefTable::new(refs, head) }),
                Some(b'@') if version_3 => check_capability(&text[1..])?,
                Some(b'-') => prerequisites.push(parse_id(&text[1..])?.0),
                Some(_) => {
                    let (id, name) = parse_id(text)?;
                    if refs.len() >= UPSTREAM_REFS_MAX {
                        return Err(BundleError::TooLarge);
                    }
                    if name == b"HEAD" {
                        head = Head::Detached(id);
                    } else if let Ok(name) = RefName::new(name) {
                        refs.push(Ref { name, id, peeled: None, symbolic: None });
                    }
                }
            }
        }
    }
}

fn parse_id(text: &[u8]) -> Result<(ObjectId, &[u8]), BundleError> {
    let (hex, rest) = text.split_at_checked(40).ok_or(BundleError::Malformed)?;
    let id = ObjectId::from_hex(hex).map_err(|_| BundleError::Malformed)?;
    match rest.first() {
        None => Ok((id, rest)),
        Some(b' ') => Ok((id, &rest[1..])),
        Some(_) => Err(BundleError::Malformed),
    }
}

fn check_capability(capability: &[u8]) -> Result<(), BundleError> {
    match capability {
        b"object-format=sha1" => Ok(()),
        other => Err(BundleError::Unsupported(super::error::escaped(other))),
    }
}

impl From<io::Error> for BundleError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the bundle could not be read: {error}"),
            Self::NotABundle => f.write_str("not a git bundle of version 2 or 3"),
            Self::Malformed => f.write_str("the bundle's head is malformed"),
            Self::Unsupported(what) => write!(f, "bundles with {what} can't be used"),
            Self::TooLarge => f.write_str("the bundle names too many references"),
        }
    }
}

impl std::error::Error for BundleError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "1111111111111111111111111111111111111111";

    fn read(text: &str) -> Result<(BundleHead, Vec<u8>), BundleError> {
        let mut bytes = text.as_bytes();
        let head = BundleHead::read(&mut bytes)?;
        Ok((head, bytes.to_vec()))
    }

    #[test]
    fn heads() {
        let text =
            format!("# v2 git bundle\n-{ID} a comment\n-{ID}\n{ID} refs/heads/main\n{ID} HEAD\n{ID} bad..name\n\nPACK");
        let (head, rest) = read(&text).unwrap();
        assert_eq!((head.prerequisites.len(), head.refs.len(), rest), (2, 1, b"PACK".to_vec()));
        assert!(matches!(head.refs.head(), Head::Detached(_)));
        assert!(read(&format!("# v3 git bundle\n@object-format=sha1\n{ID} refs/heads/main\n\n")).is_ok());
        for capability in ["object-format=sha256", "filter=blob:none", "x"] {
            let error = read(&format!("# v3 git bundle\n@{capability}\n\n")).unwrap_err();
            assert!(matches!(error, BundleError::Unsupported(_)), "{capability}");
        }
        assert!(matches!(read("# v4 git bundle\n\n"), Err(BundleError::NotABundle)));
        assert!(matches!(read("PACK"), Err(BundleError::NotABundle)));
        assert!(matches!(read(&format!("# v2 git bundle\n{ID} refs/heads/main\n")), Err(BundleError::Io(_))));
        assert!(matches!(read("# v2 git bundle\n@object-format=sha1\n\n"), Err(BundleError::Malformed)));
        assert!(matches!(read(&format!("# v2 git bundle\n{ID}x\n\n")), Err(BundleError::Malformed)));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = BundleHead::read(&mut [b"# v3 git bundle\n", bytes.as_slice()].concat().as_slice());
        }
    }
}
