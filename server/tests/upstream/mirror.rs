//! A real upstream that lives: after each change the mirror's repository on disk is what `git clone --mirror` makes.

use super::support::{
    apache::Apache,
    compare::{fsck, sound_and_same},
    git::Git,
    process::{SERVER_TIMEOUT, wait_until},
    repositories::Upstream as Repository,
    sandbox::Sandbox,
};
use heliostat::{
    config::{Config, Overrides},
    sync::{Confirmed, Syncs, Threads},
};
use heliostat_core::store::{Snapshot, Store};
use std::{path::Path, sync::Arc, time::Duration};

pub const APP: &str = "team/app.git";

/// A mirror without its doors: store and syncs.
pub struct Mirror {
    pub store: Arc<Store>,
    pub syncs: Syncs,
    threads: Option<Threads>,
}

impl Mirror {
    pub fn start(data: &Path, upstream: &str) -> Self {
        let overrides = Overrides {
            upstream: Some(upstream.to_owned()),
            data: Some(data.display().to_string()),
            mirrors: vec!["*".into()],
            ..Overrides::default()
        };
        let config = Arc::new(Config::load("", &overrides).unwrap());
        let store = Arc::new(Store::open(data, config.store.retention()).unwrap());
        let (syncs, threads) = Syncs::start(config, store.clone()).unwrap();
        Self { store, syncs, threads: Some(threads) }
    }

    pub fn confirm(&self, path: &str) -> Confirmed {
        futures_lite::future::block_on(self.syncs.confirm(path, None)).expect("the threads live")
    }

    /// The snapshot, which must be current.
    pub fn current(&self, path: &str) -> Arc<Snapshot> {
        match self.confirm(path) {
            Confirmed::Current(snapshot) => snapshot,
            other => panic!("{path}: {}", words(&other)),
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.stop(Duration::from_secs(10));
        }
    }
}

pub fn words(confirmed: &Confirmed) -> String {
    match confirmed {
        Confirmed::Current(_) => "current".into(),
        Confirmed::Pending(_) => "pending".into(),
        Confirmed::Stale(_, fault) => format!("stale: {fault}"),
        Confirmed::NotFound => "not found".into(),
        Confirmed::Denied(status) => format!("denied ({status})"),
        Confirmed::Unsupported(fault) => format!("unsupported: {fault}"),
        Confirmed::Unavailable(fault) => format!("unavailable: {fault}"),
        Confirmed::Useless(fault) => format!("useless: {fault}"),
    }
}

/// How the mirror reaches the upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Git,
    Directory,
}

/// Apache, one repository, and its mirror.
struct Living {
    git: Git,
    apache: Apache,
    upstream: Repository,
    mirror: Mirror,
    sandbox: Sandbox,
}

impl Living {
    fn start(kind: Kind, fill: impl FnOnce(&Git, &Path) -> Repository) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let folder = sandbox.folder("upstream");
        let upstream = fill(&git, &folder.join(APP));
        let apache = Apache::start(&sandbox.folder("apache"), &folder, &git);
        let reached_by = match kind {
            Kind::Git => apache.url(),
            Kind::Directory => folder.display().to_string(),
        };
        let mirror = Mirror::start(&sandbox.folder("data"), &reached_by);
        Self { git, apache, upstream, mirror, sandbox }
    }

    fn rich() -> Self {
        Self::start(Kind::Git, Repository::rich)
    }

    /// Syncs, and compares what is on disk with the upstream: references as they stand there, objects as a mirror clone
    /// of either has them.
    fn check(&self, what: &str) -> Arc<Snapshot> {
        let snapshot = self.mirror.current(APP);
        let here = self.mirror.store.find(APP).unwrap();
        let format = "--format=%(refname) %(objectname) %(symref) %(*objectname)";
        let references = |folder: &Path| {
            let head = self.git.run(folder, &["symbolic-ref", "-q", "HEAD"]).text();
            let at = self.git.run(folder, &["rev-parse", "-q", "--verify", "HEAD"]).text();
            format!("HEAD {head} {at}\n{}", self.git.text(folder, &["for-each-ref", format]))
        };
        assert_eq!(references(here.directory()), references(&self.upstream.folder), "{what}");
        fsck(&self.git, here.directory()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let clone = |url: &str| {
            let clone = self.sandbox.fresh("clone");
            self.git.text(self.sandbox.path(), &["clone", "--quiet", "--mirror", url, &clone.display().to_string()]);
            clone
        };
        let theirs = clone(&format!("{}/{APP}", self.apache.url()));
        let ours = clone(&format!("file://{}", here.directory().display()));
        sound_and_same(&self.git, &ours, &theirs).unwrap_or_else(|error| panic!("{what}: {error}"));
        snapshot
    }

    /// Objects that the packs hold.
    fn objects(&self) -> u32 {
        self.mirror.current(APP).objects.packs().iter().map(|pack| pack.len()).sum()
    }
}

#[test]
fn everything_that_references_can_do_at_a_host() {
    everything_that_references_can_do(Kind::Git);
}

#[test]
fn everything_that_references_can_do_in_a_folder() {
    everything_that_references_can_do(Kind::Directory);
}

fn everything_that_references_can_do(kind: Kind) {
    let living = Living::start(kind, Repository::rich);
    let upstream = &living.upstream;
    let mut last = living.check("first mirror").generation;
    let mut step = |what: &str| {
        let snapshot = living.check(what);
        assert_eq!((snapshot.generation.epoch, snapshot.generation.n), (last.epoch, last.n + 1), "{what}");
        last = snapshot.generation;
    };
    upstream.commit("main", &[("new.txt", "new\n")]);
    step("a fast-forward");
    let parent = upstream.id("main~4");
    upstream.commit_on(&parent, "main", &[("forced.txt", "forced\n")]);
    step("a forced branch");
    upstream.run(&["update-ref", "-d", "refs/heads/unmerged"]);
    step("a deleted branch");
    upstream.run(&["branch", "-m", "topic", "renamed/topic"]);
    step("a renamed branch");
    upstream.run(&["branch", "-m", "renamed/topic", "renamed"]);
    step("a directory that becomes a file");
    upstream.run(&["branch", "-m", "renamed", "renamed/again/deep"]);
    step("a file that becomes a directory");
    upstream.run(&["tag", "light", "main~1"]);
    upstream.run(&["tag", "-a", "-m", "x", "annotated", "main~2"]);
    upstream.run(&["tag", "-a", "-m", "x", "nested", "annotated"]);
    upstream.run(&["tag", "-a", "-m", "x", "of-a-blob", "main:forced.txt"]);
    step("tags of all kinds");
    upstream.run(&["tag", "-f", "-a", "-m", "moved", "annotated", "main"]);
    upstream.run(&["tag", "-d", "light"]);
    step("a moved and a deleted tag");
    upstream.run(&["update-ref", "refs/pull/7/head", "main~3"]);
    upstream.run(&["update-ref", "refs/custom/deep/er", "main~5"]);
    upstream.run(&["notes", "add", "-f", "-m", "another note", "main"]);
    step("references outside heads and tags");
    upstream.run(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    step("a symbolic reference");
    upstream.run(&["symbolic-ref", "HEAD", "refs/heads/renamed/again/deep"]);
    step("HEAD moved");
    upstream.run(&["update-ref", "--no-deref", "HEAD", "main~7"]);
    step("HEAD detached");
    upstream.run(&["symbolic-ref", "HEAD", "refs/heads/not-yet"]);
    step("HEAD unborn");
    upstream.run(&["pack-refs", "--all"]);
    upstream.run(&["repack", "-a", "-d", "-q"]);
    let snapshot = living.check("repacked upstream: nothing to do");
    assert_eq!(snapshot.generation, last);
}

#[test]
fn an_empty_repository_that_comes_to_life() {
    for kind in [Kind::Git, Kind::Directory] {
        empty_and_then_not(kind);
    }
}

fn empty_and_then_not(kind: Kind) {
    let living = Living::start(kind, Repository::empty);
    assert!(living.check("empty").refs.is_empty());
    living.upstream.commit_on_nothing("main", &[("a.txt", "a\n")]);
    assert_eq!(living.check("born").refs.len(), 1);
}

#[test]
fn a_force_push_on_the_only_branch_does_not_fetch_everything_again() {
    let living = Living::rich();
    for reference in living.upstream.run(&["for-each-ref", "--format=%(refname)"]).lines() {
        if reference != "refs/heads/main" {
            living.upstream.run(&["update-ref", "--no-deref", "-d", reference]);
        }
    }
    living.check("one branch");
    let before = living.objects();
    let parent = living.upstream.id("main~1");
    living.upstream.commit_on(&parent, "main", &[("amended.txt", "amended\n")]);
    living.check("amended");
    let came = living.objects() - before;
    assert!(came < 20, "{came} objects came for one amended commit, {before} were here");
}

#[test]
fn questions_share_and_one_that_changes_nothing_fetches_nothing() {
    let living = Living::rich();
    living.check("first");
    let posts = |living: &Living| living.apache.requests().iter().filter(|line| line.starts_with("POST")).count();
    let before = posts(&living);
    let answers: Vec<_> = (0..50).map(|_| living.mirror.syncs.confirm(APP, None)).collect();
    for answer in answers {
        assert!(matches!(futures_lite::future::block_on(answer), Ok(Confirmed::Current(_))));
    }
    let asked = posts(&living) - before;
    assert!((1..=3).contains(&asked), "{asked} questions for fifty callers");
}

#[test]
fn what_the_upstream_denies_having() {
    let living = Living::rich();
    assert!(matches!(living.mirror.confirm("team/no-such.git"), Confirmed::NotFound));
    assert!(matches!(living.mirror.confirm("../etc/passwd"), Confirmed::NotFound));
    assert!(living.mirror.store.find("team/no-such.git").is_none(), "nothing is created for it");
    assert_eq!(living.mirror.syncs.activities().len(), 0);
}

#[test]
fn an_outage_deletes_nothing_and_heals() {
    let mut living = Living::rich();
    let before = living.check("first");
    living.apache.stop();
    living.upstream.commit("main", &[("meanwhile.txt", "x\n")]);
    let Confirmed::Stale(snapshot, fault) = living.mirror.confirm(APP) else { panic!("not stale") };
    assert_eq!(snapshot.generation, before.generation);
    assert!(!fault.public.contains("127.0.0.1"), "{}", fault.public);
    assert!(matches!(living.mirror.confirm("team/other.git"), Confirmed::Unavailable(_)));
    living.apache.start_again();
    assert_eq!(living.check("back").generation.n, before.generation.n + 1);
}

#[test]
fn a_repository_that_vanishes_and_comes_back() {
    let living = Living::rich();
    let before = living.check("first");
    let aside = living.sandbox.path().join("aside.git");
    std::fs::rename(&living.upstream.folder, &aside).unwrap();
    assert!(matches!(living.mirror.confirm(APP), Confirmed::NotFound));
    assert_eq!(living.mirror.store.find(APP).unwrap().snapshot().unwrap().generation, before.generation);
    std::fs::rename(&aside, &living.upstream.folder).unwrap();
    assert_eq!(living.check("back").generation, before.generation);
}

#[test]
fn sudden_emptiness_is_held_back() {
    let living = Living::rich();
    let before = living.check("first");
    let aside = living.sandbox.path().join("aside.git");
    std::fs::rename(&living.upstream.folder, &aside).unwrap();
    Repository::empty(&living.git, &living.upstream.folder);
    for _ in 0..2 {
        let answer = living.mirror.confirm(APP);
        let Confirmed::Stale(snapshot, _) = answer else { panic!("{}", words(&answer)) };
        assert_eq!(snapshot.generation, before.generation);
    }
    std::fs::remove_dir_all(&living.upstream.folder).unwrap();
    std::fs::rename(&aside, &living.upstream.folder).unwrap();
    assert_eq!(living.check("back").generation, before.generation);
}

#[test]
fn many_references_and_long_want_lists() {
    let living = Living::rich();
    living.check("first");
    let main = living.upstream.id("main");
    let tree = living.upstream.id("main^{tree}");
    // Distinct tips, so that each is wanted by its id.
    let mut stream = String::new();
    for number in 0..2_000 {
        stream += &format!(
            "commit refs/pull/{}/head\ncommitter A <a@example.com> {} +0000\ndata 2\nx\nfrom {main}\n\n",
            number + 100,
            1_720_000_000 + number
        );
    }
    let finished = living.git.run_with(&living.upstream.folder, &["fast-import", "--quiet"], stream.as_bytes());
    assert!(finished.status.success(), "{}", finished.stderr);
    assert_eq!(tree.len(), 40);
    assert!(living.check("2,000 pull requests").refs.len() > 2_000);
}

#[test]
fn restarted_from_disk() {
    let mut living = Living::rich();
    let before = living.check("first");
    let data = living.sandbox.folder("data");
    let url = living.apache.url();
    drop(before);
    let generation = living.mirror.current(APP).generation;
    // The lock goes with the last handle.
    let old = std::mem::replace(&mut living.mirror, Mirror::start(&living.sandbox.folder("elsewhere"), &url));
    drop(old);
    living.mirror = Mirror::start(&data, &url);
    assert_eq!(living.mirror.store.find(APP).unwrap().snapshot().unwrap().generation, generation);
    assert_eq!(living.check("again").generation, generation, "equal references keep their generation");
}

#[test]
fn a_folder_is_mirrored_whole_and_followed() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    let rich = Repository::rich(&git, &folder.join(APP));
    rich.copy_to(&folder.join("plain"));
    let mirror = Mirror::start(&sandbox.folder("data"), &folder.display().to_string());
    let here = |path: &str| mirror.store.find(path).is_some_and(|repository| repository.snapshot().is_some());
    wait_until("both are mirrored unasked", SERVER_TIMEOUT, || here(APP) && here("plain"));
    assert!(mirror.syncs.catalogue_is_read());
    // Either spelling names the one that is there, also one that is newer than the last listing.
    mirror.current("team/app");
    mirror.current("plain.git");
    rich.copy_to(&folder.join("team/new.git"));
    mirror.current("team/new");
    let paths: Vec<_> = mirror.store.all().iter().map(|repository| repository.path().to_owned()).collect();
    assert_eq!(paths, ["plain", APP, "team/new.git"]);
    // One that vanishes is denied and kept.
    std::fs::rename(folder.join("plain"), sandbox.path().join("aside")).unwrap();
    assert!(matches!(mirror.confirm("plain"), Confirmed::NotFound));
    assert!(here("plain"));
    std::fs::rename(sandbox.path().join("aside"), folder.join("plain")).unwrap();
    mirror.current("plain");
    // What the repository hides stays hidden.
    rich.run(&["config", "transfer.hideRefs", "refs/pull"]);
    let refs = mirror.current(APP).refs.clone();
    assert!(refs.with_prefix(b"refs/pull/").next().is_none() && refs.find(b"refs/heads/main").is_some());
}
