//! The queue in front of the workers, full and waited in, by a real load: the workers are stopped where they are.

use crate::support::{LS_REFS, Peer, Server, noise, post, repository_with, status};
use crate::threads::Stopped;
use heliostat_core::limits::{KEEP_ALIVE_INTERVAL, PLAN_QUEUE_TIME, PLANS_WAITING_PER_REPOSITORY};
use std::{
    fs::{self, File},
    io::Read,
    net::Shutdown,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Workers of a server with one shard: as many plans are at work, or on their way to work, at once.
const WORKERS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// One shard, which has mirrored its repository; and the tip of that.
fn server() -> (Server, String) {
    let server = Server::with(&[], &["--cores", "1"]);
    assert!(server.clone("first").status().unwrap().success());
    let tip = fs::read_to_string(server.folder.path().join("upstream/team/app.git/refs/heads/main")).unwrap();
    (server, tip.trim().to_owned())
}

/// A fetch of `tip` with more arguments, the last request of its connection.
fn fetch(tip: &str, arguments: &[&str]) -> Vec<u8> {
    let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
    let arguments: String = arguments.iter().map(|argument| line(argument)).collect();
    let body = format!("{}0001{arguments}{}{}0000", line("command=fetch"), line(&format!("want {tip}")), line("done"));
    post(&format!("Connection: close\r\nContent-Length: {}\r\n", body.len()), body.as_bytes())
}

/// What has arrived so far, without waiting; `None` if nothing has and the server has not closed.
fn arrived(peer: &mut Peer) -> Option<Vec<u8>> {
    peer.stream.set_nonblocking(true).unwrap();
    let mut bytes = vec![0; 1 << 16];
    let read = peer.stream.read(&mut bytes);
    peer.stream.set_nonblocking(false).unwrap();
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
        read => {
            bytes.truncate(read.unwrap());
            Some(bytes)
        }
    }
}

/// Whether `text` is an answer with a whole pack.
fn is_whole(text: &str) -> bool {
    status(text) == 200 && text.contains("PACK") && text.ends_with("0\r\n\r\n")
}

/// One more than may wait is told to come again; the others are served when it is their turn, and what needs no worker is
/// answered meanwhile.
#[test]
fn who_finds_it_full_hears_503() {
    let (server, tip) = server();
    let request = fetch(&tip, &["no-progress"]);
    let stopped = Stopped::named(&server, "plan-");
    let began = Instant::now();
    let mut peers: Vec<_> = (0..=WORKERS + PLANS_WAITING_PER_REPOSITORY)
        .map(|_| {
            let mut peer = server.peer();
            peer.send(&request);
            peer
        })
        .collect();
    let (refused, mut text) = loop {
        let answered = peers.iter_mut().enumerate().find_map(|(number, peer)| Some((number, arrived(peer)?)));
        if let Some((number, bytes)) = answered {
            break (number, String::from_utf8(bytes).unwrap());
        }
        assert!(began.elapsed() < PLAN_QUEUE_TIME / 2, "nobody is refused");
        sleep(Duration::from_millis(5));
    };
    text += &peers.remove(refused).read_to_end();
    assert_eq!(status(&text), 503, "{text}");
    assert!(text.contains("\r\nRetry-After: 5\r\n") && text.ends_with("the server is busy, try again\n"), "{text}");

    let text = server.exchange(post(&format!("Connection: close\r\nContent-Length: {}\r\n", LS_REFS.len()), LS_REFS));
    assert!(status(&text) == 200 && text.contains(&tip), "{text}");
    assert!(peers.iter_mut().all(|peer| arrived(peer).is_none()), "the others wait");

    drop(stopped);
    assert!(began.elapsed() < PLAN_QUEUE_TIME, "the test itself took too long for what it shows");
    for mut peer in peers {
        let text = peer.read_to_end();
        assert!(is_whole(&text), "{text}");
    }
    server.lives_on();
}

/// The same with a queue as short as the configuration says, and patience as little.
#[test]
fn a_short_queue() {
    let folder = TempDir::new().unwrap();
    repository_with(&folder.path().join("upstream/team/app.git"), b"hello\n");
    let file = folder.path().join("heliostat.toml");
    fs::write(&file, "[limits]\nplans_waiting_per_repository = 3\nplan_wait = \"1s\"\n").unwrap();
    let server = Server::on(folder, &[], &["--cores", "1", "--config", &file.display().to_string()]);
    assert!(server.clone("first").status().unwrap().success());
    let tip = fs::read_to_string(server.folder.path().join("upstream/team/app.git/refs/heads/main")).unwrap();
    let request = fetch(tip.trim(), &["no-progress"]);
    let stopped = Stopped::named(&server, "plan-");
    let mut peers: Vec<_> = (0..WORKERS + 3 + 2)
        .map(|_| {
            let mut peer = server.peer();
            peer.send(&request);
            peer
        })
        .collect();
    // Two find no place, three wait in vain; those that were at work are served once there are workers.
    let began = Instant::now();
    let mut refused = 0;
    while refused < 5 {
        assert!(began.elapsed() < PLAN_QUEUE_TIME / 2, "only {refused} are refused");
        peers.retain_mut(|peer| {
            let Some(bytes) = arrived(peer) else { return true };
            assert_eq!(status(&String::from_utf8_lossy(&bytes)), 503);
            refused += 1;
            false
        });
        sleep(Duration::from_millis(5));
    }
    drop(stopped);
    assert_eq!(peers.len(), WORKERS);
    for mut peer in peers {
        assert!(is_whole(&peer.read_to_end()));
    }
    server.lives_on();
}

/// A clone with Git's own client, its words in a file.
fn patient_clone(server: &Server, name: &str) -> (Child, std::path::PathBuf) {
    let words = server.folder.path().join(format!("{name}.err"));
    let mut git = crate::support::git(server.folder.path());
    git.args(["-c", "protocol.version=2", "clone", "--progress", "--bare", &server.url(), name]);
    (git.stderr(File::create(&words).unwrap()).stdout(Stdio::null()).spawn().unwrap(), words)
}

/// Who waits in the queue is kept awake where the protocol has room for it, and refused when it has waited too long: with a
/// status where nothing has been said yet, else in a packet.
#[test]
fn who_waits_is_kept_awake_and_not_for_ever() {
    let (server, tip) = server();
    let stopped = Stopped::named(&server, "plan-");
    // These two have their places at the workers: they will not be refused.
    let mut clones = ["one", "two"].map(|name| patient_clone(&server, name));
    let began = Instant::now();
    while !clones.iter().all(|(_, words)| fs::read_to_string(words).unwrap().contains("remote: Waiting for a turn")) {
        assert!(began.elapsed() < PATIENCE, "they are not kept awake: {}", server.log());
        sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() >= KEEP_ALIVE_INTERVAL, "silence is not broken before it is one");

    let began = Instant::now();
    let (mut refused, words) = patient_clone(&server, "three");
    let [mut silent, mut talkative, mut quiet] =
        [&["no-progress"][..], &["sideband-all"], &["sideband-all", "no-progress"]].map(|arguments| {
            let mut peer = server.peer();
            peer.send(fetch(&tip, arguments));
            peer
        });
    let texts = [&mut talkative, &mut quiet, &mut silent].map(Peer::read_to_end);
    let waited = began.elapsed();
    assert!((PLAN_QUEUE_TIME..2 * PLAN_QUEUE_TIME).contains(&waited), "{waited:?}");
    let [talkative, quiet, silent] = texts;
    let times = (PLAN_QUEUE_TIME.as_secs() / KEEP_ALIVE_INTERVAL.as_secs()) as usize - 1;
    for (text, frame) in [(&talkative, "0018\x02Waiting for a turn\r"), (&quiet, "0005\x02")] {
        assert_eq!(status(text), 200, "{text}");
        assert!(text.matches(frame).count() >= times, "{text:?}");
        // Outside the bands, whole, and the end.
        assert!(text.contains("0025ERR the server is busy, try again\r\n0\r\n\r\n"), "{text:?}");
    }
    assert!(!quiet.contains("Waiting"), "{quiet:?}");
    assert_eq!(status(&silent), 503, "{silent}");
    assert!(silent.contains("\r\nRetry-After: 5\r\n"), "{silent}");

    let status = crate::support::wait(&mut refused, PATIENCE).expect("the refused clone ends");
    let words = fs::read_to_string(words).unwrap();
    assert!(!status.success() && words.contains("remote: Waiting for a turn"), "{words}");
    assert!(words.contains("fatal: remote error: the server is busy, try again"), "{words}");

    drop(stopped);
    for (clone, words) in &mut clones {
        let status = crate::support::wait(clone, PATIENCE).expect("the clone ends");
        assert!(status.success(), "{}", fs::read_to_string(words).unwrap());
    }
    for name in ["one", "two"] {
        let mut git = crate::support::git(&server.folder.path().join(name));
        assert!(git.args(["fsck", "--full", "--strict"]).output().unwrap().status.success(), "{name}");
    }
    server.lives_on();
}

/// Waits until so many requests are under way, that for the status among them.
fn until_live(server: &Server, requests: usize) {
    let began = Instant::now();
    loop {
        let text = server.exchange("GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        if text.contains(&format!("\"requests\":{requests}")) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
        sleep(Duration::from_millis(5));
    }
}

/// Who has ended its own side of the connection behind a whole request waits for the answer, and gets it. One that has gone
/// altogether looks the same at first: an interim answer finds out.
#[test]
fn who_half_closes_is_answered_and_who_is_gone_is_not_waited_for() {
    const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let (server, tip) = server();
    let request = fetch(&tip, &["no-progress"]);
    let old = String::from_utf8(request.clone()).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    let stopped = Stopped::named(&server, "plan-");
    let mut waiting = [request.clone(), old.into_bytes()].map(|request| {
        let mut peer = server.peer();
        peer.send(request);
        peer.stream.shutdown(Shutdown::Write).unwrap();
        peer
    });
    let mut gone = server.peer();
    gone.send(request);
    until_live(&server, 4);
    assert_eq!(waiting[0].head(), INTERIM);
    drop(gone);
    until_live(&server, 3);
    server.logs("the client went away");

    drop(stopped);
    let [new, old] = waiting.each_mut().map(Peer::read_to_end);
    assert!(is_whole(&new), "{new}");
    assert!(status(&old) == 200 && old.contains("PACK") && !old.contains(INTERIM), "{old}");
    server.lives_on();
}

/// Whoever is sent what was planned for another reads so, and so does the operator.
#[test]
fn a_shared_plan_is_told() {
    let folder = TempDir::new().unwrap();
    // More than the kernels hold for a client that does not read.
    repository_with(&folder.path().join("upstream/team/app.git"), &noise(1, 24 << 20));
    let server = Server::on(folder, &[], &[]);
    assert!(server.clone("first").status().unwrap().success());
    let tip = fs::read_to_string(server.folder.path().join("upstream/team/app.git/refs/heads/main")).unwrap();
    let cache_of = |peer: &mut Peer, arguments: &[&str]| {
        peer.send(fetch(tip.trim(), arguments));
        let head = peer.head();
        head.lines().find_map(|line| Some(line.strip_prefix("Heliostat-Cache: ")?.to_owned())).expect(&head)
    };
    let mut peers = [(); 4].map(|()| server.peer());
    let [first, second, other, late] = peers.each_mut();
    assert_eq!(cache_of(first, &["no-progress"]), "miss");
    assert_eq!(cache_of(second, &["no-progress"]), "shared");
    assert_eq!(cache_of(other, &["no-progress", "ofs-delta"]), "miss", "another order");
    // What was ordered twice is kept for later.
    for _ in 0..2 {
        first.read_to_end();
        std::mem::swap(first, second);
    }
    assert_eq!(cache_of(late, &["no-progress"]), "hit");
    late.read_to_end();
    let began = Instant::now();
    while server.log().matches("cache=\"shared\"").count() != 1 {
        assert!(began.elapsed() < PATIENCE, "{}", server.log());
        sleep(Duration::from_millis(5));
    }
}

/// What may walk history, or is long to read, is a worker's: with all of them stopped a shard still answers the rest.
#[test]
fn what_takes_long_is_for_workers() {
    let (server, tip) = server();
    let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
    let info = format!("{}0001{}{}0000", line("command=object-info"), line("size"), line(&format!("oid {tip}")));
    let prefixes: String = (0..5_000).map(|n| line(&format!("ref-prefix refs/nothing/{n}"))).collect();
    let long = format!("{}0001{prefixes}{}0000", line("command=ls-refs"), line("ref-prefix refs/heads/ma"));
    let request =
        |body: &str| post(&format!("Connection: close\r\nContent-Length: {}\r\n", body.len()), body.as_bytes());

    let stopped = Stopped::named(&server, "plan-");
    let mut waiting = [&info, &long].map(|body| {
        let mut peer = server.peer();
        peer.send(request(body));
        peer
    });
    until_live(&server, 3);
    let text = server.exchange(request(std::str::from_utf8(LS_REFS).unwrap()));
    assert!(status(&text) == 200 && text.contains(&tip), "{text}");
    assert!(waiting.iter_mut().all(|peer| arrived(peer).is_none()), "answered without a worker");

    drop(stopped);
    let [info, references] = waiting.each_mut().map(Peer::read_to_end);
    let upstream = server.folder.path().join("upstream/team/app.git");
    let size = crate::support::git(&upstream).args(["cat-file", "-s", &tip]).output().unwrap().stdout;
    let size = String::from_utf8(size).unwrap();
    assert!(status(&info) == 200 && info.contains(&format!("{tip} {}", size.trim())), "{info}");
    assert!(status(&references) == 200 && references.contains(&format!("{tip} refs/heads/main\n")), "{references}");
    let began = Instant::now();
    while !server.log().contains("operation=\"object-info\" status=200") {
        assert!(began.elapsed() < PATIENCE, "{}", server.log());
        sleep(Duration::from_millis(5));
    }
    server.lives_on();
}
