//! Tables of commits: made with a pack, carried on with publications and consolidations, made again when they are lost.

use crate::upstream::{GO_ON, Upstream, check_published};
use heliostat_core::{
    graph::commit_table,
    pack::CommitTable,
    store::{MirroredRepository, Retention, Store},
};
use heliostat_testrepo::{Change, Spec};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

fn open(data: &Path) -> (Store, Arc<MirroredRepository>) {
    let store = Store::open(data, Retention::default()).unwrap();
    let mirror = store.find("a.git").unwrap_or_else(|| store.create("a.git").unwrap());
    (store, mirror)
}

fn tables(mirror: &MirroredRepository) -> Vec<PathBuf> {
    let snapshot = mirror.snapshot().unwrap();
    snapshot.objects.packs().iter().map(|pack| pack.path().with_extension("commits")).collect()
}

fn commits(count: u32) -> Change {
    Change::AddCommits { branch: "main".into(), count }
}

/// Each pack has its table, on the disk and in memory, and it says what one that is made now says.
fn check(mirror: &MirroredRepository) {
    let snapshot = mirror.snapshot().unwrap();
    assert!(snapshot.objects.has_commit_tables() && !mirror.lacks_tables());
    for (at, (pack, file)) in snapshot.objects.packs().iter().zip(tables(mirror)).enumerate() {
        let made = commit_table(&snapshot.objects, at as u32, &GO_ON).unwrap().unwrap();
        let written = CommitTable::from_bytes(&fs::read(&file).unwrap(), &pack.checksum(), pack.len()).unwrap();
        assert_eq!(written.len(), made.len());
        assert_eq!(**pack.commits().unwrap(), written);
        for row in 0..made.len() {
            assert_eq!(written.position(row), made.position(row));
            assert_eq!(written.added(row).count(), made.added(row).count());
        }
    }
    check_published(mirror, &snapshot);
}

#[test]
fn every_publication_and_every_consolidation_has_its_tables() {
    let data = tempfile::tempdir().unwrap();
    let (_store, mirror) = open(data.path());
    let mut upstream = Upstream::generated(&Spec { commits: 30, ..Spec::small(71) });
    upstream.sync(&mirror, Instant::now());
    check(&mirror);
    for _ in 0..3 {
        upstream.repository.advance(&[commits(2), Change::ForcePush { branch: "main".into(), count: 2 }]).unwrap();
        upstream.sync(&mirror, Instant::now());
        check(&mirror);
    }
    assert!(tables(&mirror).len() > 2);
    assert!(mirror.consolidate_now(&GO_ON).unwrap());
    assert!(tables(&mirror).len() <= 2);
    check(&mirror);
}

#[test]
fn what_is_lost_or_damaged_is_made_again() {
    let data = tempfile::tempdir().unwrap();
    let (store, mirror) = open(data.path());
    let mut upstream = Upstream::generated(&Spec { commits: 10, ..Spec::small(72) });
    upstream.sync(&mirror, Instant::now());
    upstream.repository.advance(&[commits(2)]).unwrap();
    upstream.sync(&mirror, Instant::now());
    let files = tables(&mirror);
    let [first, second] = files.as_slice() else { panic!("two packs, {files:?}") };
    drop((store, mirror));
    fs::remove_file(first).unwrap();
    let mut content = fs::read(second).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(second, content).unwrap();
    let (_store, mirror) = open(data.path());
    assert!(mirror.lacks_tables());
    let snapshot = mirror.snapshot().unwrap();
    assert!(!snapshot.objects.has_commit_tables(), "answered by walks");
    assert_eq!(mirror.complete_tables(&GO_ON).unwrap(), 2);
    assert_eq!(mirror.complete_tables(&GO_ON).unwrap(), 0);
    check(&mirror);
}
