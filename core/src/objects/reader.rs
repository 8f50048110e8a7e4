//! Reading one object: inflating, following delta chains, and remembering what the next object is likely to need.

use super::{Database, Kind, Object, Place, ReadError, cache::BaseCache, delta, inflate::Inflate, loose::LooseError};
use crate::{ObjectId, limits, pack::SealedPack};
use gix_pack::data::entry::Header;

/// One caller's scratch space: inflate state, output buffers and a bounded cache of delta bases.
pub struct Reader {
    inflate: Inflate,
    /// The object read last, which `Object` borrows.
    out: Vec<u8>,
    /// Set while `out` holds an entry that may be a base of what is read next.
    out_key: Option<(Key, Kind)>,
    delta: Vec<u8>,
    chain: Vec<Step>,
    cache: BaseCache,
    object_bytes_max: u64,
}

type Key = super::cache::Key;

/// A delta on the way to its base.
struct Step {
    pack: u32,
    key: Key,
    data_offset: u64,
    delta_bytes: u64,
}

/// Why one copy of an object could not be read; another copy may be whole.
enum Failure {
    Corrupt(String),
    TooLarge { bytes: u64, bytes_max: u64 },
    Io(std::io::Error),
}

impl Failure {
    fn of(self, id: ObjectId) -> ReadError {
        match self {
            Self::Corrupt(detail) => ReadError::Corrupt { id, detail },
            Self::TooLarge { bytes, bytes_max } => ReadError::TooLarge { id, bytes, bytes_max },
            Self::Io(error) => ReadError::Io(error),
        }
    }
}

impl From<LooseError> for Failure {
    fn from(error: LooseError) -> Self {
        match error {
            LooseError::Io(error) => Self::Io(error),
            LooseError::Corrupt(detail) => Self::Corrupt(detail.into()),
            LooseError::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
        }
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader with the usual limits.
    pub fn new() -> Self {
        Self::with_limits(limits::READER_CACHE_BYTES_MAX, limits::OBJECT_BYTES_MAX)
    }

    /// A reader that keeps at most `cache_bytes_max` of delta bases and refuses objects over `object_bytes_max`.
    pub fn with_limits(cache_bytes_max: usize, object_bytes_max: u64) -> Self {
        Self {
            inflate: Inflate::new(),
            out: Vec::new(),
            out_key: None,
            delta: Vec::new(),
            chain: Vec::new(),
            cache: BaseCache::new(cache_bytes_max),
            object_bytes_max,
        }
    }

    /// The object at `place`; when that copy is damaged, any other copy that is whole (as stock Git does).
    pub(super) fn read<'r>(
        &'r mut self,
        objects: &Database,
        place: Place,
        id: impl Fn() -> ObjectId,
    ) -> Result<Object<'r>, ReadError> {
        let kind = match self.read_copy(objects, place) {
            Ok(kind) => kind,
            Err(failure) => {
                let id = id();
                let mut others = objects.places(id).filter(|other| *other != place);
                loop {
                    let Some(other) = others.next() else { return Err(failure.of(id)) };
                    if let Ok(kind) = self.read_copy(objects, other) {
                        break kind;
                    }
                }
            }
        };
        Ok(Object { kind, data: &self.out })
    }

    fn read_copy(&mut self, objects: &Database, place: Place) -> Result<Kind, Failure> {
        // What was read before becomes a base in the cache without being copied.
        if let Some((key, kind)) = self.out_key.take() {
            self.cache.insert(key, kind, std::mem::take(&mut self.out));
        }
        match place {
            Place::Loose { directory, position } => {
                let directory = &objects.loose[directory as usize];
                Ok(directory.read(position, self.object_bytes_max, &mut self.inflate, &mut self.out)?)
            }
            Place::Packed { pack, position } => {
                let sealed = &objects.packs()[pack as usize];
                let offset = sealed.offset_at(position);
                let kind = self.resolve(objects, pack, offset)?;
                // Commits and tags are hardly ever bases: they would only push out trees.
                if matches!(kind, Kind::Tree | Kind::Blob) {
                    self.out_key = Some(((sealed.serial(), offset), kind));
                }
                Ok(kind)
            }
        }
    }

    /// Reads the entry at `offset` of a pack into `out`. Iterative: the chain is walked down to a base that is whole or
    /// cached, then the deltas are applied upwards. A cycle of deltas ends at the limit of the chain's length.
    fn resolve(&mut self, objects: &Database, pack: u32, offset: u64) -> Result<Kind, Failure> {
        self.chain.clear();
        let (mut pack, mut offset) = (pack, offset);
        // The base, unless `out` holds it, is the cached entry of this key.
        let (kind, mut cached) = loop {
            let sealed: &SealedPack = &objects.packs()[pack as usize];
            let key = (sealed.serial(), offset);
            if let Some((kind, _)) = self.cache.get(key) {
                break (kind, Some(key));
            }
            let entry = sealed.entry(offset).map_err(Failure::Corrupt)?;
            let base = match entry.header {
                Header::OfsDelta { base_distance } => {
                    let base = entry.checked_base_pack_offset(base_distance);
                    (pack, base.ok_or_else(|| Failure::Corrupt("a delta's base lies before the pack".into()))?)
                }
                Header::RefDelta { base_id } => match objects.base_of(pack, &base_id) {
                    Some(Place::Packed { pack, position }) => {
                        (pack, objects.packs()[pack as usize].offset_at(position))
                    }
                    Some(Place::Loose { directory, position }) => {
                        self.push(pack, key, &entry)?;
                        let directory = &objects.loose[directory as usize];
                        break (
                            directory.read(position, self.object_bytes_max, &mut self.inflate, &mut self.out)?,
                            None,
                        );
                    }
                    None => return Err(Failure::Corrupt(format!("the base {base_id} of a delta is missing"))),
                },
                whole => {
                    let kind = whole.as_kind().ok_or_else(|| Failure::Corrupt("unknown type of entry".into()))?;
                    let input =
                        checked_input(sealed, entry.data_offset, entry.decompressed_size, self.object_bytes_max)?;
                    self.inflate.exact(input, entry.decompressed_size, &mut self.out).map_err(corrupt)?;
                    // Remembered under its own key should it serve as a base below.
                    self.push_base(key);
                    break (kind, None);
                }
            };
            self.push(pack, key, &entry)?;
            (pack, offset) = base;
        };
        self.apply_chain(objects, kind, &mut cached)?;
        Ok(kind)
    }

    /// Notes a delta to apply later.
    fn push(&mut self, pack: u32, key: Key, entry: &gix_pack::data::Entry) -> Result<(), Failure> {
        if self.chain.len() >= limits::DELTA_CHAIN_MAX {
            return Err(Failure::Corrupt("the chain of deltas is too long or a cycle".into()));
        }
        self.chain.push(Step { pack, key, data_offset: entry.data_offset, delta_bytes: entry.decompressed_size });
        Ok(())
    }

    /// Notes the whole entry at the chain's end; it has no delta to apply.
    fn push_base(&mut self, key: Key) {
        self.chain.push(Step { pack: 0, key, data_offset: 0, delta_bytes: 0 });
    }

    fn apply_chain(&mut self, objects: &Database, kind: Kind, cached: &mut Option<Key>) -> Result<(), Failure> {
        // The key of what `out` holds, once it is an entry of a pack.
        let mut out_key = None;
        if let Some(last) = self.chain.last().filter(|step| step.data_offset == 0) {
            out_key = Some(last.key);
            self.chain.pop();
        }
        if let (Some(key), true) = (*cached, self.chain.is_empty()) {
            let (_, data) = self.cache.get(key).ok_or_else(|| Failure::Corrupt("the cache lost an entry".into()))?;
            self.out.clear();
            self.out.extend_from_slice(data);
            return Ok(());
        }
        while let Some(step) = self.chain.pop() {
            let sealed = &objects.packs()[step.pack as usize];
            let input = checked_input(sealed, step.data_offset, step.delta_bytes, self.object_bytes_max)?;
            self.inflate.exact(input, step.delta_bytes, &mut self.delta).map_err(corrupt)?;
            let (_, result_bytes, _) = delta::sizes(&self.delta).map_err(corrupt)?;
            if result_bytes > self.object_bytes_max {
                return Err(Failure::TooLarge { bytes: result_bytes, bytes_max: self.object_bytes_max });
            }
            let mut result = Vec::new();
            match cached.take() {
                Some(key) => {
                    let (_, base) =
                        self.cache.get(key).ok_or_else(|| Failure::Corrupt("the cache lost an entry".into()))?;
                    delta::apply(base, &self.delta, &mut result).map_err(corrupt)?;
                    self.out = result;
                }
                None => {
                    delta::apply(&self.out, &self.delta, &mut result).map_err(corrupt)?;
                    let base = std::mem::replace(&mut self.out, result);
                    if let Some(key) = out_key {
                        self.cache.insert(key, kind, base);
                    }
                }
            }
            out_key = Some(step.key);
        }
        Ok(())
    }

    /// Type and size of the object at `place`, without resolving deltas.
    pub(super) fn header(
        &mut self,
        objects: &Database,
        place: Place,
        id: impl Fn() -> ObjectId,
    ) -> Result<(Kind, u64), ReadError> {
        self.header_of_copy(objects, place).or_else(|failure| {
            let id = id();
            let mut others = objects.places(id).filter(|other| *other != place);
            others.find_map(|other| self.header_of_copy(objects, other).ok()).ok_or(failure.of(id))
        })
    }

    fn header_of_copy(&mut self, objects: &Database, place: Place) -> Result<(Kind, u64), Failure> {
        let (mut pack, mut offset) = match place {
            Place::Loose { directory, position } => {
                return Ok(objects.loose[directory as usize].header(position, &mut self.inflate)?);
            }
            Place::Packed { pack, position } => (pack, objects.packs()[pack as usize].offset_at(position)),
        };
        // Known from the first entry: its own size, or what its delta declares.
        let mut size = None;
        for _ in 0..=limits::DELTA_CHAIN_MAX {
            let sealed = &objects.packs()[pack as usize];
            let entry = sealed.entry(offset).map_err(Failure::Corrupt)?;
            if size.is_none() && entry.header.is_delta() {
                let mut start = [0; 20];
                let input = checked_input(sealed, entry.data_offset, 0, u64::MAX)?;
                let filled = self.inflate.prefix(input, &mut start).map_err(corrupt)?;
                size = Some(delta::sizes(&start[..filled]).map_err(corrupt)?.1);
            }
            match entry.header {
                Header::OfsDelta { base_distance } => {
                    let base = entry.checked_base_pack_offset(base_distance);
                    offset = base.ok_or_else(|| Failure::Corrupt("a delta's base lies before the pack".into()))?;
                }
                Header::RefDelta { base_id } => match objects.base_of(pack, &base_id) {
                    Some(Place::Packed { pack: other, position }) => {
                        (pack, offset) = (other, objects.packs()[other as usize].offset_at(position));
                    }
                    Some(Place::Loose { directory, position }) => {
                        let (kind, own) = objects.loose[directory as usize].header(position, &mut self.inflate)?;
                        return Ok((kind, size.unwrap_or(own)));
                    }
                    None => return Err(Failure::Corrupt(format!("the base {base_id} of a delta is missing"))),
                },
                whole => {
                    let kind = whole.as_kind().ok_or_else(|| Failure::Corrupt("unknown type of entry".into()))?;
                    return Ok((kind, size.unwrap_or(entry.decompressed_size)));
                }
            }
        }
        Err(Failure::Corrupt("the chain of deltas is too long or a cycle".into()))
    }
}

fn corrupt(detail: &'static str) -> Failure {
    Failure::Corrupt(detail.into())
}

/// The compressed bytes of an entry of `size` inflated bytes. A large declaration is believed only as far as the entry's
/// own bytes justify it, so that one damaged byte does not take hundreds of megabytes.
fn checked_input(sealed: &SealedPack, data_offset: u64, size: u64, size_max: u64) -> Result<&[u8], Failure> {
    if size > size_max {
        return Err(Failure::TooLarge { bytes: size, bytes_max: size_max });
    }
    let mut end = sealed.entries_end();
    if size > 1 << 20 {
        let table = sealed.entries().map_err(Failure::Corrupt)?;
        end = table.end_behind(data_offset);
    }
    let range = usize::try_from(data_offset).ok().zip(usize::try_from(end).ok());
    range
        .and_then(|(start, end)| sealed.bytes().get(start..end))
        .ok_or_else(|| Failure::Corrupt("an entry reaches outside the pack".into()))
}
