//! The set of objects: where each lies, by id and by number.

use super::{Commits, Kind, Reader, commits::OfPack, loose::LooseDirectory};
use crate::{ObjectId, oid, pack::SealedPack};
use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

/// An object of one [`Database`]: packs in order, positions of their index in order, then loose objects.
/// An object that several packs hold has the number of its first place only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u32);

/// Where an object's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `Database::packs()[pack]`, at `position` of its index (sorted by id).
    Packed {
        /// Which pack.
        pack: u32,
        /// Position in the pack's index.
        position: u32,
    },
    /// In a loose object file.
    Loose {
        /// Which directory.
        directory: u32,
        /// Position in the directory's sorted listing.
        position: u32,
    },
}

/// Why an object could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The database does not hold it.
    Missing(ObjectId),
    /// Its bytes do not inflate, resolve or parse.
    Corrupt {
        /// The object.
        id: ObjectId,
        /// What is wrong.
        detail: String,
    },
    /// Larger than the reader's limit.
    TooLarge {
        /// The object.
        id: ObjectId,
        /// Its declared size in bytes.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The file could not be read.
    Io(io::Error),
    /// The caller's stop flag was raised.
    Interrupted,
}

/// An immutable set of objects.
pub struct Database {
    packs: Vec<Arc<SealedPack>>,
    pub(super) loose: Vec<LooseDirectory>,
    /// The first number of each pack, then of each loose directory, then the end.
    starts: Vec<u32>,
    commits: OnceLock<Option<Commits>>,
    /// What an earlier database knew of the first packs.
    known: Vec<Arc<OfPack>>,
}

/// An object in memory, borrowed from the [`Reader`].
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Its type.
    pub kind: Kind,
    /// Its inflated content, without header.
    pub data: &'a [u8],
}

impl Database {
    /// A database over `packs`, in that order of preference.
    pub fn new(packs: Vec<Arc<SealedPack>>) -> Self {
        Self::number_all(packs, Vec::new())
    }

    /// The same, taking over what `before` knows of the packs with which both begin.
    pub fn following(packs: Vec<Arc<SealedPack>>, before: &Self) -> Self {
        let same = packs.iter().zip(&before.packs).take_while(|(own, theirs)| Arc::ptr_eq(own, theirs)).count();
        let known = before.commits.get().and_then(Option::as_ref).map(|commits| commits.of_first(same));
        Self { known: known.unwrap_or_default(), ..Self::new(packs) }
    }

    /// A database over `packs` and the loose objects in `directories` (each an `objects` directory), in that order of
    /// preference. The directories are listed now, and never again.
    pub fn with_loose(packs: Vec<Arc<SealedPack>>, directories: &[PathBuf]) -> io::Result<Self> {
        let loose = directories.iter().map(|path| LooseDirectory::list(path)).collect::<io::Result<Vec<_>>>()?;
        Ok(Self::number_all(packs, loose))
    }

    /// Numbers are 32 bits, as positions in a pack are. What would exceed them (four thousand million objects in one
    /// repository) is left out, so that it reads as missing.
    fn number_all(mut packs: Vec<Arc<SealedPack>>, mut loose: Vec<LooseDirectory>) -> Self {
        let mut end = 0u32;
        let mut starts = vec![0];
        let mut fits = |objects: usize| {
            let sum = u32::try_from(objects).ok().and_then(|objects| end.checked_add(objects));
            if let Some(sum) = sum {
                end = sum;
                starts.push(sum);
            }
            sum.is_some()
        };
        packs.retain(|pack| fits(pack.len() as usize));
        loose.retain(|directory| fits(directory.len()));
        Self { packs, loose, starts, commits: OnceLock::new(), known: Vec::new() }
    }

    /// The packs, in order of preference.
    pub fn packs(&self) -> &[Arc<SealedPack>] {
        &self.packs
    }

    /// The tables of its commits, joined at first use; nothing if not all packs have theirs yet, or where there are loose
    /// objects, which have none.
    pub(crate) fn commits(&self) -> Option<&Commits> {
        if self.commits.get().is_none() && (!self.loose.is_empty() || self.packs.iter().any(|p| p.commits().is_none()))
        {
            return None;
        }
        self.commits.get_or_init(|| Commits::of(self, &self.known)).as_ref()
    }

    /// Whether reachability is told from tables; else by walks that read commits and trees.
    pub fn has_commit_tables(&self) -> bool {
        self.commits().is_some()
    }

    /// Numbers are below this; some below it may be unused (duplicates).
    pub fn numbers_end(&self) -> u32 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The object's number, if it is here.
    pub fn number(&self, id: &oid) -> Option<Number> {
        let packed = self.packs.iter().enumerate().find_map(|(at, pack)| Some((at, pack.find(id)?)));
        let found = packed.or_else(|| {
            let mut loose = self.loose.iter().enumerate();
            loose.find_map(|(at, directory)| Some((self.packs.len() + at, directory.find(id)?)))
        });
        found.map(|(source, position)| Number(self.starts[source] + position))
    }

    /// The object's number, or [`ReadError::Missing`].
    pub fn require(&self, id: &oid) -> Result<Number, ReadError> {
        self.number(id).ok_or_else(|| ReadError::Missing(id.to_owned()))
    }

    /// The number of the object at `position` of a pack's index: that of its first place.
    pub fn number_at(&self, pack: u32, position: u32) -> Number {
        let own = Number(self.starts[pack as usize] + position);
        if pack == 0 {
            return own;
        }
        let id = self.packs[pack as usize].id_at(position);
        let earlier = self.packs[..pack as usize].iter().enumerate();
        let mut earlier = earlier.filter_map(|(at, pack)| Some(Number(self.starts[at] + pack.find(&id)?)));
        earlier.next().unwrap_or(own)
    }

    /// The number that `position` of a pack's index would have if no earlier pack held the object.
    pub(crate) fn own_number(&self, pack: u32, position: u32) -> Number {
        Number(self.starts[pack as usize] + position)
    }

    /// The numbers of a pack's objects are below this.
    pub(crate) fn pack_end(&self, pack: u32) -> Number {
        Number(self.starts[pack as usize + 1])
    }

    /// The id of a numbered object.
    ///
    /// # Panics
    ///
    /// If `number` is not below [`Database::numbers_end`].
    pub fn id(&self, number: Number) -> ObjectId {
        match self.place(number) {
            Place::Packed { pack, position } => self.packs[pack as usize].id_at(position),
            Place::Loose { directory, position } => self.loose[directory as usize].id_at(position),
        }
    }

    /// Where a numbered object lies.
    ///
    /// # Panics
    ///
    /// If `number` is not below [`Database::numbers_end`].
    pub fn place(&self, number: Number) -> Place {
        assert!(number.0 < self.numbers_end(), "the number belongs to another database");
        // The last source that starts at or before the number; empty sources before it share its start.
        let source = self.starts.partition_point(|start| *start <= number.0) - 1;
        let position = number.0 - self.starts[source];
        match source.checked_sub(self.packs.len()) {
            None => Place::Packed { pack: source as u32, position },
            Some(directory) => Place::Loose { directory: directory as u32, position },
        }
    }

    /// Type and inflated size in bytes.
    pub fn header(&self, number: Number, reader: &mut Reader) -> Result<(Kind, u64), ReadError> {
        reader.header(self, self.place(number), || self.id(number))
    }

    /// The object, inflated and resolved, into the reader's buffer. A damaged copy is passed over when there is another.
    pub fn read<'r>(&self, number: Number, reader: &'r mut Reader) -> Result<Object<'r>, ReadError> {
        reader.read(self, self.place(number), || self.id(number))
    }

    /// Reads the object and checks that its content has its id.
    pub fn verify(&self, number: Number, reader: &mut Reader) -> Result<(), ReadError> {
        let id = self.id(number);
        self.read(number, reader)?.check(&id)
    }

    /// Every copy of an object.
    pub(super) fn places(&self, id: ObjectId) -> impl Iterator<Item = Place> {
        let packed =
            self.packs.iter().enumerate().filter_map(move |(pack, sealed)| {
                Some(Place::Packed { pack: pack as u32, position: sealed.find(&id)? })
            });
        let loose = self.loose.iter().enumerate().filter_map(move |(directory, listed)| {
            Some(Place::Loose { directory: directory as u32, position: listed.find(&id)? })
        });
        packed.chain(loose)
    }

    /// The base of a ref-delta in `pack`: that in the same pack, as Git would use, or else any.
    pub(super) fn base_of(&self, pack: u32, id: &oid) -> Option<Place> {
        let own = self.packs[pack as usize].find(id).map(|position| Place::Packed { pack, position });
        own.or_else(|| self.places(id.to_owned()).next())
    }
}

impl Object<'_> {
    /// Checks that its content has this id.
    pub(crate) fn check(&self, id: &oid) -> Result<(), ReadError> {
        let corrupt = |detail| ReadError::Corrupt { id: id.to_owned(), detail };
        let found = gix_object::compute_hash(gix_hash::Kind::Sha1, self.kind, self.data);
        let found = found.map_err(|error| corrupt(error.to_string()))?;
        if *found == *id { Ok(()) } else { Err(corrupt(format!("its content has the id {found}"))) }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(id) => write!(f, "object {id} is missing"),
            Self::Corrupt { id, detail } => write!(f, "object {id} is corrupt: {detail}"),
            Self::TooLarge { id, bytes, bytes_max } => {
                write!(f, "object {id} is too large: {bytes} bytes; the limit is {bytes_max}")
            }
            Self::Io(error) => write!(f, "could not read an object: {error}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for ReadError {}
