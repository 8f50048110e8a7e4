//! More connections than there is room for, and a process without descriptors.

use crate::support::{Peer, Server, status};
use std::{fs, thread::sleep, time::Duration};

/// Descriptors that are kept back (`limits::DESCRIPTORS_RESERVED`).
const RESERVED: u64 = 512;

#[test]
fn a_full_server_says_so() {
    // Room for 40 connections, of which one address may have half.
    let limit = format!("--nofile={0}:{0}", RESERVED + 40);
    let server = Server::with(&["prlimit", &limit], &[]);
    let mut held: Vec<Peer> = (0..20).map(|_| server.peer()).collect();
    for peer in &mut held {
        peer.send("GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(peer.answer().0, 200);
    }
    for _ in 0..5 {
        let text = server.peer().read_to_end();
        assert_eq!(status(&text), 503, "{text}");
        assert!(text.contains("Retry-After: "), "{text}");
    }
    // The admin port has to answer when the main port is full.
    let mut admin = Peer::connect(server.admin);
    admin.send("GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(admin.answer().0, 200);
    // A place that becomes free is given.
    held.truncate(10);
    let mut served = 0;
    for _ in 0..100 {
        let mut peer = server.peer();
        peer.send("GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let text = peer.read_to_end();
        if text.starts_with("HTTP/1.1 200") {
            served += 1;
            break;
        }
        sleep(Duration::from_millis(20));
    }
    assert_eq!(served, 1);
    drop(held);
    server.lives_on();
}

/// Out of descriptors, it answers with the reserved one instead of leaving the caller in the queue, and recovers.
#[test]
fn out_of_descriptors() {
    let server = Server::start();
    let open = fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count() as u64;
    let limit = rustix::process::Rlimit { current: Some(open + 3), maximum: Some(open + 3) };
    let process = rustix::process::Pid::from_raw(i32::try_from(server.id()).unwrap());
    rustix::process::prlimit(process, rustix::process::Resource::Nofile, limit).unwrap();
    let mut held: Vec<Peer> = (0..30).map(|_| server.peer()).collect();
    let mut turned_away = 0;
    for peer in held.iter_mut().rev().take(10) {
        let text = peer.read_to_end();
        if !text.is_empty() {
            assert_eq!(status(&text), 503, "{text}");
            turned_away += 1;
        }
    }
    assert!(turned_away > 0, "somebody heard 503");
    drop(held);
    for _ in 0..200 {
        let mut peer = server.peer();
        peer.send("GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        if peer.read_to_end().starts_with("HTTP/1.1 200") {
            return server.lives_on();
        }
        sleep(Duration::from_millis(20));
    }
    panic!("it does not recover:\n{}", server.log());
}
