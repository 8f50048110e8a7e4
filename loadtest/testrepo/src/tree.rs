//! A working tree without files: directories that share what did not change, and become objects when a commit is made.
//!
//! A node that was written knows its id and its bytes. Editing a path makes new nodes along that path alone, each of
//! which remembers the bytes that it came from, so that the trees of a repository become deltas as its files do.

use std::cmp::Ordering;
use std::io;
use std::rc::Rc;

use gix_hash::ObjectId;

use crate::object::{Kind, Mode};
use crate::objects::Objects;
use crate::pack::Lane;
use crate::rng::Rng;

/// How often `pick` looks for a file before it gives up.
const PICK_TRIES: usize = 64;
/// How many of a hundred looks at a file are passed over where directories stand beside it: changes fall deep.
const PASSED_OVER_PERCENT: u8 = 70;

/// A directory.
#[derive(Clone, Default)]
pub(crate) struct Dir {
    entries: Vec<Entry>,
    /// None after an edit.
    written: Option<Written>,
    /// What this was before the edits.
    origin: Option<Written>,
}

#[derive(Clone)]
struct Written {
    id: ObjectId,
    content: Rc<[u8]>,
}

#[derive(Clone)]
struct Entry {
    name: Rc<str>,
    leaf: Leaf,
}

/// What a name stands for.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) mode: Mode,
    /// Of a directory, only right once it is written.
    pub(crate) id: ObjectId,
    pub(crate) body: Body,
}

/// What is in memory of it.
#[derive(Clone)]
pub(crate) enum Body {
    /// Nothing: too large, not a file, or still in the repository.
    Absent,
    File(Rc<[u8]>),
    Dir(Rc<Dir>),
}

/// Git sorts a directory as if its name ended in a slash.
fn order(a: &str, a_is_dir: bool, b: &str, b_is_dir: bool) -> Ordering {
    let end = |is_dir: bool| is_dir.then_some(b'/');
    a.bytes().chain(end(a_is_dir)).cmp(b.bytes().chain(end(b_is_dir)))
}

impl Entry {
    fn is_dir(&self) -> bool {
        self.leaf.mode == Mode::Directory
    }
}

impl Dir {
    /// A directory as the repository holds it, its own directories not yet read.
    pub(crate) fn read(objects: &Objects, id: &ObjectId) -> io::Result<Rc<Dir>> {
        let (_, content) = objects.read(id)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "malformed tree");
        let mut entries = Vec::new();
        let mut rest = &content[..];
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let nul = rest.iter().position(|byte| *byte == 0).ok_or_else(damaged)?;
            let mode = Mode::from_octal(&rest[..space]).ok_or_else(damaged)?;
            let name = rest.get(space + 1..nul).ok_or_else(damaged)?;
            let id = rest.get(nul + 1..nul + 21).ok_or_else(damaged)?;
            entries.push(Entry {
                name: std::str::from_utf8(name).map_err(|_| damaged())?.into(),
                leaf: Leaf { mode, id: ObjectId::from_bytes_or_panic(id), body: Body::Absent },
            });
            rest = &rest[nul + 21..];
        }
        Ok(Rc::new(Dir { entries, written: Some(Written { id: *id, content: content.into() }), origin: None }))
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        let find = |is_dir| self.entries.binary_search_by(|entry| order(&entry.name, entry.is_dir(), name, is_dir));
        find(false).or_else(|_| find(true))
    }

    fn place(&mut self, name: &str, leaf: Leaf) {
        if let Ok(at) = self.position(name) {
            if (self.entries[at].leaf.mode == Mode::Directory) == (leaf.mode == Mode::Directory) {
                self.entries[at].leaf = leaf;
                return;
            }
            self.entries.remove(at);
        }
        let is_dir = leaf.mode == Mode::Directory;
        let at = self.entries.partition_point(|entry| order(&entry.name, entry.is_dir(), name, is_dir).is_lt());
        let name = name.into();
        self.entries.insert(at, Entry { name, leaf });
    }

    /// Sets what stands at `path`, making directories on the way; `None` removes it. Directories that become empty
    /// go when the tree is written.
    pub(crate) fn set(self: &mut Rc<Self>, objects: &Objects, path: &str, leaf: Option<Leaf>) -> io::Result<()> {
        let dir = Rc::make_mut(self);
        if let Some(written) = dir.written.take() {
            dir.origin = Some(written);
        }
        let Some((name, below)) = path.split_once('/') else {
            match (leaf, dir.position(path)) {
                (Some(leaf), _) => dir.place(path, leaf),
                (None, Ok(at)) => drop(dir.entries.remove(at)),
                (None, Err(_)) => {}
            }
            return Ok(());
        };
        let at = match dir.position(name) {
            Ok(at) if dir.entries[at].is_dir() => at,
            _ if leaf.is_none() => return Ok(()),
            _ => {
                let empty = Leaf {
                    mode: Mode::Directory,
                    id: ObjectId::null(gix_hash::Kind::Sha1),
                    body: Body::Dir(Rc::default()),
                };
                dir.place(name, empty);
                dir.position(name).map_err(|_| io::Error::other("a name just placed is gone"))?
            }
        };
        let child = &mut dir.entries[at].leaf;
        if !matches!(child.body, Body::Dir(_)) {
            child.body = Body::Dir(Dir::read(objects, &child.id)?);
        }
        match &mut child.body {
            Body::Dir(child) => child.set(objects, below, leaf),
            Body::File(_) | Body::Absent => Ok(()),
        }
    }

    /// Stores every directory that is not stored yet, the deepest first; returns the id of this one.
    pub(crate) fn write(self: &mut Rc<Self>, objects: &mut Objects, lane: Lane) -> io::Result<ObjectId> {
        self.prune();
        self.store(objects, lane)
    }

    /// Takes out directories without a file, before they can become objects that nothing reaches.
    fn prune(self: &mut Rc<Self>) {
        if self.written.is_some() {
            return;
        }
        Rc::make_mut(self).entries.retain_mut(|entry| match &mut entry.leaf.body {
            Body::Dir(child) => {
                child.prune();
                !child.entries.is_empty()
            }
            Body::File(_) | Body::Absent => true,
        });
    }

    fn store(self: &mut Rc<Self>, objects: &mut Objects, lane: Lane) -> io::Result<ObjectId> {
        if let Some(written) = &self.written {
            return Ok(written.id);
        }
        let dir = Rc::make_mut(self);
        for entry in &mut dir.entries {
            if let Body::Dir(child) = &mut entry.leaf.body {
                entry.leaf.id = child.store(objects, lane)?;
            }
        }
        let content: Rc<[u8]> = dir.encode().into();
        let origin = dir.origin.take();
        let replaces = origin.as_ref().map(|old| (&old.id, &old.content[..]));
        let id = objects.put(Kind::Tree, &content, replaces, lane)?;
        dir.written = Some(Written { id, content });
        Ok(id)
    }

    fn encode(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(self.entries.len() * 40);
        for entry in &self.entries {
            content.extend_from_slice(entry.leaf.mode.octal().as_bytes());
            content.push(b' ');
            content.extend_from_slice(entry.name.as_bytes());
            content.push(0);
            content.extend_from_slice(entry.leaf.id.as_slice());
        }
        content
    }

    /// An ordinary file that chance chose, with its path; deep ones more often. Names that begin with a dot are left
    /// alone: Git reads meaning into them.
    pub(crate) fn pick(self: &Rc<Self>, objects: &Objects, rng: &mut Rng) -> io::Result<Option<(String, Leaf)>> {
        let mut dir = Rc::clone(self);
        let mut path = String::new();
        for _ in 0..PICK_TRIES {
            if dir.entries.is_empty() {
                return Ok(None);
            }
            let entry = rng.pick(&dir.entries);
            if entry.name.starts_with('.') {
                continue;
            }
            if let Some(child) = entry.leaf.directory(objects)? {
                path = format!("{path}{}/", entry.name);
                dir = child;
                continue;
            }
            let is_file = matches!(entry.leaf.mode, Mode::File | Mode::Executable);
            let beside_dirs = dir.entries.iter().any(Entry::is_dir);
            if is_file && !(beside_dirs && rng.percent(PASSED_OVER_PERCENT)) {
                return Ok(Some((format!("{path}{}", entry.name), entry.leaf.clone())));
            }
        }
        Ok(None)
    }
}

impl Leaf {
    /// The directory that this is, if it is one.
    fn directory(&self, objects: &Objects) -> io::Result<Option<Rc<Dir>>> {
        match &self.body {
            Body::Dir(dir) => Ok(Some(Rc::clone(dir))),
            _ if self.mode == Mode::Directory => Dir::read(objects, &self.id).map(Some),
            _ => Ok(None),
        }
    }
}
