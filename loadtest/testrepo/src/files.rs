//! What stands in the tree: the files of the first commit, and what later commits do to them.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use gix_hash::ObjectId;

use crate::object::{Kind, Mode};
use crate::objects::Objects;
use crate::pack::Lane;
use crate::rng::Rng;
use crate::spec::Spec;
use crate::text;
use crate::tree::{Body, Dir, Leaf};

/// Larger files are stored at once and never changed, so that their content need not be kept.
const CHANGED_BYTES_MAX: usize = 1 << 18;
/// Ordinary files that share a directory, on average.
const FILES_PER_DIRECTORY: u32 = 8;
const NEAR_DUPLICATE_BYTES: usize = 6_000;
/// Of a hundred changes that are no rename: new files, and files that go. The others are edits.
const ADDED_PERCENT: u8 = 10;
const REMOVED_PERCENT: u8 = 4;
const MODE_CHANGED_PERCENT: u8 = 1;
/// And changes that bring back a version of before, so that history holds the same object twice.
const RESTORED_PERCENT: u8 = 1;
/// From how many of the last edits one can be brought back.
const RESTORABLE: usize = 32;
const SUBMODULE_MOVED_PERCENT: u8 = 2;
/// Below what Git walks by default (`core.maxTreeDepth`, 2048), and what recursion here can take.
pub(crate) const DEEP_TREE_LEVELS_MAX: u32 = 1_000;
const ODD_NAMES: [&str; 6] = ["with space", "quote\"d", "tab\there", "-dash", "größe-文件", "semi;colon$(x)"];
const EXTENSIONS: [&str; 8] = ["rs", "rs", "c", "h", "md", "toml", "py", "txt"];

/// One path set, or removed where there is no leaf.
pub(crate) type PathChange = (String, Option<Leaf>);

/// Makes and changes files.
pub(crate) struct Files {
    rng: Rng,
    spec: Spec,
    /// Directories, each with its slash at the end; the root is the empty one.
    directories: Vec<String>,
    named: u64,
    /// Versions that edits replaced lately.
    replaced: VecDeque<(String, Leaf)>,
}

impl Files {
    pub(crate) fn new(spec: &Spec, rng: Rng) -> Self {
        let mut files =
            Files { rng, spec: spec.clone(), directories: vec![String::new()], named: 0, replaced: VecDeque::new() };
        files.lay_out();
        files
    }

    /// Directories for the ordinary files, each under one of those before it, most under early ones.
    fn lay_out(&mut self) {
        let levels = self.spec.dir_levels as usize;
        let wanted = if levels == 0 { 1 } else { 1 + self.spec.files / FILES_PER_DIRECTORY };
        while self.directories.len() < wanted as usize {
            let known = self.directories.len();
            let at = self.rng.below(known).min(self.rng.below(known));
            let parent = &self.directories[at];
            let depth = parent.matches('/').count();
            let parent = if depth >= levels { "" } else { parent };
            let name = format!("{parent}{}-{known}/", text::word(&mut self.rng));
            self.directories.push(name);
        }
    }

    fn new_path(&mut self) -> String {
        self.named += 1;
        let directory = self.rng.pick(&self.directories).clone();
        let extension = *self.rng.pick(&EXTENSIONS);
        // Names that begin alike stand together in a tree; a drawn tail keeps those of two branches apart.
        let tail = self.rng.below(36 * 36 * 36 * 36);
        format!("{directory}{}_{tail:x}_{}.{extension}", text::word(&mut self.rng), self.named)
    }

    fn new_len(&mut self) -> usize {
        let average = self.spec.file_bytes.max(1) as usize;
        match self.rng.below(16) {
            0 => self.rng.between(average, 8 * average),
            1..5 => self.rng.between(average / 2, 3 * average / 2),
            _ => self.rng.between(1, 3 * average / 2),
        }
    }

    fn new_mode(&mut self) -> Mode {
        if self.rng.percent(self.spec.executable_percent) { Mode::Executable } else { Mode::File }
    }

    fn new_file(&mut self, objects: &mut Objects, lane: Lane) -> io::Result<PathChange> {
        let len = self.new_len();
        let content = text::lines(&mut self.rng, len);
        let mode = self.new_mode();
        Ok((self.new_path(), Some(store(objects, mode, content, None, lane)?)))
    }

    /// All of the first commit.
    pub(crate) fn import(&mut self, objects: &mut Objects) -> io::Result<Rc<Dir>> {
        let mut root = Rc::default();
        for _ in 0..self.spec.files {
            let (path, leaf) = self.new_file(objects, Lane::Main)?;
            Dir::set(&mut root, objects, &path, leaf)?;
        }
        self.import_curiosities(objects, &mut root)?;
        Ok(root)
    }

    fn import_curiosities(&mut self, objects: &mut Objects, root: &mut Rc<Dir>) -> io::Result<()> {
        let spec = self.spec.clone();
        let mut add = |objects: &mut Objects, path: String, mode, content: Vec<u8>| -> io::Result<()> {
            let leaf = store(objects, mode, content, None, Lane::Side)?;
            root.set(objects, &path, Some(leaf))
        };
        for n in 0..spec.symlinks {
            let target = match n % 3 {
                0 => "README.md".to_owned(),
                1 => format!("../{}", text::word(&mut self.rng)),
                _ => format!("nowhere/at/all-{n}"),
            };
            add(objects, format!("links/link-{n}"), Mode::Symlink, target.into_bytes())?;
        }
        for n in 0..spec.empty_files {
            add(objects, format!("empty/nothing-{n}.txt"), Mode::File, Vec::new())?;
        }
        for n in 0..spec.large_blobs {
            let content = self.rng.bytes(spec.large_blob_bytes as usize);
            add(objects, format!("assets/large-{n}.bin"), Mode::File, content)?;
        }
        for n in 0..spec.wide_tree_entries {
            // A hundred contents for all of them: one blob under many names.
            let content = format!("{}\n", n % 100).into_bytes();
            add(objects, format!("wide/entry-{n:06}.txt"), Mode::File, content)?;
        }
        for n in 0..spec.odd_names {
            let name = ODD_NAMES[n as usize % ODD_NAMES.len()];
            let content = format!("{name}\n").into_bytes();
            add(objects, format!("odd names/{name}.{n}"), Mode::File, content)?;
        }
        let levels = spec.deep_tree_levels as usize;
        if levels > 0 {
            let path = "deep/".repeat(levels) + "bottom.txt";
            add(objects, path, Mode::File, b"down here\n".to_vec())?;
        }
        self.import_near_duplicates(objects, root)?;
        self.import_submodules(objects, root)
    }

    fn import_near_duplicates(&mut self, objects: &mut Objects, root: &mut Rc<Dir>) -> io::Result<()> {
        let mut last: Option<Leaf> = None;
        for n in 0..self.spec.near_duplicates {
            let mut content = match last.as_ref().and_then(Leaf::content) {
                Some(content) => content.to_vec(),
                None => text::lines(&mut self.rng, NEAR_DUPLICATE_BYTES),
            };
            for _ in 0..3 {
                let at = self.rng.below(content.len());
                content[at] = b'a' + self.rng.below(26) as u8;
            }
            let leaf = store(objects, Mode::File, content, last.as_ref(), Lane::Side)?;
            root.set(objects, &format!("alike/copy-{n:04}.txt"), Some(leaf.clone()))?;
            last = Some(leaf);
        }
        Ok(())
    }

    fn import_submodules(&mut self, objects: &mut Objects, root: &mut Rc<Dir>) -> io::Result<()> {
        let mut text = String::new();
        for n in 0..self.spec.submodules {
            let path = submodule_path(n);
            text.push_str(&format!(
                "[submodule \"{path}\"]\n\tpath = {path}\n\turl = https://example.org/{path}.git\n"
            ));
            let leaf = self.gitlink();
            root.set(objects, &path, Some(leaf))?;
        }
        if text.is_empty() {
            return Ok(());
        }
        let leaf = store(objects, Mode::File, text.into_bytes(), None, Lane::Side)?;
        root.set(objects, ".gitmodules", Some(leaf))
    }

    /// A commit somewhere else.
    fn gitlink(&mut self) -> Leaf {
        Leaf { mode: Mode::Gitlink, id: ObjectId::from_bytes_or_panic(&self.rng.bytes(20)), body: Body::Absent }
    }

    /// What one commit on `root` does; applied to it, and returned so that a merge can apply it elsewhere.
    pub(crate) fn change(
        &mut self,
        objects: &mut Objects,
        root: &mut Rc<Dir>,
        lane: Lane,
    ) -> io::Result<Vec<PathChange>> {
        let before = Rc::clone(root);
        let mut changes = Vec::new();
        let most = 2 * self.spec.changes_per_commit.max(1) as usize - 1;
        for _ in 0..self.rng.between(1, most) {
            let change = self.one_change(objects, &before, &changes, lane)?;
            for (path, leaf) in &change {
                root.set(objects, path, leaf.clone())?;
            }
            changes.extend(change);
        }
        Ok(changes)
    }

    /// A change of `before`. A path that this commit touched already is left alone: the version in between would be
    /// an object that nothing reaches.
    fn one_change(
        &mut self,
        objects: &mut Objects,
        before: &Rc<Dir>,
        touched: &[PathChange],
        lane: Lane,
    ) -> io::Result<Vec<PathChange>> {
        if self.spec.submodules > 0 && self.rng.percent(SUBMODULE_MOVED_PERCENT) {
            let path = submodule_path(self.rng.below(self.spec.submodules as usize) as u32);
            return Ok(vec![(path, Some(self.gitlink()))]);
        }
        let is_touched = |path: &str| touched.iter().any(|(other, _)| other == path);
        if !self.replaced.is_empty() && self.rng.percent(RESTORED_PERCENT) {
            let at = self.rng.below(self.replaced.len());
            let (path, leaf) = self.replaced[at].clone();
            return Ok(if is_touched(&path) { Vec::new() } else { vec![(path, Some(leaf))] });
        }
        let Some((path, leaf)) = before.pick(objects, &mut self.rng)? else {
            return Ok(vec![self.new_file(objects, lane)?]);
        };
        if is_touched(&path) {
            return Ok(Vec::new());
        }
        if self.rng.percent(self.spec.rename_percent) {
            return Ok(vec![(path, None), (self.new_path(), Some(leaf))]);
        }
        const REMOVED: u8 = ADDED_PERCENT + REMOVED_PERCENT;
        const MODE_CHANGED: u8 = REMOVED + MODE_CHANGED_PERCENT;
        match self.rng.below(100) as u8 {
            0..ADDED_PERCENT => Ok(vec![self.new_file(objects, lane)?]),
            ADDED_PERCENT..REMOVED => Ok(vec![(path, None)]),
            REMOVED..MODE_CHANGED => {
                let mode = match leaf.mode {
                    Mode::File => Mode::Executable,
                    _ => Mode::File,
                };
                Ok(vec![(path, Some(Leaf { mode, ..leaf }))])
            }
            _ => Ok(vec![self.edit(objects, path, leaf, lane)?]),
        }
    }

    fn edit(&mut self, objects: &mut Objects, path: String, leaf: Leaf, lane: Lane) -> io::Result<PathChange> {
        let Some(content) = leaf.load(objects)? else {
            return self.new_file(objects, lane);
        };
        let next = text::edited(&mut self.rng, &content);
        let old = Leaf { body: Body::File(content), ..leaf };
        let new = store(objects, old.mode, next, Some(&old), lane)?;
        if self.replaced.len() == RESTORABLE {
            self.replaced.pop_front();
        }
        self.replaced.push_back((path.clone(), old));
        Ok((path, Some(new)))
    }
}

fn submodule_path(n: u32) -> String {
    format!("vendor/module-{n}")
}

/// Stores a file's content; keeps it in memory if it is of a size to be changed again.
fn store(objects: &mut Objects, mode: Mode, content: Vec<u8>, replaces: Option<&Leaf>, lane: Lane) -> io::Result<Leaf> {
    if content.len() > CHANGED_BYTES_MAX {
        let id = objects.put_whole(Kind::Blob, &content)?;
        return Ok(Leaf { mode, id, body: Body::Absent });
    }
    let content: Rc<[u8]> = content.into();
    let replaces = replaces.and_then(|old| Some((&old.id, old.content()?)));
    let id = objects.put(Kind::Blob, &content, replaces, lane)?;
    Ok(Leaf { mode, id, body: Body::File(content) })
}

impl Leaf {
    fn content(&self) -> Option<&[u8]> {
        match &self.body {
            Body::File(content) => Some(content),
            Body::Dir(_) | Body::Absent => None,
        }
    }

    /// The content of a file that may be changed; read where the repository has it from before.
    fn load(&self, objects: &Objects) -> io::Result<Option<Rc<[u8]>>> {
        match &self.body {
            Body::File(content) => Ok(Some(Rc::clone(content))),
            Body::Dir(_) => Ok(None),
            Body::Absent if !objects.had_before(&self.id) => Ok(None),
            Body::Absent => {
                let (_, content) = objects.read(&self.id)?;
                Ok((content.len() <= CHANGED_BYTES_MAX).then(|| content.into()))
            }
        }
    }
}
