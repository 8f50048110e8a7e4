//! A crash at every operation, with every loss that the missing syncs allow: the old generation or the new one, whole.

use crate::{
    recorder::{Op, Recorder, copy_tree, losses, replay, scratch},
    upstream::{GO_ON, Upstream, check_published},
};
use heliostat_core::{
    graph::{Graph, Query},
    store::{MirroredRepository, Retention, Snapshot, Store, StoreError},
};
use heliostat_testrepo::{Change, Spec};
use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const RETENTION: Retention = Retention { generations: 2, grace: Duration::from_secs(60) };
/// Losses of one operation alone that are tried at each crash.
const EACH_MAX: usize = 4;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// An upstream, a data directory that mirrors its first state, and the upstream's second state.
struct Scene {
    base: tempfile::TempDir,
    upstream: Upstream,
    /// Digests of the references before and after.
    states: [[u8; 32]; 2],
}

impl Scene {
    fn new(seed: u64) -> Self {
        let base = scratch();
        let mut upstream = Upstream::generated(&Spec { commits: 12, ..Spec::small(seed) });
        let store = Store::open(base.path(), RETENTION).unwrap();
        let mirror = store.create("a.git").unwrap();
        let first = upstream.sync(&mirror, Instant::now());
        upstream.repository.advance(&[Change::ForcePush { branch: "main".into(), count: 2 }]).unwrap();
        let states = [*first.refs.digest(), *upstream.refs().digest()];
        Self { base, upstream, states }
    }

    /// Opens what is in `data` and demands a whole repository in one of `states`.
    fn check(&self, data: &Path, states: &[[u8; 32]], fsck: &mut HashSet<String>, what: &str) {
        let store = open(data).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mirror = store.find("a.git").unwrap_or_else(|| panic!("{what}: the repository is gone"));
        assert!(mirror.damage().is_none(), "{what}: {:?}", mirror.damage());
        let snapshot = mirror.snapshot().unwrap_or_else(|| panic!("{what}: nothing is served"));
        assert!(states.contains(snapshot.refs.digest()), "{what}: a mix of two generations");
        walk(&snapshot, what);
        // Equal states are shown to Git once.
        let current = std::fs::read_link(mirror.directory()).unwrap();
        let packs: Vec<_> = snapshot.objects.packs().iter().map(|pack| pack.checksum().to_string()).collect();
        if fsck.insert(format!("{current:?} {packs:?}")) {
            check_published(&mirror, &snapshot);
            let caught_up = self.upstream.sync(&mirror, Instant::now());
            assert_eq!(*caught_up.refs.digest(), self.states[1], "{what}");
            check_published(&mirror, &caught_up);
        }
    }
}

/// Opens, with patience: a child of another test holds a copy of the lock between its fork and its exec.
fn open(data: &Path) -> Result<Store, StoreError> {
    for _ in 0..100 {
        match Store::open(data, RETENTION) {
            Err(StoreError::InUse) => std::thread::sleep(Duration::from_millis(20)),
            other => return other,
        }
    }
    Err(StoreError::InUse)
}

/// Everything that may be asked for is here, of the recent generations too.
fn walk(snapshot: &Snapshot, what: &str) {
    let grafts = BTreeSet::new();
    let graph = Graph { objects: &snapshot.objects, grafts: &grafts, stop: &GO_ON };
    let tables = std::iter::once(&snapshot.refs).chain(&snapshot.recent);
    let wants = tables.flat_map(|table| table.tips()).collect();
    graph.select(&Query { wants, ..Query::default() }).unwrap_or_else(|error| panic!("{what}: {error}"));
}

/// The life of a mirror, all of it recorded: sync, consolidation, expiry. Gives where the publication had returned.
fn live(scene: &Scene, mirror: &MirroredRepository, recorder: &Recorder) -> usize {
    let now = Instant::now();
    scene.upstream.sync(mirror, now);
    let published = recorder.ops().len();
    assert!(mirror.consolidate_now(&GO_ON).unwrap());
    for later in [1, 100, 200] {
        mirror.expire(now + Duration::from_secs(later));
    }
    assert!(mirror.consolidate_now(&GO_ON).unwrap(), "what was forced away goes");
    mirror.expire(now + Duration::from_secs(300));
    mirror.expire(now + Duration::from_secs(400));
    published
}

#[test]
fn every_crash_leaves_a_whole_generation() {
    let scene = Scene::new(21);
    let data = scratch();
    copy_tree(scene.base.path(), data.path());
    let recorder = Arc::new(Recorder::new(data.path()));
    let store = Store::open_on(recorder.clone(), data.path(), RETENTION).unwrap();
    let published = live(&scene, &store.find("a.git").unwrap(), &recorder);
    drop(store);
    let ops = recorder.ops();
    assert!(ops.iter().any(|op| matches!(op, Op::RemoveFile(_))), "the old packs were removed");
    let mut fsck = HashSet::new();
    let mut crashes = 0;
    for end in 0..=ops.len() {
        for lost in losses(&ops[..end], EACH_MAX) {
            let replayed = scratch();
            copy_tree(scene.base.path(), replayed.path());
            replay(replayed.path(), &ops[..end], &lost);
            // Once the publication has returned, nothing brings the old state back.
            let states = &scene.states[usize::from(end >= published)..];
            let what = format!("after {end} of {} ({:?}), without {lost:?}", ops.len(), ops[..end].last().map(short));
            scene.check(replayed.path(), states, &mut fsck, &what);
            crashes += 1;
        }
    }
    assert!(crashes > 500, "{crashes}");
    assert!(fsck.len() >= 4, "{fsck:?}");
}

#[test]
fn the_first_publication_is_all_or_nothing() {
    let upstream = Upstream::generated(&Spec { commits: 6, ..Spec::small(22) });
    let data = scratch();
    let recorder = Arc::new(Recorder::new(data.path()));
    let store = Store::open_on(recorder.clone(), data.path(), RETENTION).unwrap();
    let mirror = store.create("a.git").unwrap();
    let digest = *upstream.sync(&mirror, Instant::now()).refs.digest();
    drop((store, mirror));
    let ops = recorder.ops();
    for end in 0..=ops.len() {
        for lost in losses(&ops[..end], EACH_MAX) {
            let replayed = scratch();
            replay(replayed.path(), &ops[..end], &lost);
            let store = open(replayed.path()).unwrap();
            let what = format!("after {end} of {}, without {lost:?}", ops.len());
            // What was not published is not there at all.
            let found = store.find("a.git");
            let left = std::fs::read_dir(replayed.path().join("repositories")).unwrap().count();
            assert_eq!(left, usize::from(found.is_some()), "{what}");
            assert!(found.is_none_or(|found| found.snapshot().is_some()), "{what}: nothing, and kept");
            let mirror = store.create("a.git").unwrap();
            assert!(mirror.damage().is_none(), "{what}: {:?}", mirror.damage());
            match mirror.snapshot() {
                Some(snapshot) => {
                    assert_eq!(*snapshot.refs.digest(), digest);
                    walk(&snapshot, &what);
                }
                None => {
                    assert!(end < ops.len(), "{what}: published and gone");
                    if lost.is_empty() {
                        check_published(&mirror, &upstream.sync(&mirror, Instant::now()));
                    }
                }
            }
        }
    }
}

#[test]
fn every_failing_operation_leaves_a_whole_generation() {
    let scene = Scene::new(23);
    let mut fsck = HashSet::new();
    for error in [ENOSPC, EIO] {
        let mut failed = 0;
        for nth in 0.. {
            let data = scratch();
            copy_tree(scene.base.path(), data.path());
            let recorder = Arc::new(Recorder::failing(data.path(), error));
            let store = Store::open_on(recorder.clone(), data.path(), RETENTION).unwrap();
            let mirror = store.find("a.git").unwrap();
            recorder.fail_in(nth);
            let outcome = attempt(&scene, &mirror);
            let served = mirror.snapshot().unwrap();
            walk(&served, &format!("operation {nth} failed"));
            let failure_met = !recorder.is_armed();
            recorder.fail_in(usize::MAX);
            match outcome {
                Err(StoreError::Io(_)) => {
                    assert_eq!(*served.refs.digest(), scene.states[0], "{nth}");
                    failed += 1;
                    // What can be tried again succeeds; what can't be known is not written to.
                    match attempt(&scene, &mirror) {
                        Ok(()) | Err(StoreError::Failed(_)) => {}
                        Err(other) => panic!("{nth}: {other}"),
                    }
                }
                Err(other) => panic!("{nth}: {other}"),
                Ok(()) => assert_eq!(*served.refs.digest(), scene.states[1], "{nth}"),
            }
            drop((store, mirror));
            scene.check(data.path(), &scene.states, &mut fsck, &format!("operation {nth} failed with {error}"));
            if !failure_met {
                break;
            }
        }
        assert!(failed > 10, "{failed}");
    }
}

/// Sync and publish, where any step may fail.
fn attempt(scene: &Scene, mirror: &MirroredRepository) -> Result<(), StoreError> {
    let quarantine = mirror.quarantine(heliostat_core::store::IngestLimits::default());
    let mut quarantine = quarantine?;
    quarantine.ingest(&mut &scene.upstream.pack(&[])[..], &GO_ON)?;
    let verified = quarantine.verify(scene.upstream.refs(), &GO_ON).unwrap();
    mirror.publish(verified, Instant::now()).map(drop)
}

fn short(op: &Op) -> String {
    match op {
        Op::SyncFile(path, content) => format!("SyncFile({}, {} bytes)", path.display(), content.len()),
        other => format!("{other:?}"),
    }
}
