//! What pushes do to a generated upstream, judged by stock Git.

#![allow(clippy::unwrap_used, reason = "a failure in a test ends the test")]

mod oracle;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use heliostat_testrepo::{Change, Head, RefsForm, Repository, Spec, Store};
use oracle::{fsck, git, refs};

#[track_caller]
fn changes(lines: &[&str]) -> Vec<Change> {
    lines.iter().map(|line| line.parse().unwrap()).collect()
}

#[track_caller]
fn check(repository: &Repository) {
    let dir = &repository.path;
    fsck(dir);
    let listed: Vec<String> = repository.refs.iter().map(|(name, id)| format!("{name} {id}")).collect();
    assert_eq!(refs(dir), listed);
    let opened = Repository::open(dir).unwrap();
    assert_eq!(opened.refs, repository.refs);
    assert_eq!(opened.peeled, repository.peeled);
    assert_eq!(opened.symbolic, repository.symbolic);
    assert_eq!(opened.head, repository.head);
}

#[track_caller]
fn is_ancestor(dir: &Path, old: &str, new: &str) -> bool {
    let bases = git(dir, &["merge-base", old, new]);
    bases.trim() == old
}

#[test]
fn everything_that_can_happen_happens() {
    for (refs, store) in
        [(RefsForm::Packed, Store::Pack), (RefsForm::Loose, Store::Loose), (RefsForm::Mixed, Store::Pack)]
    {
        let dir = tempfile::tempdir().unwrap();
        let spec = Spec { refs, ..Spec::small(3) };
        let mut repository = spec.write(dir.path()).unwrap();
        let objects_before = repository.objects;
        let main = repository.refs["refs/heads/main"].to_string();

        let outcome = repository.advance_stored(&changes(&["commits main 3", "pull 1", "pull 900"]), store).unwrap();
        assert_eq!(outcome.commits.len(), 5);
        assert_eq!(outcome.moved.len(), 3);
        assert_eq!(repository.objects, objects_before + outcome.objects);
        check(&repository);
        let next = repository.refs["refs/heads/main"].to_string();
        assert!(is_ancestor(dir.path(), &main, &next));

        repository
            .advance_stored(
                &changes(&[
                    "branch topic/new main",
                    "commits topic/new 2",
                    "merge main topic/new",
                    "annotated v9.0 main",
                    "annotated again refs/tags/v9.0",
                    "tag light-9 refs/tags/v9.0",
                    "branch from-tag refs/tags/again",
                    "symbolic refs/heads/current main",
                ]),
                store,
            )
            .unwrap();
        check(&repository);
        assert_eq!(repository.peeled["refs/tags/again"], repository.refs["refs/heads/main"]);
        assert_eq!(git(dir.path(), &["symbolic-ref", "refs/heads/current"]).trim(), "refs/heads/main");

        let before = repository.refs["refs/heads/main"].to_string();
        repository.advance_stored(&changes(&["force main 2"]), store).unwrap();
        check(&repository);
        assert!(!is_ancestor(dir.path(), &before, &repository.refs["refs/heads/main"].to_string()));

        repository
            .advance_stored(
                &changes(&[
                    "rename main trunk",
                    "head trunk",
                    "symbolic refs/heads/current trunk",
                    "delete refs/tags/again",
                    "delete topic/new",
                    // The name of a directory that was there is free now.
                    "branch topic trunk",
                ]),
                store,
            )
            .unwrap();
        check(&repository);
        assert_eq!(repository.head, Head::Branch("refs/heads/trunk".into()));
        repository.advance_stored(&changes(&["detach", "delete refs/heads/current"]), store).unwrap();
        check(&repository);
        assert_eq!(repository.head, Head::Detached(repository.refs["refs/heads/trunk"]));
    }
}

#[test]
fn an_empty_repository_comes_to_life() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Spec::empty().write(dir.path()).unwrap();
    assert_eq!(repository.head_commit(), None);
    repository.advance(&changes(&["commits main 4"])).unwrap();
    check(&repository);
    assert_eq!(git(dir.path(), &["rev-list", "--count", "HEAD"]).trim(), "4");
}

#[test]
fn equal_repositories_evolve_equally_in_one_process_or_two() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = Spec::small(6).write(one.path()).unwrap();
    Spec::small(6).write(two.path()).unwrap();
    for step in [&["commits main 2"][..], &["force main 1", "pull 3"], &["annotated v7 main"]] {
        first.advance(&changes(step)).unwrap();
        let mut second = Repository::open(two.path()).unwrap();
        second.advance(&changes(step)).unwrap();
        assert_eq!(first.refs, second.refs);
    }
    let known = first.refs["refs/heads/main"];
    first.advance(&changes(&["commits main 1"])).unwrap();
    assert_ne!(first.refs["refs/heads/main"], known);
}

#[test]
fn what_git_refuses_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Spec::small(1).write(dir.path()).unwrap();
    let before = repository.refs.clone();
    for (line, kind) in [
        ("force nowhere 1", ErrorKind::NotFound),
        ("delete nowhere", ErrorKind::NotFound),
        ("branch main main", ErrorKind::AlreadyExists),
        ("branch main/below main", ErrorKind::InvalidInput),
        ("branch refs/pull/1 main", ErrorKind::InvalidInput),
        ("branch a..b main", ErrorKind::InvalidInput),
        ("branch a.lock main", ErrorKind::InvalidInput),
        ("tag v0.0.0 main", ErrorKind::AlreadyExists),
        ("set x 0123456789012345678901234567890123456789", ErrorKind::NotFound),
    ] {
        // A change before it must not survive it.
        let error = repository.advance(&changes(&["commits main 1", line])).unwrap_err();
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert_eq!(repository.refs, before);
    }
    check(&repository);
    assert_eq!(Repository::open(dir.path()).unwrap().objects, repository.objects);
}

#[test]
fn a_reader_beside_it_never_meets_a_broken_repository() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Spec { refs: RefsForm::Mixed, ..Spec::small(2) }.write(dir.path()).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..25 {
                let steps = ["commits main 2", "force main 1", &format!("annotated r{round} main"), "pull 2"];
                repository.advance(&changes(&steps)).unwrap();
            }
            is_over.store(true, Ordering::Release);
        });
        let mut rounds = 0;
        while !is_over.load(Ordering::Acquire) || rounds < 3 {
            git(dir.path(), &["rev-list", "--objects", "--all"]);
            rounds += 1;
        }
    });
    check(&repository);
}
