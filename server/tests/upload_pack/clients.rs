//! Real Git clients against both servers: the same references, the same objects, the same end.

use crate::stage::{Outcome, Side, Stage, copy, gits, run};
use heliostat_testrepo::{Change, Repository, Spec};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// A client of one Git version, one protocol version and one server.
struct Client<'a> {
    stage: &'a Stage,
    git: PathBuf,
    protocol: u8,
    side: Side,
    upstream: PathBuf,
}

/// What a repository holds.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    refs: String,
    head: String,
    shallow: Vec<String>,
    objects: BTreeSet<String>,
}

impl Client<'_> {
    fn run(&self, directory: Option<&str>, arguments: &[&str]) -> Outcome {
        let mut command = self.stage.process(&self.git);
        if let Some(directory) = directory {
            command.args(["-C", directory]);
        }
        command.args(["-c", &format!("protocol.version={}", self.protocol), "-c", "protocol.ext.allow=always"]);
        run(command.args(arguments), b"")
    }

    /// `git clone`, with `--upload-pack`.
    fn clone(&self, arguments: &[&str], target: &str) -> Outcome {
        let url = format!("file://{}", self.upstream.display());
        let upload_pack = self.side.command_line();
        self.run(None, &[&["clone", "-q", "--upload-pack", &upload_pack], arguments, &[&url, target]].concat())
    }

    /// `git fetch` in a clone that remembers its upload-pack.
    fn fetch(&self, target: &str, arguments: &[&str]) -> Outcome {
        let configured = format!("remote.origin.uploadpack={}", self.side.command_line());
        self.run(Some(target), &[&["-c", &configured, "fetch", "-q"], arguments].concat())
    }

    fn contents(&self, target: &str) -> Contents {
        let directory = self.stage.path(target);
        let git = |arguments: &[&str]| self.stage.git(&[&["-C", directory.to_str().unwrap()], arguments].concat());
        let check = self.run(Some(target), &["fsck", "--full", "--strict", "--no-dangling"]);
        assert!(check.status.success(), "{target}: fsck: {} {}", check.text(), check.err);
        let git_dir = directory.join(git(&["rev-parse", "--git-dir"]));
        let shallow = std::fs::read_to_string(git_dir.join("shallow")).unwrap_or_default();
        let mut shallow: Vec<_> = shallow.lines().map(String::from).collect();
        shallow.sort();
        // Stock Git may name a commit twice.
        shallow.dedup();
        Contents {
            refs: git(&["for-each-ref", "--format=%(objectname) %(refname) %(symref)"]),
            head: std::fs::read_to_string(git_dir.join("HEAD")).unwrap(),
            shallow,
            objects: git(&["cat-file", "--batch-check=%(objectname)", "--batch-all-objects"])
                .lines()
                .map(String::from)
                .collect(),
        }
    }
}

/// Runs `script` with every client against both servers and asserts that what they end with is equal.
fn check(stage: &Stage, upstream: &Path, script: impl Fn(&Client<'_>, &str) -> Vec<Outcome>) {
    for (number, git) in gits().iter().enumerate() {
        for protocol in [0, 1, 2] {
            let [stock, ours] = Side::BOTH.map(|side| {
                let client = Client { stage, git: git.path.clone(), protocol, side, upstream: upstream.into() };
                let target = |attempt| format!("clone-{number}-{protocol}-{side:?}-{attempt}-{}", fastrand::u32(..));
                let mut played = (0..5).map(target).map(|target| (script(&client, &target), target));
                // Stock Git may hang up on a refused client before the client has read why.
                let died = |outcomes: &[Outcome]| outcomes.iter().any(|outcome| outcome.err.contains("Broken pipe"));
                let (outcomes, target) =
                    played.find(|(outcomes, _)| side == Side::Ours || !died(outcomes)).expect("stock Git tells why");
                let ends: Vec<_> = outcomes
                    .into_iter()
                    .map(|outcome| (outcome.status.code(), outcome.text(), comparable(&outcome.err, &target)))
                    .collect();
                let contents = stage.path(&target).exists().then(|| client.contents(&target));
                (ends, contents)
            });
            assert_eq!(ours.0, stock.0, "Git {} protocol {protocol}: outcomes", git.version);
            match (ours.1, stock.1) {
                (Some(ours), Some(stock)) => {
                    assert_equal(&ours, &stock, &format!("Git {} protocol {protocol}", git.version))
                }
                (ours, stock) => assert_eq!(ours.is_some(), stock.is_some(), "whether there is a clone"),
            }
        }
    }
}

fn assert_equal(ours: &Contents, stock: &Contents, what: &str) {
    let more: Vec<_> = ours.objects.difference(&stock.objects).collect();
    let fewer: Vec<_> = stock.objects.difference(&ours.objects).collect();
    assert!(more.is_empty() && fewer.is_empty(), "{what}: we sent more: {more:?}, and less: {fewer:?}");
    assert_eq!(ours, stock, "{what}");
}

/// Messages in any order (two processes write them), without the clone's own name.
fn comparable(err: &str, target: &str) -> BTreeSet<String> {
    err.replace(target, "CLONE")
        // Stock Git says either, depending on its version.
        .replace("error: git upload-pack: not our ref", "fatal: git upload-pack: not our ref")
        .lines()
        // What the peer is told beyond what stock tells.
        .filter(|line| !line.starts_with("fatal: the remote end hung up") && !line.trim().is_empty())
        .map(String::from)
        .collect()
}

fn subject() -> (Stage, PathBuf, Repository) {
    let stage = Stage::new();
    let path = stage.path("upstream.git");
    let repository = Spec { pulls: 4, commits: 60, ..Spec::small(23) }.write(&path).unwrap();
    stage.git(&["-C", path.to_str().unwrap(), "config", "uploadpack.allowFilter", "true"]);
    (stage, path, repository)
}

#[test]
fn whole_clones() {
    let (stage, upstream, _) = subject();
    for arguments in [
        &[][..],
        &["--bare"],
        &["--mirror"],
        &["--single-branch"],
        &["--no-tags", "--bare"],
        &["--no-tags", "--single-branch", "--bare"],
        &["--branch", "none"],
    ] {
        check(&stage, &upstream, |client, target| vec![client.clone(arguments, target)]);
    }
}

#[test]
fn shallow_clones_and_what_follows() {
    let (stage, upstream, repository) = subject();
    let middle = repository.commits[repository.commits.len() / 2].to_string();
    let when = stage.git(&["-C", upstream.to_str().unwrap(), "log", "-1", "--format=%ct", &middle]);
    let since = format!("--shallow-since={when}");
    let tag = stage.git(&["-C", upstream.to_str().unwrap(), "tag", "--list"]);
    let exclude = format!("--shallow-exclude={}", tag.lines().next().unwrap());
    for arguments in [&["--depth=1"][..], &["--depth=5", "--no-single-branch"], &[&since], &[&exclude]] {
        check(&stage, &upstream, |client, target| {
            let mut outcomes = vec![client.clone(&[arguments, &["--bare"]].concat(), target)];
            // Difference 17: stock Git's client could not go on from commits that it was told of and not sent.
            outcomes.push(client.run(Some(target), &["prune"]));
            outcomes.push(client.fetch(target, &["--deepen=2", "origin", "HEAD"]));
            outcomes.push(client.fetch(target, &["--depth=4", "origin", "HEAD"]));
            outcomes.push(client.fetch(target, &["--unshallow", "origin"]));
            outcomes
        });
    }
}

#[test]
fn partial_clones() {
    let (stage, upstream, _) = subject();
    for filter in ["blob:none", "blob:limit=1k", "tree:0", "tree:1", "combine:blob:none+tree:3", "object:type=commit"] {
        let filter = format!("--filter={filter}");
        check(&stage, &upstream, |client, target| vec![client.clone(&["--bare", &filter], target)]);
    }
    // The checkout asks for what it lacks.
    for filter in ["--filter=blob:none", "--filter=tree:0"] {
        check(&stage, &upstream, |client, target| {
            let mut outcomes = vec![client.clone(&["--no-checkout", filter], target)];
            let configured = format!("remote.origin.uploadpack={}", client.side.command_line());
            outcomes.push(client.run(Some(target), &["config", "remote.origin.uploadpack", &configured[25..]]));
            outcomes.push(client.run(Some(target), &["checkout", "-q", "HEAD"]));
            outcomes
        });
    }
}

#[test]
fn incremental_fetches() {
    let (stage, upstream, mut repository) = subject();
    let old = stage.path("old.git");
    stage.git(&["clone", "-q", "--mirror", upstream.to_str().unwrap(), old.to_str().unwrap()]);
    stage.git(&["-C", old.to_str().unwrap(), "config", "remote.origin.url", &format!("file://{}", upstream.display())]);
    let main = repository.head_commit().unwrap().to_string();
    repository.advance(&[Change::AddCommits { branch: "main".into(), count: 7 }]).unwrap();
    stage.git(&["-C", upstream.to_str().unwrap(), "tag", "-a", "-m", "new", "new-tag"]);
    stage.git(&["-C", upstream.to_str().unwrap(), "update-ref", "refs/heads/moved", &format!("{main}~9")]);
    for (arguments, algorithm) in [
        (&[][..], "consecutive"),
        (&[], "skipping"),
        (&[], "noop"),
        (&["--prune"], "consecutive"),
        (&["--tags", "origin", "refs/heads/main:refs/heads/fetched"], "skipping"),
        (&["--no-tags", "origin", "refs/heads/main:refs/heads/fetched"], "consecutive"),
        (&["--refetch"], "consecutive"),
        (&["origin", "refs/heads/none"], "consecutive"),
    ] {
        check(&stage, &upstream, |client, target| {
            copy(&old, &stage.path(target));
            vec![
                client.run(Some(target), &["config", "fetch.negotiationAlgorithm", algorithm]),
                // Everything that is sent is kept, so that what is sent is compared.
                client.run(Some(target), &["config", "fetch.unpackLimit", "100000"]),
                client.fetch(target, arguments),
            ]
        });
    }
}

#[test]
fn exact_ids_and_refusals() {
    let (stage, upstream, repository) = subject();
    let dir = upstream.to_str().unwrap();
    let ancestor = stage.git(&["-C", dir, "rev-parse", "HEAD~4"]);
    let lost = stage.git(&["-C", dir, "commit-tree", "-m", "lost", "HEAD^{tree}"]);
    let absent = "1".repeat(40);
    assert!(repository.commits.len() > 10);
    for configured in ["uploadpack.none", "uploadpack.allowReachableSHA1InWant", "uploadpack.allowAnySHA1InWant"] {
        stage.git(&["-C", dir, "config", configured, "true"]);
        for id in [&ancestor, &lost, &absent] {
            check(&stage, &upstream, |client, target| {
                vec![client.run(None, &["init", "-q", "--bare", target]), {
                    let url = format!("file://{}", upstream.display());
                    let upload_pack = client.side.command_line();
                    client.run(Some(target), &["fetch", "-q", "--upload-pack", &upload_pack, &url, id])
                }]
            });
        }
    }
}

#[test]
fn listings() {
    let (stage, upstream, _) = subject();
    for arguments in [&[][..], &["--heads"], &["--tags"], &["--refs"], &["--symref"], &["--exit-code"]] {
        for pattern in ["", "HEAD", "refs/heads/m*", "none"] {
            check(&stage, &upstream, |client, _| {
                let url = format!("file://{}", upstream.display());
                let upload_pack = format!("--upload-pack={}", client.side.command_line());
                let patterns: &[&str] = if pattern.is_empty() { &[] } else { &[pattern] };
                vec![client.run(None, &[&["ls-remote", &upload_pack], arguments, &[&url], patterns].concat())]
            });
        }
    }
}

#[test]
fn curious_repositories() {
    let stage = Stage::new();
    for (name, spec) in [
        ("empty", Spec::empty()),
        ("unborn", Spec::unborn(3)),
        ("detached", Spec::detached(4)),
        ("curious", Spec::curious(5)),
        ("scattered", Spec::scattered(6)),
        ("loose", Spec::loose(7)),
    ] {
        let path = stage.path(&format!("{name}.git"));
        spec.write(&path).unwrap();
        check(&stage, &path, |client, target| vec![client.clone(&["--mirror"], target)]);
    }
}

#[test]
fn shallow_and_borrowing_and_partial_servers() {
    let (stage, upstream, _) = subject();
    let url = format!("file://{}", upstream.display());
    stage.git(&["clone", "-q", "--bare", "--depth=3", "--no-single-branch", &url, "shallow.git"]);
    stage.git(&["clone", "-q", "--bare", "--shared", upstream.to_str().unwrap(), "borrowing.git"]);
    stage.git(&["clone", "-q", "--bare", "--filter=blob:none", &url, "partial.git"]);
    for name in ["shallow.git", "borrowing.git", "partial.git"] {
        stage.git(&["-C", name, "config", "uploadpack.allowFilter", "true"]);
    }
    for name in ["shallow.git", "borrowing.git"] {
        check(&stage, &stage.path(name), |client, target| vec![client.clone(&["--bare"], target)]);
        check(&stage, &stage.path(name), |client, target| vec![client.clone(&["--bare", "--depth=2"], target)]);
    }
    check(&stage, &stage.path("partial.git"), |client, target| {
        vec![client.clone(&["--bare", "--filter=blob:none"], target)]
    });
}

#[test]
fn a_partial_server_that_lacks_what_is_asked_for_fails_the_client() {
    let (stage, upstream, _) = subject();
    let url = format!("file://{}", upstream.display());
    stage.git(&["clone", "-q", "--bare", "--filter=blob:none", &url, "partial.git"]);
    for side in Side::BOTH {
        let client =
            Client { stage: &stage, git: "git".into(), protocol: 2, side, upstream: stage.path("partial.git") };
        let outcome = client.clone(&["--bare"], "whole.git");
        assert_eq!(outcome.status.code(), Some(128), "{side:?}: {}", outcome.err);
        let told = "remote: aborting due to possible repository corruption on the remote side.";
        assert!(outcome.err.contains(told), "{side:?}: {}", outcome.err);
        assert!(!stage.path("whole.git").exists(), "{side:?}");
    }
}
