//! From an upstream's pack to a published generation, and back from disk.

use crate::upstream::{Upstream, check_published, git};
use heliostat_core::store::{Retention, Store};
use heliostat_testrepo::{Change, Spec};
use std::time::Instant;

#[test]
fn every_kind_of_repository_is_mirrored_whole() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path(), Retention::default()).unwrap();
    let now = Instant::now();
    for (name, spec) in Spec::presets(7).into_iter().filter(|(name, _)| !matches!(*name, "million" | "medium")) {
        let upstream = Upstream::generated(&spec);
        let mirror = store.create(&format!("{name}.git")).unwrap();
        assert!(mirror.snapshot().is_none());
        let snapshot = upstream.sync(&mirror, now);
        assert_eq!(snapshot.refs.to_refs(), upstream.refs().to_refs(), "{name}");
        assert_eq!(snapshot.refs.head(), upstream.refs().head(), "{name}");
        assert_eq!(snapshot.generation.n, 1);
        check_published(&mirror, &snapshot);
        let ours = git(mirror.directory(), &["rev-list", "--objects", "--all"]);
        let theirs = git(&upstream.directory, &["rev-list", "--objects", "--all"]);
        assert_eq!(sorted_ids(&ours), sorted_ids(&theirs), "{name}");
    }
    // The same again from disk.
    let before: Vec<_> = store.all().iter().map(|m| (m.path().to_owned(), m.snapshot().unwrap())).collect();
    drop(store);
    let store = Store::open(data.path(), Retention::default()).unwrap();
    for (path, snapshot) in before {
        let again = store.find(&path).unwrap().snapshot().unwrap();
        assert_eq!(again.generation, snapshot.generation);
        assert_eq!(again.refs.to_refs(), snapshot.refs.to_refs());
        assert_eq!(again.objects.numbers_end(), snapshot.objects.numbers_end());
    }
}

fn sorted_ids(listing: &str) -> Vec<&str> {
    let mut ids: Vec<_> = listing.lines().map(|line| &line[..40]).collect();
    ids.sort();
    ids
}

#[test]
fn an_incremental_sync_completes_thin_packs() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path(), Retention::default()).unwrap();
    let mirror = store.create("a.git").unwrap();
    let mut upstream = Upstream::generated(&Spec::small(3));
    let now = Instant::now();
    let first = upstream.sync(&mirror, now);
    for round in 2..6 {
        upstream.repository.advance(&[Change::AddCommits { branch: "main".into(), count: 3 }]).unwrap();
        let snapshot = upstream.sync(&mirror, now);
        assert_eq!((snapshot.generation.epoch, snapshot.generation.n), (first.generation.epoch, round));
        assert_eq!(snapshot.recent.len() as u64, round - 1);
        check_published(&mirror, &snapshot);
    }
    let unchanged = upstream.sync(&mirror, now);
    assert_eq!(unchanged.generation.n, 5);
}
