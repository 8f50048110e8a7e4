//! The commits of a database as tables: what [`CommitTable`]s say of each pack, joined.
//!
//! A commit has a [`Row`] here, so that a walk over history goes from row to row and looks nothing up. An object that
//! several packs hold has one number, and a commit one row: those of its first place.

use super::{Database, Number, NumberSet};
use crate::{
    ObjectId,
    pack::{CommitTable, Link, SealedPack, Target},
};
use std::sync::Arc;

/// A commit of one [`Commits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pack: u32,
    row: u32,
}

/// An object that a commit adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddedObject {
    pub(crate) number: Number,
    pub(crate) is_tree: bool,
    /// See [`crate::pack::Added`].
    pub(crate) depth: u8,
}

/// The tables of all packs of one database.
pub(crate) struct Commits {
    packs: Vec<Arc<OfPack>>,
    numbers_end: u32,
}

/// One pack's table, and what its links are in a database.
pub(super) struct OfPack {
    table: Arc<CommitTable>,
    start: u32,
    /// For each id outside: its number, and its row if it is a commit.
    outside: Vec<(Number, Option<Row>)>,
    /// Positions of objects that an earlier pack holds, ascending, with their numbers there.
    doubles: Vec<(u32, Number)>,
}

impl Commits {
    /// Joins the packs' tables. Nothing, if a pack has none or names what no pack holds. `known` is what is known of the first
    /// packs already ([`Commits::of_first`]).
    pub(super) fn of(objects: &Database, known: &[Arc<OfPack>]) -> Option<Self> {
        let tables = objects.packs().iter().map(|pack| pack.commits().cloned()).collect::<Option<Vec<_>>>()?;
        let start = |at: usize| objects.own_number(at as u32, 0).0;
        let row_of = |number: Number| {
            let pack = (0..tables.len()).rfind(|at| start(*at) <= number.0)?;
            let row = tables[pack].row(number.0 - start(pack))?;
            Some(Row { pack: pack as u32, row })
        };
        let mut packs = known.to_vec();
        for (at, table) in tables.iter().enumerate().skip(known.len()) {
            let number = |id: &ObjectId| objects.number(id).map(|number| (number, row_of(number)));
            packs.push(Arc::new(OfPack {
                table: table.clone(),
                start: start(at),
                outside: table.outside().iter().map(number).collect::<Option<_>>()?,
                doubles: doubles(objects, at, &objects.packs()[at]),
            }));
        }
        let commits = Self { packs, numbers_end: objects.numbers_end() };
        commits.packs.iter().all(|pack| pack.names_parents()).then_some(commits)
    }

    /// What of this holds in any database that begins with the first `count` packs of this one.
    pub(super) fn of_first(&self, count: usize) -> Vec<Arc<OfPack>> {
        let end = self.packs.get(count).map_or(self.numbers_end, |next| next.start);
        let stays = |pack: &&Arc<OfPack>| pack.outside.iter().all(|(number, _)| number.0 < end);
        self.packs.iter().take(count).take_while(stays).cloned().collect()
    }

    /// The row of a commit; nothing if the number is none.
    pub(crate) fn row(&self, number: Number) -> Option<Row> {
        let pack = self.packs.partition_point(|pack| pack.start <= number.0).checked_sub(1)?;
        let of_pack = self.packs.get(pack)?;
        let row = of_pack.table.row(number.0 - of_pack.start)?;
        Some(Row { pack: pack as u32, row })
    }

    /// The number of a row's commit.
    pub(crate) fn number(&self, row: Row) -> Number {
        let pack = self.pack(row);
        Number(pack.start + pack.table.position(row.row))
    }

    /// The committer's date, in seconds since the epoch.
    pub(crate) fn date(&self, row: Row) -> u64 {
        self.pack(row).table.date(row.row)
    }

    /// The commit's tree; nothing if it is the empty one and not stored.
    pub(crate) fn tree(&self, row: Row) -> Option<Number> {
        let pack = self.pack(row);
        pack.number(pack.table.tree(row.row))
    }

    /// The commit's parents, in order.
    pub(crate) fn parents(&self, row: Row) -> impl Iterator<Item = Row> {
        let pack = self.pack(row);
        pack.table.parents(row.row).iter().filter_map(move |link| match link.target() {
            Target::Inside(parent) => Some(self.first_place(Row { pack: row.pack, row: parent })),
            Target::Outside(at) => pack.outside.get(at as usize)?.1,
            Target::Nothing => None,
        })
    }

    /// What the commit adds against its parents.
    pub(crate) fn added(&self, row: Row) -> impl Iterator<Item = AddedObject> {
        let pack = self.pack(row);
        pack.table.added(row.row).filter_map(move |added| {
            Some(AddedObject { number: pack.number(added.link)?, is_tree: added.is_tree, depth: added.depth })
        })
    }

    /// Visits the commits that `starts` reach, each once, and those only that were not in `met`, where they are put. The
    /// parents of a commit for which `visit` says so are not followed; it may put more into `met`.
    pub(crate) fn walk<E>(
        &self,
        starts: impl IntoIterator<Item = Row>,
        met: &mut NumberSet,
        mut visit: impl FnMut(Row, Number, &mut NumberSet) -> Result<Follow, E>,
    ) -> Result<(), E> {
        let mut stack: Vec<Row> = Vec::new();
        for start in starts {
            if met.insert(self.number(start)) {
                stack.push(start);
            }
            while let Some(row) = stack.pop() {
                if visit(row, self.number(row), met)? == Follow::Parents {
                    stack.extend(self.parents(row).filter(|parent| met.insert(self.number(*parent))));
                }
            }
        }
        Ok(())
    }

    /// What a row's commit reaches, itself too, where that is kept: bits for the numbers from the first on.
    pub(crate) fn checkpoint(&self, row: Row) -> Option<(u32, &[u64])> {
        let pack = self.pack(row);
        // The numbers of what an earlier pack holds too are others.
        let bits = pack.table.checkpoint(row.row).filter(|_| pack.doubles.is_empty())?;
        Some((pack.start, bits))
    }

    /// An empty set that holds any of the numbers here.
    pub(crate) fn empty_set(&self) -> NumberSet {
        NumberSet::new(self.numbers_end)
    }

    fn pack(&self, row: Row) -> &OfPack {
        &self.packs[row.pack as usize]
    }

    /// The same commit where its number says that it is.
    fn first_place(&self, row: Row) -> Row {
        let pack = self.pack(row);
        if pack.doubles.is_empty() {
            return row;
        }
        pack.double(pack.table.position(row.row)).and_then(|number| self.row(number)).unwrap_or(row)
    }
}

/// Whether a walk goes on behind a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    Parents,
    Nothing,
}

impl OfPack {
    /// Whether each parent that lies outside is a commit there: else history would end at it.
    fn names_parents(&self) -> bool {
        let is_commit = |link: &Link| match link.target() {
            Target::Outside(at) => self.outside.get(at as usize).is_some_and(|(_, row)| row.is_some()),
            _ => true,
        };
        (0..self.table.len()).all(|row| self.table.parents(row).iter().all(is_commit))
    }

    fn double(&self, position: u32) -> Option<Number> {
        let at = self.doubles.binary_search_by_key(&position, |(position, _)| *position).ok()?;
        self.doubles.get(at).map(|(_, number)| *number)
    }

    fn number(&self, link: Link) -> Option<Number> {
        match link.target() {
            Target::Inside(position) if self.doubles.is_empty() => Some(Number(self.start + position)),
            Target::Inside(position) => Some(self.double(position).unwrap_or(Number(self.start + position))),
            Target::Outside(at) => self.outside.get(at as usize).map(|(number, _)| *number),
            Target::Nothing => None,
        }
    }
}

/// What of a pack lies in an earlier one too. Both indexes are sorted by id, so that a large pack is merged with, and not
/// searched for each object.
fn doubles(objects: &Database, at: usize, pack: &SealedPack) -> Vec<(u32, Number)> {
    let mut doubles = Vec::new();
    for (earlier, other) in objects.packs()[..at].iter().enumerate() {
        let mut found = |position, other| doubles.push((position, objects.own_number(earlier as u32, other)));
        if u64::from(pack.len()) * 16 < u64::from(other.len()) {
            for position in 0..pack.len() {
                other.find(&pack.id_at(position)).into_iter().for_each(|theirs| found(position, theirs));
            }
            continue;
        }
        if u64::from(other.len()) * 16 < u64::from(pack.len()) {
            for theirs in 0..other.len() {
                pack.find(&other.id_at(theirs)).into_iter().for_each(|position| found(position, theirs));
            }
            continue;
        }
        let (mut own, mut theirs) = (0, 0);
        while own < pack.len() && theirs < other.len() {
            match pack.id_at(own).cmp(&other.id_at(theirs)) {
                std::cmp::Ordering::Less => own += 1,
                std::cmp::Ordering::Greater => theirs += 1,
                std::cmp::Ordering::Equal => {
                    found(own, theirs);
                    (own, theirs) = (own + 1, theirs + 1);
                }
            }
        }
    }
    // Of several earlier packs the first counts: numbers rise with them.
    doubles.sort_unstable();
    doubles.dedup_by_key(|(position, _)| *position);
    doubles
}
