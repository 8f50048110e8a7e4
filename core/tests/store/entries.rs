//! Entries that are encoded anew are encoded once, through restarts and consolidations, and whatever becomes of their files, what
//! is sent is right or is not sent: stock Git is the judge.

use crate::upstream::{GO_ON, Upstream, git, git_with_input};
use heliostat_core::{
    ObjectId,
    graph::{Boundary, Graph, Query},
    pack::{Chunk, EmitError, Emitter, Encoding, Framing, Plan, Spool, plan},
    store::{Disk, LocalDisk, MirroredRepository, Retention, Snapshot, Store},
};
use heliostat_testrepo::{Change, Spec};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Some way back: packs hold what is newest whole, and what is older as deltas against what a clone of it does not take.
const HEAD: &str = "refs/heads/main~15";

struct Scene {
    data: tempfile::TempDir,
    upstream: Upstream,
    disk: Arc<FullDisk>,
    /// `None` only while it is opened again.
    store: Option<Store>,
}

/// The machine's disk, on which at times nothing can be written among kept entries.
#[derive(Default)]
struct FullDisk {
    is_full: AtomicBool,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let upstream = Upstream::generated(&Spec { commits: 120, files: 60, ..Spec::small(seed) });
        let data = tempfile::tempdir().unwrap();
        let mut scene = Self { data, upstream, disk: Arc::default(), store: None };
        scene.reopen();
        scene.store.as_ref().unwrap().create("a.git").unwrap();
        scene.sync();
        scene
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open_on(self.disk.clone(), self.data.path(), Retention::default()).unwrap());
    }

    fn mirror(&self) -> Arc<MirroredRepository> {
        self.store.as_ref().unwrap().find("a.git").unwrap()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.mirror().snapshot().unwrap()
    }

    fn sync(&self) {
        self.upstream.sync(&self.mirror(), Instant::now());
    }

    fn head(&self) -> ObjectId {
        ObjectId::from_hex(git(&self.upstream.directory, &["rev-parse", HEAD]).trim().as_bytes()).unwrap()
    }

    /// One commit alone, planned on `snapshot`.
    fn plan(&self, snapshot: &Snapshot) -> Arc<Plan> {
        let head = self.head();
        let boundary = Boundary { shallow: vec![head], unshallow: Vec::new() };
        let query = Query { wants: vec![head], boundary, ..Query::default() };
        let graph = Graph { objects: &snapshot.objects, grafts: &BTreeSet::new(), stop: &GO_ON };
        let selected = graph.select(&query).unwrap();
        let spool =
            Spool { directory: self.data.path().to_owned(), entries: Some(snapshot.entries.clone()), room: None };
        let encoding = Encoding { ofs_delta: true, thin_pack: false };
        Arc::new(plan(&snapshot.objects, &selected, encoding, &spool, &GO_ON).unwrap())
    }

    /// Plans, sends, and has stock Git judge. Gives how many entries were encoded and how many had been kept.
    fn answer(&self) -> (u32, u32) {
        let plan = self.plan(&self.snapshot());
        for _ in 0..2 {
            self.check(&sent(&plan).unwrap());
        }
        (plan.objects - plan.copied - plan.kept, plan.kept)
    }

    /// Stock Git takes it, and it holds what a clone of one commit holds.
    fn check(&self, pack: &[u8]) {
        let expected = git(&self.upstream.directory, &["ls-tree", "-r", "-t", "--format=%(objectname)", HEAD]);
        let mut expected: BTreeSet<_> = expected.lines().map(str::to_owned).collect();
        for more in [HEAD, &format!("{HEAD}^{{tree}}")] {
            expected.insert(git(&self.upstream.directory, &["rev-parse", more]).trim().to_owned());
        }
        let client = self.client();
        git_with_input(client.path(), &["index-pack", "--stdin", "--strict"], pack);
        let held = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
        assert_eq!(git(client.path(), &held).lines().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
    }

    fn client(&self) -> tempfile::TempDir {
        let client = tempfile::tempdir().unwrap();
        git(client.path(), &["init", "--quiet", "--bare"]);
        fs::write(client.path().join("shallow"), format!("{}\n", self.head())).unwrap();
        client
    }

    fn entries(&self) -> PathBuf {
        self.data.path().join("repositories/00000001/entries")
    }

    fn file(&self) -> PathBuf {
        let mut files: Vec<_> = fs::read_dir(self.entries()).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        files.remove(0)
    }
}

fn sent(plan: &Arc<Plan>) -> Result<Vec<u8>, EmitError> {
    let mut emitter = Emitter::new(plan.clone(), Framing::Bare);
    let mut out = Vec::new();
    while let Some(chunk) = emitter.next_chunk()? {
        let (Chunk::Bytes(bytes) | Chunk::Mapped(bytes)) = chunk;
        out.extend_from_slice(bytes);
    }
    Ok(out)
}

#[test]
fn entries_are_encoded_once() {
    let mut scene = Scene::new(1);
    let (encoded, kept) = scene.answer();
    assert!(encoded > 10 && kept == 0, "{encoded} and {kept}");
    assert_eq!(scene.answer(), (0, encoded));
    scene.reopen();
    assert_eq!(scene.answer(), (0, encoded), "after a restart");
    git(scene.mirror().directory(), &["fsck", "--full", "--no-dangling"]);

    // The branch moves, and only what is new is encoded.
    scene.upstream.repository.advance(&[Change::AddCommits { branch: "main".into(), count: 2 }]).unwrap();
    scene.sync();
    let (more, known) = scene.answer();
    assert!(more < encoded / 2 && known > encoded / 2, "{more} and {known} of {encoded}");

    // Other packs, the same objects.
    scene.upstream.repository.advance(&[Change::AddCommits { branch: "other".into(), count: 1 }]).unwrap();
    scene.sync();
    scene.mirror().consolidate_now(&GO_ON).unwrap();
    let (more, known) = scene.answer();
    assert!(known > encoded / 2 && more < encoded / 2, "{more} and {known} after a consolidation");
    assert_eq!(scene.answer().0, 0);
    assert!(scene.mirror().disk_bytes() > fs::metadata(scene.file()).unwrap().len());
}

/// A byte changed anywhere, before the process looks at the file or after: what is planned then is right.
#[test]
fn damage_costs_time_only() {
    let mut scene = Scene::new(2);
    scene.answer();
    let path = scene.file();
    let whole = fs::read(&path).unwrap();
    let mut state = 88_172_645_463_325_252_u64;
    for round in 0..40 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = state as usize % whole.len();
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (round % 8);
        for reopened in [false, true] {
            // Written over, not replaced: who has it open sees it.
            fs::write(&path, &damaged).unwrap();
            if reopened {
                scene.reopen();
            }
            let plan = scene.plan(&scene.snapshot());
            scene.check(&sent(&plan).unwrap());
            assert!(!plan.is_damaged() && plan.kept > 0 || reopened, "byte {at}");
            drop(plan);
            // A new beginning for the next.
            scene.store = None;
            fs::remove_dir_all(scene.entries()).unwrap();
            scene.reopen();
            scene.answer();
            assert_eq!(fs::read(&path).unwrap(), whole, "encoding is a function of what is encoded");
        }
    }
}

/// Changed between the planning and the sending, it is noticed before the trailer; the same when the file is cut.
#[test]
fn damage_behind_a_plan_ends_its_answer() {
    let scene = Scene::new(3);
    scene.answer();
    let path = scene.file();
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut at) = (0, 0);
    while at < whole.len() {
        let plan = scene.plan(&scene.snapshot());
        let knows_the_trailer = at % 2 == 0;
        if knows_the_trailer {
            sent(&plan).unwrap();
        }
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        match sent(&plan) {
            // Heads of records are not sent.
            Ok(pack) => scene.check(&pack),
            Err(error) => {
                assert!(matches!(error, EmitError::Damaged) && plan.is_damaged(), "{error}");
                refused += 1;
            }
        }
        fs::write(&path, &damaged[..at]).unwrap();
        assert!(matches!(sent(&plan), Err(EmitError::Spool(_) | EmitError::Damaged)) && plan.is_damaged());
        fs::write(&path, &whole).unwrap();
        at += whole.len() / 30 + 1;
    }
    assert!(refused > 10, "{refused}");
}

/// The disk is full: answers go on, nothing is kept, and when there is room again, it is.
#[test]
fn a_full_disk_keeps_nothing() {
    let scene = Scene::new(4);
    scene.disk.is_full.store(true, Ordering::SeqCst);
    let (encoded, _) = scene.answer();
    assert_eq!(scene.answer(), (encoded, 0));
    scene.disk.is_full.store(false, Ordering::SeqCst);
    assert_eq!(scene.answer(), (encoded, 0));
    assert_eq!(scene.answer(), (0, encoded));
    fs::remove_dir_all(scene.entries()).unwrap();
    fs::write(scene.entries(), "no folder").unwrap();
    (0..2).for_each(|_| assert_eq!(scene.answer(), (encoded, 0)));
}

/// What is purged is in no file any more, and who plans on a snapshot of before brings nothing back.
#[test]
fn a_purge_takes_them_along() {
    let scene = Scene::new(5);
    let (encoded, _) = scene.answer();
    let (before, held) = (scene.snapshot(), scene.plan(&scene.snapshot()));
    let pack = sent(&held).unwrap();
    scene.mirror().purge_unreachable(&GO_ON).unwrap();
    assert!(!scene.entries().exists() && held.is_outdated());
    let plan = scene.plan(&before);
    assert_eq!(plan.kept, 0);
    scene.check(&sent(&plan).unwrap());
    assert!(!scene.entries().exists());
    assert_eq!(sent(&held).unwrap(), pack, "a reader that was there finishes");
    let (again, kept) = scene.answer();
    assert!(again > 0 && again <= encoded && kept == 0);
    assert_eq!(scene.answer(), (0, again));

    let last = scene.snapshot();
    assert!(scene.store.as_ref().unwrap().remove("a.git").unwrap());
    scene.check(&sent(&scene.plan(&last)).unwrap());
    assert!(!scene.entries().exists());
}

impl Disk for FullDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_dir(path)
    }

    fn create_file(&self, path: &Path) -> io::Result<File> {
        if self.is_full.load(Ordering::SeqCst) && path.to_string_lossy().contains("/entries/") {
            LocalDisk.create_file(path)?;
            // What is written to it fails with ENOSPC.
            return OpenOptions::new().read(true).write(true).open("/dev/full");
        }
        LocalDisk.create_file(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_dir(path)
    }

    fn set_read_only(&self, path: &Path) -> io::Result<()> {
        LocalDisk.set_read_only(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        LocalDisk.symlink(target, link)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove_dir(path)
    }

    fn fresh_number(&self) -> io::Result<u64> {
        LocalDisk.fresh_number()
    }
}
