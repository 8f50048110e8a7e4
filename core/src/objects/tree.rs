//! The entries of a tree, read as Git reads them (`decode_tree_entry`): by the highest bits of its mode an entry is a tree
//! or a blob, and whatever is neither is a commit of another repository, which nobody follows. The tools of twenty years
//! have written many modes.

use crate::ObjectId;
use bstr::ByteSlice;
use gix_hash::oid;

const ID_BYTES: usize = 20;

/// What an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Tree,
    /// A file or a symbolic link.
    Blob,
    /// A commit of another repository, or anything that Git takes for one.
    Commit,
}

/// One entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeEntry<'a> {
    /// Octal digits, one at least.
    pub(crate) mode: &'a [u8],
    pub(crate) kind: EntryKind,
    /// Not empty.
    pub(crate) name: &'a [u8],
    pub(crate) id: &'a oid,
}

/// The entries of a tree's content, up to the first that is malformed.
pub(crate) struct TreeEntries<'a>(&'a [u8]);

impl<'a> TreeEntries<'a> {
    pub(crate) fn of(content: &'a [u8]) -> Self {
        Self(content)
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Passes over this, if it comes next.
    pub(crate) fn pass(&mut self, raw: &[u8]) -> bool {
        self.0.strip_prefix(raw).map(|rest| self.0 = rest).is_some()
    }

    fn take(&mut self) -> Result<TreeEntry<'a>, &'static str> {
        let (mode, rest) = self.0.split_at(self.0.find_byte(b' ').ok_or("tree entry without a mode")?);
        if mode.is_empty() || !mode.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
            return Err("tree entry with a malformed mode");
        }
        let rest = &rest[1..];
        let (name, rest) = rest.split_at(rest.find_byte(0).ok_or("tree entry without an end of its name")?);
        if name.is_empty() {
            return Err("tree entry without a name");
        }
        let id = rest.get(1..=ID_BYTES).ok_or("tree entry cut short")?;
        let id = oid::try_from_bytes(id).map_err(|_| "tree entry cut short")?;
        self.0 = &rest[1 + ID_BYTES..];
        Ok(TreeEntry { mode, kind: kind_of(mode), name, id })
    }
}

impl<'a> Iterator for TreeEntries<'a> {
    type Item = Result<TreeEntry<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.take();
        if entry.is_err() {
            self.0 = &[];
        }
        Some(entry)
    }
}

impl TreeEntry<'_> {
    pub(crate) fn to_id(self) -> ObjectId {
        self.id.to_owned()
    }
}

/// The number that the octal digits write; of one too large the lower bits, as in Git.
pub(crate) fn mode_number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |mode, digit| (mode << 3) | u32::from(digit & 7))
}

fn kind_of(mode: &[u8]) -> EntryKind {
    match mode_number(mode) & 0o170_000 {
        0o040_000 => EntryKind::Tree,
        0o100_000 | 0o120_000 => EntryKind::Blob,
        _ => EntryKind::Commit,
    }
}
