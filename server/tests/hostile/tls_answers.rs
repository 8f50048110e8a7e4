//! Large answers over TLS: readers that do not read, and the end of the server. What a secure connection holds is bounded and
//! given back, and an answer that is cut short does not end as a whole one does: without the last chunk, and without the word
//! that no more will come.

use crate::support::{noise, post, repository_with};
use crate::tls::{Site, Stream};
use heliostat_core::limits::{ANSWER_BUFFER_BYTES, HTTP_STALL_TIME};
use rustix::process::Signal;
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BYTES: usize = 32 << 20;

/// A server whose repository is larger than what sockets hold, and a request for all of it.
fn scene() -> (Site, Vec<u8>) {
    let folder = TempDir::new().unwrap();
    let upstream = repository_with(&folder.path().join("upstream/team/app.git"), &noise(3, BYTES));
    let tip = fs::read_to_string(upstream.join("refs/heads/main")).unwrap();
    let site = Site::on(folder, "");
    site.clone("first");
    let want = format!("0012command=fetch\n00010032want {}\n0009done\n0000", tip.trim());
    (site, post(&format!("Content-Length: {}\r\n", want.len()), want.as_bytes()))
}

/// Everything until the server closes, and whether it has said that no more will come.
fn rest(stream: &mut Stream) -> (Vec<u8>, bool) {
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer);
    if let Err(error) = &end {
        assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
    }
    (answer, end.is_ok())
}

#[test]
fn readers_that_do_not_read() {
    const READERS: usize = 100;
    /// The server as it is, and its own buffers for each answer, plain and encrypted.
    const MEMORY_BYTES_MAX: u64 = (64 << 20) + READERS as u64 * 2 * ANSWER_BUFFER_BYTES as u64;
    let (site, request) = scene();
    let open = site.server.descriptors();
    let began = Instant::now();
    let mut readers: Vec<Stream> = (0..READERS)
        .map(|at| {
            let mut stream = site.connect();
            if at > 0 {
                // Little of it in the kernel: what is meant is what the server holds.
                rustix::net::sockopt::set_socket_recv_buffer_size(&stream.sock, 16 << 10).unwrap();
            }
            stream.write_all(&request).unwrap();
            stream
        })
        .collect();
    site.clone("second");
    let fetches = |log: &str| log.lines().filter(|line| line.contains("operation=\"fetch\" status=200")).count();
    let mut memory = 0;
    while fetches(&site.server.log()) < READERS + 2 {
        assert!(began.elapsed() < 3 * HTTP_STALL_TIME, "some have not been given up:\n{}", site.server.log());
        sleep(Duration::from_millis(500));
        memory = memory.max(site.server.memory_beyond_maps());
    }
    assert!(began.elapsed() >= HTTP_STALL_TIME - Duration::from_secs(2));
    eprintln!("{} MiB for {READERS} readers", memory >> 20);
    assert!(memory < MEMORY_BYTES_MAX, "{} MiB for {READERS} readers", memory >> 20);
    let left = site.server.descriptors().saturating_sub(open);
    assert!(left < 16, "{left} descriptors are left");
    // What the kernel held arrives where there is room for it, and then an end that is not the end of a whole answer.
    let (taken, is_said) = rest(&mut readers[0]);
    assert!(!is_said && taken.len() < BYTES && !taken.ends_with(b"0\r\n\r\n"), "{} bytes", taken.len());
    site.lives_on();
}

/// One that asks for all of it, and has read the first bytes.
fn busy(site: &Site, request: &[u8]) -> Stream {
    let mut stream = site.connect();
    stream.write_all(request).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

#[test]
fn live_requests_finish() {
    let (mut site, request) = scene();
    let mut stream = busy(&site, &request);
    let mut idle = site.connect();
    idle.write_all(b"GET /status HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    site.server.signal(Signal::TERM);
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(site.server.main).is_ok() {
        assert!(Instant::now() < deadline, "new connections are still accepted");
        sleep(Duration::from_millis(20));
    }
    assert!(rest(&mut idle).1, "an idle connection is told");
    assert!(site.server.wait(Duration::from_millis(500)).is_none(), "it waits for the live request");
    let (answer, is_said) = rest(&mut stream);
    assert!(is_said && answer.len() > BYTES && answer.ends_with(b"0\r\n\r\n"), "whole: {} bytes", answer.len());
    let status = site.server.wait(Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", site.server.log());
}

/// Not over within the time for draining: in words, and not as a whole answer.
#[test]
fn a_request_that_takes_too_long_ends_with_words() {
    let (mut site, request) = scene();
    let mut stream = busy(&site, &request);
    site.server.signal(Signal::TERM);
    let began = Instant::now();
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    // Slowly, but above the slowest pace.
    let end = loop {
        match stream.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) => break Err(error),
        }
        sleep(Duration::from_millis(if began.elapsed() < Duration::from_secs(31) { 100 } else { 0 }));
    };
    assert!(end.is_err() && !answer.ends_with(b"0\r\n\r\n"), "not whole: {end:?}, {} bytes", answer.len());
    let tail = String::from_utf8_lossy(&answer[answer.len().saturating_sub(400)..]).into_owned();
    assert!(tail.contains("shutting down"), "{tail:?}");
    let status = site.server.wait(Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", site.server.log());
}
