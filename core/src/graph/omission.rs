//! What a filter leaves out: any nesting of `combine:` brought to one form.
//!
//! Combined filters send only what each of them would send. (Stock Git leaves out a little more: an object that one part
//! accepted at a place where another part refused it is not asked for again where both would accept it.)

use super::Filter;
use crate::objects::Kind;

/// A filter in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Omission {
    /// Trees and blobs at this depth and more are left out; a commit's own tree has depth 0.
    pub(super) depth: Option<u64>,
    /// Blobs of this many bytes and more are left out.
    pub(super) blob_bytes: Option<u64>,
    pub(super) commits: bool,
    pub(super) trees: bool,
    pub(super) blobs: bool,
    /// `sparse:oid` expressions.
    pub(super) sparse: Vec<Vec<u8>>,
}

impl Omission {
    /// What `filter` leaves out; nothing without one.
    pub(super) fn of(filter: Option<&Filter>) -> Self {
        let mut omission =
            Self { depth: None, blob_bytes: None, commits: true, trees: true, blobs: true, sparse: Vec::new() };
        let mut stack: Vec<&Filter> = filter.into_iter().collect();
        while let Some(filter) = stack.pop() {
            omission.add(filter, &mut stack);
        }
        omission
    }

    fn add<'f>(&mut self, filter: &'f Filter, stack: &mut Vec<&'f Filter>) {
        match filter {
            Filter::BlobNone => self.blobs = false,
            Filter::BlobLimit(limit) => self.blob_bytes = Some(self.blob_bytes.map_or(*limit, |old| old.min(*limit))),
            Filter::Tree(depth) => self.depth = Some(self.depth.map_or(*depth, |old| old.min(*depth))),
            Filter::ObjectType(kind) => {
                self.commits &= *kind == Kind::Commit;
                self.trees &= *kind == Kind::Tree;
                self.blobs &= *kind == Kind::Blob;
            }
            Filter::SparseOid(expression) => self.sparse.push(expression.clone()),
            Filter::Combine(parts) => stack.extend(parts),
        }
    }

    /// Whether entries of trees at `depth` (their own) can travel, or what is below them.
    pub(super) fn looks_at(&self, depth: u64) -> bool {
        (self.trees || self.blobs) && self.depth.is_none_or(|limit| depth < limit)
    }

    /// Whether nothing is left out.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::of(None)
    }
}
