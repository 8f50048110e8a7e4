//! Many packs become two, while readers read and publications go on.

use crate::upstream::{GO_ON, Upstream, check_published, git, git_with_input};
use heliostat_core::{
    ObjectId,
    objects::Reader,
    refs::{Head, Ref, RefName, RefTable},
    store::{IngestLimits, MirroredRepository, Retention, Snapshot, Store, VerifyError},
};
use heliostat_testrepo::{Change, Spec};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const RETENTION: Retention = Retention { generations: 2, grace: Duration::from_secs(60) };

struct Mirror {
    data: tempfile::TempDir,
    store: Store,
    upstream: Upstream,
    mirror: Arc<MirroredRepository>,
    now: Instant,
}

impl Mirror {
    fn new(seed: u64) -> Self {
        Self::keeping(RETENTION, seed)
    }

    fn keeping(retention: Retention, seed: u64) -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), retention).unwrap();
        let mirror = store.create("a.git").unwrap();
        let mut mirror =
            Self { data, store, upstream: Upstream::generated(&Spec::small(seed)), mirror, now: Instant::now() };
        mirror.sync();
        mirror
    }

    fn advance(&mut self, changes: &[Change]) -> Arc<Snapshot> {
        self.upstream.repository.advance(changes).unwrap();
        self.sync()
    }

    fn sync(&mut self) -> Arc<Snapshot> {
        self.now += Duration::from_secs(1);
        self.upstream.sync(&self.mirror, self.now)
    }

    fn files(&self) -> BTreeSet<String> {
        let packs = self.data.path().join("repositories/00000001/objects/pack");
        std::fs::read_dir(packs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn commits(count: u32) -> Change {
    Change::AddCommits { branch: "main".into(), count }
}

fn listed(mirror: &MirroredRepository, what: &str) -> BTreeSet<String> {
    let listing = git(mirror.directory(), &["rev-list", "--objects", what]);
    listing.lines().map(|line| line[..40].to_owned()).collect()
}

fn ids(snapshot: &Snapshot) -> BTreeSet<String> {
    let packs = snapshot.objects.packs().iter();
    packs.flat_map(|pack| (0..pack.len()).map(|position| pack.id_at(position).to_string())).collect()
}

/// What was fetched by its id stays for as long as an earlier generation, through a consolidation too, and is no reference.
#[test]
fn what_is_kept_without_a_reference() {
    let m = Mirror::new(13);
    let before = m.mirror.snapshot().unwrap();
    let upstream = &m.upstream.directory;
    git(upstream, &["config", "user.name", "A U Thor"]);
    git(upstream, &["config", "user.email", "author@example.com"]);
    let id = git(upstream, &["commit-tree", "-m", "kept", "-p", "main", "main^{tree}"]);
    let arguments = ["pack-objects", "--quiet", "--revs", "--thin", "--delta-base-offset", "--stdout"];
    let pack = git_with_input(upstream, &arguments, format!("{}\n^main\n", id.trim()).as_bytes());
    let id = ObjectId::from_hex(id.trim().as_bytes()).unwrap();
    let keep = |pack: &[u8]| {
        let mut quarantine = m.mirror.quarantine(IngestLimits::default()).unwrap();
        if !pack.is_empty() {
            quarantine.ingest(&mut &*pack, &GO_ON).unwrap();
        }
        let name = RefName::new(b"refs/by-id/kept").unwrap();
        let kept = RefTable::new(vec![Ref { name, id, peeled: None, symbolic: None }], Head::Absent);
        quarantine.verify_keeping(before.refs.as_ref().clone(), vec![kept], &GO_ON)
    };
    assert!(matches!(keep(&[]), Err(VerifyError::Missing(missing)) if missing == id), "it has to be here");
    let is_kept = |snapshot: &Snapshot| snapshot.recent.iter().any(|table| table.tips().any(|tip| tip == id));
    let after = m.mirror.publish(keep(&pack).unwrap(), m.now).unwrap();
    assert_eq!((after.generation, after.refs.digest()), (before.generation, before.refs.digest()));
    assert!(is_kept(&after) && !git(m.mirror.directory(), &["show-ref"]).contains(&id.to_string()));
    check_published(&m.mirror, &after);
    m.mirror.consolidate_now(&GO_ON).unwrap();
    let consolidated = m.mirror.snapshot().unwrap();
    assert!(is_kept(&consolidated) && consolidated.objects.number(&id).is_some());

    // Kept once more, its time begins anew.
    let later = m.now + RETENTION.grace / 2;
    assert!(is_kept(&m.mirror.publish(keep(&[]).unwrap(), later).unwrap()));
    m.mirror.expire(m.now + RETENTION.grace);
    assert!(is_kept(&m.mirror.snapshot().unwrap()));
    m.mirror.expire(later + RETENTION.grace);
    assert!(!is_kept(&m.mirror.snapshot().unwrap()));
    m.mirror.consolidate_now(&GO_ON).unwrap();
    assert!(m.mirror.snapshot().unwrap().objects.number(&id).is_none(), "nothing leads to it any more");
}

#[test]
fn packs_become_two_and_the_unreachable_goes() {
    let mut m = Mirror::new(11);
    let pull = |number| Change::Pull { number };
    for number in 1..8 {
        m.advance(&[commits(2), pull(number)]);
    }
    m.advance(&[Change::ForcePush { branch: "main".into(), count: 1 }]);
    let before = m.mirror.snapshot().unwrap();
    assert!(before.objects.packs().len() > 7);
    assert!(m.mirror.consolidate(&GO_ON).unwrap() || m.mirror.consolidate_now(&GO_ON).unwrap());
    let after = m.mirror.snapshot().unwrap();
    assert_eq!(after.generation, before.generation);
    assert_eq!(after.objects.packs().len(), 2);
    check_published(&m.mirror, &after);
    // What a clone takes is the first pack, exactly.
    let first: BTreeSet<_> =
        (0..after.objects.packs()[0].len()).map(|at| after.objects.packs()[0].id_at(at).to_string()).collect();
    let mut cloned = listed(&m.mirror, "--branches");
    cloned.extend(listed(&m.mirror, "--tags"));
    cloned.extend(listed(&m.mirror, "HEAD"));
    assert_eq!(first, cloned);
    // Recent generations are whole too.
    for table in &after.recent {
        assert!(table.tips().all(|tip| after.objects.number(&tip).is_some()));
    }
    // Once their grace is over, nothing but the current generation is left.
    m.mirror.expire(m.now + RETENTION.grace * 2);
    m.mirror.expire(m.now + RETENTION.grace * 4);
    assert!(m.mirror.snapshot().unwrap().recent.is_empty());
    m.mirror.consolidate_now(&GO_ON).unwrap();
    let last = m.mirror.snapshot().unwrap();
    let mut all = listed(&m.mirror, "--all");
    all.extend(listed(&m.mirror, "HEAD"));
    assert_eq!(ids(&last), all);
    assert!(!m.mirror.consolidate_now(&GO_ON).unwrap(), "there is nothing left to do");
}

#[test]
fn old_packs_live_as_long_as_their_readers() {
    let mut m = Mirror::new(12);
    m.advance(&[commits(2)]);
    let reading = m.mirror.snapshot().unwrap();
    let before = m.files();
    assert!(m.mirror.consolidate_now(&GO_ON).unwrap());
    assert!(before.is_subset(&m.files()));
    let mut reader = Reader::new();
    for pack in reading.objects.packs() {
        for position in 0..pack.len() {
            let number = reading.objects.number(&pack.id_at(position)).unwrap();
            reading.objects.verify(number, &mut reader).unwrap();
        }
    }
    m.mirror.expire(m.now + RETENTION.grace * 2);
    assert!(before.is_subset(&m.files()), "they are read");
    drop(reading);
    // A stock Git that has listed them may open them yet.
    m.now += RETENTION.grace * 3;
    m.mirror.expire(m.now);
    m.mirror.expire(m.now + RETENTION.grace - Duration::from_secs(1));
    assert!(before.is_subset(&m.files()), "their last reader has been gone for less than the grace period");
    m.mirror.expire(m.now + RETENTION.grace);
    assert!(m.files().is_disjoint(&before));
    check_published(&m.mirror, &m.mirror.snapshot().unwrap());
}

/// A start keeps what an earlier layout that is still on the disk names, for a whole grace period, and nothing else.
#[test]
fn replaced_packs_outlive_a_restart_for_the_grace_period() {
    let mut m = Mirror::new(15);
    m.advance(&[commits(2)]);
    let before = m.files();
    assert!(m.mirror.consolidate_now(&GO_ON).unwrap());
    let Mirror { data, store, upstream, mirror, now } = m;
    drop((store, mirror));
    let store = Store::open(data.path(), RETENTION).unwrap();
    let mirror = store.find("a.git").unwrap();
    let m = Mirror { data, store, upstream, mirror, now };
    assert!(before.is_subset(&m.files()));
    m.mirror.expire(m.now);
    m.mirror.expire(m.now + RETENTION.grace - Duration::from_secs(1));
    assert!(before.is_subset(&m.files()));
    m.mirror.expire(m.now + RETENTION.grace);
    assert!(m.files().is_disjoint(&before));
    check_published(&m.mirror, &m.mirror.snapshot().unwrap());
}

/// The published repository is whole at every instant, for a `git` that takes its time too.
#[test]
fn fsck_in_a_loop_beside_consolidations() {
    const TIME: Duration = Duration::from_secs(12);
    // Packs are the subject: no generation leaves by its number.
    let mut m = Mirror::keeping(Retention { generations: 1_000, ..Retention::default() }, 16);
    let began = Instant::now();
    let over = AtomicBool::new(false);
    let mirror = m.mirror.clone();
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = 0;
            while looks < 40 && began.elapsed() < TIME {
                git(mirror.directory(), &["fsck", "--full"]);
                looks += 1;
            }
            over.store(true, Ordering::Relaxed);
            looks
        });
        while !over.load(Ordering::Relaxed) && !looking.is_finished() {
            m.advance(&[commits(1)]);
            m.mirror.consolidate_now(&GO_ON).unwrap();
            m.mirror.expire(m.now);
        }
        assert!(looking.join().expect("every look finds a whole repository") > 5);
    });
}

#[test]
fn a_proof_against_packs_that_went_is_made_good() {
    let mut m = Mirror::new(13);
    m.advance(&[commits(3)]);
    m.advance(&[Change::ForcePush { branch: "main".into(), count: 1 }]);
    let old = m.mirror.snapshot().unwrap();
    // Let the earlier generations go, so that the forced-away commits are reached by nothing.
    m.mirror.expire(m.now);
    m.mirror.expire(m.now + RETENTION.grace * 2);
    let forced_away = old.recent[0].find(b"refs/heads/main").unwrap().id;
    // The upstream goes back. Nothing has to be fetched, as long as those commits are here ...
    m.upstream.repository.advance(&[Change::SetRef { name: "main".into(), id: forced_away }]).unwrap();
    let quarantine = m.mirror.quarantine(IngestLimits::default()).unwrap();
    assert!(quarantine.has(&forced_away));
    let verified = quarantine.verify(m.upstream.refs(), &GO_ON).unwrap();
    // ... and they go before it is published.
    assert!(m.mirror.consolidate_now(&GO_ON).unwrap());
    assert!(m.mirror.snapshot().unwrap().objects.number(&forced_away).is_none());
    let published = m.mirror.publish(verified, m.now).unwrap();
    check_published(&m.mirror, &published);
    assert!(published.objects.number(&forced_away).is_some());
    drop((m.store, old));
    let store = Store::open(m.data.path(), RETENTION).unwrap();
    let mirror = store.find("a.git").unwrap();
    check_published(&mirror, &mirror.snapshot().unwrap());
}

#[test]
fn publications_during_a_consolidation_stay() {
    // With fewer, a layout is gone while Git's fsck, which this asks each time, reads it.
    let mut m = Mirror::keeping(Retention { generations: 16, ..Retention::default() }, 14);
    for _ in 0..6 {
        m.advance(&[commits(1)]);
    }
    let mirror = m.mirror.clone();
    std::thread::scope(|scope| {
        let consolidating = scope.spawn(move || {
            for _ in 0..10 {
                mirror.consolidate_now(&GO_ON).unwrap();
            }
        });
        for _ in 0..10 {
            let snapshot = m.advance(&[commits(1)]);
            check_published(&m.mirror, &snapshot);
        }
        consolidating.join().unwrap();
    });
    let last = m.mirror.snapshot().unwrap();
    assert_eq!(last.refs.to_refs(), m.upstream.refs().to_refs());
    check_published(&m.mirror, &last);
}
