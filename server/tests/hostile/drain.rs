//! The end: new connections are refused, live requests finish, and a second signal does not wait for them.

use crate::support::{Peer, Server, noise, post, repository_with};
use rustix::process::Signal;
use std::{
    io::Read,
    net::TcpStream,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A server with a repository that is larger than what sockets hold, and a peer that has asked for all of it.
fn busy() -> (Server, Peer) {
    let folder = TempDir::new().unwrap();
    repository_with(&folder.path().join("upstream/team/app.git"), &noise(2, 32 << 20));
    let server = Server::on(folder, &[], &[]);
    assert!(server.clone("first").status().unwrap().success());
    let tip = std::fs::read_to_string(server.folder.path().join("upstream/team/app.git/refs/heads/main")).unwrap();
    let want = format!("0012command=fetch\n00010032want {}\n0009done\n0000", tip.trim());
    let mut peer = server.peer();
    peer.send(post(&format!("Content-Length: {}\r\n", want.len()), want.as_bytes()));
    let mut first = [0; 12];
    peer.stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    (server, peer)
}

#[test]
fn live_requests_finish() {
    let (mut server, mut peer) = busy();
    let mut idle = server.peer();
    idle.send("GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(idle.answer().0, 200);
    server.signal(Signal::TERM);
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(server.main).is_ok() {
        assert!(Instant::now() < deadline, "new connections are still accepted");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(idle.read_to_end(), "", "an idle connection is closed");
    let mut admin = Peer::connect(server.admin);
    admin.send("GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
    let (status, body) = admin.answer();
    assert_eq!(status, 503);
    assert!(body.contains("DRAINING"), "{body}");
    assert!(server.wait(Duration::from_millis(500)).is_none(), "it waits for the live request");
    let mut answer = Vec::new();
    peer.stream.read_to_end(&mut answer).unwrap();
    assert!(answer.len() > 32 << 20 && answer.ends_with(b"0\r\n\r\n"), "whole: {} bytes", answer.len());
    let status = server.wait(Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut server, _peer) = busy();
    server.signal(Signal::INT);
    assert!(server.wait(Duration::from_millis(500)).is_none(), "it waits for the live request");
    server.signal(Signal::TERM);
    let status = server.wait(Duration::from_secs(10)).expect("it ends");
    assert_eq!(status.code(), Some(128 + 15), "{}", server.log());
}

/// A request that does not end within the time for draining is told so, on the side-band, and is not whole.
#[test]
fn a_request_that_takes_too_long_ends_with_words() {
    let (mut server, mut peer) = busy();
    server.signal(Signal::TERM);
    let began = Instant::now();
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    // Slowly, but above the slowest pace.
    while let Ok(read @ 1..) = peer.stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..read]);
        let slow = began.elapsed() < Duration::from_secs(31);
        std::thread::sleep(Duration::from_millis(if slow { 200 } else { 0 }));
    }
    assert!(!answer.ends_with(b"0\r\n\r\n"), "not whole: {} bytes", answer.len());
    let tail = String::from_utf8_lossy(&answer[answer.len().saturating_sub(400)..]).into_owned();
    assert!(tail.contains("shutting down"), "{tail:?}");
    let status = server.wait(Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", server.log());
}
