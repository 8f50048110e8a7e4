//! The name under which an answer is remembered: a keyed hash of everything that can change the answer.
//!
//! HMAC-SHA256 under a key that is made at the start and leaves with the process: what lies in memory tells no credential,
//! not even to somebody who can guess it, and nobody can make two questions collide.

use super::Source;
use crate::RepositoryPath;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Clone and fetch.
    Read,
}

/// One question: this credential, this repository, this action. Or a place: this source, this repository.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// Makes keys.
#[derive(Clone)]
pub struct Keyring([u8; 32]);

impl Keyring {
    /// With a secret of 32 random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The key of a question. `credential` is the whole of it, scheme and all; `None` if there is none, which is another
    /// caller than one with an empty one.
    #[must_use]
    pub fn key(&self, credential: Option<&[u8]>, repository: &RepositoryPath, action: Action) -> Key {
        let action: &[u8] = match action {
            Action::Read => b"read",
        };
        self.hash(credential, repository, action)
    }

    /// The key of a place: where questions come from, and the repository that they are about, by one path for all spellings.
    #[must_use]
    pub fn place(&self, Source(source): Source, repository: &RepositoryPath) -> Key {
        self.hash(Some(&source.to_le_bytes()), repository, b"place")
    }

    fn hash(&self, credential: Option<&[u8]>, repository: &RepositoryPath, action: &[u8]) -> Key {
        let repository = repository.as_str().as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&[u8::from(credential.is_some())]);
        // Each part behind its length: no two questions are the same bytes.
        for part in [credential.unwrap_or_default(), repository, action] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Key(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 4231, test case 2: the hash is the one that it says it is.
    #[test]
    fn it_is_hmac_sha256() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let found: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_shows_what_it_was_made_of() {
        let ring = Keyring::new([7; 32]);
        let key = ring.key(Some(b"Basic c2VjcmV0"), &"team/app.git".parse().unwrap(), Action::Read);
        assert_eq!(format!("{key:?} {ring:?}"), "Key(…) Keyring(…)");
    }

    /// A place is no question.
    #[test]
    fn places() {
        let ring = Keyring::new([7; 32]);
        let place = |source: u64, path: &str| ring.place(Source(source), &path.parse().unwrap());
        for (source, path) in [(2, "team/app"), (1, "team/App"), (1, "team/app.git")] {
            assert_ne!(place(1, "team/app"), place(source, path), "{source} {path}");
        }
        let question = ring.key(Some(&1_u64.to_le_bytes()), &"team/app".parse().unwrap(), Action::Read);
        assert_ne!(place(1, "team/app"), question);
    }

    fn question() -> impl Strategy<Value = (u8, Option<Vec<u8>>, String)> {
        let credential = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4));
        (0..2u8, credential, "[a-c]{1,3}(/[a-c]{1,2})?")
    }

    proptest! {
        /// Two questions have one key if they are one question, under one secret, and only then.
        #[test]
        fn questions_that_differ_in_anything_never_share(a in question(), b in question()) {
            let key = |(secret, credential, path): &(u8, Option<Vec<u8>>, String)| {
                Keyring::new([*secret; 32]).key(credential.as_deref(), &path.parse().unwrap(), Action::Read)
            };
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }
    }
}
