//! More connections than there is room for, a process without descriptors, and more bytes than anybody may send.

use crate::support::{LS_REFS, Peer, Server, answers, post, status};
use crate::threads::Stopped;
use heliostat_core::limits::{
    DESCRIPTORS_RESERVED, HTTP_DISCARD_BYTES_MAX, HTTP_DISCARD_TIME, HTTP_PARTING_MAX, HTTP_PIPELINE_BYTES_MAX,
    REQUEST_BYTES_IN_FLIGHT_MAX, REQUEST_BYTES_MAX,
};
use std::{
    fs,
    io::{ErrorKind, Read as _, Write},
    thread::sleep,
    time::{Duration, Instant},
};

/// What the kernels may hold of one connection, on both sides, generously.
const KERNEL_BYTES: usize = 32 << 20;

#[test]
fn a_full_server_says_so() {
    // Room for 40 connections, of which one address may have half.
    let limit = format!("--nofile={0}:{0}", DESCRIPTORS_RESERVED + 40);
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

/// Who has sent a request with the connection reads the refusal, and then the end: no reset, which could take the refusal with
/// it.
#[test]
fn who_is_turned_away_reads_why() {
    let request = post(&format!("Content-Length: {}\r\n", 12 << 10), &[b'0'; 12 << 10]);
    let turned_away = |server: &Server, times: usize| {
        for n in 0..times {
            let mut peer = server.peer();
            peer.send(&request);
            let mut text = String::new();
            let end = peer.stream.read_to_string(&mut text);
            assert!(end.is_ok(), "{n}: {end:?} after {text:?}");
            assert_eq!(status(&text), 503, "{text}");
        }
    };
    for limits in ["connections = 10\nconnections_per_address = 10", "connections = 20\nconnections_per_address = 10"] {
        let folder = tempfile::TempDir::new().unwrap();
        crate::support::repository(&folder.path().join("upstream/team/app.git"));
        let file = folder.path().join("heliostat.toml");
        fs::write(&file, format!("[limits]\n{limits}\n")).unwrap();
        let server = Server::on(folder, &[], &["--config", file.to_str().unwrap()]);
        let mut held: Vec<Peer> = (0..10).map(|_| server.peer()).collect();
        for peer in &mut held {
            peer.send("GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(peer.answer().0, 200);
        }
        turned_away(&server, 20);
        // As many as may stay, and they stay: others are turned away as ever, and who was let in is served.
        let mut staying: Vec<Peer> = (0..HTTP_PARTING_MAX + 20).map(|_| server.peer()).collect();
        for peer in &mut staying {
            assert_eq!(status(&peer.read_to_end()), 503);
        }
        held[0].send("GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(held[0].answer().0, 200);
        drop((held, staying));
        let began = Instant::now();
        while server.status() != Some(200) {
            assert!(began.elapsed() < Duration::from_secs(20), "there is no room again");
            sleep(Duration::from_millis(5));
        }
        server.lives_on();
    }
}

/// Out of descriptors, it answers with a spare one instead of leaving the caller in the queue, and recovers. (One that is let
/// go for this may serve a connection instead, which is silent here until its time for a head is over.)
#[test]
fn out_of_descriptors() {
    let server = Server::start();
    // Nothing that is under way ends later and leaves room.
    assert!(server.clone("first").status().unwrap().success());
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
    assert!(turned_away >= 5, "only {turned_away} heard 503");
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

/// Whether the server has read all that was sent on these connections, by the kernel's account of their queues.
fn has_read(server: &Server, peers: &[Peer]) -> bool {
    let port = |text: &str| u16::from_str_radix(text.rsplit(':').next().unwrap(), 16).unwrap();
    let theirs: Vec<u16> = peers.iter().map(|peer| peer.stream.local_addr().unwrap().port()).collect();
    fs::read_to_string("/proc/net/tcp").unwrap().lines().skip(1).all(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ends = [port(fields[1]), port(fields[2])];
        let is_one = ends.contains(&server.main.port()) && ends.iter().any(|end| theirs.contains(end));
        !is_one || fields[4] == "00000000:00000000"
    })
}

/// Bodies that are held together, all connections' added up, and no more: who comes then is told to come again.
#[test]
fn request_bytes_in_flight() {
    // One shard, which reads in the order of what comes.
    let server = Server::with(&[], &["--cores", "1"]);
    let ls_refs = post(&format!("Connection: close\r\nContent-Length: {}\r\n", LS_REFS.len()), LS_REFS);
    assert_eq!(status(&server.exchange(&ls_refs)), 200);
    let before = server.memory_peak();
    // Each sends all that a body may have, and not its last chunk.
    let count = REQUEST_BYTES_IN_FLIGHT_MAX as usize / REQUEST_BYTES_MAX;
    let piece = vec![b'x'; 1 << 20];
    let mut held: Vec<_> = (0..count).map(|_| server.peer()).collect();
    for peer in &mut held {
        peer.send(post("Transfer-Encoding: chunked\r\n", b""));
        for _ in 0..REQUEST_BYTES_MAX / piece.len() {
            peer.send(format!("{:x}\r\n", piece.len()));
            peer.send(&piece);
            peer.send("\r\n");
        }
    }
    let began = Instant::now();
    while !has_read(&server, &held) {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not read on");
        sleep(Duration::from_millis(5));
    }
    let text = server.exchange(&ls_refs);
    assert_eq!(status(&text), 503, "{text}");

    assert!(text.contains("\r\nRetry-After: 5\r\n") && text.contains("Connection: close"), "{text}");
    let grown = server.memory_peak().saturating_sub(before);
    // A buffer that grows is moved: for a moment there are two of it.
    assert!(grown < 3 * REQUEST_BYTES_IN_FLIGHT_MAX, "{} MiB", grown >> 20);
    drop(held);
    let began = Instant::now();
    while status(&server.exchange(&ls_refs)) != 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "there is no room again");
        sleep(Duration::from_millis(5));
    }
    server.lives_on();
}

/// Sends `bytes` as long as the other side takes them; how many it took.
fn send_until_refused(peer: &mut Peer, bytes_max: usize, patience: Duration) -> usize {
    let piece = vec![b'x'; 64 << 10];
    peer.stream.set_nonblocking(true).unwrap();
    let (mut sent, mut since) = (0, Instant::now());
    while sent < bytes_max && since.elapsed() < patience {
        match peer.stream.write(&piece) {
            Ok(count) => (sent, since) = (sent + count, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(1)),
            Err(_) => break,
        }
    }
    peer.stream.set_nonblocking(false).unwrap();
    sent
}

/// What is sent behind a request that is being answered stays in the socket, up to a few kilobytes, and is answered after it.
#[test]
fn pipelined_bytes_are_not_gathered() {
    let server = Server::start();
    assert!(server.clone("first").status().unwrap().success());
    let tip = fs::read_to_string(server.folder.path().join("upstream/team/app.git/refs/heads/main")).unwrap();
    let want = format!("0012command=fetch\n00010032want {}\n0009done\n0000", tip.trim());
    let before = server.memory_peak();
    let stopped = Stopped::named(&server, "plan-");
    let mut peer = server.peer();
    peer.send(post(&format!("Content-Length: {}\r\n", want.len()), want.as_bytes()));
    let body = 256 << 20;
    peer.send(format!("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: {body}\r\n\r\n"));
    let sent = send_until_refused(&mut peer, body, Duration::from_secs(1));
    assert!(sent < HTTP_PIPELINE_BYTES_MAX + KERNEL_BYTES, "{sent} bytes were taken");
    let grown = server.memory_peak().saturating_sub(before);
    assert!(grown < 8 << 20, "{} KiB for what is to come", grown >> 10);
    drop(stopped);
    let text = peer.read_to_end();
    let second = text.rfind("HTTP/1.1 ").unwrap();
    assert_eq!((answers(&text), status(&text), status(&text[second..])), (2, 200, 404), "{text:.300}");
    server.lives_on();
}

/// Of a refused request's body so much is thrown away that the refusal arrives, and not more, nor for longer.
#[test]
fn a_refused_body_is_not_read_for_ever() {
    let server = Server::start();
    let body: usize = 1 << 30;
    let head = format!("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: {body}\r\n\r\n");
    let mut peer = server.peer();
    peer.send(&head);
    let sent = send_until_refused(&mut peer, body, Duration::from_secs(60));
    assert!((HTTP_DISCARD_BYTES_MAX..HTTP_DISCARD_BYTES_MAX + KERNEL_BYTES).contains(&sent), "{sent} bytes");

    // One that is slow about it reads its refusal, and the end.
    let mut peer = server.peer();
    peer.send(&head);
    let began = Instant::now();
    let text = peer.read_to_end();
    assert_eq!((status(&text), answers(&text)), (404, 1), "{text}");
    let mut sent = 0;
    while peer.stream.write_all(b"x").is_ok() {
        sent += 1;
        assert!(began.elapsed() < 4 * HTTP_DISCARD_TIME, "{sent} bytes, and still taken");
        sleep(Duration::from_millis(50));
    }
    assert!(began.elapsed() >= HTTP_DISCARD_TIME, "{:?}", began.elapsed());
    server.lives_on();
}
