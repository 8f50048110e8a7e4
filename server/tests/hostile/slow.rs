//! Peers that take their time: heads, bodies, silence, and answers that nobody reads.

use crate::support::{Server, answers, noise, post, repository_with, status};
use heliostat_core::limits::{ANSWER_BUFFER_BYTES, HTTP_IDLE_TIME, HTTP_STALL_TIME};
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

/// Hundreds ask for 48 MB and take none of them, or a byte a second: they are cut off, meanwhile others are served, and
/// what each costs is bounded and given back.
#[test]
fn readers_that_do_not_read() {
    const READERS: usize = 300;
    /// The server as it is, and its own buffers for each answer; the plan and its packs are shared.
    const MEMORY_BYTES_MAX: u64 = (64 << 20) + READERS as u64 * ANSWER_BUFFER_BYTES as u64;
    let folder = TempDir::new().unwrap();
    repository_with(&folder.path().join("upstream/team/app.git"), &noise(1, 48 << 20));
    let server = Server::on(folder, &[], &[]);
    assert!(server.clone("first").status().unwrap().success());
    let tip = std::fs::read_to_string(server.folder.path().join("upstream/team/app.git/refs/heads/main")).unwrap();
    let want = format!("0012command=fetch\n00010032want {}\n0009done\n0000", tip.trim());
    let request = post(&format!("Content-Length: {}\r\n", want.len()), want.as_bytes());
    let open = server.descriptors();
    let began = Instant::now();
    let mut readers: Vec<_> = (0..READERS)
        .map(|at| {
            let mut peer = server.peer();
            if at > 0 {
                // Little of it in the kernel: what is meant is what the server holds.
                rustix::net::sockopt::set_socket_recv_buffer_size(&peer.stream, 16 << 10).unwrap();
            }
            peer.send(&request);
            peer
        })
        .collect();
    let clone = server.clone("second").status().unwrap();
    assert!(clone.success());
    let served = began.elapsed();
    assert!(served < HTTP_STALL_TIME, "the others keep a clone waiting for {served:?}");
    let (mut memory, mut descriptors) = (0, 0);
    // Both clones and all readers have then been logged, each at its end.
    while fetches(&server.log()).count() < READERS + 2 {
        assert!(began.elapsed() < 2 * HTTP_STALL_TIME, "some have not been given up:\n{}", server.log());
        sleep(Duration::from_secs(1));
        memory = memory.max(server.memory_beyond_maps());
        descriptors = descriptors.max(server.descriptors().saturating_sub(open));
        for peer in readers.iter_mut().skip(1).step_by(2) {
            peer.stream.set_nonblocking(true).unwrap();
            // As fast as a byte a second, where there is one.
            let _ = peer.stream.read(&mut [0]);
        }
    }
    assert!(began.elapsed() >= HTTP_STALL_TIME - Duration::from_secs(2));
    let cut = fetches(&server.log()).filter(|line| line.contains(" error=")).count();
    assert_eq!(cut, READERS, "{}", server.log());
    eprintln!("{} MiB and {descriptors} descriptors for {READERS} readers", memory >> 20);
    assert!(memory < MEMORY_BYTES_MAX, "{} MiB for {READERS} readers", memory >> 20);
    // The plan that they share may spool.
    assert!((READERS..READERS + 16).contains(&descriptors), "{descriptors} descriptors for {READERS} readers");
    let left = server.descriptors().saturating_sub(open);
    assert!(left < 16, "{left} descriptors are left");
    // What the kernel held arrives where there is room for it, and then the end, which is not the end of a whole answer.
    let mut taken = Vec::new();
    let _ = readers[0].stream.read_to_end(&mut taken);
    assert!(taken.len() < 48 << 20 && !taken.ends_with(b"0\r\n\r\n"));
    server.lives_on();
}

/// The lines of the log about fetches, each written when the answer is over.
fn fetches(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter(|line| line.contains("operation=\"fetch\" status=200"))
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
