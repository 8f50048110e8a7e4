//! First copies that never come to an end: whoever begins them is bounded, and everybody else goes on.

use crate::support::{Peer, Server, status};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// First copies of one source at once: as many as there may be questions, three for each of four fetches.
const OF_A_SOURCE: usize = 12;
/// And in all.
const IN_ALL: usize = 2 * OF_A_SOURCE;

/// A Git host that has every repository, shows it to everybody, and sends no object until it fails.
fn host() -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, fails) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let shared = fails.clone();
    // Ends with the process.
    thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let fails = shared.clone();
            thread::spawn(move || answer(peer, &fails));
        }
    });
    (address, fails)
}

fn answer(mut peer: TcpStream, fails: &AtomicBool) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    peer.read_exact(&mut body).ok()?;
    let (kind, text) = if head.starts_with("GET") {
        ("advertisement", "000eversion 2\n000cls-refs\n000afetch\n0017object-format=sha1\n0000".to_owned())
    } else if String::from_utf8_lossy(&body).contains("command=ls-refs") {
        ("result", format!("003d{} refs/heads/main\n0000", "1".repeat(40)))
    } else {
        while !fails.load(SeqCst) {
            sleep(Duration::from_millis(10));
        }
        return None;
    };
    let length = text.len();
    let text = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    );
    peer.write_all(text.as_bytes()).ok()
}

fn from(number: u8, to: SocketAddr) -> Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 1, number], 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Peer { stream: TcpStream::from(socket) }
}

/// What who comes from `address` hears of `path`, with more header lines.
fn ask(server: &Server, address: u8, path: &str, lines: &str) -> String {
    let mut peer = from(address, server.main);
    peer.send(format!(
        "GET /team/{path}.git/info/refs?service=git-upload-pack HTTP/1.0\r\nGit-Protocol: version=2\r\n{lines}\r\n"
    ));
    peer.read_to_end()
}

#[test]
fn first_copies_are_bounded_for_each_source_and_in_all() {
    let (address, fails) = host();
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("host"), format!("http://{address}")).unwrap();
    let server = Server::on(folder, &[], &[]);
    let has_one_more = |source: u8, path: &str, lines: &str| {
        let text = ask(&server, source, path, lines);
        assert!(status(&text) == 200 || status(&text) == 503 && text.contains("Retry-After: "), "{text}");
        status(&text) == 200
    };
    let of = |source: u8, lines: &str| -> usize {
        (0..2 * OF_A_SOURCE)
            .filter(|n| has_one_more(source, &format!("of-{source}-{}-{n}", lines.len()), lines))
            .count()
    };
    assert_eq!(of(1, ""), OF_A_SOURCE, "of one address");
    // What is under way costs nothing more, whoever asks.
    assert!(has_one_more(1, "of-1-0-0", "") && has_one_more(2, "of-1-0-0", ""));
    let text = ask(&server, 1, "more", "");
    assert!(text.contains("not mirrored yet are being fetched for you, try again"), "{text}");
    // Nor does an address get more by what it brings, which this host takes whatever it is.
    let alice = "Authorization: Basic YWxpY2U6eA==\r\n";
    for credential in [alice, "Authorization: Basic eDox\r\n", "Authorization: Bearer made-up\r\n"] {
        assert_eq!(of(1, credential), 0, "{credential}");
    }
    // A credential counts wherever it comes from.
    assert_eq!((0..3).filter(|n| has_one_more(2, &format!("of-alice-{n}"), alice)).count(), 3, "of a credential");
    assert_eq!(of(3, alice), OF_A_SOURCE - 3, "of the same credential");
    assert_eq!(of(4, ""), IN_ALL - 2 * OF_A_SOURCE, "in all");
    let text = ask(&server, 5, "more", "");
    assert!(text.contains("not mirrored yet are being fetched, try again"), "{text}");
    // They end, and there is room again.
    fails.store(true, SeqCst);
    let began = Instant::now();
    let mut number = 0;
    while !has_one_more(1, &format!("later-{number}"), "") {
        number += 1;
        assert!(began.elapsed() < Duration::from_secs(20), "there is no room again");
        sleep(Duration::from_millis(100));
    }
    server.lives_on();
}
