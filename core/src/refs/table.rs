//! The references of one generation: sorted, immutable, compact.
//!
//! Names live in one buffer and ids in one array, so that hundreds of thousands of references cost little more than
//! their bytes. A table never changes; a new generation is a new table.

use super::RefName;
use crate::ObjectId;
use bstr::{BStr, ByteSlice};
use sha2::{Digest, Sha256};

/// One reference as it is given to [`RefTable::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ref {
    /// Its name.
    pub name: RefName,
    /// The object it resolves to.
    pub id: ObjectId,
    /// For an annotated tag, what it finally peels to.
    pub peeled: Option<ObjectId>,
    /// For a symbolic reference, the name that it points to directly.
    pub symbolic: Option<RefName>,
}

/// What `HEAD` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Names a branch, which may not exist yet (unborn).
    Symbolic(RefName),
    /// Names an object.
    Detached(ObjectId),
    /// Not known: a v0 upstream without references does not say.
    Absent,
}

/// One reference of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefView<'a> {
    /// Full name.
    pub name: &'a BStr,
    /// The object it resolves to.
    pub id: ObjectId,
    /// For an annotated tag, what it finally peels to.
    pub peeled: Option<ObjectId>,
    /// For a symbolic reference, the name that it points to directly.
    pub symbolic: Option<&'a BStr>,
}

#[derive(Clone, Copy)]
struct Entry {
    name_end: u32,
    /// Index into `peeled` + 1, or 0.
    peeled: u32,
    /// Index into `symbolic` + 1, or 0.
    symbolic: u32,
    id: ObjectId,
}

/// The sorted references and `HEAD` of one generation.
#[derive(Clone)]
pub struct RefTable {
    names: Vec<u8>,
    entries: Vec<Entry>,
    peeled: Vec<ObjectId>,
    symbolic: Vec<RefName>,
    head: Head,
    hidden_head: Option<ObjectId>,
    head_peeled: Option<ObjectId>,
    digest: [u8; 32],
}

impl RefTable {
    /// Sorts `refs` by name bytes. Of two with one name the last wins.
    pub fn new(mut refs: Vec<Ref>, head: Head) -> Self {
        refs.sort_by(|a, b| a.name.cmp(&b.name));
        let mut table = Self {
            names: Vec::with_capacity(refs.iter().map(|r| r.name.as_bstr().len()).sum()),
            entries: Vec::with_capacity(refs.len()),
            peeled: Vec::new(),
            symbolic: Vec::new(),
            head,
            hidden_head: None,
            head_peeled: None,
            digest: [0; 32],
        };
        let mut refs = refs.into_iter().peekable();
        while let Some(reference) = refs.next() {
            if refs.peek().is_some_and(|next| next.name == reference.name) {
                continue;
            }
            table.push(reference);
        }
        table.digest = table.compute_digest();
        table
    }

    /// The same, with what a symbolic `HEAD` resolves to if its branch is not in the table because it is hidden: Git
    /// shows `HEAD` all the same. Not part of the digest.
    pub fn with_hidden_head(mut self, id: Option<ObjectId>) -> Self {
        self.hidden_head = id;
        self
    }

    /// The same, with what the object of `HEAD` finally peels to, for a `HEAD` that leads to an annotated tag and to no
    /// reference of the table. Not part of the digest: the object says it.
    pub fn with_head_peeled(mut self, id: Option<ObjectId>) -> Self {
        self.head_peeled = id;
        self
    }

    /// No references, and no known `HEAD`.
    pub fn empty() -> Self {
        Self::new(Vec::new(), Head::Absent)
    }

    fn push(&mut self, reference: Ref) {
        self.names.extend_from_slice(reference.name.as_bstr());
        let index_of = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let peeled = reference.peeled.map_or(0, |id| {
            self.peeled.push(id);
            index_of(self.peeled.len())
        });
        let symbolic = reference.symbolic.map_or(0, |name| {
            self.symbolic.push(name);
            index_of(self.symbolic.len())
        });
        self.entries.push(Entry { name_end: index_of(self.names.len()), peeled, symbolic, id: reference.id });
    }

    /// The references as [`RefTable::new`] takes them, in name order.
    pub fn to_refs(&self) -> Vec<Ref> {
        let name = |name: &BStr| RefName::taken_from_table(name);
        let to_ref =
            |r: RefView<'_>| Ref { name: name(r.name), id: r.id, peeled: r.peeled, symbolic: r.symbolic.map(name) };
        self.iter().map(to_ref).collect()
    }

    /// The same without what names an object that `fits` refuses: references, and a detached `HEAD`, which is then not
    /// known.
    pub fn without(&self, fits: impl Fn(&ObjectId) -> bool) -> Self {
        let mut refs = self.to_refs();
        refs.retain(|reference| fits(&reference.id));
        let head = match &self.head {
            Head::Detached(id) if !fits(id) => Head::Absent,
            head => head.clone(),
        };
        let hidden_head = self.hidden_head.filter(fits);
        Self::new(refs, head).with_hidden_head(hidden_head).with_head_peeled(self.head_peeled)
    }

    /// How many references, `HEAD` not counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no reference.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What `HEAD` says.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The object that `HEAD` resolves to, if there is one.
    pub fn head_id(&self) -> Option<ObjectId> {
        match &self.head {
            Head::Symbolic(name) => self.find(name.as_bstr()).map(|r| r.id).or(self.hidden_head),
            Head::Detached(id) => Some(*id),
            Head::Absent => None,
        }
    }

    /// What the object that `HEAD` resolves to finally peels to, if it is an annotated tag.
    pub fn head_peeled(&self) -> Option<ObjectId> {
        match &self.head {
            Head::Symbolic(name) => self.find(name.as_bstr()).map_or(self.head_peeled, |r| r.peeled),
            Head::Detached(_) => self.head_peeled,
            Head::Absent => None,
        }
    }

    /// Every object that a reference or a detached `HEAD` names, unsorted and with repetitions.
    pub fn tips(&self) -> impl Iterator<Item = ObjectId> + '_ {
        let detached = match self.head {
            Head::Detached(id) => Some(id),
            _ => None,
        };
        self.entries.iter().map(|entry| entry.id).chain(detached)
    }

    /// SHA-256 over the sorted references and `HEAD`: equal tables have equal digests, on every node.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The reference at `index` in name order.
    pub fn at(&self, index: usize) -> Option<RefView<'_>> {
        let entry = self.entries.get(index)?;
        Some(RefView {
            name: self.name_at(index),
            id: entry.id,
            peeled: (entry.peeled != 0).then(|| self.peeled[entry.peeled as usize - 1]),
            symbolic: (entry.symbolic != 0).then(|| self.symbolic[entry.symbolic as usize - 1].as_bstr()),
        })
    }

    /// All references in name order.
    pub fn iter(&self) -> impl Iterator<Item = RefView<'_>> + Clone {
        (0..self.entries.len()).filter_map(|index| self.at(index))
    }

    /// The references whose names begin with `prefix`, in name order.
    pub fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = RefView<'a>> + Clone + 'a {
        let first = self.lower_bound(prefix);
        (first..self.entries.len()).filter_map(|index| self.at(index)).take_while(move |r| r.name.starts_with(prefix))
    }

    /// The reference of that very name.
    pub fn find(&self, name: &[u8]) -> Option<RefView<'_>> {
        self.at(self.lower_bound(name)).filter(|r| r.name == name)
    }

    fn name_at(&self, index: usize) -> &BStr {
        let start = index.checked_sub(1).map_or(0, |previous| self.entries[previous].name_end as usize);
        self.names[start..self.entries[index].name_end as usize].as_bstr()
    }

    /// The index of the first reference whose name is not below `name`.
    pub fn lower_bound(&self, name: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.name_at(middle).as_bytes() < name {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn compute_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        match &self.head {
            Head::Symbolic(name) => {
                hash.update(b"ref: ");
                hash.update(name.as_bstr().as_bytes());
            }
            Head::Detached(id) => hash.update(id.to_hex().to_string()),
            Head::Absent => {}
        }
        hash.update(b" HEAD\n");
        for reference in self.iter() {
            // A symbolic reference counts with its object too: its target may be hidden, and move unseen.
            if let Some(target) = reference.symbolic {
                hash.update(b"ref: ");
                hash.update(target.as_bytes());
                hash.update(b" ");
            }
            hash.update(reference.id.as_slice());
            hash.update(b" ");
            hash.update(reference.name.as_bytes());
            hash.update(b"\n");
        }
        hash.finalize().into()
    }
}

impl std::fmt::Debug for RefTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefTable").field("len", &self.len()).field("head", &self.head).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str, byte: u8) -> Ref {
        Ref {
            name: RefName::new(name.as_bytes()).unwrap(),
            id: ObjectId::from_bytes_or_panic(&[byte; 20]),
            peeled: None,
            symbolic: None,
        }
    }

    #[test]
    fn lookups_and_prefixes() {
        let names = ["refs/heads/a", "refs/heads/b", "refs/tags/v1", "refs/heads/a/b", "refs/pull/1/head"];
        let refs = names.iter().zip(1..).map(|(name, byte)| reference(name, byte)).collect();
        let table = RefTable::new(refs, Head::Symbolic(RefName::new(b"refs/heads/b").unwrap()));
        assert_eq!(table.len(), 5);
        assert_eq!(table.head_id(), Some(ObjectId::from_bytes_or_panic(&[2; 20])));
        for (name, byte) in names.iter().zip(1u8..) {
            assert_eq!(table.find(name.as_bytes()).unwrap().id.as_slice(), [byte; 20]);
        }
        assert!(table.find(b"refs/heads/").is_none());
        let heads: Vec<_> = table.with_prefix(b"refs/heads/a").map(|r| r.name.to_string()).collect();
        assert_eq!(heads, ["refs/heads/a", "refs/heads/a/b"]);
    }

    #[test]
    fn digest_depends_on_refs_and_head_but_not_on_order() {
        let head = Head::Detached(ObjectId::from_bytes_or_panic(&[9; 20]));
        let forward = RefTable::new(vec![reference("refs/a", 1), reference("refs/b", 2)], head.clone());
        let backward = RefTable::new(vec![reference("refs/b", 2), reference("refs/a", 1)], head.clone());
        assert_eq!(forward.digest(), backward.digest());
        assert_ne!(forward.digest(), RefTable::new(vec![reference("refs/a", 1)], head).digest());
        let other_head = RefTable::new(vec![reference("refs/a", 1), reference("refs/b", 2)], Head::Absent);
        assert_ne!(forward.digest(), other_head.digest());
    }
}
