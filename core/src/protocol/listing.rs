//! References as lines: the advertisement of v0 and v1, and the answer to `ls-refs`.
//!
//! A listing is written in pieces, so that hundreds of thousands of references never lie in memory as text.

use super::{
    View,
    reply::{Reply, put_id},
};
use crate::{
    ObjectId,
    limits::{REPLY_BYTES_MAX, SYMREF_DEPTH_MAX},
    refs::{Head, RefTable},
};
use bstr::BStr;

/// What `HEAD` finally leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadLine<'a> {
    /// The object; `None` if the branch is unborn.
    pub id: Option<ObjectId>,
    /// What the object peels to, if it is a tag.
    pub peeled: Option<ObjectId>,
    /// The last name of the chain, if `HEAD` is symbolic.
    pub target: Option<&'a BStr>,
}

/// `HEAD` as a line has to tell it; `None` if there is nothing to tell.
pub(super) fn head(refs: &RefTable) -> Option<HeadLine<'_>> {
    match refs.head() {
        Head::Absent => None,
        Head::Detached(id) => Some(HeadLine { id: Some(*id), peeled: refs.head_peeled(), target: None }),
        Head::Symbolic(name) => {
            let target = final_target(refs, name.as_bstr());
            let reference = refs.find(target);
            Some(HeadLine {
                id: reference.map(|reference| reference.id).or_else(|| refs.head_id()),
                peeled: reference.map_or_else(|| refs.head_peeled(), |reference| reference.peeled),
                target: Some(target),
            })
        }
    }
}

/// Where a chain of symbolic references that begins at `name` ends.
fn final_target<'a>(refs: &'a RefTable, mut name: &'a BStr) -> &'a BStr {
    for _ in 0..SYMREF_DEPTH_MAX {
        match refs.find(name).and_then(|reference| reference.symbolic) {
            Some(next) => name = next,
            None => break,
        }
    }
    name
}

/// What to write of each reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// ` symref-target:`.
    pub symrefs: bool,
    /// ` peeled:`.
    pub peel: bool,
}

/// A listing in the middle of being written.
#[derive(Debug)]
pub(super) struct Listing {
    form: Form,
    /// Sorted, none the beginning of another; the empty one for all references.
    prefixes: Vec<Vec<u8>>,
    prefix: usize,
    /// Index of the next reference under the present prefix; `None`: not yet looked up.
    position: Option<usize>,
}

#[derive(Debug)]
enum Form {
    /// Lines of v0, peeled tags as lines of their own.
    V0,
    /// Lines of `ls-refs`.
    V2(Attributes),
}

impl Listing {
    /// All references in the lines of v0.
    pub fn v0() -> Self {
        Self { form: Form::V0, prefixes: vec![Vec::new()], prefix: 0, position: None }
    }

    /// The references that begin with one of `prefixes`, all if there is none, in the lines of `ls-refs`.
    pub fn v2(attributes: Attributes, prefixes: Vec<Vec<u8>>) -> Self {
        Self { form: Form::V2(attributes), prefixes: disjoint(prefixes), prefix: 0, position: None }
    }

    /// Leaves out the first reference.
    pub fn skip_first(&mut self) {
        self.position = Some(1);
    }

    /// Writes references until the reply is full. Whether all have been written.
    pub fn write(&mut self, refs: &RefTable, reply: &mut Reply) -> bool {
        while let Some(prefix) = self.prefixes.get(self.prefix) {
            let mut position = self.position.unwrap_or_else(|| refs.lower_bound(prefix));
            while let Some(reference) = refs.at(position).filter(|reference| reference.name.starts_with(prefix)) {
                if reply.len() >= REPLY_BYTES_MAX {
                    self.position = Some(position);
                    return false;
                }
                match self.form {
                    Form::V0 => v0_line(reply, reference.name, &reference.id, reference.peeled, |_| ()),
                    Form::V2(attributes) => {
                        let target = reference.symbolic.map(|name| final_target(refs, name));
                        v2_line(reply, reference.name, Some(reference.id), reference.peeled, target, attributes);
                    }
                }
                position += 1;
            }
            self.position = None;
            self.prefix += 1;
        }
        true
    }
}

/// One reference in v0, and its peeled form if it has one. `suffix` writes what follows the name (capabilities).
pub(super) fn v0_line(
    reply: &mut Reply,
    name: &BStr,
    id: &ObjectId,
    peeled: Option<ObjectId>,
    suffix: impl FnOnce(&mut Vec<u8>),
) {
    reply.frame(|out| {
        put_id(out, id);
        out.push(b' ');
        out.extend_from_slice(name);
        suffix(out);
        out.push(b'\n');
    });
    if let Some(peeled) = peeled {
        reply.frame(|out| {
            put_id(out, &peeled);
            out.push(b' ');
            out.extend_from_slice(name);
            out.extend_from_slice(b"^{}\n");
        });
    }
}

/// One reference in v2; without an id it is unborn.
pub(super) fn v2_line(
    reply: &mut Reply,
    name: &BStr,
    id: Option<ObjectId>,
    peeled: Option<ObjectId>,
    target: Option<&BStr>,
    attributes: Attributes,
) {
    reply.frame(|out| {
        match &id {
            Some(id) => put_id(out, id),
            None => out.extend_from_slice(b"unborn"),
        }
        out.push(b' ');
        out.extend_from_slice(name);
        if let Some(target) = target.filter(|_| attributes.symrefs) {
            out.extend_from_slice(b" symref-target:");
            out.extend_from_slice(target);
        }
        if let Some(peeled) = peeled.filter(|_| attributes.peel) {
            out.extend_from_slice(b" peeled:");
            put_id(out, &peeled);
        }
        out.push(b'\n');
    });
}

/// The same prefixes, sorted, without those that another one covers.
fn disjoint(mut prefixes: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if prefixes.is_empty() {
        return vec![Vec::new()];
    }
    prefixes.sort_unstable();
    // What a prefix covers follows it directly.
    prefixes.dedup_by(|next, kept| next.starts_with(kept));
    prefixes
}

/// Writes the lines of the repository's own shallow commits that end a v0 advertisement.
pub(super) fn v0_shallows(view: &View<'_>, reply: &mut Reply) {
    for id in view.shallow {
        reply.line(format_args!("shallow {id}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_that_others_cover_are_dropped() {
        for (given, expected) in [
            (&[][..], &[""][..]),
            (&["refs/heads/", "HEAD", "refs/tags/"], &["HEAD", "refs/heads/", "refs/tags/"]),
            (&["refs/heads/main", "refs/heads/", "refs/heads/a"], &["refs/heads/"]),
            (&["refs/b", "", "refs/a"], &[""]),
            (&["refs/a", "refs/a"], &["refs/a"]),
        ] {
            let given = given.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
            assert_eq!(disjoint(given), expected.iter().map(|p| p.as_bytes()).collect::<Vec<_>>());
        }
    }
}
