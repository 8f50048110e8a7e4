//! What each commit of a pack adds against its parents: the table of its commits, made from its objects.
//!
//! The trees of a commit and of its parents are gone through side by side, and what is equal is not looked into. So each
//! tree is read about as often as there are commits that bring it, which is once, and its predecessor is in a cache.

use super::{
    Graph,
    history::{Fields, History, is_empty_tree},
};
use crate::{
    ObjectId, limits,
    objects::{Database, EntryKind, Kind, Number, ReadError, TreeEntries, TreeEntry},
    oid,
    pack::{Added, CommitTable, KindsError, Link, Row},
};
use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
    sync::atomic::AtomicBool,
};

/// Makes the table of the commits of `objects.packs()[pack]`. `None`: it would be larger than is worth it (a history that is
/// made for that), so that walks have to do without.
pub fn commit_table(objects: &Database, pack: u32, stop: &AtomicBool) -> Result<Option<CommitTable>, ReadError> {
    let sealed = objects.packs()[pack as usize].clone();
    let corrupt = |detail| ReadError::Corrupt { id: sealed.checksum(), detail };
    let Some(mut table) = CommitTable::new(sealed.len()) else { return Ok(None) };
    let kinds = sealed.kinds(stop).map_err(|error| match error {
        KindsError::Interrupted => ReadError::Interrupted,
        KindsError::Table(detail) | KindsError::Entry { detail, .. } => corrupt(detail),
    })?;
    let entries = sealed.entries().map_err(corrupt)?;
    // In the order of the pack, which is that of history.
    let commits = kinds.iter().enumerate().filter(|(_, kind)| **kind == Kind::Commit);
    let positions: Vec<u32> = commits.filter_map(|(rank, _)| entries.position(rank as u32)).collect();
    let rows: HashMap<u32, u32> = positions.iter().enumerate().map(|(row, position)| (*position, row as u32)).collect();
    let grafts = BTreeSet::new();
    let graph = Graph { objects, grafts: &grafts, stop };
    let mut maker = Maker {
        history: History::new(&graph, []),
        pack,
        start: objects.own_number(pack, 0).0,
        end: objects.pack_end(pack).0,
        outside: HashMap::new(),
        outside_ids: Vec::new(),
        trees: TreeCache::default(),
        known: HashMap::new(),
        left: limits::commit_table_entries_max(objects.numbers_end()),
    };
    // Newest first, which is how packs lie: an older tree is a delta of the one that was read before.
    for position in positions {
        maker.history.check_stop()?;
        let Some(made) = maker.row(position, &rows)? else { return Ok(None) };
        let (parents, added) = (&made.parents, &made.added);
        if !table.push(Row { position, date: made.date, tree: made.tree, parents, added }) {
            return Ok(None);
        }
    }
    Ok(Some(table.finish(maker.outside_ids)))
}

struct Made {
    date: u64,
    tree: Link,
    parents: Vec<Link>,
    added: Vec<Added>,
}

struct Maker<'a> {
    history: History<'a>,
    pack: u32,
    /// The numbers of the pack's objects.
    start: u32,
    end: u32,
    outside: HashMap<ObjectId, u32>,
    outside_ids: Vec<ObjectId>,
    trees: TreeCache,
    /// Parents whose own turn has not come.
    known: HashMap<Number, Fields>,
    /// Entries of trees that may still be met.
    left: u64,
}

/// A tree to look into, and those of the parents that stand at the same place.
type Place = (Number, Vec<Number>);

impl Maker<'_> {
    /// `None`: too much has been met.
    fn row(&mut self, position: u32, rows: &HashMap<u32, u32>) -> Result<Option<Made>, ReadError> {
        let objects = self.history.graph.objects;
        let fields = self.fields(objects.own_number(self.pack, position))?;
        let sealed = &objects.packs()[self.pack as usize];
        let (mut parents, mut roots) = (Vec::new(), Vec::new());
        for parent in &fields.parents {
            let row = sealed.find(parent).and_then(|position| rows.get(&position));
            parents.push(match row {
                Some(row) => Link::inside(*row),
                None => self.outside(parent),
            });
            let number = objects.require(parent)?;
            let fields = self.fields(number)?;
            roots.extend(self.tree_number(&fields.tree)?);
            self.known.insert(number, fields);
        }
        let root = self.tree_number(&fields.tree)?;
        let tree = match root {
            Some(number) => self.link(number, &fields.tree),
            None => Link::NOTHING,
        };
        let Some(added) = self.added(root, roots)? else { return Ok(None) };
        Ok(Some(Made { date: fields.date, tree, parents, added }))
    }

    /// Each commit is read about once: as a parent, and then no more.
    fn fields(&mut self, commit: Number) -> Result<Fields, ReadError> {
        match self.known.remove(&commit) {
            Some(fields) => Ok(fields),
            None => self.history.fields(commit),
        }
    }

    /// Nothing: the empty tree, which is not stored.
    fn tree_number(&mut self, id: &oid) -> Result<Option<Number>, ReadError> {
        match self.history.number(id) {
            None if is_empty_tree(&id.to_owned()) => Ok(None),
            found => found.map(Some).ok_or_else(|| ReadError::Missing(id.to_owned())),
        }
    }

    fn added(&mut self, root: Option<Number>, roots: Vec<Number>) -> Result<Option<Vec<Added>>, ReadError> {
        let mut added = Vec::new();
        let Some(root) = root.filter(|root| !roots.contains(root)) else { return Ok(Some(added)) };
        let id = self.history.graph.objects.id(root);
        added.push(Added { link: self.link(root, &id), is_tree: true, depth: 0 });
        // Level by level, so that an object is first met where it lies least deep.
        let mut level: Vec<Place> = vec![(root, roots)];
        let mut met: HashSet<Place> = HashSet::new();
        let mut depth = 0u8;
        while !level.is_empty() {
            depth = depth.saturating_add(1).min(Added::DEPTH_MAX);
            let mut next = Vec::new();
            for place in level {
                // A tree that stands at many places is looked into once, but for other predecessors.
                if !met.contains(&place) {
                    if !self.look_into(&place, depth, &mut added, &mut next)? {
                        return Ok(None);
                    }
                    met.insert(place);
                }
            }
            level = next;
        }
        added.sort_unstable_by_key(|added| (added.link, added.depth));
        added.dedup_by_key(|added| added.link);
        Ok(Some(added))
    }

    /// Notes the entries of a tree that none of its predecessors has under the same name. Tells whether that was not too
    /// much.
    fn look_into(
        &mut self,
        (tree, before): &Place,
        depth: u8,
        added: &mut Vec<Added>,
        next: &mut Vec<Place>,
    ) -> Result<bool, ReadError> {
        let own = self.trees.read(&mut self.history, *tree)?;
        let mut others = Vec::new();
        for other in before {
            others.push(self.trees.read(&mut self.history, *other)?);
        }
        let mut others: Vec<_> =
            others.iter().map(|other| Ahead { next: None, behind: TreeEntries::of(other) }).collect();
        let mut entries = TreeEntries::of(&own);
        loop {
            let before = entries.rest();
            let Some(entry) = entries.next() else { break };
            let entry = entry.map_err(|what| self.corrupt(*tree, what))?;
            let Some(left) = self.left.checked_sub(1) else { return Ok(false) };
            self.left = left;
            // Most entries are as they were, and stand where they stood.
            let raw = &before[..before.len() - entries.rest().len()];
            if others.iter_mut().any(|other| other.next.is_none() && other.behind.pass(raw)) {
                continue;
            }
            let (mut is_there, mut predecessors) = (false, Vec::new());
            for other in &mut others {
                while let Some(next) = other.peek()
                    && order(&next, &entry) == Ordering::Less
                {
                    other.next = None;
                }
                if let Some(same) = other.next
                    && same.name == entry.name
                    && same.kind == entry.kind
                {
                    is_there |= same.id == entry.id;
                    predecessors.push(same.to_id());
                    other.next = None;
                }
            }
            if is_there || entry.kind == EntryKind::Commit {
                continue;
            }
            let is_tree = entry.kind == EntryKind::Tree;
            let number = match self.history.number(entry.id) {
                Some(number) => number,
                None if is_tree && is_empty_tree(&entry.to_id()) => continue,
                None => return Err(ReadError::Missing(entry.to_id())),
            };
            added.push(Added { link: self.link(number, entry.id), is_tree, depth });
            if is_tree {
                let mut below = Vec::new();
                for id in &predecessors {
                    below.extend(self.tree_number(id)?);
                }
                next.push((number, below));
            }
        }
        Ok(true)
    }

    fn link(&mut self, number: Number, id: &oid) -> Link {
        if (self.start..self.end).contains(&number.0) {
            return Link::inside(number.0 - self.start);
        }
        match self.history.graph.objects.packs()[self.pack as usize].find(id) {
            Some(position) => Link::inside(position),
            None => self.outside(id),
        }
    }

    fn outside(&mut self, id: &oid) -> Link {
        let ids = &mut self.outside_ids;
        let index = *self.outside.entry(id.to_owned()).or_insert_with(|| {
            ids.push(id.to_owned());
            ids.len() as u32 - 1
        });
        Link::outside(index)
    }

    fn corrupt(&self, tree: Number, what: &str) -> ReadError {
        ReadError::Corrupt { id: self.history.graph.objects.id(tree), detail: what.into() }
    }
}

/// The entries of a predecessor, up to one that is malformed.
struct Ahead<'a> {
    /// Looked at and not passed yet.
    next: Option<TreeEntry<'a>>,
    behind: TreeEntries<'a>,
}

impl<'a> Ahead<'a> {
    fn peek(&mut self) -> Option<TreeEntry<'a>> {
        if self.next.is_none() {
            self.next = self.behind.next()?.ok();
        }
        self.next
    }
}

/// The order of a tree's entries: a tree's name counts as if it ended in a slash.
fn order(a: &TreeEntry<'_>, b: &TreeEntry<'_>) -> Ordering {
    let common = a.name.len().min(b.name.len());
    let behind = |entry: &TreeEntry<'_>| {
        let slash = (entry.kind == EntryKind::Tree).then_some(b'/');
        entry.name.get(common).copied().or(slash)
    };
    a.name[..common].cmp(&b.name[..common]).then_with(|| behind(a).cmp(&behind(b)))
}

/// Trees that have been read lately: two halves, of which the older is dropped when the younger is full.
#[derive(Default)]
struct TreeCache {
    young: HashMap<Number, Rc<[u8]>>,
    old: HashMap<Number, Rc<[u8]>>,
    young_bytes: usize,
}

impl TreeCache {
    const HALF_BYTES_MAX: usize = 16 << 20;

    fn read(&mut self, history: &mut History<'_>, tree: Number) -> Result<Rc<[u8]>, ReadError> {
        if let Some(data) = self.young.get(&tree) {
            return Ok(data.clone());
        }
        let data = match self.old.remove(&tree) {
            Some(data) => data,
            None => {
                let objects = history.graph.objects;
                let object = objects.read(tree, &mut history.reader)?;
                if object.kind != Kind::Tree {
                    let detail = format!("a {} stands where a tree should", object.kind);
                    return Err(ReadError::Corrupt { id: objects.id(tree), detail });
                }
                Rc::from(object.data)
            }
        };
        self.young_bytes += data.len();
        if self.young_bytes > Self::HALF_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = data.len();
        }
        self.young.insert(tree, data.clone());
        Ok(data)
    }
}
