//! Git objects as bytes: their kinds, their ids, and the encodings of commits, trees and tags.
//!
//! Encodes only what `git fsck --strict` accepts; deliberately not a parser of what others wrote.

use std::fmt::Write as _;

use gix_hash::ObjectId;
use sha1::{Digest, Sha1};

/// The four kinds of object, with their numbers in a pack (gitformat-pack, "object types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A commit.
    Commit = 1,
    /// A directory.
    Tree = 2,
    /// A file's content, or a symbolic link's target.
    Blob = 3,
    /// An annotated tag.
    Tag = 4,
}

impl Kind {
    /// Git's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Commit => "commit",
            Kind::Tree => "tree",
            Kind::Blob => "blob",
            Kind::Tag => "tag",
        }
    }

    pub(crate) fn from_name(name: &[u8]) -> Option<Kind> {
        [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag].into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    pub(crate) fn from_number(number: u8) -> Option<Kind> {
        [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The id of an object of `kind` whose content is `content`.
pub fn id_of(kind: Kind, content: &[u8]) -> ObjectId {
    let mut hasher = Sha1::new();
    hasher.update(loose_header(kind, content.len()));
    hasher.update(content);
    id_from_digest(hasher)
}

pub(crate) fn id_from_digest(hasher: Sha1) -> ObjectId {
    ObjectId::Sha1(hasher.finalize().into())
}

/// What stands before the content where it is hashed and in a loose object.
pub(crate) fn loose_header(kind: Kind, len: usize) -> Vec<u8> {
    format!("{} {len}\0", kind.name()).into_bytes()
}

/// What a tree's entry is, which Git writes as a file mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An ordinary file, 100644.
    File,
    /// A file that may be executed, 100755.
    Executable,
    /// A symbolic link, 120000.
    Symlink,
    /// A directory, 40000.
    Directory,
    /// A submodule's commit, 160000.
    Gitlink,
}

impl Mode {
    /// As a tree spells it.
    pub fn octal(self) -> &'static str {
        match self {
            Mode::File => "100644",
            Mode::Executable => "100755",
            Mode::Symlink => "120000",
            Mode::Directory => "40000",
            Mode::Gitlink => "160000",
        }
    }

    pub(crate) fn from_octal(octal: &[u8]) -> Option<Mode> {
        [Mode::File, Mode::Executable, Mode::Symlink, Mode::Directory, Mode::Gitlink]
            .into_iter()
            .find(|mode| mode.octal().as_bytes() == octal)
    }
}

/// Somebody at some moment: `Name <email> seconds zone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// `Name <email>`.
    pub who: String,
    /// Seconds since 1970.
    pub seconds: u64,
    /// Minutes east of Greenwich.
    pub zone_minutes: i16,
}

impl Signature {
    fn encode(&self) -> String {
        let sign = if self.zone_minutes < 0 { '-' } else { '+' };
        let minutes = self.zone_minutes.unsigned_abs();
        format!("{} {} {sign}{:02}{:02}", self.who, self.seconds, minutes / 60, minutes % 60)
    }
}

/// A commit to be encoded.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The tree.
    pub tree: ObjectId,
    /// None (a root), one, two (a merge) or more (an octopus).
    pub parents: Vec<ObjectId>,
    /// Who wrote it and when.
    pub author: Signature,
    /// Who committed it and when.
    pub committer: Signature,
    /// The `encoding` header, if the message is not UTF-8.
    pub encoding: Option<&'static str>,
    /// An armoured signature: it becomes a `gpgsig` header. Nothing here verifies.
    pub signature: Option<String>,
    /// The message in `encoding`'s bytes, without NUL.
    pub message: Vec<u8>,
}

impl Commit {
    /// The object's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = format!("tree {}\n", self.tree);
        for parent in &self.parents {
            let _ = writeln!(head, "parent {parent}");
        }
        let _ = writeln!(head, "author {}", self.author.encode());
        let _ = writeln!(head, "committer {}", self.committer.encode());
        if let Some(encoding) = self.encoding {
            let _ = writeln!(head, "encoding {encoding}");
        }
        if let Some(signature) = &self.signature {
            // A header of several lines is continued with a space (gitformat-signature).
            let _ = writeln!(head, "gpgsig {}", signature.trim_end().replace('\n', "\n "));
        }
        head.push('\n');
        let mut content = head.into_bytes();
        content.extend_from_slice(&self.message);
        content
    }
}

/// An annotated tag to be encoded.
#[derive(Clone, Debug)]
pub struct Tag {
    /// What it points at.
    pub target: ObjectId,
    /// The kind of that.
    pub target_kind: Kind,
    /// The tag's own name, without `refs/tags/`.
    pub name: String,
    /// Who made it and when.
    pub tagger: Signature,
    /// The message, a signature's armour at its end included.
    pub message: String,
}

impl Tag {
    /// The object's content.
    pub fn encode(&self) -> Vec<u8> {
        format!(
            "object {}\ntype {}\ntag {}\ntagger {}\n\n{}",
            self.target,
            self.target_kind.name(),
            self.name,
            self.tagger.encode(),
            self.message
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_gits() {
        assert_eq!(id_of(Kind::Blob, b"").to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(id_of(Kind::Tree, b"").to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    }

    #[test]
    fn a_signature_carries_its_zone() {
        let at = |zone_minutes| Signature { who: "A <a@b>".into(), seconds: 5, zone_minutes }.encode();
        assert_eq!(at(-210), "A <a@b> 5 -0330");
        assert_eq!(at(120), "A <a@b> 5 +0200");
    }

    #[test]
    fn a_commits_signature_is_continued_with_spaces() {
        let who = Signature { who: "A <a@b>".into(), seconds: 1, zone_minutes: 0 };
        let commit = Commit {
            tree: id_of(Kind::Tree, b""),
            parents: vec![],
            author: who.clone(),
            committer: who,
            encoding: Some("ISO-8859-1"),
            signature: Some("one\ntwo\n".into()),
            message: b"m\n".to_vec(),
        };
        let text = String::from_utf8(commit.encode()).unwrap();
        assert!(text.ends_with("encoding ISO-8859-1\ngpgsig one\n two\n\nm\n"));
    }
}
