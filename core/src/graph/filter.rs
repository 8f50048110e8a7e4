//! Object filters (`git-rev-list --filter`).

/// A parsed filter specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `blob:none`.
    BlobNone,
    /// `blob:limit=N`: blobs of at least N bytes are left out.
    BlobLimit(u64),
    /// `tree:N`: trees and blobs at depth N and more are left out.
    Tree(u64),
    /// `object:type=T`.
    ObjectType(gix_object::Kind),
    /// `sparse:oid=EXPRESSION`, as written.
    SparseOid(Vec<u8>),
    /// `combine:` of several.
    Combine(Vec<Filter>),
}

/// Why a specification is refused, in Git's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError(pub String);

impl Filter {
    /// Parses a specification as it stands on a `filter` line.
    pub fn parse(_spec: &[u8]) -> Result<Self, FilterError> {
        unimplemented!()
    }
}
