//! The object database: several sealed packs and loose directories, seen as one immutable set of objects.
//!
//! A [`Database`] is a snapshot: it never looks at the disk's directories again, so a walk sees one consistent set.
//! Every object has a dense [`Number`], so that sets of objects are bit sets and walks need no hash tables.
//!
//! An alternate is nothing special: its packs and its loose directory follow those of the repository that borrows them.
//! Reading does not check an object's id; [`Database::verify`] does.

mod cache;
mod commits;
mod database;
mod delta;
mod inflate;
mod loose;
mod reader;
mod set;
mod tree;

pub(crate) use commits::{AddedObject, Commits, Follow, Row};
pub use database::{Database, Number, Object, Place, ReadError};
pub use gix_object::Kind;
pub use reader::Reader;
pub(crate) use set::NumberSet;
pub(crate) use tree::{EntryKind, TreeEntries, TreeEntry, mode_number};
