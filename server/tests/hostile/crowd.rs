//! As many slow connections as the server has room for: silent ones, and such with half a head or half a body.

use crate::support::{LS_REFS, Peer, Server, answers, post, status};
use heliostat_core::limits::{DESCRIPTORS_RESERVED, HTTP_CONNECTIONS};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    net::{SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

/// What one of them may cost, in bytes: its task, its socket, and what it has sent.
const BYTES_EACH_MAX: u64 = 16 << 10;
/// Loopback addresses that they come from, so that none has too many.
const ADDRESSES: usize = 8;
/// Places that are left for the others.
const FREE: u64 = 100;

/// The others are served, promptly enough to notice a stall, while it has 10,000 of them, or as many as the machine's limit on
/// descriptors allows; memory is bounded, and is given back; each of them hears what is its due.
#[test]
fn ten_thousand_slow_connections() {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(1 << 20);
    setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum: Some(hard) }).unwrap();
    let count = usize::try_from((hard - DESCRIPTORS_RESERVED).min(u64::from(HTTP_CONNECTIONS)) - FREE).unwrap();
    assert!(count >= 300, "this machine lets a process open {hard} files: too few for a crowd");
    let server = Server::start();
    assert!(server.clone("first").status().unwrap().success());
    let ls_refs = post(&format!("Connection: close\r\nContent-Length: {}\r\n", LS_REFS.len()), LS_REFS);
    let (memory, descriptors) = (server.memory_beyond_maps(), server.descriptors());

    let began = Instant::now();
    let slow = |kind: &[u8]| -> Vec<Peer> {
        let open = |at: usize| {
            let mut peer = from(at % ADDRESSES, server.main);
            peer.send(kind);
            peer
        };
        (0..count / 3).map(open).collect()
    };
    // Those that are borne longest come first.
    let mut idle = slow(b"GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut bodies = slow(&post("Content-Length: 100000\r\n", b"0014"));
    idle.iter_mut().for_each(|peer| assert_eq!(peer.answer().0, 200));
    let mut heads = slow(b"GET /status HTTP/1.1\r\nHost: h\r\nX: ");
    let opened = began.elapsed();

    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let asked = Instant::now();
        assert_eq!(status(&server.exchange(&ls_refs)), 200);
        slowest = slowest.max(asked.elapsed());
    }
    let open = server.descriptors() - descriptors;
    let took = server.memory_beyond_maps().saturating_sub(memory);
    assert!(server.clone("second").status().unwrap().success());
    eprintln!("{open} open after {opened:?}, {} bytes each; the slowest ls-refs {slowest:?}", took / open as u64);
    // On a slow machine the time of some heads is over before the last has come.
    assert!(open >= count / 3 * 2, "only {open} of {count} at once, after {opened:?}");
    assert!(took < open as u64 * BYTES_EACH_MAX, "{} KiB for {open} connections", took >> 10);
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");

    for (peers, expected) in [(&mut heads, 408), (&mut bodies, 408)] {
        for peer in peers.iter_mut().step_by(97) {
            let text = peer.read_to_end();
            assert_eq!((status(&text), answers(&text)), (expected, 1), "{text}");
        }
    }
    // Between two requests it waits longer.
    idle.iter_mut().step_by(97).for_each(|peer| {
        peer.send("GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(peer.answer().0, 200);
    });
    drop((idle, bodies, heads));
    let left = Instant::now();
    while server.descriptors() > descriptors + 16 || server.memory_beyond_maps() > memory + (16 << 20) {
        let (open, memory) = (server.descriptors(), server.memory_beyond_maps() >> 20);
        assert!(left.elapsed() < Duration::from_secs(30), "{open} descriptors and {memory} MiB are left");
        sleep(Duration::from_millis(50));
    }
    server.lives_on();
}

/// A connection from one of several loopback addresses.
fn from(number: usize, to: SocketAddr) -> Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let own = SocketAddr::from(([127, 0, 1, u8::try_from(number + 1).unwrap()], 0));
    socket.bind(&own.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    Peer { stream }
}
