//! References that come, go, move and change places, against a model; and very many of them.

use crate::upstream::{GO_ON, check_published, git, git_with_input, refs_of};
use heliostat_core::{
    ObjectId,
    refs::{Change, Head, Ref, RefName, RefTable},
    store::{IngestLimits, Retention, Store, Tally},
};
use heliostat_testrepo::{Rng, Spec};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

fn name(name: &str) -> RefName {
    RefName::new(name.as_bytes()).unwrap()
}

/// What is mirrored: names with objects, names with targets, and where HEAD is.
struct Model {
    plain: BTreeMap<&'static str, ObjectId>,
    symbolic: BTreeMap<&'static str, &'static str>,
    head: Head,
}

const PLAIN: [&str; 8] = [
    "refs/heads/a",
    "refs/heads/a/b",
    "refs/heads/a/b/c",
    "refs/heads/main",
    "refs/pull/1/head",
    "refs/tags/v1",
    "refs/tags/v1.0",
    "refs/custom/x",
];
const SYMBOLIC: [&str; 3] = ["refs/heads/alias", "refs/heads/b/alias", "refs/remotes/origin/HEAD"];

impl Model {
    fn step(&mut self, rng: &mut Rng, objects: &[ObjectId]) {
        let at = rng.below(PLAIN.len());
        match rng.below(8) {
            // Git keeps files, so `a` goes before `a/b` comes, within one change.
            0..4 => {
                let new = PLAIN[at];
                let clash =
                    |other: &str| other.starts_with(&format!("{new}/")) || new.starts_with(&format!("{other}/"));
                self.plain.retain(|other, _| !clash(other));
                self.plain.insert(new, *rng.pick(objects));
            }
            4 => drop(self.plain.remove(PLAIN[at])),
            5 => drop(self.symbolic.insert(SYMBOLIC[rng.below(SYMBOLIC.len())], PLAIN[at])),
            6 => drop(self.symbolic.remove(SYMBOLIC[rng.below(SYMBOLIC.len())])),
            _ => {
                self.head = match rng.below(3) {
                    0 => Head::Detached(*rng.pick(objects)),
                    1 => Head::Symbolic(name("refs/heads/unborn")),
                    _ => Head::Symbolic(name(PLAIN[at])),
                }
            }
        }
    }

    fn table(&self) -> RefTable {
        let plain = self.plain.iter().map(|(own, id)| (own, *id, None));
        // A symbolic reference to what is not there is not advertised.
        let symbolic = self.symbolic.iter().filter_map(|(own, to)| Some((own, *self.plain.get(to)?, Some(name(to)))));
        let refs = plain.chain(symbolic);
        let refs = refs.map(|(own, id, symbolic)| Ref { name: name(own), id, peeled: None, symbolic });
        RefTable::new(refs.collect(), self.head.clone())
    }
}

#[test]
fn any_sequence_of_changes_is_mirrored() {
    let upstream = tempfile::tempdir().unwrap();
    let repository = Spec { commits: 10, ..Spec::small(41) }.write(&upstream.path().join("u.git")).unwrap();
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path(), Retention::default()).unwrap();
    let mirror = store.create("a.git").unwrap();
    let mut model =
        Model { plain: BTreeMap::new(), symbolic: BTreeMap::new(), head: Head::Symbolic(name("refs/heads/main")) };
    let mut rng = Rng::new(5);
    let now = Instant::now();
    let all = git(&repository.path, &["rev-list", "--all", "--objects"]);
    let pack = git_with_input(&repository.path, &["pack-objects", "--quiet", "--stdout"], all.as_bytes());
    let mut quarantine = mirror.quarantine(IngestLimits::default()).unwrap();
    let tally = Arc::new(Tally::default());
    quarantine.count_in(tally.clone());
    assert!(!tally.has_come());
    quarantine.ingest(&mut &pack[..], &GO_ON).unwrap();
    let every = (all.lines().count() as u64, all.lines().count() as u64);
    assert!(tally.has_come());
    assert_eq!((tally.received(), tally.indexed(), tally.checked()), (every, every, (0, 0)));
    let verified = quarantine.verify(model.table(), &GO_ON).unwrap();
    assert_eq!(tally.checked(), every);
    let mut before = mirror.publish(verified, now).unwrap();
    for step in 0..60 {
        model.step(&mut rng, &repository.commits);
        let table = model.table();
        let changed = table.digest() != before.refs.digest();
        let changes = table.changes_since(&before.refs).count();
        let quarantine = mirror.quarantine(IngestLimits::default()).unwrap();
        let verified = quarantine.verify(model.table(), &GO_ON).unwrap();
        let after = mirror.publish(verified, now).unwrap();
        assert_eq!(after.generation.n, before.generation.n + u64::from(changed), "step {step}");
        assert_eq!(after.refs.to_refs(), table.to_refs());
        assert!(changed || changes == 0);
        // What Git makes of it.
        let seen = refs_of(mirror.directory());
        assert_eq!(seen.to_refs(), table.to_refs(), "step {step}");
        assert_eq!(seen.head(), table.head(), "step {step}");
        if step % 10 == 0 {
            check_published(&mirror, &after);
        }
        before = after;
    }
    drop((store, mirror));
    let store = Store::open(data.path(), Retention::default()).unwrap();
    let again = store.find("a.git").unwrap().snapshot().unwrap();
    assert_eq!((again.generation, again.refs.digest()), (before.generation, before.refs.digest()));
    assert_eq!(again.refs.head(), before.refs.head());
    let tables = |tables: &[std::sync::Arc<RefTable>]| tables.iter().map(|table| *table.digest()).collect::<Vec<_>>();
    assert_eq!(tables(&again.recent), tables(&before.recent), "the recent generations come back");
}

#[test]
fn two_hundred_thousand_references_are_published_in_well_under_a_second() {
    const REFS: usize = 200_000;
    let upstream = tempfile::tempdir().unwrap();
    let repository = Spec { commits: 10, ..Spec::small(42) }.write(&upstream.path().join("u.git")).unwrap();
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path(), Retention::default()).unwrap();
    let mirror = store.create("a.git").unwrap();
    let all = git(&repository.path, &["rev-list", "--all", "--objects"]);
    let pack = git_with_input(&repository.path, &["pack-objects", "--quiet", "--stdout"], all.as_bytes());
    let table = |moved: usize| {
        let refs = (0..REFS).map(|number| Ref {
            name: name(&format!("refs/pull/{number}/head")),
            id: repository.commits[(number + usize::from(number < moved)) % repository.commits.len()],
            peeled: None,
            symbolic: None,
        });
        RefTable::new(refs.collect(), Head::Absent)
    };
    let mut quarantine = mirror.quarantine(IngestLimits::default()).unwrap();
    quarantine.ingest(&mut &pack[..], &GO_ON).unwrap();
    let now = Instant::now();
    mirror.publish(quarantine.verify(table(0), &GO_ON).unwrap(), now).unwrap();
    let next = table(3);
    let started = Instant::now();
    let verified = mirror.quarantine(IngestLimits::default()).unwrap().verify(next, &GO_ON).unwrap();
    let snapshot = mirror.publish(verified, now).unwrap();
    let took = started.elapsed();
    assert_eq!(snapshot.refs.len(), REFS);
    assert_eq!(
        snapshot.refs.changes_since(&snapshot.recent[0]).filter(|c| matches!(c, Change::Moved { .. })).count(),
        3
    );
    println!("verified and published in {took:?}");
    // A fifth of this on an idle machine; the bound is for a busy one.
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(git(mirror.directory(), &["for-each-ref", "--count=2", "--format=%(refname)"]).lines().count(), 2);
}
