//! Whose fault it is, in the words that a client and the log get: the upstream did not answer, answered with an error, or
//! answered what is not believed.

use crate::support::{Server, git, run, status};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::SeqCst},
    },
    thread,
};
use tempfile::TempDir;

/// Hands each connection on to a real upstream, or does something else with it.
struct Gate {
    address: SocketAddr,
    mode: Arc<AtomicU16>,
}

const OPEN: u16 = 200;
/// Connections are closed without an answer.
const SILENT: u16 = 0;
/// A Git host answers, whose repositories have no reference.
const EMPTY: u16 = 1;

impl Gate {
    fn before(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Self { address: listener.local_addr().unwrap(), mode: Arc::new(AtomicU16::new(OPEN)) };
        let mode = gate.mode.clone();
        // Ends with the process.
        thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                let mode = mode.load(SeqCst);
                thread::spawn(move || answer(peer, mode, upstream));
            }
        });
        gate
    }

    fn set(&self, mode: u16) {
        self.mode.store(mode, SeqCst);
    }
}

/// One request, or, through the open gate, all of a connection.
fn answer(mut peer: TcpStream, mode: u16, upstream: SocketAddr) -> Option<()> {
    if mode == OPEN {
        let mut there = TcpStream::connect(upstream).ok()?;
        let (mut back, mut from) = (peer.try_clone().ok()?, there.try_clone().ok()?);
        thread::spawn(move || std::io::copy(&mut from, &mut back));
        std::io::copy(&mut peer, &mut there).ok()?;
        return there.shutdown(std::net::Shutdown::Write).ok();
    }
    let mut head = Vec::new();
    while mode != SILENT && !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let reply = |status: u16, kind: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    };
    let text = match mode {
        SILENT => return Some(()),
        EMPTY if head.starts_with(b"GET") => {
            reply(200, "advertisement", "000eversion 2\n000cls-refs\n000afetch\n0017object-format=sha1\n0000")
        }
        EMPTY => reply(200, "result", "0000"),
        status => reply(status, "advertisement", ""),
    };
    peer.write_all(text.as_bytes()).ok()
}

fn ask(server: &Server, path: &str) -> String {
    server.exchange(format!("GET /{path}/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n"))
}

#[test]
fn whose_fault_it_is() {
    let real = Server::start();
    let gate = Gate::before(real.main);
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("host"), format!("http://{}", gate.address)).unwrap();
    let mut server = Server::on(folder, &[], &[]);
    let app = "team/app.git";
    server.until("it is mirrored", |server| ask(server, app).contains("refs/heads/main"));

    let others = ["does not answer", "answers with an error", "without any reference"];
    for (mode, words) in [(SILENT, others[0]), (503, others[1]), (500, others[1]), (EMPTY, others[2])] {
        gate.set(mode);
        let answer = ask(&server, app);
        assert!(status(&answer) == 200 && answer.contains("Heliostat-Freshness: stale"), "{mode}: {answer}");
        // The request's line in the log, the last one.
        server.until(words, |server| {
            let log = server.log();
            let line = log.lines().rfind(|line| line.contains("freshness")).unwrap_or_default();
            line.contains(words) && others.iter().filter(|other| line.contains(**other)).count() == 1
        });
        if mode != EMPTY {
            let answer = ask(&server, &format!("team/new-{mode}.git"));
            assert!(status(&answer) == 503 && answer.contains(words), "{mode}: {answer}");
        }
        // Outages in a row would have the upstream left alone.
        gate.set(OPEN);
        server.until("it is confirmed", |server| ask(server, app).contains("Heliostat-Freshness: confirmed"));
    }
    for (refusal, words) in [(410, "gone for good"), (451, "legal reasons")] {
        gate.set(refusal);
        for path in [app.to_owned(), format!("team/new-{refusal}.git")] {
            let answer = ask(&server, &path);
            assert!(status(&answer) == refusal && answer.contains(words), "{answer}");
        }
        gate.set(OPEN);
        server.until("it is confirmed", |server| ask(server, app).contains("Heliostat-Freshness: confirmed"));
    }
    // Who is no Git host will be none in ten seconds: nobody is told to come again. What is here is served.
    for (mode, words) in [(301, "to another address"), (402, "no Git host"), (405, "no Git host")] {
        gate.set(mode);
        let answer = ask(&server, &format!("team/new-{mode}.git"));
        assert!(status(&answer) == 502 && answer.contains(words) && !answer.contains("Retry-After"), "{answer}");
        assert!(ask(&server, app).contains("Heliostat-Freshness: stale"), "{mode}");
        gate.set(OPEN);
        server.until("it is confirmed", |server| ask(server, app).contains("Heliostat-Freshness: confirmed"));
    }
    server.lives_on();
}

/// A machine whose environment names a proxy that leads nowhere runs the same tests.
#[test]
fn the_machines_proxy_has_no_say() {
    let nowhere = "http://127.0.0.1:1";
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "blame::whose_fault_it_is"]);
    test.envs(["http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, nowhere)));
    let output = test.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// A store without room is no damage of the upstream's pack, and asking for everything again would help nobody. Many small
/// objects that no tree names have an index larger than their pack: that is what does not fit.
#[test]
fn a_full_disk_is_our_own_fault() {
    let real = Server::start();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("host"), format!("http://{}", real.main)).unwrap();
    let mut server = Server::on(folder, &["prlimit", "--fsize=65536:65536"], &[]);
    let app = "team/app.git";
    server.until("it is mirrored", |server| ask(server, app).contains("refs/heads/main"));

    let (upstream, place) = (real.folder.path().join("upstream").join(app), real.folder.path());
    let (mut blobs, mut tags) = (String::new(), String::new());
    for number in 1..=3_000 {
        let content = format!("{number}");
        writeln!(blobs, "blob\nmark :{number}\ndata {}\n{content}", content.len()).unwrap();
    }
    fs::write(place.join("blobs"), blobs).unwrap();
    let marks = format!("--export-marks={}", place.join("marks").display());
    run(git(&upstream).args(["fast-import", "--quiet", &marks]).stdin(File::open(place.join("blobs")).unwrap()));
    for line in fs::read_to_string(place.join("marks")).unwrap().lines() {
        let (mark, id) = line.split_once(' ').unwrap();
        writeln!(tags, "create refs/tags/t{} {id}", &mark[1..]).unwrap();
    }
    fs::write(place.join("tags"), tags).unwrap();
    run(git(&upstream).args(["update-ref", "--stdin"]).stdin(File::open(place.join("tags")).unwrap()));

    let answer = ask(&server, app);
    assert!(status(&answer) == 200 && answer.contains("Heliostat-Freshness: stale"), "{answer}");
    server.logs("storing the pack: File too large");
    server.logs("this mirror could not store the repository");
    let log = server.log();
    assert!(!log.contains("fetching again") && !log.contains("the upstream's answer"), "{log}");
    server.lives_on();
}
