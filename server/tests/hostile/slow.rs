//! Peers that take their time: heads, bodies, silence, and answers that nobody reads.

use crate::support::{Server, answers, noise, post, repository_with, status};
use heliostat_core::limits::HTTP_IDLE_TIME;
use std::{
    io::Read,
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// 300 slow heads do not keep a clone waiting; they are told 408 after ten seconds, and silence is just closed.
#[test]
fn slow_heads() {
    let server = Server::start();
    let began = Instant::now();
    let mut slow: Vec<_> = (0..300)
        .map(|_| {
            let mut peer = server.peer();
            peer.send("GET /status HTTP/1.1\r\nHost: h\r\nX: ");
            peer
        })
        .collect();
    let mut silent = server.peer();
    let clone = server.clone("clone").status().unwrap();
    assert!(clone.success());
    for second in 0..8 {
        sleep(Duration::from_secs(1));
        slow.iter_mut().for_each(|peer| peer.send("a"));
        if second == 4 {
            server.lives_on();
        }
    }
    for peer in &mut slow {
        let text = peer.read_to_end();
        assert_eq!((status(&text), answers(&text)), (408, 1), "{text}");
    }
    assert_eq!(silent.read_to_end(), "");
    let took = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(25)).contains(&took), "{took:?}");
    server.lives_on();
}

/// A body at one byte a second is given up.
#[test]
fn slow_bodies() {
    let server = Server::start();
    let began = Instant::now();
    let mut peer = server.peer();
    peer.send(post("Content-Length: 100000\r\n", b"0014"));
    peer.stream.set_nonblocking(true).unwrap();
    let mut answer = Vec::new();
    while began.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_secs(1));
        peer.send("c");
        match peer.stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    let (text, took) = (String::from_utf8_lossy(&answer), began.elapsed());
    assert_eq!(status(&text), 408, "{text}");
    assert!((Duration::from_secs(28)..Duration::from_secs(45)).contains(&took), "{took:?}");
    server.lives_on();
}

/// Who asks for 48 MB and takes none of them is cut off; meanwhile others are served, and memory stays.
#[test]
fn readers_that_do_not_read() {
    let folder = TempDir::new().unwrap();
    repository_with(&folder.path().join("upstream/team/app.git"), &noise(1, 48 << 20));
    let server = Server::on(folder, &[], &[]);
    assert!(server.clone("first").status().unwrap().success());
    let tip = std::fs::read_to_string(server.folder.path().join("upstream/team/app.git/refs/heads/main")).unwrap();
    let want = format!("0012command=fetch\n00010032want {}\n0009done\n0000", tip.trim());
    let request = post(&format!("Content-Length: {}\r\n", want.len()), want.as_bytes());
    let before = server.memory_peak();
    let began = Instant::now();
    let mut readers: Vec<_> = (0..20)
        .map(|_| {
            let mut peer = server.peer();
            peer.send(&request);
            peer
        })
        .collect();
    let clone = server.clone("second").status().unwrap();
    assert!(clone.success());
    let grown = server.memory_peak().saturating_sub(before);
    // The pack is mapped, and mapped pages count as resident.
    assert!(grown < (48 << 20) + (32 << 20), "{} MiB", grown >> 20);
    let mut alive = readers.len();
    while alive > 0 && began.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_secs(1));
        alive = server.log().matches("operation=\"fetch\" status=200").count();
        alive = (readers.len() + 2).saturating_sub(alive);
    }
    assert_eq!(alive, 0, "all have been given up:\n{}", server.log());
    assert!(began.elapsed() >= Duration::from_secs(28));
    for peer in &mut readers {
        let mut taken = Vec::new();
        // What the kernels held arrives, and then the end, which is not the end of a whole answer.
        let _ = peer.stream.read_to_end(&mut taken);
        assert!(taken.starts_with(b"HTTP/1.1 200") && !taken.ends_with(b"0\r\n\r\n"));
        assert!(taken.len() < 48 << 20);
    }
    server.lives_on();
}

/// A connection is kept open for its next request, for so long.
#[test]
fn idle_connections() {
    let server = Server::start();
    let mut peer = server.peer();
    for _ in 0..2 {
        peer.send("GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(peer.answer().0, 200);
    }
    let began = Instant::now();
    peer.stream.set_read_timeout(Some(2 * HTTP_IDLE_TIME)).unwrap();
    assert_eq!(peer.read_to_end(), "");
    let took = began.elapsed();
    assert!(
        (HTTP_IDLE_TIME - Duration::from_secs(1)..HTTP_IDLE_TIME + Duration::from_secs(15)).contains(&took),
        "{took:?}"
    );
    server.lives_on();
}
