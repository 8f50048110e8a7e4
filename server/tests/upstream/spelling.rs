//! `team/app` and `team/app.git`: one repository at a host, one or two in a folder; and what Git would not find.

use super::{
    mirror::{APP, Mirror, words},
    peer::{ADVERTISEMENT, Peer, RESULT, Request, Say, USUAL, ok, v2},
    support::{
        apache::Apache,
        compare::fsck,
        git::Git,
        http,
        process::{SERVER_TIMEOUT, wait_until},
        repositories::Upstream as Repository,
        sandbox::Sandbox,
    },
};
use heliostat::sync::Confirmed;
use std::path::Path;

/// Apache on a folder.
struct Host {
    git: Git,
    apache: Apache,
    sandbox: Sandbox,
}

impl Host {
    fn start(fill: impl FnOnce(&Git, &Path)) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let folder = sandbox.folder("upstream");
        fill(&git, &folder);
        let apache = Apache::start(&sandbox.folder("apache"), &folder, &git);
        Self { git, apache, sandbox }
    }

    fn mirror(&self) -> Mirror {
        Mirror::start(&self.sandbox.folder("data"), &self.apache.url())
    }

    /// Advertisements of `path` that were asked for, by status.
    fn asked(&self, path: &str, status: u16) -> usize {
        let is_it = |line: &&String| {
            line.contains(&format!("/{path}/info/refs?")) && line.trim_end().ends_with(&status.to_string())
        };
        self.apache.requests().iter().filter(is_it).count()
    }
}

fn paths(mirror: &Mirror) -> Vec<String> {
    mirror.store.all().iter().map(|repository| repository.path().to_owned()).collect()
}

#[test]
fn one_repository_is_mirrored_once() {
    let host = Host::start(|git, folder| drop(Repository::rich(git, &folder.join(APP))));
    let mirror = host.mirror();
    // All at once, before anything is here, and then one by one.
    let answers: Vec<_> = (0..10).map(|n| mirror.syncs.confirm(["team/app", APP][n % 2], None)).collect();
    for answer in answers {
        match futures_lite::future::block_on(answer).unwrap() {
            Confirmed::Current(_) => {}
            other => panic!("{}", words(&other)),
        }
    }
    assert_eq!(mirror.current("team/app").generation, mirror.current(APP).generation);
    assert_eq!(paths(&mirror), [APP]);
    assert_eq!(mirror.syncs.find(&"team/app".parse().unwrap()).unwrap().path(), APP);
}

/// `git http-backend` finds a directory without `.git` under its own name alone. That spelling is remembered.
#[test]
fn a_host_that_serves_one_spelling() {
    let host = Host::start(|git, folder| drop(Repository::rich(git, &folder.join("team/plain"))));
    let mirror = host.mirror();
    mirror.current("team/plain.git");
    mirror.current("team/plain");
    assert_eq!(paths(&mirror), ["team/plain"]);
    assert_eq!(host.asked("team/plain.git", 404), 1, "{:#?}", host.apache.requests());
    drop(mirror);
    let mirror = host.mirror();
    mirror.current("team/plain.git");
    assert_eq!(paths(&mirror), ["team/plain"]);
    assert_eq!(host.asked("team/plain.git", 404), 1, "remembered on disk: {:#?}", host.apache.requests());
}

#[test]
fn a_spelling_that_is_not_served_any_more() {
    let host = Host::start(|git, folder| drop(Repository::rich(git, &folder.join(APP))));
    let mirror = host.mirror();
    let generation = mirror.current("team/app").generation;
    let folder = host.sandbox.path().join("upstream/team");
    std::fs::rename(folder.join("app.git"), folder.join("app")).unwrap();
    for spelling in [APP, "team/app"] {
        assert_eq!(mirror.current(spelling).generation, generation);
    }
    assert_eq!(paths(&mirror), [APP]);
}

/// A host that answers one spelling with `refusal` and serves an empty repository under the other.
fn half_host(served: &'static str, refusal: &'static str) -> Peer {
    Peer::start(move |request: &Request| {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        if !path.starts_with(&format!("/{served}/")) {
            return Say::Keep(refusal.as_bytes().to_vec());
        }
        Say::Keep(if request.line.starts_with("GET") { ok(ADVERTISEMENT, &v2(USUAL)) } else { ok(RESULT, b"0000") })
    })
}

#[test]
fn the_other_spelling_is_asked_for_when_the_first_is_denied_or_redirected() {
    const DENIED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const MOVED: &str = "HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    const FAILING: &str = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
    for (served, refusal, expected) in [
        (APP, MISSING, "current"),
        (APP, DENIED, "current"),
        (APP, MOVED, "current"),
        ("team/app", MISSING, "current"),
        ("team/app", DENIED, "current"),
        ("team/app", MOVED, "current"),
        // An outage says nothing about the path, and is not doubled.
        ("team/app", FAILING, "unavailable: the upstream answers with an error (status 500)"),
        ("nothing", MISSING, "not found"),
        ("nothing", DENIED, "denied (401)"),
        ("nothing", MOVED, "useless: the upstream sends this mirror to another address"),
    ] {
        let sandbox = Sandbox::new();
        let peer = half_host(served, refusal);
        let mirror = Mirror::start(&sandbox.folder("data"), &peer.url());
        let answer = words(&mirror.confirm("team/app"));
        assert!(answer.starts_with(expected), "{served} {refusal:?}: {answer}");
        let asked: Vec<_> = peer.seen().iter().map(|request| request.line.clone()).collect();
        let gets = asked.iter().filter(|line| line.starts_with("GET")).count();
        assert_eq!(gets, if served == APP || refusal == FAILING { 1 } else { 2 }, "{served} {refusal:?}: {asked:?}");
        let stored = if expected == "current" { vec![served.to_owned()] } else { vec![] };
        assert_eq!(paths(&mirror), stored, "{served} {refusal:?}");
    }
}

/// What earlier versions left: the repository under the spelling that the client used, or twice.
#[test]
fn catalogues_of_earlier_versions() {
    let host = Host::start(|git, folder| drop(Repository::rich(git, &folder.join(APP))));
    let generation = host.mirror().current(APP).generation;
    let data = host.sandbox.path().join("data/repositories");
    std::fs::write(data.join("00000001/path"), "team/app").unwrap();
    let mirror = host.mirror();
    assert_eq!(mirror.current(APP).generation, generation);
    assert_eq!(paths(&mirror), ["team/app"]);
    drop(mirror);

    let copied =
        std::process::Command::new("cp").arg("-a").arg(data.join("00000001")).arg(data.join("00000002")).status();
    assert!(copied.unwrap().success());
    std::fs::write(data.join("00000002/path"), APP).unwrap();
    let upstream = Repository { git: host.git.clone(), folder: host.sandbox.path().join("upstream").join(APP) };
    upstream.commit("main", &[("later.txt", "later\n")]);
    let mirror = host.mirror();
    assert_eq!(mirror.current("team/app").generation.n, generation.n + 1);
    // Once one copy is proven, the other goes, from the catalogue and from disk.
    wait_until("the second copy goes", SERVER_TIMEOUT, || mirror.store.all().len() == 1);
    wait_until("and its directory", SERVER_TIMEOUT, || std::fs::read_dir(&data).unwrap().count() == 1);
    for spelling in ["team/app", APP] {
        let here = mirror.syncs.find(&spelling.parse().unwrap()).unwrap();
        assert_eq!(here.snapshot().unwrap().generation.n, generation.n + 1);
        fsck(&host.git, here.directory()).unwrap();
    }
    drop(mirror);
    host.mirror().current(APP);
}

/// In a folder `app` and `app.git` may lie side by side.
#[test]
fn two_repositories_in_a_folder_stay_two() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    let one = Repository::rich(&git, &folder.join("app"));
    let two = Repository::empty(&git, &folder.join("app.git"));
    two.commit_on_nothing("main", &[("two.txt", "two\n")]);
    let mirror = Mirror::start(&sandbox.folder("data"), &folder.display().to_string());
    for (path, upstream) in [("app", &one), ("app.git", &two)] {
        let main = mirror.current(path).refs.find(b"refs/heads/main").unwrap().id.to_string();
        assert_eq!(main, upstream.id("main"), "{path}");
        assert_eq!(mirror.syncs.find(&path.parse().unwrap()).unwrap().path(), path);
    }
    assert_eq!(paths(&mirror), ["app", "app.git"]);
}

/// The oracle is `git http-backend` behind Apache, which tries a path and the path with `.git` behind it. What differs is
/// that both spellings of one repository are served here; two `.git` are never too many.
#[test]
fn git_is_never_taken_off_twice() {
    let host = Host::start(|git, folder| {
        let rich = Repository::rich(git, &folder.join("app.git"));
        rich.copy_to(&folder.join("plain"));
        rich.copy_to(&folder.join("odd.git.git"));
    });
    let folder = host.sandbox.path().join("upstream");
    let port = host.apache.url().rsplit(':').next().unwrap().parse().unwrap();
    let of_host = host.mirror();
    let of_folder = Mirror::start(&host.sandbox.folder("data-of-folder"), &folder.display().to_string());
    let stock = |path: &str| {
        let target = format!("/{path}/info/refs?service=git-upload-pack");
        http::request("GET", port, &target, &[], b"").unwrap().status == 200
    };
    // With no `.git` behind the name, with one, two, three: from stock Git, from a mirror of it, from one of the folder.
    for (name, expected) in [
        ("app", [[true, true, true], [true, true, true], [false; 3], [false; 3]]),
        ("plain", [[true, true, true], [false, true, true], [false; 3], [false; 3]]),
        ("odd", [[false, true, false], [true, true, false], [true; 3], [false; 3]]),
    ] {
        for (count, expected) in expected.into_iter().enumerate() {
            let path = format!("{name}{}", ".git".repeat(count));
            let found = |mirror: &Mirror| matches!(mirror.confirm(&path), Confirmed::Current(_));
            assert_eq!([stock(&path), found(&of_host), found(&of_folder)], expected, "{path}");
        }
    }
}
