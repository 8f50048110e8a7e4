//! References that move while clients are between an advertisement and its fetch: what was advertised is granted, on
//! whatever connection it is asked for.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::compare::fsck;
use crate::support::conversation::{fetch, pack_of};
use crate::support::git::{Git, Which};
use crate::support::http::request;
use crate::support::repositories::Upstream;
use crate::support::site::Site;

const APP: &str = "team/app.git";
/// How many times references move under the clients, each time several of them, and how long at most.
const CHANGES: usize = 300;
const CHURN_TIME: Duration = Duration::from_secs(12);
/// What a busy machine still does in that time.
const GENERATIONS_MIN: usize = 20;
const CLONES_MIN: usize = 8;

fn site(generations_kept: usize) -> Site {
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&config, format!("[store]\ngenerations_kept = {generations_kept}\n")).unwrap();
    Site::start_with(&["--config", &config.path().display().to_string()], |git, folder| {
        Upstream::rich(git, &folder.join(APP));
    })
}

/// Commits that no reference reaches, each on top of one of the few before it: going from one to another is mostly a forced
/// push.
fn pool(upstream: &Upstream, random: &mut fastrand::Rng) -> Vec<String> {
    let mut stream = String::new();
    for mark in 1..=CHANGES {
        let from = match mark {
            1 => upstream.id("main"),
            _ => format!(":{}", random.usize(mark.saturating_sub(5).max(1)..mark)),
        };
        let date = 1_720_000_000 + mark;
        stream += &format!(
            "commit refs/heads/pool\nmark :{mark}\ncommitter C <c@example.com> {date} +0000\ndata 0\nfrom {from}\n\
             M 100644 inline churn/{}.txt\ndata {}\nchange {mark:06}\n\n",
            mark % 7,
            "change 000000".len(),
        );
    }
    let marks = upstream.folder.join("marks");
    let export = format!("--export-marks={}", marks.display());
    let finished =
        upstream.git.run_with(&upstream.folder, &["fast-import", "--quiet", "--force", &export], stream.as_bytes());
    assert!(finished.status.success(), "fast-import: {}", finished.stderr);
    upstream.run(&["update-ref", "-d", "refs/heads/pool"]);
    let marks = std::fs::read_to_string(marks).unwrap();
    let ids: Vec<String> = marks.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(ids.len(), CHANGES);
    ids
}

/// Moves `main`, and branches and tags that come, go, and come back where a folder of branches was.
fn churn(upstream: &Upstream, pool: &[String], random: &mut fastrand::Rng) -> usize {
    const NAMES: [&str; 6] =
        ["heads/topic", "heads/topic/part", "heads/other", "tags/moving", "pull/1/head", "notes/n"];
    let began = Instant::now();
    let mut there: HashSet<&str> = HashSet::new();
    for (at, id) in pool.iter().enumerate() {
        if began.elapsed() > CHURN_TIME {
            return at;
        }
        let mut commands = format!("update refs/heads/main {id}\n");
        let name = NAMES[random.usize(..NAMES.len())];
        let rival = match name {
            "heads/topic" => Some("heads/topic/part"),
            "heads/topic/part" => Some("heads/topic"),
            _ => None,
        };
        if let Some(rival) = rival.filter(|rival| there.remove(rival)) {
            upstream.run(&["update-ref", "-d", &format!("refs/{rival}")]);
        }
        if random.bool() || !there.remove(name) {
            there.insert(name);
            commands += &format!("update refs/{name} {}\n", pool[random.usize(..=at)]);
        } else {
            commands += &format!("delete refs/{name}\n");
        }
        let finished = upstream.git.run_with(&upstream.folder, &["update-ref", "--stdin"], commands.as_bytes());
        assert!(finished.status.success(), "{commands}{}", finished.stderr);
    }
    pool.len()
}

/// One client: a clone, and then a repository that it brings up to date. What it made, and every tip of `main` that it saw.
fn client(
    git: &Git,
    url: &str,
    folder: &Path,
    over: &AtomicBool,
    clones: &AtomicUsize,
) -> (Vec<PathBuf>, HashSet<String>) {
    let (mut made, mut tips) = (Vec::new(), HashSet::new());
    let mut turn = 0;
    // One more when all is still.
    let mut last = false;
    while !last {
        last = over.load(Ordering::Relaxed);
        if turn % 3 == 0 {
            let name = format!("clone-{turn}");
            git.try_text(folder, &["clone", "--quiet", "--mirror", url, &name])
                .unwrap_or_else(|error| panic!("{error}"));
            clones.fetch_add(1, Ordering::Relaxed);
            made.push(folder.join(name));
        } else {
            let clone = made.last().expect("the first turn is a clone");
            git.try_text(clone, &["fetch", "--quiet", "--prune", "origin"]).unwrap_or_else(|error| panic!("{error}"));
        }
        tips.insert(git.text(made.last().unwrap(), &["rev-parse", "refs/heads/main"]));
        turn += 1;
    }
    (made, tips)
}

/// Real clients while references move several times a second: none is refused, and what each got is whole.
#[test]
fn clients_while_references_move() {
    // Those that one client may lag behind the others on a busy machine.
    let mut site = site(500);
    let upstream = site.upstream(APP);
    let mut random = fastrand::Rng::with_seed(5);
    let pool = pool(&upstream, &mut random);
    let url = site.mirror_url(APP);
    let (over, clones) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients: Vec<(Git, PathBuf)> =
        [(Which::Machine, 0), (Which::Machine, 2), (Which::Debian, 0), (Which::Debian, 2)]
            .map(|(which, version)| (Git::client(&site.sandbox, which, version), site.sandbox.fresh("client")))
            .into();
    let (changes, results) = std::thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter()
            .map(|(git, folder)| {
                std::fs::create_dir_all(folder).unwrap();
                scope.spawn(|| client(git, &url, folder, &over, &clones))
            })
            .collect();
        let changes = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| churn(&upstream, &pool, &mut random)));
        over.store(true, Ordering::Relaxed);
        let results: Vec<_> = running.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        (changes.unwrap(), results)
    });
    let log = site.mirror().log();
    let refusals: Vec<&str> = log.lines().filter(|line| line.contains("not our ref")).collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
    let mut tips = HashSet::new();
    for ((git, _), result) in clients.iter().zip(results) {
        let (made, seen) = result.expect("no client failed");
        tips.extend(seen);
        for clone in &made {
            fsck(git, clone).unwrap();
        }
        let main = git.text(made.last().unwrap(), &["rev-parse", "refs/heads/main"]);
        assert_eq!(main, upstream.id("main"), "all have the end of it");
    }
    let generations: BTreeSet<&str> =
        log.lines().filter_map(|line| line.split(" generation=").nth(1)?.split(' ').next()).collect();
    let clones = clones.into_inner();
    eprintln!("{changes} changes, {} generations, {} tips seen, {clones} clones", generations.len(), tips.len());
    assert!(generations.len() >= GENERATIONS_MIN, "{} generations of {changes} changes", generations.len());
    assert!(tips.len() >= GENERATIONS_MIN / 2 && clones >= CLONES_MIN, "{} tips seen by {clones} clones", tips.len());
    assert!(!log.contains("panicked"), "{log}");
}

/// What one connection was told is asked for on others, after each of several forced pushes: granted as long as its
/// generation is kept, and no longer.
#[test]
fn an_advertisement_of_some_generations_ago() {
    const KEPT: usize = 3;
    let mut site = site(KEPT);
    let upstream = site.upstream(APP);
    let git = site.git.clone();
    for version in [0, 1, 2] {
        let base = upstream.id("main~1");
        let told = upstream.commit_on(&base, "main", &[("told.txt", &format!("told in version {version}\n"))]);
        let port = site.mirror().port();
        assert!(advertised(port, version).contains(&format!("{told} refs/heads/main")));
        let want = format!("want {told}");
        for age in 0..=KEPT + 1 {
            let now = upstream.id("main");
            if age <= KEPT {
                let answer = fetch(port, APP, version, &[&want], &[]);
                let pack = pack_of(&answer).unwrap_or_else(|| panic!("v{version}, {age} ago: {}", answer.text()));
                let clone = site.sandbox.fresh("clone");
                git.text(site.sandbox.path(), &["init", "--quiet", "--bare", &clone.display().to_string()]);
                let indexed = git.run_with(&clone, &["index-pack", "--stdin", "--strict"], &pack);
                assert!(indexed.status.success(), "{}", indexed.stderr);
                let count = git.text(&clone, &["rev-list", "--objects", "--count", &told]);
                assert_eq!(count, upstream.run(&["rev-list", "--objects", "--count", &told]));
            } else {
                let answer = fetch(port, APP, version, &[&want], &[]);
                assert!(answer.text().contains(&format!("not our ref {told}")), "v{version}: {}", answer.text());
                assert!(pack_of(&answer).is_none());
            }
            if version == 2 {
                // By its name it is what it is now, also beside what it was.
                let more: &[&str] = if age <= KEPT { &[&want] } else { &[] };
                let answer = fetch(port, APP, 2, &["want-ref refs/heads/main"], more);
                assert!(
                    answer.text().contains(&format!("wanted-refs\n003d{now} refs/heads/main\n")),
                    "{}",
                    answer.text()
                );
                assert!(pack_of(&answer).is_some());
            }
            upstream.commit_on(&base, "main", &[("told.txt", &format!("{age} after version {version}\n"))]);
            let answer = site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/sync"));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    assert!(!site.mirror().log().contains("panicked"));
}

/// The references as a client is told them.
fn advertised(port: u16, version: u8) -> String {
    if version == 2 {
        return crate::support::conversation::post(port, APP, 2, &["command=ls-refs", "0001", "0000"]).text();
    }
    let protocol = format!("version={version}");
    let path = format!("/{APP}/info/refs?service=git-upload-pack");
    request("GET", port, &path, &[("Git-Protocol", &*protocol)], b"").unwrap().text()
}
