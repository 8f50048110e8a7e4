//! One answer of ours beside stock Git's for the same request.

use super::{git, git_with, id, try_git};
use heliostat_core::{
    ObjectId,
    graph::{Graph, Query, Selected, commit_table},
    objects::Database,
    pack::{Chunk, CommitTable, Emitter, Encoding, Framing, Plan, Spool, plan},
    store::{EntryCache, LocalDisk},
};
use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// A repository to ask, with a folder for clients.
pub struct Served {
    pub repository: PathBuf,
    pub objects: Database,
    pub grafts: BTreeSet<ObjectId>,
    /// Where entries are kept that were encoded anew: for all answers, as in a mirrored repository.
    pub entries: Option<Arc<EntryCache>>,
    pub folder: tempfile::TempDir,
    clients: RefCell<Clients>,
}

/// The objects of clients by their haves and shallow commits.
type Clients = HashMap<(Vec<ObjectId>, BTreeSet<ObjectId>), PathBuf>;

/// What we would send.
pub struct Answer {
    pub ids: BTreeSet<ObjectId>,
    pub had: usize,
    /// Whether the checksum was known before anything was sent.
    pub known_before: bool,
    pub plan: Arc<Plan>,
    pub pack: Vec<u8>,
}

impl Served {
    /// Serves a bare repository that was made in `folder`.
    pub fn new(folder: tempfile::TempDir, repository: PathBuf) -> Self {
        let objects = super::database(&repository);
        let grafts = std::fs::read_to_string(repository.join("shallow")).unwrap_or_default();
        let grafts = grafts.lines().map(id).collect();
        Self::of(folder, repository, objects, grafts)
    }

    fn of(folder: tempfile::TempDir, repository: PathBuf, objects: Database, grafts: BTreeSet<ObjectId>) -> Self {
        let entries = EntryCache::open(Arc::new(LocalDisk), folder.path().join("entries"));
        Self { repository, objects, grafts, entries: Some(Arc::new(entries)), folder, clients: RefCell::default() }
    }

    /// The same, answered from tables of commits: everything is packed, some of it twice, and each pack has its table.
    pub fn with_tables(folder: tempfile::TempDir, repository: PathBuf) -> Self {
        git(&repository, &["repack", "-dq"]);
        let listing = git(&repository, &["rev-list", "--objects", "--no-object-names", "main~3"]);
        git_with(&repository, &["pack-objects", "-q", "objects/pack/pack"], listing.as_bytes());
        let objects = Database::new(super::packs(&repository.join("objects")));
        for (at, pack) in objects.packs().iter().enumerate() {
            let table = commit_table(&objects, at as u32, &AtomicBool::new(false)).unwrap().expect("a table");
            // So near to each other that walks meet them.
            let table = table.with_checkpoints(7);
            let read = CommitTable::from_bytes(&table.to_bytes(&pack.checksum()), &pack.checksum(), pack.len());
            pack.set_commits(Some(read.expect("what was written")));
        }
        assert!(objects.has_commit_tables());
        Self::of(folder, repository, objects, BTreeSet::new())
    }

    pub fn git(&self, args: &[&str]) -> String {
        git(&self.repository, args)
    }

    pub fn selected(&self, query: &Query) -> Selected {
        let stop = AtomicBool::new(false);
        let graph = Graph { objects: &self.objects, grafts: &self.grafts, stop: &stop };
        graph.select(query).unwrap_or_else(|e| panic!("{query:?}: {e}"))
    }

    pub fn plan(&self, query: &Query, encoding: Encoding) -> Arc<Plan> {
        self.plan_of(&self.selected(query), encoding)
    }

    fn plan_of(&self, selected: &Selected, encoding: Encoding) -> Arc<Plan> {
        let spool = Spool { directory: self.folder.path().to_owned(), entries: self.entries.clone(), room: None };
        Arc::new(plan(&self.objects, selected, encoding, &spool, &AtomicBool::new(false)).unwrap())
    }

    pub fn answer(&self, query: &Query, encoding: Encoding) -> Answer {
        let selected = self.selected(query);
        let plan = self.plan_of(&selected, encoding);
        let known_before = plan.trailer.get().is_some();
        let pack = emit(&plan, Framing::Bare);
        assert_eq!(pack.len() as u64, plan.bytes);
        Answer {
            ids: selected.objects.iter().map(|number| self.objects.id(*number)).collect(),
            had: selected.had.len(),
            known_before,
            plan,
            pack,
        }
    }

    /// The objects that `git pack-objects` sends for `query`, as upload-pack calls it.
    pub fn stock(&self, query: &Query, thin: bool) -> BTreeSet<ObjectId> {
        let shallow: BTreeSet<_> =
            query.client_shallow.iter().chain(&query.boundary.shallow).chain(&self.grafts).collect();
        let mut input = String::new();
        let mut args = Vec::new();
        if !shallow.is_empty() {
            args.extend(["--shallow-file", ""]);
            shallow.iter().for_each(|id| input += &format!("--shallow {id}\n"));
        }
        args.extend(["pack-objects", "-q", "--revs", "--stdout"]);
        if !shallow.is_empty() {
            args.push("--shallow");
        }
        if thin {
            args.push("--thin");
        }
        let filter = query.filter.as_ref().map(|filter| format!("--filter={filter}"));
        args.extend(filter.as_deref());
        if !query.include_tags.is_empty() {
            args.push("--include-tag");
        }
        let mut wants = query.wants.clone();
        for id in &query.boundary.unshallow {
            let parents = self.git(&["rev-list", "--parents", "--no-walk", &id.to_string()]);
            wants.extend(parents.split(' ').skip(1).map(super::id));
        }
        wants.iter().for_each(|id| input += &format!("{id}\n"));
        input += "--not\n";
        query.haves.iter().chain(&query.boundary.unshallow).for_each(|id| input += &format!("{id}\n"));
        let pack = git_with(&self.repository, &args, input.as_bytes());
        if thin { BTreeSet::new() } else { ids_of(self.folder.path(), &pack) }
    }

    /// Everything that `ids` reach, by `git rev-list`.
    pub fn closure<'i>(&self, ids: impl IntoIterator<Item = &'i ObjectId>) -> BTreeSet<ObjectId> {
        let input: String = ids.into_iter().map(|id| format!("{id}\n")).collect();
        let listing =
            git_with(&self.repository, &["rev-list", "--objects", "--no-object-names", "--stdin"], input.as_bytes());
        String::from_utf8(listing).unwrap().lines().map(id).collect()
    }

    /// The objects of a client that has what `haves` reach; made once for each set of haves.
    fn client_objects(&self, haves: &[ObjectId], shallow: &BTreeSet<ObjectId>) -> PathBuf {
        let key = (haves.to_vec(), shallow.clone());
        if let Some(client) = self.clients.borrow().get(&key) {
            return client.clone();
        }
        let client = tempfile::TempDir::new_in(self.folder.path()).unwrap().keep();
        bare(&client, "");
        if !haves.is_empty() {
            let query = Query { wants: haves.to_vec(), client_shallow: shallow.clone(), ..Query::default() };
            let answer = self.answer(&query, Encoding { ofs_delta: true, thin_pack: false });
            git_with(&client, &["index-pack", "--stdin"], &answer.pack);
        }
        let objects = client.join("objects");
        self.clients.borrow_mut().insert(key, objects.clone());
        objects
    }

    /// Checks an answer of ours against the client that asked: accepted, complete, and no object too few or too many.
    pub fn check(&self, query: &Query, encoding: Encoding) -> Answer {
        let answer = self.answer(query, encoding);
        let client = tempfile::TempDir::new_in(self.folder.path()).unwrap();
        let borrowed = self.client_objects(&query.haves, &query.client_shallow);
        bare(client.path(), &format!("{}\n", borrowed.display()));
        let client = client.path();
        let mut shallow: BTreeSet<_> = query.client_shallow.iter().chain(&query.boundary.shallow).copied().collect();
        query.boundary.unshallow.iter().for_each(|id| _ = shallow.remove(id));
        shallow.extend(&self.grafts);
        let lines: String = shallow.iter().map(|id| format!("{id}\n")).collect();
        if !lines.is_empty() {
            std::fs::write(client.join("shallow"), lines).unwrap();
        }
        let mut args = vec!["index-pack", "--stdin"];
        if query.filter.is_none() {
            args.push("--strict");
        }
        if encoding.thin_pack {
            args.push("--fix-thin");
        }
        let context = || format!("{query:?} {encoding:?} of {}", self.repository.display());
        let (ok, _, errors) = try_git(client, &args, &answer.pack);
        assert!(ok, "{errors} for {}", context());
        if !encoding.thin_pack {
            assert_eq!(ids_of(self.folder.path(), &answer.pack), answer.ids, "{}", context());
        }
        answer
    }
}

/// An empty bare repository that borrows objects.
fn bare(directory: &Path, alternates: &str) {
    for folder in ["objects/info", "refs"] {
        std::fs::create_dir_all(directory.join(folder)).unwrap();
    }
    std::fs::write(directory.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    std::fs::write(directory.join("objects/info/alternates"), alternates).unwrap();
}

/// The whole answer, as pieces that keep the emitter's promises.
pub fn emit(plan: &Arc<Plan>, framing: Framing) -> Vec<u8> {
    let mut emitter = Emitter::new(plan.clone(), framing);
    let mut out = Vec::new();
    while let Some(chunk) = emitter.next_chunk().unwrap() {
        let (Chunk::Bytes(bytes) | Chunk::Mapped(bytes)) = chunk;
        assert!(!bytes.is_empty() && bytes.len() <= framing.payload_max() + 5);
        out.extend_from_slice(bytes);
    }
    assert!(emitter.next_chunk().unwrap().is_none());
    out
}

/// The ids of the objects in a whole pack, by `git index-pack` and `git show-index`.
pub fn ids_of(folder: &Path, pack: &[u8]) -> BTreeSet<ObjectId> {
    let directory = tempfile::TempDir::new_in(folder).unwrap();
    std::fs::write(directory.path().join("a.pack"), pack).unwrap();
    git(directory.path(), &["index-pack", "--object-format=sha1", "a.pack"]);
    let index = std::fs::read(directory.path().join("a.idx")).unwrap();
    let listing = git_with(directory.path(), &["show-index", "--object-format=sha1"], &index);
    let listing = String::from_utf8(listing).unwrap();
    listing.lines().map(|line| id(line.split(' ').nth(1).unwrap())).collect()
}
