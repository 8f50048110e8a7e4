//! When repositories were asked for last: it survives a restart, and a file that is none is none.

use crate::upstream::Upstream;
use heliostat_core::store::{Retention, Store};
use heliostat_testrepo::Spec;
use std::time::Instant;

#[test]
fn it_is_read_again_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let upstream = Upstream::generated(&Spec { commits: 3, ..Spec::small(41) });
    let store = Store::open(data.path(), Retention::default()).unwrap();
    for (path, asked) in [("a.git", 7_000), ("b.git", 0), ("c.git", 9_000)] {
        let mirror = store.create(path).unwrap();
        upstream.sync(&mirror, Instant::now());
        mirror.note_asked(asked);
        mirror.note_asked(asked / 2);
        assert_eq!(mirror.asked(), asked, "it goes forward only");
    }
    store.write_asked().unwrap();
    let file = data.path().join("asked");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, "00000001 7000\n00000003 9000\n");
    std::fs::remove_file(&file).unwrap();
    store.write_asked().unwrap();
    assert!(!file.exists(), "what has not changed is not written again");
    store.find("b.git").unwrap().note_asked(8_000);
    store.write_asked().unwrap();
    drop(store);
    let asked = |store: &Store| store.all().iter().map(|mirror| mirror.asked()).collect::<Vec<_>>();
    let store = Store::open(data.path(), Retention::default()).unwrap();
    assert_eq!(asked(&store), [7_000, 8_000, 9_000]);
    drop(store);
    std::fs::write(&file, b"\xff\n00000001\nx 5\n00000002 x\n00000003 5\n0000000300 6\n").unwrap();
    let store = Store::open(data.path(), Retention::default()).unwrap();
    assert_eq!(asked(&store), [0, 0, 5]);
}

/// A reader counts as long as it holds anything of what it reads.
#[test]
fn who_reads_is_seen() {
    let data = tempfile::tempdir().unwrap();
    let upstream = Upstream::generated(&Spec { commits: 3, ..Spec::small(42) });
    let store = Store::open(data.path(), Retention::default()).unwrap();
    let mirror = store.create("a.git").unwrap();
    assert!(!mirror.is_being_read());
    drop(upstream.sync(&mirror, Instant::now()));
    assert!(!mirror.is_being_read());
    let snapshot = mirror.snapshot().unwrap();
    assert!(mirror.is_being_read());
    let objects = snapshot.objects.clone();
    drop(snapshot);
    assert!(mirror.is_being_read());
    let pack = objects.packs()[0].clone();
    drop(objects);
    assert!(mirror.is_being_read());
    drop(pack);
    assert!(!mirror.is_being_read());
}
