//! References that move while clients are between an advertisement and its fetch: what was advertised is granted, on
//! whatever connection it is asked for.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::{Scope, ScopedJoinHandle};

use crate::support::compare::fsck;
use crate::support::conversation::{fetch, pack_of};
use crate::support::git::{Git, Which};
use crate::support::heliostat::Heliostat;
use crate::support::http::request;
use crate::support::repositories::Upstream;
use crate::support::site::Site;

const APP: &str = "team/app.git";
/// Commits for `main` to be moved to, and how often each client clones or fetches.
const POOL: usize = 300;
const TURNS: usize = 9;

fn site(generations_kept: usize) -> Site {
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&config, format!("[store]\ngenerations_kept = {generations_kept}\n")).unwrap();
    Site::start_with(&["--config", &config.path().display().to_string()], |git, folder| {
        Upstream::rich(git, &folder.join(APP));
    })
}

/// Commits that no reference reaches, and mostly none of the others: going from one to another is a forced push.
fn pool(upstream: &Upstream, random: &mut fastrand::Rng) -> Vec<String> {
    let (mut stream, base) = (String::new(), upstream.id("main"));
    for mark in 1..=POOL {
        let from = if mark == 1 || random.u8(..4) > 0 { base.clone() } else { format!(":{}", mark - 1) };
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
    assert_eq!(ids.len(), POOL);
    ids
}

/// What moves the references.
struct Churn<'a> {
    upstream: &'a Upstream,
    mirror: &'a Heliostat,
    pool: std::vec::IntoIter<String>,
    there: HashSet<&'static str>,
    random: fastrand::Rng,
    changes: usize,
}

impl Churn<'_> {
    /// Forces `main`, and moves a branch or tag that comes, goes, or comes back where a folder of branches was; the mirror
    /// hears of it, as by a hook.
    fn step(&mut self) {
        const NAMES: [&str; 5] = ["heads/topic", "heads/topic/part", "heads/other", "tags/moving", "pull/1/head"];
        let id = self.pool.next().expect("enough of them");
        let mut commands = format!("update refs/heads/main {id}\n");
        let name = NAMES[self.random.usize(..NAMES.len())];
        let rival = match name {
            "heads/topic" => Some("heads/topic/part"),
            "heads/topic/part" => Some("heads/topic"),
            _ => None,
        };
        if let Some(rival) = rival.filter(|rival| self.there.remove(rival)) {
            self.upstream.run(&["update-ref", "-d", &format!("refs/{rival}")]);
        }
        if self.random.bool() || !self.there.remove(name) {
            self.there.insert(name);
            commands += &format!("update refs/{name} {id}\n");
        } else {
            commands += &format!("delete refs/{name}\n");
        }
        let folder = &self.upstream.folder;
        let finished = self.upstream.git.run_with(folder, &["update-ref", "--stdin"], commands.as_bytes());
        assert!(finished.status.success(), "{commands}{}", finished.stderr);
        let answer = self.mirror.admin("POST", &format!("/api/v1/repositories/{APP}/sync"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.changes += 1;
    }
}

/// Passes on what clients say, and lets references move whenever one is about to ask: after its advertisement, before its
/// fetch.
fn relay<'s>(scope: &'s Scope<'s, '_>, listener: TcpListener, port: u16, churn: &'s Mutex<Churn<'_>>) {
    scope.spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = [0];
            // The end of it.
            if client.peek(&mut head).is_ok_and(|length| length == 1) && head == [0] {
                return;
            }
            let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            scope.spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            scope.spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(length @ 1..) = client.read(&mut buffer) {
                    if buffer.starts_with(b"POST ") {
                        churn.lock().unwrap().step();
                    }
                    if server.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
}

/// One client: clones, and fetches into the clones. What it made, and how many tips of `main` it saw.
fn client(git: &Git, url: &str, folder: &Path) -> Result<(Vec<PathBuf>, usize), String> {
    let (mut made, mut tips) = (Vec::new(), HashSet::new());
    for turn in 0..TURNS {
        if turn % 3 == 0 {
            let name = format!("clone-{turn}");
            git.try_text(folder, &["clone", "--quiet", "--mirror", url, &name])?;
            made.push(folder.join(name));
        } else {
            git.try_text(&made[turn / 3], &["fetch", "--quiet", "--prune", "origin"])?;
        }
        tips.insert(git.try_text(&made[turn / 3], &["rev-parse", "refs/heads/main"])?);
    }
    Ok((made, tips.len()))
}

/// Real clients, with references forced after each advertisement and before each fetch: none is refused, and what each got is
/// whole.
#[test]
fn clients_while_references_move() {
    // Those by which one client may lag behind the others on a busy machine.
    let mut site = site(500);
    let upstream = site.upstream(APP);
    let mut random = fastrand::Rng::with_seed(5);
    let pool = pool(&upstream, &mut random).into_iter();
    let clients = [
        (Which::Machine, 0),
        (Which::Machine, 1),
        (Which::Machine, 2),
        (Which::Debian, 0),
        (Which::Debian, 1),
        (Which::Debian, 2),
    ]
    .map(|(which, version)| {
        let folder = site.sandbox.fresh("client");
        std::fs::create_dir_all(&folder).unwrap();
        (Git::client(&site.sandbox, which, version), folder)
    });
    let mirror = &*site.mirror();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}/{APP}");
    let churn = Churn { upstream: &upstream, mirror, pool, there: HashSet::new(), random, changes: 0 };
    let churn = Mutex::new(churn);
    let results = std::thread::scope(|scope| {
        relay(scope, listener, mirror.port(), &churn);
        let running = clients.each_ref().map(|(git, folder)| scope.spawn(|| client(git, &url, folder)));
        let results = running.map(ScopedJoinHandle::join);
        TcpStream::connect(address).unwrap().write_all(&[0]).unwrap();
        results
    });
    for ((git, _), result) in clients.iter().zip(results) {
        let (made, tips) = result.unwrap().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(tips, TURNS, "`main` moved each time");
        for clone in &made {
            fsck(git, clone).unwrap();
        }
    }
    let log = mirror.log();
    assert!(!log.contains("not our ref") && !log.contains("panicked"), "{log}");
    let generations: HashSet<&str> =
        log.lines().filter_map(|line| line.split(" generation=").nth(1)?.split(' ').next()).collect();
    let changes = churn.lock().unwrap().changes;
    assert!(changes >= clients.len() * TURNS, "{changes} changes");
    assert!(generations.len() >= changes / 2, "{} generations of {changes} changes", generations.len());
}

/// Gives each request to the other of two mirrors, and lets references move before each that is posted.
fn alternate<'s>(scope: &'s Scope<'s, '_>, listener: TcpListener, ports: [u16; 2], moves: &'s (dyn Fn() + Sync)) {
    scope.spawn(move || {
        for (turn, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|length| length == 1) {
                head.push(byte[0]);
            }
            // The end of it.
            if head.is_empty() {
                return;
            }
            let port = ports[turn % ports.len()];
            scope.spawn(move || {
                if head.starts_with(b"POST ") {
                    moves();
                }
                // The next request comes on a connection of its own.
                head.truncate(head.len() - 2);
                head.extend_from_slice(b"Connection: close\r\n\r\n");
                let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                server.write_all(&head).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                scope.spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut server, &mut client);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
}

/// Two mirrors that know nothing of one another behind one address, each request at the other one, and `main` forced before
/// each that is posted: what one has told is asked of the other, which has never seen it, and at the upstream no reference
/// leads to it any more. None is refused.
#[test]
fn two_mirrors_while_references_move() {
    // As long as a busy machine may keep a question waiting.
    let rule = "park = \"60s\"";
    let mut site = Site::start_ruled(rule, |git, folder| drop(Upstream::rich(git, &folder.join(APP))));
    let upstream = site.upstream(APP);
    let mut random = fastrand::Rng::with_seed(7);
    let pool = Mutex::new(pool(&upstream, &mut random).into_iter());
    let config = site.sandbox.path().join("another.toml");
    std::fs::write(&config, format!("[[mirror]]\ninclude = [\"*\"]\n{rule}\n")).unwrap();
    let flags = ["--config", &config.display().to_string()];
    let other = Heliostat::start(&site.sandbox.folder("another"), &site.apache.url(), &flags);
    let ports = [site.mirror().port(), other.port()];
    for port in ports {
        // The first copy is here before anything moves.
        assert!(advertised(port, 0).contains(" refs/heads/main"));
    }
    let moves = || {
        let id = pool.lock().unwrap().next().expect("enough of them");
        upstream.run(&["update-ref", "refs/heads/main", &id]);
    };
    for (which, version) in [(Which::Machine, 2), (Which::Machine, 0), (Which::Debian, 2), (Which::Debian, 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}/{APP}");
        let folder = site.sandbox.fresh("client");
        std::fs::create_dir_all(&folder).unwrap();
        let git = Git::client(&site.sandbox, which, version);
        let result = std::thread::scope(|scope| {
            alternate(scope, listener, ports, &moves);
            let result = client(&git, &url, &folder);
            drop(TcpStream::connect(address).unwrap());
            result
        });
        let (made, tips) = result.unwrap_or_else(|error| panic!("{which:?} {version}: {error}"));
        assert_eq!(tips, TURNS, "`main` moved each time");
        for clone in &made {
            fsck(&git, clone).unwrap();
        }
    }
    for mirror in [&*site.mirror(), &other] {
        let log = mirror.log();
        assert!(!log.contains("not our ref") && !log.contains("panicked"), "{log}");
        // In version 2 a clone is three requests, so that both are fetched from.
        assert!(log.matches("operation=\"fetch\"").count() > TURNS / 2, "it was hardly asked: {log}");
    }
}

/// What one connection was told is asked for on others, after each of several forced pushes: granted as long as its
/// generation is kept, and no longer, once the upstream does not give it by its id any more either.
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
                upstream.run(&["gc", "--quiet", "--prune=now"]);
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
