//! The commits of one sealed pack as a compact table: their dates, trees and parents, and what each adds against its
//! parents. It is kept beside the pack as a sidecar, and can be made anew from the pack at any time.
//!
//! What a commit adds are the trees and blobs that stand in its tree at a place where none of its parents has the same. So
//! whatever stands in the tree of a commit has been added by it or by one of its ancestors, and a walk over commits finds
//! all objects without reading a tree. 21 bytes a commit, and 5 for each object that it adds.
//!
//! Where history is long, some rows are checkpoints: one bit an object says what they reach, so that a walk need not go on
//! behind them.
//!
//! ```text
//! "HCT2" | checksum of the pack | counts: objects of the pack, outside, rows, parents, added, checkpoints
//! | ids outside the pack | position, date, tree of each row | where its parents end, where what it adds ends
//! | parents | added: objects | added: marks | rows that are checkpoints | their bits | SHA-1 of all before
//! ```
//!
//! Numbers are little-endian and of 32 bits, dates and words of bits of 64.

use super::checkpoints;
use crate::{
    ObjectId,
    limits::{CHECKPOINTS, COMMITS_PER_CHECKPOINT_MIN},
};
use sha1::{Digest, Sha1};

const MAGIC: &[u8; 4] = b"HCT2";
const ID_BYTES: usize = 20;
const HEAD_BYTES: usize = MAGIC.len() + ID_BYTES + 6 * 4;
/// Objects of a pack that has a table: one bit of a link says that it leads outside.
const OBJECTS_MAX: u32 = 1 << 31;

/// What a row names: an object of the pack, or one outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Link(u32);

/// An object that a commit adds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Added {
    /// Which; inside the pack an index position.
    pub link: Link,
    /// Whether it is a tree; else it is a blob.
    pub is_tree: bool,
    /// The least depth at which it stands; a commit's own tree has 0. [`Added::DEPTH_MAX`] means that or more.
    pub depth: u8,
}

/// A [`Link`], taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// An index position of the pack; of a parent, a row.
    Inside(u32),
    /// Which of [`CommitTable::outside`].
    Outside(u32),
    /// The empty tree, which need not be stored.
    Nothing,
}

/// The table of one pack.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct CommitTable {
    objects: u32,
    outside: Vec<ObjectId>,
    positions: Vec<u32>,
    dates: Vec<u64>,
    trees: Vec<Link>,
    parent_ends: Vec<u32>,
    added_ends: Vec<u32>,
    parents: Vec<Link>,
    added: Vec<Link>,
    marks: Vec<u8>,
    /// Rows, ascending, and for each a bit for each position.
    checkpoints: Vec<u32>,
    checkpoint_words: Vec<u64>,
    /// Rows by ascending position; not in the file.
    by_position: Vec<u32>,
}

impl Link {
    const OUTSIDE: u32 = OBJECTS_MAX;
    /// The empty tree where it is not stored.
    pub const NOTHING: Self = Self(u32::MAX);

    /// An index position of the pack; of a parent, a row.
    pub fn inside(position: u32) -> Self {
        Self(position)
    }

    /// The `index`-th id of those outside.
    pub fn outside(index: u32) -> Self {
        Self(index | Self::OUTSIDE)
    }

    /// Where it leads.
    pub fn target(self) -> Target {
        match self {
            Self::NOTHING => Target::Nothing,
            Self(link) if link & Self::OUTSIDE != 0 => Target::Outside(link & !Self::OUTSIDE),
            Self(position) => Target::Inside(position),
        }
    }
}

impl Added {
    /// The greatest depth that is told apart.
    pub const DEPTH_MAX: u8 = 0x7f;
    const TREE: u8 = 0x80;

    fn mark(self) -> u8 {
        self.depth.min(Self::DEPTH_MAX) | if self.is_tree { Self::TREE } else { 0 }
    }

    fn of(link: Link, mark: u8) -> Self {
        Self { link, is_tree: mark & Self::TREE != 0, depth: mark & Self::DEPTH_MAX }
    }
}

/// One commit on its way into a table.
pub struct Row<'a> {
    /// Its index position.
    pub position: u32,
    /// The committer's date, in seconds since the epoch.
    pub date: u64,
    /// Its tree.
    pub tree: Link,
    /// Its parents in order: rows of this table, or ids outside.
    pub parents: &'a [Link],
    /// What it adds.
    pub added: &'a [Added],
}

impl CommitTable {
    /// A table without rows for a pack of so many objects; nothing if it has too many.
    pub fn new(objects: u32) -> Option<Self> {
        (objects < OBJECTS_MAX).then(|| Self { objects, ..Self::default() })
    }

    /// Appends a row; tells whether there was room.
    #[must_use]
    pub fn push(&mut self, row: Row<'_>) -> bool {
        self.parents.extend_from_slice(row.parents);
        self.added.extend(row.added.iter().map(|added| added.link));
        self.marks.extend(row.added.iter().map(|added| added.mark()));
        let ends = u32::try_from(self.parents.len()).ok().zip(u32::try_from(self.added.len()).ok());
        let Some((parents, added)) = ends else { return false };
        self.positions.push(row.position);
        self.dates.push(row.date);
        self.trees.push(row.tree);
        self.parent_ends.push(parents);
        self.added_ends.push(added);
        true
    }

    /// Ends the table: these are the ids outside, in the order in which links name them.
    pub fn finish(mut self, outside: Vec<ObjectId>) -> Self {
        self.outside = outside;
        self.index();
        let distance = COMMITS_PER_CHECKPOINT_MIN.max(self.len() / CHECKPOINTS);
        self.with_checkpoints(distance)
    }

    /// The same with a checkpoint on each line of so many commits, 1 at least.
    pub fn with_checkpoints(mut self, distance: u32) -> Self {
        (self.checkpoints, self.checkpoint_words) = checkpoints::of(&self, distance.max(1));
        self
    }

    fn index(&mut self) {
        self.by_position = (0..self.positions.len() as u32).collect();
        let positions = &self.positions;
        self.by_position.sort_unstable_by_key(|row| positions[*row as usize]);
    }

    /// How many commits.
    pub fn len(&self) -> u32 {
        self.positions.len() as u32
    }

    /// Whether the pack holds no commit.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The ids outside the pack that rows name.
    pub fn outside(&self) -> &[ObjectId] {
        &self.outside
    }

    /// The row of the commit at an index position.
    pub fn row(&self, position: u32) -> Option<u32> {
        let at = self.by_position.binary_search_by_key(&position, |row| self.positions[*row as usize]).ok()?;
        self.by_position.get(at).copied()
    }

    /// The index position of a row's commit.
    ///
    /// # Panics
    ///
    /// As all that follow, if `row` is not below [`CommitTable::len`].
    pub fn position(&self, row: u32) -> u32 {
        self.positions[row as usize]
    }

    /// The committer's date of a row, in seconds since the epoch.
    pub fn date(&self, row: u32) -> u64 {
        self.dates[row as usize]
    }

    /// The tree of a row.
    pub fn tree(&self, row: u32) -> Link {
        self.trees[row as usize]
    }

    /// The parents of a row, in order: rows, or ids outside.
    pub fn parents(&self, row: u32) -> &[Link] {
        &self.parents[range(&self.parent_ends, row)]
    }

    /// What a row adds.
    pub fn added(&self, row: u32) -> impl Iterator<Item = Added> {
        let range = range(&self.added_ends, row);
        self.added[range.clone()].iter().zip(&self.marks[range]).map(|(link, mark)| Added::of(*link, *mark))
    }

    /// What the row's commit reaches, itself too, where that is kept: a bit for each position of the pack. It leads nowhere
    /// outside.
    pub fn checkpoint(&self, row: u32) -> Option<&[u64]> {
        let at = self.checkpoints.binary_search(&row).ok()?;
        let words = self.words();
        self.checkpoint_words.get(at * words..(at + 1) * words)
    }

    /// Words of bits of one checkpoint.
    pub(super) fn words(&self) -> usize {
        (self.objects as usize).div_ceil(64)
    }

    /// The file's content, for the pack with this checksum.
    pub fn to_bytes(&self, pack: &ObjectId) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(pack.as_slice());
        let counts = [self.objects, self.outside.len() as u32, self.len(), self.parents.len() as u32];
        let lists = [self.added.len() as u32, self.checkpoints.len() as u32];
        counts.iter().chain(&lists).for_each(|count| out.extend(count.to_le_bytes()));
        self.outside.iter().for_each(|id| out.extend_from_slice(id.as_slice()));
        self.positions.iter().for_each(|position| out.extend(position.to_le_bytes()));
        self.dates.iter().for_each(|date| out.extend(date.to_le_bytes()));
        self.trees.iter().for_each(|link| out.extend(link.0.to_le_bytes()));
        self.parent_ends.iter().chain(&self.added_ends).for_each(|end| out.extend(end.to_le_bytes()));
        self.parents.iter().chain(&self.added).for_each(|link| out.extend(link.0.to_le_bytes()));
        out.extend_from_slice(&self.marks);
        self.checkpoints.iter().for_each(|row| out.extend(row.to_le_bytes()));
        self.checkpoint_words.iter().for_each(|word| out.extend(word.to_le_bytes()));
        let checksum: [u8; ID_BYTES] = Sha1::digest(&out).into();
        out.extend(checksum);
        out
    }

    /// Reads a file's content. Nothing if it is not whole, or not of the pack with this checksum and so many objects.
    pub fn from_bytes(bytes: &[u8], pack: &ObjectId, objects: u32) -> Option<Self> {
        let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(ID_BYTES)?)?;
        let found: [u8; ID_BYTES] = Sha1::digest(content).into();
        if found != checksum || content.len() < HEAD_BYTES {
            return None;
        }
        let mut input = Input(content);
        if input.take(MAGIC.len())? != MAGIC || input.take(ID_BYTES)? != pack.as_slice() {
            return None;
        }
        let [own, outside, rows, parents, added, checkpoints] = [(); 6].map(|()| input.number());
        let table = Self {
            objects: own.filter(|own| *own == objects && *own < OBJECTS_MAX)?,
            outside: input.ids(outside?)?,
            positions: input.numbers(rows?)?,
            dates: input.words(rows? as usize)?,
            trees: input.links(rows?)?,
            parent_ends: input.numbers(rows?)?,
            added_ends: input.numbers(rows?)?,
            parents: input.links(parents?)?,
            added: input.links(added?)?,
            marks: input.take(added? as usize)?.to_vec(),
            checkpoints: input.numbers(checkpoints?)?,
            checkpoint_words: input.words((checkpoints? as usize).checked_mul((own? as usize).div_ceil(64))?)?,
            by_position: Vec::new(),
        };
        table.is_sound(input.0.is_empty()).then(|| table.finish_as_it_is())
    }

    fn finish_as_it_is(mut self) -> Self {
        self.index();
        self
    }

    /// Whether nothing leads out of the table: its checksum says only that it is what was once written.
    fn is_sound(&self, is_at_end: bool) -> bool {
        let leads = |link: &Link, inside: u32| match link.target() {
            Target::Inside(at) => at < inside,
            Target::Outside(at) => (at as usize) < self.outside.len(),
            Target::Nothing => false,
        };
        let ends = |ends: &[u32], total: usize| {
            ends.is_sorted() && ends.last().map_or(total == 0, |last| *last as usize == total)
        };
        is_at_end
            && ends(&self.parent_ends, self.parents.len())
            && ends(&self.added_ends, self.added.len())
            && self.positions.iter().all(|position| *position < self.objects)
            && self.checkpoints.is_sorted()
            && self.checkpoints.last().is_none_or(|row| *row < self.len())
            && self.trees.iter().all(|link| *link == Link::NOTHING || leads(link, self.objects))
            && self.parents.iter().all(|link| leads(link, self.len()))
            && self.added.iter().all(|link| leads(link, self.objects))
    }
}

fn range(ends: &[u32], row: u32) -> std::ops::Range<usize> {
    let row = row as usize;
    let start = row.checked_sub(1).map_or(0, |before| ends[before]);
    start as usize..ends[row] as usize
}

/// What has not been read yet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn numbers(&mut self, count: u32) -> Option<Vec<u32>> {
        let (words, _) = self.take((count as usize).checked_mul(4)?)?.as_chunks::<4>();
        Some(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    fn links(&mut self, count: u32) -> Option<Vec<Link>> {
        Some(self.numbers(count)?.into_iter().map(Link).collect())
    }

    fn words(&mut self, count: usize) -> Option<Vec<u64>> {
        let (words, _) = self.take(count.checked_mul(8)?)?.as_chunks::<8>();
        Some(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    fn ids(&mut self, count: u32) -> Option<Vec<ObjectId>> {
        let (ids, _) = self.take((count as usize).checked_mul(ID_BYTES)?)?.as_chunks::<ID_BYTES>();
        Some(ids.iter().map(|id| ObjectId::from(*id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from([byte; ID_BYTES])
    }

    fn table() -> CommitTable {
        let mut table = CommitTable::new(9).unwrap();
        let tree = |position, depth| Added { link: Link::inside(position), is_tree: true, depth };
        let blob = |link, depth| Added { link, is_tree: false, depth };
        let rows = [
            (7, 20, Link::inside(1), vec![Link::inside(1)], vec![tree(1, 0), blob(Link::inside(2), 1)]),
            (3, 10, Link::NOTHING, vec![Link::outside(0)], vec![]),
            (5, 15, Link::outside(1), vec![Link::inside(1), Link::inside(0)], vec![blob(Link::outside(1), 200)]),
        ];
        for (position, date, tree, parents, added) in &rows {
            let row = Row { position: *position, date: *date, tree: *tree, parents, added };
            assert!(table.push(row));
        }
        table.finish(vec![id(1), id(2)])
    }

    #[test]
    fn what_is_written_is_read() {
        let table = table();
        let bytes = table.to_bytes(&id(9));
        let read = CommitTable::from_bytes(&bytes, &id(9), 9).unwrap();
        assert_eq!(read, table);
        assert_eq!([3, 5, 7, 4].map(|position| read.row(position)), [Some(1), Some(2), Some(0), None]);
        assert_eq!(read.parents(2), [Link::inside(1), Link::inside(0)]);
        assert_eq!(read.parents(1)[0].target(), Target::Outside(0));
        assert_eq!((read.tree(1).target(), read.tree(2).target()), (Target::Nothing, Target::Outside(1)));
        assert_eq!((read.position(0), read.date(0), read.added(1).count()), (7, 20, 0));
        assert_eq!(read.added(2).next().unwrap().depth, Added::DEPTH_MAX, "that or more");
        assert!(read.added(0).next().unwrap().is_tree);
        assert_eq!(CommitTable::from_bytes(&bytes, &id(8), 9), None, "another pack's");
        assert_eq!(CommitTable::from_bytes(&bytes, &id(9), 8), None, "of another size");
        let empty = CommitTable::new(0).unwrap().finish(Vec::new());
        assert_eq!(CommitTable::from_bytes(&empty.to_bytes(&id(0)), &id(0), 0), Some(empty));
    }

    /// The checksum made right again, so that what lies behind it is looked at.
    fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - ID_BYTES);
        let checksum: [u8; ID_BYTES] = Sha1::digest(&bytes).into();
        bytes.extend(checksum);
        bytes
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_none(at in 0usize..1_000, bit in 0u8..8, cut in 0usize..1_000) {
            let whole = table().to_bytes(&id(9));
            let mut flipped = whole.clone();
            let at = at % whole.len();
            flipped[at] ^= 1 << bit;
            prop_assert!(CommitTable::from_bytes(&flipped, &id(9), 9).is_none());
            prop_assert!(CommitTable::from_bytes(&whole[..cut % whole.len()], &id(9), 9).is_none());
            // With a right checksum: no row leads out of the table.
            if let Some(table) = CommitTable::from_bytes(&resealed(flipped), &id(9), 9) {
                for row in 0..table.len() {
                    let _ = (table.position(row), table.added(row).count(), table.parents(row).len());
                }
            }
        }
    }
}
