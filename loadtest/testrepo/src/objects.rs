//! Where made objects go: into the pack that is being collected or to loose files, each object once.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gix_hash::ObjectId;

use crate::deflate::Deflater;
use crate::loose;
use crate::object::{Kind, id_of};
use crate::pack::{Lane, PackBuilder, PackForm, Predecessor};
use crate::read::Reader;

/// A map's hash of an object id is the id itself: it is a hash already.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*head);
        }
    }

    fn write_usize(&mut self, _length_prefix: usize) {}
}

/// All objects of the repository that is being made.
pub(crate) struct Objects {
    git_dir: PathBuf,
    form: PackForm,
    sink: Sink,
    /// Every object made so far, numbered in the order of making.
    known: HashMap<ObjectId, u32, BuildHasherDefault<IdHasher>>,
    /// Number of the first object of the pack that is being collected.
    pack_first: u32,
    /// What the repository held before.
    before: Option<Reader>,
}

enum Sink {
    Closed,
    Loose(Deflater),
    Pack(PackBuilder),
}

impl Objects {
    /// For a repository at `git_dir`, whose folders exist, and which holds `before` already.
    pub(crate) fn new(git_dir: &Path, form: PackForm, before: Option<Reader>) -> Self {
        Objects {
            git_dir: git_dir.to_owned(),
            form,
            sink: Sink::Closed,
            known: HashMap::default(),
            pack_first: 0,
            before,
        }
    }

    /// How many objects were made.
    pub(crate) fn made(&self) -> u64 {
        self.known.len() as u64
    }

    fn pack_dir(&self) -> PathBuf {
        self.git_dir.join("objects/pack")
    }

    /// From here on into a new pack.
    pub(crate) fn start_pack(&mut self) -> io::Result<()> {
        self.finish()?;
        self.pack_first = self.known.len() as u32;
        self.sink = Sink::Pack(PackBuilder::new(&self.pack_dir(), self.form)?);
        Ok(())
    }

    /// From here on loose.
    pub(crate) fn start_loose(&mut self) -> io::Result<()> {
        self.finish()?;
        self.pack_first = self.known.len() as u32;
        self.sink = Sink::Loose(Deflater::new(self.form.compression.into()));
        Ok(())
    }

    /// Completes the pack that is being collected, if one is.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Sink::Pack(builder) = std::mem::replace(&mut self.sink, Sink::Closed) {
            let packed = builder.finish(&self.pack_dir())?;
            debug_assert_eq!(packed, self.made() - u64::from(self.pack_first));
        }
        Ok(())
    }

    /// Stores an object; `replaces` is the version it was made from, with its content.
    pub(crate) fn put(
        &mut self,
        kind: Kind,
        content: &Rc<[u8]>,
        replaces: Option<(&ObjectId, &[u8])>,
        lane: Lane,
    ) -> io::Result<ObjectId> {
        let id = id_of(kind, content);
        if self.has(&id) {
            return Ok(id);
        }
        let replaces = replaces.and_then(|(id, content)| {
            let number = *self.known.get(id)?;
            let index = number.checked_sub(self.pack_first)?;
            Some(Predecessor { index, content })
        });
        self.known.insert(id, self.known.len() as u32);
        match &mut self.sink {
            Sink::Pack(builder) => {
                builder.put(id, kind, content, replaces, lane)?;
            }
            Sink::Loose(deflater) => loose::write_with(deflater, &self.git_dir, id, kind, content)?,
            Sink::Closed => return Err(io::Error::other("no pack was started")),
        }
        Ok(id)
    }

    /// Stores an object that nothing will be made from: commits, tags, and what is too large to keep.
    pub(crate) fn put_whole(&mut self, kind: Kind, content: &[u8]) -> io::Result<ObjectId> {
        let id = id_of(kind, content);
        if self.has(&id) {
            return Ok(id);
        }
        self.known.insert(id, self.known.len() as u32);
        match &mut self.sink {
            Sink::Pack(builder) => builder.put_whole(id, kind, content)?,
            Sink::Loose(deflater) => loose::write_with(deflater, &self.git_dir, id, kind, content)?,
            Sink::Closed => return Err(io::Error::other("no pack was started")),
        }
        Ok(id)
    }

    /// Whether the repository holds this object, or will.
    pub(crate) fn has(&self, id: &ObjectId) -> bool {
        self.known.contains_key(id) || self.had_before(id)
    }

    /// Whether the repository held this object before.
    pub(crate) fn had_before(&self, id: &ObjectId) -> bool {
        self.before.as_ref().is_some_and(|before| before.contains(id))
    }

    /// Reads what the repository held before.
    pub(crate) fn read(&self, id: &ObjectId) -> io::Result<(Kind, Vec<u8>)> {
        match &self.before {
            Some(before) => before.read(id),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("no object {id} to read"))),
        }
    }

    /// What an annotated tag that the repository held before leads to; none for other objects.
    pub(crate) fn peel(&self, id: &ObjectId) -> io::Result<Option<ObjectId>> {
        match &self.before {
            Some(before) if before.contains(id) => before.peel(id),
            _ => Ok(None),
        }
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // Left by an error on the way; a finished pack has renamed or removed them.
        if matches!(self.sink, Sink::Pack(_)) {
            for name in ["tmp_spill", "tmp_pack", "tmp_idx"] {
                let _ = fs::remove_file(self.pack_dir().join(name));
            }
        }
    }
}
