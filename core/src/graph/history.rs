//! Commits, decoded once each and at need: date, tree and parents, with the parents of shallow commits cut off.

use super::Graph;
use crate::{
    ObjectId,
    objects::{Commits, Database, Kind, Number, NumberSet, ReadError, Reader},
    oid,
};
use bstr::ByteSlice;
use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::Ordering,
};

/// Stands for an object that the database does not hold.
pub(super) const MISSING: Number = Number(u32::MAX);

/// The commits that a walk has met.
pub(super) struct History<'a> {
    pub(super) graph: &'a Graph<'a>,
    pub(super) reader: Reader,
    /// Read in the place of commits, where there are tables.
    tables: Option<&'a Commits>,
    /// By number: one more than the commit's place in `commits`; 0 while it is not loaded.
    slots: Vec<u32>,
    commits: Vec<Commit>,
    parents: Vec<Number>,
    /// Commits whose parents are not followed.
    cut: NumberSet,
    cuts: bool,
    /// What the annotated tags that have been met lead to.
    peeled: HashMap<Number, (Number, Kind)>,
    pub(super) memo: Memo,
}

/// The numbers of the ids met last. Nearly all entries of a tree stand in the next version of it too, so that most searches
/// in the index are saved (full clone of 190,000 objects: 595 ms before, 530 ms with it).
pub(super) struct Memo(Vec<([u8; 20], Number)>);

/// A power of two; a slot is 24 bytes.
const MEMO_SLOTS: usize = 1 << 15;

impl Memo {
    /// The object's number, if the database holds it.
    pub(super) fn number(&mut self, objects: &Database, id: &oid) -> Option<Number> {
        // An array, so that comparing is three words and no call.
        let bytes: &[u8; 20] = id.as_bytes().try_into().ok()?;
        let place = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize % MEMO_SLOTS;
        let slot = self.0.get_mut(place)?;
        if slot.0 == *bytes && slot.1 != MISSING {
            return Some(slot.1);
        }
        let number = objects.number(id)?;
        *slot = (*bytes, number);
        Some(number)
    }
}

#[derive(Clone, Copy)]
struct Commit {
    date: u64,
    tree: Number,
    parents_start: u32,
    parents_len: u32,
}

/// What an id leads to when tags are followed.
pub(super) struct Peeled {
    /// The annotated tags on the way that no peeling met before, outermost first.
    pub(super) tags: Vec<Number>,
    /// What the last of them points at.
    pub(super) number: Number,
    pub(super) kind: Kind,
}

/// The fields of a commit that a walk needs.
pub(super) struct Fields {
    pub(super) tree: ObjectId,
    pub(super) parents: Vec<ObjectId>,
    pub(super) date: u64,
}

impl<'a> History<'a> {
    /// A history in which the parents of the graph's grafts and of `shallow` are not followed.
    pub(super) fn new<'s>(graph: &'a Graph<'a>, shallow: impl IntoIterator<Item = &'s ObjectId>) -> Self {
        let end = graph.objects.numbers_end();
        let mut cut = NumberSet::new(end);
        let mut cuts = false;
        let mut cut_at = |id| graph.objects.number(id).map(|number| cuts |= cut.insert(number));
        graph.grafts.iter().for_each(|id: &ObjectId| _ = cut_at(id));
        shallow.into_iter().for_each(|id| _ = cut_at(id));
        Self {
            graph,
            reader: Reader::new(),
            tables: graph.objects.commits(),
            slots: vec![0; end as usize],
            commits: Vec::new(),
            parents: Vec::new(),
            cut,
            cuts,
            peeled: HashMap::new(),
            memo: Memo(vec![([0; 20], MISSING); MEMO_SLOTS]),
        }
    }

    pub(super) fn check_stop(&self) -> Result<(), ReadError> {
        if self.graph.stop.load(Ordering::Relaxed) { Err(ReadError::Interrupted) } else { Ok(()) }
    }

    /// Whether the parents of all commits are followed.
    pub(super) fn cuts_nothing(&self) -> bool {
        !self.cuts
    }

    pub(super) fn is_cut(&self, commit: Number) -> bool {
        self.cut.contains(commit)
    }

    pub(super) fn is_loaded(&self, commit: Number) -> bool {
        self.slots.get(commit.0 as usize).is_some_and(|slot| *slot != 0)
    }

    /// Decodes the commit unless it is known.
    pub(super) fn load(&mut self, number: Number) -> Result<(), ReadError> {
        if self.is_loaded(number) {
            return Ok(());
        }
        self.check_stop()?;
        let parents_start = self.parents.len() as u32;
        let is_cut = self.cut.contains(number);
        let objects = self.graph.objects;
        let (date, tree) = match self.tables.and_then(|commits| Some((commits, commits.row(number)?))) {
            Some((commits, row)) => {
                if !is_cut {
                    self.parents.extend(commits.parents(row).map(|parent| commits.number(parent)));
                }
                (commits.date(row), commits.tree(row).unwrap_or(MISSING))
            }
            None => {
                let fields = self.fields(number)?;
                if !is_cut {
                    self.parents.extend(fields.parents.iter().map(|id| objects.number(id).unwrap_or(MISSING)));
                }
                (fields.date, objects.number(&fields.tree).unwrap_or(MISSING))
            }
        };
        let parents_len = self.parents.len() as u32 - parents_start;
        self.commits.push(Commit { date, tree, parents_start, parents_len });
        self.slots[number.0 as usize] = self.commits.len() as u32;
        Ok(())
    }

    /// The object's number, if the database holds it.
    pub(super) fn number(&mut self, id: &oid) -> Option<Number> {
        self.memo.number(self.graph.objects, id)
    }

    /// The commit's fields as they are written, whatever is shallow.
    pub(super) fn fields(&mut self, number: Number) -> Result<Fields, ReadError> {
        let graph = self.graph;
        let object = graph.objects.read(number, &mut self.reader)?;
        let fields = if object.kind == Kind::Commit { parse_commit(object.data) } else { None };
        fields.ok_or_else(|| ReadError::Corrupt {
            id: graph.objects.id(number),
            detail: "not a well-formed commit".into(),
        })
    }

    fn commit(&self, number: Number) -> Option<&Commit> {
        let slot = self.slots.get(number.0 as usize)?.checked_sub(1)?;
        self.commits.get(slot as usize)
    }

    /// The committer's date of a loaded commit.
    pub(super) fn date(&self, number: Number) -> u64 {
        self.commit(number).map_or(0, |commit| commit.date)
    }

    /// The tree of a loaded commit, perhaps [`MISSING`].
    pub(super) fn tree(&self, number: Number) -> Number {
        self.commit(number).map_or(MISSING, |commit| commit.tree)
    }

    /// The tree of a loaded commit. `None`: it is the empty tree, which need not be stored (Git knows it by heart).
    pub(super) fn existing_tree(&mut self, number: Number) -> Result<Option<Number>, ReadError> {
        let tree = self.tree(number);
        if tree != MISSING {
            return Ok(Some(tree));
        }
        let id = self.fields(number)?.tree;
        if is_empty_tree(&id) { Ok(None) } else { Err(ReadError::Missing(id)) }
    }

    /// How many parents a loaded commit has here.
    pub(super) fn parent_count(&self, number: Number) -> usize {
        self.commit(number).map_or(0, |commit| commit.parents_len as usize)
    }

    /// A parent of a loaded commit, perhaps [`MISSING`].
    pub(super) fn parent(&self, number: Number, at: usize) -> Number {
        let Some(commit) = self.commit(number) else { return MISSING };
        self.parents.get(commit.parents_start as usize + at).copied().unwrap_or(MISSING)
    }

    /// A parent that must be there.
    pub(super) fn existing_parent(&mut self, number: Number, at: usize) -> Result<Number, ReadError> {
        let parent = self.parent(number, at);
        if parent != MISSING {
            return Ok(parent);
        }
        let fields = self.fields(number)?;
        let id = fields.parents.get(at).copied().unwrap_or_else(|| ObjectId::null(gix_hash::Kind::Sha1));
        Err(ReadError::Missing(id))
    }

    /// Follows annotated tags. Each is read once, however many are tags of it.
    pub(super) fn peel(&mut self, id: &ObjectId) -> Result<Peeled, ReadError> {
        let graph = self.graph;
        let corrupt = |number, detail: &str| ReadError::Corrupt { id: graph.objects.id(number), detail: detail.into() };
        let mut tags = Vec::new();
        let mut number = graph.objects.require(id)?;
        let (number, kind) = loop {
            self.check_stop()?;
            if let Some(end) = self.peeled.get(&number) {
                break *end;
            }
            // Blobs may be large: their type is enough.
            let (kind, _) = graph.objects.header(number, &mut self.reader)?;
            if kind != Kind::Tag {
                break (number, kind);
            }
            let object = graph.objects.read(number, &mut self.reader)?;
            let target = object.data.strip_prefix(b"object ").and_then(|rest| hex_line(rest));
            let target = target.ok_or_else(|| corrupt(number, "not a well-formed tag"))?;
            tags.push(number);
            // Only on a disk that changed can tags name each other.
            if tags.len() > graph.objects.numbers_end() as usize {
                return Err(corrupt(number, "a tag of itself"));
            }
            number = graph.objects.require(&target.0)?;
        };
        self.peeled.extend(tags.iter().map(|tag| (*tag, (number, kind))));
        Ok(Peeled { tags, number, kind })
    }

    /// Peels each id to a commit; ids of other types or that are missing give none.
    pub(super) fn commits_of<'i>(
        &mut self,
        ids: impl IntoIterator<Item = &'i ObjectId>,
    ) -> Result<Vec<Number>, ReadError> {
        let mut commits = Vec::new();
        for id in ids {
            match self.peel(id) {
                Ok(Peeled { number, kind: Kind::Commit, .. }) => commits.push(number),
                Ok(_) | Err(ReadError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(commits)
    }
}

pub(super) fn is_empty_tree(id: &ObjectId) -> bool {
    *id == ObjectId::empty_tree(gix_hash::Kind::Sha1)
}

/// The commits among `ids` that are here.
pub(super) fn numbers_of(graph: &Graph<'_>, ids: &BTreeSet<ObjectId>) -> Vec<Number> {
    ids.iter().filter_map(|id| graph.objects.number(id)).collect()
}

/// As lenient as Git: the tree and the parents must be well-formed, a broken date is 0.
fn parse_commit(data: &[u8]) -> Option<Fields> {
    let (tree, mut rest) = hex_line(data.strip_prefix(b"tree ")?)?;
    let mut parents = Vec::new();
    while let Some(line) = rest.strip_prefix(b"parent ") {
        let (parent, tail) = hex_line(line)?;
        parents.push(parent);
        rest = tail;
    }
    Some(Fields { tree, parents, date: commit_date(rest).unwrap_or(0) })
}

fn hex_line(line: &[u8]) -> Option<(ObjectId, &[u8])> {
    let (hex, rest) = line.split_at_checked(40)?;
    Some((ObjectId::from_hex(hex).ok()?, rest.strip_prefix(b"\n")?))
}

fn commit_date(header: &[u8]) -> Option<u64> {
    let mut lines = header.lines();
    if !lines.next()?.starts_with(b"author ") {
        return None;
    }
    let committer = lines.next()?.strip_prefix(b"committer ")?;
    let date = &committer[committer.rfind_byte(b'>')? + 1..];
    let date = date.trim_ascii_start();
    let digits = date.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(date.len());
    std::str::from_utf8(&date[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_read_as_leniently_as_git_does() {
        let tree = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
        let parent = "parent 1111111111111111111111111111111111111111\n";
        let people = "author A <a> 1 +0000\ncommitter C <c> 1700000000 +0000\n\nmessage";
        let whole = parse_commit(format!("{tree}{parent}{parent}{people}").as_bytes()).unwrap();
        assert_eq!((whole.parents.len(), whole.date), (2, 1_700_000_000));
        for broken in ["author A\ncommitter C\n\n", "author A\ncommitter C <c> x\n", "committer C <c> 5 +0000\n\n", ""]
        {
            assert_eq!(parse_commit(format!("{tree}{broken}").as_bytes()).unwrap().date, 0, "{broken}");
        }
        for bad in ["", "tree 4b82\n", "parent 1111111111111111111111111111111111111111\n"] {
            assert!(parse_commit(bad.as_bytes()).is_none());
        }
        assert!(parse_commit(format!("{tree}parent 12\n{people}").as_bytes()).is_none());
    }
}
