//! The few forms of revisions that a client may name a blob with: `sparse:oid=<blob>`.
//!
//! Understood: a full id, a reference by the rules of `git rev-parse`, and either of them with `:path` behind it.
//! References that are hidden from the client are not looked at, which stock Git does.

use crate::{
    ObjectId,
    objects::{Database, Kind, Reader, TreeEntries},
    refs::RefTable,
};
use bstr::ByteSlice;

/// Before and after a short name, in order.
const RULES: [(&[u8], &[u8]); 6] = [
    (b"", b""),
    (b"refs/", b""),
    (b"refs/tags/", b""),
    (b"refs/heads/", b""),
    (b"refs/remotes/", b""),
    (b"refs/remotes/", b"/HEAD"),
];

/// The blob that `name` leads to, if it is here.
pub fn blob_named(name: &[u8], refs: &RefTable, objects: &Database) -> Option<ObjectId> {
    let mut reader = Reader::new();
    let (revision, path) = match name.split_once_str(":") {
        Some((revision, path)) => (revision, Some(path)),
        None => (name, None),
    };
    let start = object_named(revision, refs)?;
    let id = match path {
        Some(path) => entry(peel(start, Kind::Tree, objects, &mut reader)?, path, objects, &mut reader)?,
        None => start,
    };
    peel(id, Kind::Blob, objects, &mut reader)
}

fn object_named(name: &[u8], refs: &RefTable) -> Option<ObjectId> {
    if name == b"HEAD" || name == b"@" {
        return refs.head_id();
    }
    if name.len() == 40
        && let Ok(id) = ObjectId::from_hex(name)
    {
        return Some(id);
    }
    RULES.iter().find_map(|(before, after)| refs.find(&[before, name, after].concat())).map(|reference| reference.id)
}

/// Through tags, and from a commit to its tree, until an object of that kind is there.
fn peel(mut id: ObjectId, wanted: Kind, objects: &Database, reader: &mut Reader) -> Option<ObjectId> {
    // Objects that lead to each other in a circle are on a disk that is damaged.
    for _ in 0..objects.numbers_end() {
        let object = objects.read(objects.number(&id)?, reader).ok()?;
        if object.kind == wanted {
            return Some(id);
        }
        let target = match object.kind {
            Kind::Tag => object.data.strip_prefix(b"object ")?,
            Kind::Commit => object.data.strip_prefix(b"tree ")?,
            Kind::Tree | Kind::Blob => return None,
        };
        id = ObjectId::from_hex(target.get(..40)?).ok()?;
    }
    None
}

/// What stands at `path` below the tree.
fn entry(tree: ObjectId, path: &[u8], objects: &Database, reader: &mut Reader) -> Option<ObjectId> {
    let mut id = tree;
    for part in path.split_str("/") {
        let object = objects.read(objects.number(&id)?, reader).ok()?;
        if object.kind != Kind::Tree {
            return None;
        }
        let mut entries = TreeEntries::of(object.data);
        id = entries.find_map(|entry| entry.ok().filter(|entry| entry.name == part))?.to_id();
    }
    Some(id)
}
