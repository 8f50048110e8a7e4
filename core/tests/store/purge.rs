//! Purging: what no reference reaches is gone at once, a whole repository too, whatever crash comes between, and readers
//! that were there finish.

use crate::{
    recorder::{Recorder, copy_tree, losses, replay, scratch},
    upstream::{GO_ON, Upstream, check_published, git},
};
use heliostat_core::{
    ObjectId,
    objects::Reader,
    store::{IngestLimits, MirroredRepository, Retention, Snapshot, Store, StoreError},
};
use heliostat_testrepo::{Change, Spec};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

const RETENTION: Retention = Retention { generations: 8, grace: Duration::from_secs(600) };

/// A mirror whose branch was forced back: what it pointed to before is kept by an earlier generation only.
struct Scene {
    data: tempfile::TempDir,
    upstream: Upstream,
    forced_away: ObjectId,
    now: Instant,
}

impl Scene {
    fn new(seed: u64) -> (Self, Store) {
        let data = scratch();
        let mut upstream = Upstream::generated(&Spec { commits: 12, ..Spec::small(seed) });
        let store = Store::open(data.path(), RETENTION).unwrap();
        let mirror = store.create("a.git").unwrap();
        let now = Instant::now();
        let first = upstream.sync(&mirror, now);
        let forced_away = first.refs.find(b"refs/heads/main").unwrap().id;
        let commits = Change::AddCommits { branch: "other".into(), count: 3 };
        let _ = upstream.repository.advance(&[commits]);
        upstream.repository.advance(&[Change::ForcePush { branch: "main".into(), count: 2 }]).unwrap();
        upstream.sync(&mirror, now);
        let scene = Self { data, upstream, forced_away, now };
        assert!(lies_in(scene.data.path(), &scene.forced_away), "an earlier generation keeps it");
        (scene, store)
    }
}

/// Whether any file of the repository's holds the object, as stock Git sees it.
fn lies_in(data: &Path, id: &ObjectId) -> bool {
    let current = data.join("repositories/00000001/current");
    let all = git(&current, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)", "--unordered"]);
    let id = id.to_string();
    all.lines().any(|line| line == id)
}

fn files(data: &Path) -> BTreeSet<String> {
    let packs = data.join("repositories/00000001/objects/pack");
    std::fs::read_dir(packs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What the packs in use hold is what the references reach, and nothing else lies on the disk.
fn check_purged(scene: &Scene, data: &Path, mirror: &MirroredRepository) {
    let snapshot = mirror.snapshot().unwrap();
    check_published(mirror, &snapshot);
    assert!(snapshot.recent.is_empty());
    let reached = git(mirror.directory(), &["rev-list", "--objects", "--no-object-names", "--all", "HEAD"]);
    let held = git(mirror.directory(), &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    let set = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(set(&held), set(&reached));
    assert!(!lies_in(data, &scene.forced_away));
    let stems = snapshot.objects.packs().iter().map(|pack| pack.path().file_stem().unwrap().to_str().unwrap());
    let expected: BTreeSet<_> =
        stems.flat_map(|stem| ["pack", "idx", "commits"].map(|kind| format!("{stem}.{kind}"))).collect();
    assert_eq!(files(data), expected);
    let generations = data.join("repositories/00000001/generations");
    assert_eq!(std::fs::read_dir(generations).unwrap().count(), 1);
}

#[test]
fn what_no_reference_reaches_is_gone_at_once() {
    let (scene, store) = Scene::new(31);
    let mirror = store.find("a.git").unwrap();
    let reading = mirror.snapshot().unwrap();
    mirror.purge_unreachable(&GO_ON).unwrap();
    check_purged(&scene, scene.data.path(), &mirror);
    // Who was reading goes on.
    read_all(&reading);
    assert!(reading.objects.number(&scene.forced_away).is_some());
    assert_eq!(mirror.purge_unreachable(&GO_ON).unwrap(), 0, "nothing is left to purge");
    // It goes on being mirrored, and a start finds it as it is.
    assert_eq!(scene.upstream.sync(&mirror, scene.now).refs.digest(), scene.upstream.refs().digest());
    drop((store, mirror, reading));
    let store = Store::open(scene.data.path(), RETENTION).unwrap();
    check_purged(&scene, scene.data.path(), &store.find("a.git").unwrap());
}

fn read_all(snapshot: &Snapshot) {
    let mut reader = Reader::new();
    for pack in snapshot.objects.packs() {
        for position in 0..pack.len() {
            let number = snapshot.objects.number(&pack.id_at(position)).unwrap();
            snapshot.objects.verify(number, &mut reader).unwrap();
        }
    }
}

/// A proof or a merge that has begun before might bring back what was purged: neither is published.
#[test]
fn what_stood_on_purged_objects_is_not_published() {
    let (scene, store) = Scene::new(32);
    let mirror = store.find("a.git").unwrap();
    let quarantine = mirror.quarantine(IngestLimits::default()).unwrap();
    assert!(quarantine.has(&scene.forced_away));
    let early = quarantine.verify(scene.upstream.refs(), &GO_ON).unwrap();
    mirror.purge_unreachable(&GO_ON).unwrap();
    assert!(matches!(mirror.publish(early, scene.now), Err(StoreError::Purged)));
    check_purged(&scene, scene.data.path(), &mirror);

    // Merges run beside purges, and bring nothing back either.
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (merging, over) = (mirror.clone(), &over);
        scope.spawn(move || {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                merging.consolidate_now(&GO_ON).unwrap();
            }
        });
        for _ in 0..10 {
            mirror.purge_unreachable(&GO_ON).unwrap();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    mirror.purge_unreachable(&GO_ON).unwrap();
    check_purged(&scene, scene.data.path(), &mirror);
}

/// At every crash a whole generation is there, and purging again ends it; once it has returned, nothing comes back.
#[test]
fn every_crash_of_a_purge_leaves_a_whole_generation() {
    let (scene, store) = Scene::new(33);
    let base = scratch();
    copy_tree(scene.data.path(), base.path());
    drop(store);
    let data = scratch();
    copy_tree(base.path(), data.path());
    let recorder = Arc::new(Recorder::new(data.path()));
    let store = Store::open_on(recorder.clone(), data.path(), RETENTION).unwrap();
    store.find("a.git").unwrap().purge_unreachable(&GO_ON).unwrap();
    drop(store);
    let ops = recorder.ops();
    let expected = *scene.upstream.refs().digest();
    let mut crashes = 0;
    for end in 0..=ops.len() {
        for lost in losses(&ops[..end], 4) {
            let replayed = scratch();
            copy_tree(base.path(), replayed.path());
            replay(replayed.path(), &ops[..end], &lost);
            let what = format!("after {end} of {}, without {lost:?}", ops.len());
            let store = Store::open(replayed.path(), RETENTION).unwrap_or_else(|error| panic!("{what}: {error}"));
            let mirror = store.find("a.git").unwrap_or_else(|| panic!("{what}: the repository is gone"));
            assert!(mirror.damage().is_none(), "{what}: {:?}", mirror.damage());
            assert_eq!(*mirror.snapshot().unwrap().refs.digest(), expected, "{what}");
            if end == ops.len() {
                assert!(!lies_in(replayed.path(), &scene.forced_away), "{what}: it came back");
            }
            if lost.len() != 1 {
                mirror.purge_unreachable(&GO_ON).unwrap_or_else(|error| panic!("{what}: {error}"));
                check_purged(&scene, replayed.path(), &mirror);
            }
            crashes += 1;
        }
    }
    assert!(crashes > 50, "{crashes}");
}

/// A whole repository is there whole or gone whole; once its removal has returned, it is gone.
#[test]
fn every_crash_of_a_removal_leaves_all_or_nothing() {
    let (scene, store) = Scene::new(34);
    let base = scratch();
    copy_tree(scene.data.path(), base.path());
    drop(store);
    let data = scratch();
    copy_tree(base.path(), data.path());
    let recorder = Arc::new(Recorder::new(data.path()));
    let store = Store::open_on(recorder.clone(), data.path(), RETENTION).unwrap();
    let reading = store.find("a.git").unwrap().snapshot().unwrap();
    assert!(store.remove("a.git").unwrap());
    read_all(&reading);
    drop(store);
    let ops = recorder.ops();
    for end in 0..=ops.len() {
        for lost in losses(&ops[..end], 4) {
            let replayed = scratch();
            copy_tree(base.path(), replayed.path());
            replay(replayed.path(), &ops[..end], &lost);
            let what = format!("after {end} of {}, without {lost:?}", ops.len());
            let store = Store::open(replayed.path(), RETENTION).unwrap_or_else(|error| panic!("{what}: {error}"));
            let left = std::fs::read_dir(replayed.path().join("repositories")).unwrap().count();
            match store.find("a.git") {
                Some(mirror) => {
                    assert!(end < ops.len(), "{what}: it came back");
                    assert!(mirror.damage().is_none() && mirror.snapshot().is_some(), "{what}: {:?}", mirror.damage());
                }
                None => assert_eq!(left, 0, "{what}: something is left"),
            }
        }
    }
}
