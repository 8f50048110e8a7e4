//! The references of a repository: loose over packed, symbolic ones resolved, hidden ones set apart.
//!
//! Nothing is locked. Git packs references while we read: it writes the new `packed-refs` whole, renames it into place, and
//! only then removes the files whose content is in it. So files are read before `packed-refs` and never after it: a
//! reference that is there all the time is found in one of the two. What was read is what symbolic references are
//! followed in, too.

use super::{OpenError, Repository, hidden::HiddenRefs};
use crate::{
    ObjectId,
    limits::{PACKED_REFS_BYTES_MAX, REF_NAME_BYTES_MAX, REFERENCE_FILE_BYTES_MAX, SYMREF_DEPTH_MAX},
    objects::{Database, Kind, Number, Reader},
    refs::{Head, PackedRefs, Peeled, Ref, RefName, RefTable},
};
use bstr::{BStr, BString, ByteSlice};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// What is advertised, and what is there but is not.
#[derive(Debug)]
pub struct References {
    /// Advertised references, without the namespace, and `HEAD`.
    pub table: RefTable,
    /// Tips of hidden references.
    pub hidden: Vec<ObjectId>,
    /// What is to be said on standard error of references that are passed over.
    pub complaints: Vec<String>,
}

/// What stands in one reference's file.
#[derive(Clone)]
enum Raw {
    Id(ObjectId),
    Symbolic(BString),
    Missing,
    Broken,
}

/// What stood in files, before `packed-refs` was read.
pub(super) struct Loose {
    head: Raw,
    /// Files below `refs/` that could be references, by name. None of them is [`Raw::Missing`].
    refs: BTreeMap<BString, Raw>,
}

/// A reference that resolves.
struct Resolved {
    id: ObjectId,
    /// The last name of a chain of symbolic references.
    target: Option<BString>,
}

/// Directories of names that each worktree has for itself.
const PER_WORKTREE: [&[u8]; 3] = [b"refs/bisect/", b"refs/rewritten/", b"refs/worktree/"];

impl Repository {
    /// A file that is not there holds nothing.
    fn packed_refs(&self) -> Result<PackedRefs, OpenError> {
        let path = self.refs_dir.join("packed-refs");
        let unreadable = |error| OpenError::Io("packed-refs", error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PackedRefs::default()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut content = Vec::new();
        file.take(PACKED_REFS_BYTES_MAX + 1).read_to_end(&mut content).map_err(unreadable)?;
        if content.len() as u64 > PACKED_REFS_BYTES_MAX {
            return Err(OpenError::Unsupported("packed-refs is larger than this program accepts".into()));
        }
        PackedRefs::parse(content)
            .map_err(|line| OpenError::PackedRefs(line.of(&format!("{}packed-refs", self.shown_refs_dir()))))
    }

    /// Reads all references now. With `objects` tags are peeled; without, only peeled values that `packed-refs` holds are
    /// known. As in stock Git, a file that holds no id is shown with the null id and a reference to a missing object is
    /// shown as it is (so that a clone fails rather than lacks it), and a symbolic reference that leads nowhere is not
    /// shown. Unlike stock Git, malformed names are passed over.
    pub fn references(&self, hidden_refs: &HiddenRefs, objects: Option<&Database>) -> Result<References, OpenError> {
        self.references_over(&self.loose_references(), hidden_refs, objects)
    }

    /// The first half: files.
    pub(super) fn loose_references(&self) -> Loose {
        let head: BString = [self.namespace.as_slice(), b"HEAD"].concat().into();
        Loose { head: self.read_loose(head.as_bstr()), refs: self.list_loose() }
    }

    /// The second half: `packed-refs` under what stood in files.
    pub(super) fn references_over(
        &self,
        loose: &Loose,
        hidden_refs: &HiddenRefs,
        objects: Option<&Database>,
    ) -> Result<References, OpenError> {
        let packed = self.packed_refs()?;
        let mut reading = Reading {
            repository: self,
            loose,
            packed: &packed,
            objects,
            reader: Reader::new(),
            peeled: HashMap::new(),
            hidden_refs,
            refs: Vec::new(),
            hidden: Vec::new(),
            complaints: Vec::new(),
        };
        let mut loose = loose.refs.iter().peekable();
        for (name, id, peeled) in packed.iter() {
            while let Some((before, raw)) = loose.next_if(|(other, _)| other.as_bstr() < name) {
                reading.add(before.as_bstr(), raw.clone(), Peeled::Unknown);
            }
            match loose.next_if(|(other, _)| other.as_bstr() == name) {
                Some((_, raw)) => reading.add(name, raw.clone(), Peeled::Unknown),
                None => reading.add(name, Raw::Id(id), peeled),
            }
        }
        for (name, raw) in loose {
            reading.add(name.as_bstr(), raw.clone(), Peeled::Unknown);
        }
        let (head, head_id) = reading.head();
        let head_peeled = match (&head, head_id) {
            (&Head::Detached(id), _) | (_, Some(id)) => reading.peel(id),
            _ => None,
        };
        Ok(References {
            table: RefTable::new(reading.refs, head).with_hidden_head(head_id).with_head_peeled(head_peeled),
            hidden: reading.hidden,
            complaints: reading.complaints,
        })
    }

    /// Files below `refs/` that could be references, by name.
    fn list_loose(&self) -> BTreeMap<BString, Raw> {
        let mut found = BTreeMap::new();
        let mut pending = vec![BString::from("refs/")];
        while let Some(prefix) = pending.pop() {
            let Ok(entries) = fs::read_dir(self.path_of(prefix.as_bstr())) else { continue };
            for entry in entries.flatten() {
                let file_name = entry.file_name();
                let file_name = file_name.as_bytes();
                let length = prefix.len() + file_name.len();
                if file_name.starts_with(b".") || file_name.ends_with(b".lock") || length >= REF_NAME_BYTES_MAX {
                    continue;
                }
                let mut name = prefix.clone();
                name.extend_from_slice(file_name);
                // Links are followed, as Git does.
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                if metadata.is_dir() {
                    name.push(b'/');
                    pending.push(name);
                } else if metadata.is_file() {
                    match self.read_loose(name.as_bstr()) {
                        // Packed and removed in this very moment.
                        Raw::Missing => {}
                        raw => drop(found.insert(name, raw)),
                    }
                }
            }
        }
        found
    }

    fn path_of(&self, name: &BStr) -> PathBuf {
        let base = if is_own(name) { &self.git_dir } else { &self.refs_dir };
        base.join(OsStr::from_bytes(name))
    }

    fn read_loose(&self, name: &BStr) -> Raw {
        let path = self.path_of(name);
        if let Ok(target) = fs::read_link(&path)
            && target.as_os_str().as_bytes().starts_with(b"refs/")
            && gix_validate::reference::name(target.as_os_str().as_bytes().as_bstr()).is_ok()
        {
            return Raw::Symbolic(target.as_os_str().as_bytes().into());
        }
        let content = match read_reference_file(&path) {
            Ok(content) => content,
            Err(error) => {
                use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
                let missing = matches!(error.kind(), NotFound | IsADirectory | NotADirectory);
                return if missing { Raw::Missing } else { Raw::Broken };
            }
        };
        let content = content.trim_end_with(|c| c.is_ascii_whitespace());
        if let Some(target) = content.strip_prefix(b"ref:") {
            return Raw::Symbolic(target.trim_start().into());
        }
        match content.get(..40).map(ObjectId::from_hex) {
            Some(Ok(id)) if content.get(40).is_none_or(u8::is_ascii_whitespace) => Raw::Id(id),
            _ => Raw::Broken,
        }
    }
}

/// Whether each worktree has a reference of that name for itself.
fn is_own(name: &BStr) -> bool {
    !name.starts_with(b"refs/") || PER_WORKTREE.iter().any(|prefix| name.starts_with(prefix))
}

struct Reading<'a> {
    repository: &'a Repository,
    loose: &'a Loose,
    packed: &'a PackedRefs,
    objects: Option<&'a Database>,
    reader: Reader,
    /// What tags finally lead to, as far as it is known; `None`: nowhere.
    peeled: HashMap<Number, Option<Number>>,
    hidden_refs: &'a HiddenRefs,
    refs: Vec<Ref>,
    hidden: Vec<ObjectId>,
    complaints: Vec<String>,
}

impl Reading<'_> {
    fn read_raw(&self, name: &BStr) -> Raw {
        if let Some(raw) = self.loose.refs.get(name) {
            return raw.clone();
        }
        // What the listing need not cover. Git packs none of these.
        let raw = if is_own(name) { self.repository.read_loose(name) } else { Raw::Missing };
        match raw {
            Raw::Missing => self.packed.find(name).map_or(Raw::Missing, Raw::Id),
            raw => raw,
        }
    }

    /// Follows `raw`, which stands at some name. `Err`: the last name of a chain that ends at a missing reference, or
    /// `None` if it is broken, malformed or too long.
    fn resolve(&self, mut raw: Raw) -> Result<Resolved, Option<BString>> {
        let mut target: Option<BString> = None;
        for _ in 0..SYMREF_DEPTH_MAX {
            match raw {
                Raw::Id(id) if id.is_null() => return Err(None),
                Raw::Id(id) => return Ok(Resolved { id, target }),
                Raw::Missing => return Err(target),
                Raw::Broken => return Err(None),
                Raw::Symbolic(next) => {
                    gix_validate::reference::name_partial(next.as_bstr()).map_err(|_| None)?;
                    raw = self.read_raw(next.as_bstr());
                    target = Some(next);
                }
            }
        }
        match raw {
            Raw::Missing if target.is_some() => Err(target),
            _ => Err(None),
        }
    }

    fn add(&mut self, full: &BStr, raw: Raw, peeled: Peeled) {
        let Some(name) = full.strip_prefix(self.repository.namespace.as_slice()) else { return };
        if !name.starts_with(b"refs/") {
            return;
        }
        let Ok(name) = RefName::new(name) else {
            self.complaints.push(format!("warning: ignoring ref with broken name {full}"));
            return;
        };
        let symbolic = matches!(raw, Raw::Symbolic(_));
        let (id, target) = match self.resolve(raw) {
            Ok(Resolved { id, target }) => (id, target),
            Err(_) if symbolic => return,
            Err(_) => (ObjectId::null(gix_hash::Kind::Sha1), None),
        };
        if self.hidden_refs.hides(name.as_bstr(), full) {
            self.hidden.push(id);
            return;
        }
        let peeled = match peeled {
            Peeled::To(id) => Some(id),
            Peeled::Itself => None,
            Peeled::Unknown => self.peel(id),
        };
        let symbolic = target.and_then(|target| self.without_namespace(target.as_bstr()));
        self.refs.push(Ref { name, id, peeled, symbolic });
    }

    fn without_namespace(&self, full: &BStr) -> Option<RefName> {
        RefName::new(full.strip_prefix(self.repository.namespace.as_slice())?).ok()
    }

    /// `HEAD`, and what it resolves to if the table of what is shown can't tell.
    fn head(&mut self) -> (Head, Option<ObjectId>) {
        let full: BString = [self.repository.namespace.as_slice(), b"HEAD"].concat().into();
        if self.hidden_refs.hides(b"HEAD", &full) {
            return (Head::Absent, None);
        }
        match self.resolve(self.loose.head.clone()) {
            Ok(Resolved { id, target: None }) => (Head::Detached(id), None),
            Ok(Resolved { id, target: Some(target) }) => match self.without_namespace(target.as_bstr()) {
                Some(name) => (Head::Symbolic(name), Some(id)),
                None => (Head::Detached(id), None),
            },
            Err(Some(target)) => (self.without_namespace(target.as_bstr()).map_or(Head::Absent, Head::Symbolic), None),
            Err(None) => (Head::Absent, None),
        }
    }

    /// What an annotated tag finally leads to. Each is read once, however many are tags of it.
    fn peel(&mut self, id: ObjectId) -> Option<ObjectId> {
        let objects = self.objects?;
        let mut tags = Vec::new();
        let mut at = objects.number(&id)?;
        let end = loop {
            if let Some(end) = self.peeled.get(&at) {
                break *end;
            }
            let target = match objects.header(at, &mut self.reader) {
                Ok((Kind::Tag, _)) => self.target(objects, at),
                Ok(_) => break Some(at),
                Err(_) => None,
            };
            tags.push(at);
            // Only on a disk that changed can tags name each other.
            match target.filter(|_| tags.len() <= objects.numbers_end() as usize) {
                Some(target) => at = target,
                None => break None,
            }
        };
        self.peeled.extend(tags.into_iter().map(|tag| (tag, end)));
        end.map(|end| objects.id(end)).filter(|end| *end != id)
    }

    /// What a tag names, if it names something that is here.
    fn target(&mut self, objects: &Database, tag: Number) -> Option<Number> {
        let tag = objects.read(tag, &mut self.reader).ok()?;
        let target = tag.data.strip_prefix(b"object ")?.get(..40)?;
        objects.number(&ObjectId::from_hex(target).ok()?)
    }
}

/// The beginning of a reference's file: as much as can matter.
pub(super) fn read_reference_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(REFERENCE_FILE_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}
