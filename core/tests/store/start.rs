//! Opening what lies on disk: whole, damaged, in use, or a great deal of it.

use crate::upstream::{Upstream, check_published};
use heliostat_core::store::{Retention, Store, StoreError};
use heliostat_testrepo::{Change, Spec};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

fn store(data: &Path) -> Store {
    for _ in 0..100 {
        match Store::open(data, Retention::default()) {
            // A child of another test holds a copy of the lock between its fork and its exec.
            Err(StoreError::InUse) => std::thread::sleep(Duration::from_millis(20)),
            other => return other.unwrap(),
        }
    }
    panic!("the data directory stays in use")
}

fn small(seed: u64) -> Upstream {
    Upstream::generated(&Spec { commits: 6, ..Spec::small(seed) })
}

#[test]
fn a_second_process_is_told() {
    let data = tempfile::tempdir().unwrap();
    let first = store(data.path());
    assert!(matches!(Store::open(data.path(), Retention::default()), Err(StoreError::InUse)));
    drop(first);
    store(data.path());
}

#[test]
fn what_a_crash_left_is_swept_and_what_is_not_ours_stays() {
    let data = tempfile::tempdir().unwrap();
    let upstream = small(51);
    let first = store(data.path());
    let mirror = first.create("team/a.git").unwrap();
    upstream.sync(&mirror, Instant::now());
    drop((first, mirror));
    let repository = data.path().join("repositories/00000001");
    let stem = format!("pack-{}", "0".repeat(40));
    let ours = ["quarantine/7/x.pack", "generations/0000000000000001-9-9/HEAD", "current.new"];
    let ours = ours
        .map(String::from)
        .into_iter()
        .chain(["pack", "idx", "commits", "commits.new"].map(|e| format!("objects/pack/{stem}.{e}")));
    let ours: Vec<_> = ours.map(|path| repository.join(path)).collect();
    let others = ["objects/pack/notes.txt", "generations/notes/x", "README"].map(|path| repository.join(path));
    let beside = ["00000009.new/path", "00000008.removed/path"].map(|path| data.path().join("repositories").join(path));
    for path in ours.iter().chain(&others).chain(&beside) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"left").unwrap();
    }
    let again = store(data.path());
    for path in ours.iter().chain(&beside) {
        assert!(!path.exists(), "{}", path.display());
    }
    for path in &others {
        assert!(path.exists(), "{}", path.display());
    }
    let mirror = again.find("team/a.git").unwrap();
    check_published(&mirror, &mirror.snapshot().unwrap());
}

/// The packs, then the record, of the current generation. Not the tables of commits: nothing depends on them.
fn files(repository: &Path) -> Vec<PathBuf> {
    let packs = std::fs::read_dir(repository.join("objects/pack")).unwrap();
    let mut files: Vec<_> = packs.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "commits"));
    files.sort();
    let current = repository.join("current");
    files.extend(["generation", "packed-refs", "HEAD"].map(|name| std::fs::canonicalize(&current).unwrap().join(name)));
    files
}

#[test]
fn damage_sets_one_repository_aside_until_it_is_mirrored_again() {
    let upstream = small(52);
    let base = tempfile::tempdir().unwrap();
    let first = store(base.path());
    for path in ["a.git", "b.git"] {
        upstream.sync(&first.create(path).unwrap(), Instant::now());
    }
    let generation = first.find("a.git").unwrap().snapshot().unwrap().generation;
    drop(first);
    for index in 0..files(&base.path().join("repositories/00000001")).len() {
        for cut in [true, false] {
            let data = tempfile::tempdir().unwrap();
            crate::recorder::copy_tree(base.path(), data.path());
            let victim = files(&data.path().join("repositories/00000001"))[index].clone();
            let content = std::fs::read(&victim).unwrap();
            std::fs::remove_file(&victim).unwrap();
            if cut {
                std::fs::write(&victim, &content[..content.len() / 2]).unwrap();
            }
            let what = format!("{} {}", victim.display(), if cut { "cut" } else { "gone" });
            let again = store(data.path());
            let damaged = again.find("a.git").unwrap();
            assert!(damaged.snapshot().is_none() && damaged.damage().is_some(), "{what}");
            assert!(again.find("b.git").unwrap().snapshot().is_some(), "{what}");
            // Mirrored again, under a numbering of its own.
            let healed = upstream.sync(&damaged, Instant::now());
            assert_ne!(healed.generation.epoch, generation.epoch);
            assert!(damaged.damage().is_none());
            check_published(&damaged, &healed);
            drop((again, damaged));
            let again = store(data.path());
            assert_eq!(again.find("a.git").unwrap().snapshot().unwrap().generation, healed.generation, "{what}");
        }
    }
}

#[test]
fn an_older_generation_is_served_when_the_current_one_is_damaged() {
    let data = tempfile::tempdir().unwrap();
    let mut upstream = small(53);
    let first = store(data.path());
    let mirror = first.create("a.git").unwrap();
    let old = upstream.sync(&mirror, Instant::now());
    upstream.repository.advance(&[Change::AddCommits { branch: "main".into(), count: 1 }]).unwrap();
    upstream.sync(&mirror, Instant::now());
    let record = std::fs::canonicalize(mirror.directory()).unwrap().join("generation");
    drop((first, mirror));
    std::fs::write(record, b"rot").unwrap();
    let again = store(data.path());
    let mirror = again.find("a.git").unwrap();
    assert_eq!(mirror.snapshot().unwrap().generation, old.generation);
    assert!(mirror.damage().is_some());
    let healed = upstream.sync(&mirror, Instant::now());
    assert_eq!(healed.generation.n, 3, "the damaged generation's number is not given again");
    assert!(mirror.damage().is_none());
    check_published(&mirror, &healed);
}

#[test]
fn a_removed_repository_is_gone_for_good_and_readable_to_the_end() {
    let data = tempfile::tempdir().unwrap();
    let upstream = small(54);
    let first = store(data.path());
    let mirror = first.create("a.git").unwrap();
    let snapshot = upstream.sync(&mirror, Instant::now());
    let verified = upstream.verified_for(&mirror);
    assert!(first.remove("a.git").unwrap());
    assert!(!first.remove("a.git").unwrap());
    assert!(first.find("a.git").is_none());
    assert!(matches!(mirror.publish(verified, Instant::now()), Err(StoreError::Removed)));
    let mut reader = heliostat_core::objects::Reader::new();
    let number = snapshot.objects.number(&snapshot.refs.head_id().unwrap()).unwrap();
    snapshot.objects.verify(number, &mut reader).unwrap();
    assert_eq!(std::fs::read_dir(data.path().join("repositories")).unwrap().count(), 0);
    let again = first.create("a.git").unwrap();
    assert_ne!(again.id(), mirror.id());
    check_published(&again, &upstream.sync(&again, Instant::now()));
    drop((first, again, mirror));
    assert_eq!(store(data.path()).all().len(), 1);
}

#[test]
fn what_was_never_published_is_discarded_at_once_or_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let upstream = small(56);
    let first = store(data.path());
    let count = || std::fs::read_dir(data.path().join("repositories")).unwrap().count();
    let mirror = first.create("a.git").unwrap();
    let verified = upstream.verified_for(&mirror);
    assert!(first.discard("a.git").unwrap());
    assert!(!first.discard("a.git").unwrap());
    assert!(first.find("a.git").is_none() && first.all().is_empty());
    assert!(matches!(mirror.publish(verified, Instant::now()), Err(StoreError::Removed)));
    assert_eq!(count(), 0);
    // What has been published stays, damaged too.
    let mirror = first.create("b.git").unwrap();
    upstream.sync(&mirror, Instant::now());
    assert!(!first.discard("b.git").unwrap());
    first.create("c.git").unwrap();
    assert_eq!(count(), 2);
    let record = std::fs::canonicalize(mirror.directory()).unwrap().join("generation");
    drop((first, mirror));
    std::fs::write(record, b"rot").unwrap();
    let again = store(data.path());
    let paths: Vec<_> = again.all().iter().map(|mirror| mirror.path().to_owned()).collect();
    assert_eq!((paths, count()), (vec!["b.git".to_owned()], 1));
    assert!(again.find("b.git").unwrap().damage().is_some() && !again.discard("b.git").unwrap());
}

#[test]
fn a_thousand_repositories_open_at_once() {
    const COUNT: usize = 1_000;
    let base = crate::recorder::scratch();
    let upstream = small(55);
    let first = store(base.path());
    upstream.sync(&first.create("0.git").unwrap(), Instant::now());
    drop(first);
    let repositories = base.path().join("repositories");
    for number in 1..COUNT {
        let copy = repositories.join(format!("{:08x}", number + 1));
        crate::recorder::copy_tree(&repositories.join("00000001"), &copy);
        std::fs::write(copy.join("path"), format!("{number}.git")).unwrap();
    }
    let started = Instant::now();
    let opened = store(base.path());
    println!("{COUNT} repositories in {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(opened.all().len(), COUNT);
    assert!(opened.all().iter().all(|mirror| mirror.snapshot().is_some()));
}
