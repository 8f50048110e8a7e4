//! Bodies: too long, too well compressed, cut short, malformed, and asked for or not.

use crate::support::{LS_REFS, Server, answers, post, status};
use flate2::{Compression, write::GzEncoder};
use heliostat_core::limits::REQUEST_BYTES_MAX;
use std::io::Write;

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn chunks(bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in bytes.chunks(1 << 16) {
        wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        wire.extend(chunk);
        wire.extend(b"\r\n");
    }
    wire.extend(b"0\r\n\r\n");
    wire
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_gigabyte_in_a_megabyte() {
    let server = Server::start();
    server.exchange(post("Connection: close\r\nContent-Length: 4\r\n", b"0000"));
    let before = server.memory_peak();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1_000 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    for _ in 0..4 {
        let headers = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", bomb.len());
        let text = server.exchange(post(&headers, &bomb));
        assert_eq!((status(&text), answers(&text)), (413, 1), "{text}");
        let text = server.exchange(post(&format!("Content-Encoding: gzip\r\n{CHUNKED}"), &chunks(&bomb)));
        assert_eq!((status(&text), answers(&text)), (413, 1), "{text}");
    }
    let grown = server.memory_peak().saturating_sub(before);
    assert!(grown < 32 << 20, "{} MiB", grown >> 20);
    server.lives_on();
}

#[test]
fn good_bodies_in_every_form() {
    let server = Server::start();
    let zipped = gzip(LS_REFS);
    let forms: [(String, Vec<u8>); 4] = [
        (format!("Content-Length: {}\r\n", LS_REFS.len()), LS_REFS.to_vec()),
        (CHUNKED.into(), chunks(LS_REFS)),
        (format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", zipped.len()), zipped.clone()),
        (format!("Content-Encoding: x-gzip\r\n{CHUNKED}"), chunks(&zipped)),
    ];
    for (headers, body) in &forms {
        let text = server.exchange(post(&format!("Connection: close\r\n{headers}"), body));
        assert_eq!(status(&text), 200, "{headers}: {text}");
        assert!(text.contains(" refs/heads/main\n"), "{headers}: {text}");
        // Told to go on first.
        let mut peer = server.peer();
        peer.send(post(&format!("Connection: close\r\nExpect: 100-continue\r\n{headers}"), b""));
        assert_eq!(peer.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        peer.send(body);
        let text = peer.read_to_end();
        assert!(status(&text) == 200 && text.contains(" refs/heads/main\n"), "{headers}: {text}");
    }
    server.lives_on();
}

/// Nobody is told to send a body that will not be read.
#[test]
fn refused_before_the_body() {
    let server = Server::start();
    for (request, expected) in [
        ("POST /nowhere HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 404),
        (
            "POST /a/git-upload-pack HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\
             Content-Type: text/plain\r\n\r\n",
            415,
        ),
        ("POST /a/git-receive-pack HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 403),
    ] {
        let text = server.exchange(request);
        assert_eq!((status(&text), answers(&text)), (expected, 1), "{text}");
        assert!(text.contains("Connection: close"), "{text}");
    }
    let text = server.exchange(post("Content-Length: 99999999999\r\nExpect: 100-continue\r\n", b""));
    assert_eq!((status(&text), answers(&text)), (413, 1), "{text}");
    let text = server.exchange(post("Content-Length: 4\r\nContent-Encoding: br\r\n", b"0000"));
    assert_eq!(status(&text), 415, "{text}");
    server.lives_on();
}

#[test]
fn malformed_bodies() {
    let server = Server::start();
    for body in [
        &b"zz\r\n"[..],
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\r\nhelloGET /status HTTP/1.1\r\n",
        b"fffffffffffffffff\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
    ] {
        let text = server.exchange(post(CHUNKED, body));
        assert_eq!((status(&text), answers(&text)), (400, 1), "{:?}: {text}", String::from_utf8_lossy(body));
    }
    let zipped = gzip(LS_REFS);
    let mut broken = zipped.clone();
    broken[12] ^= 0xff;
    let trailing = [&zipped[..], b"GET /status HTTP/1.1\r\n\r\n"].concat();
    for body in [b"not gzip at all".to_vec(), broken, zipped[..zipped.len() - 4].to_vec(), trailing, vec![0]] {
        let headers = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", body.len());
        let text = server.exchange(post(&headers, &body));
        assert_eq!((status(&text), answers(&text)), (400, 1), "{body:?}: {text}");
    }
    server.lives_on();
}

/// A body that is whole, but whose request is not: the client hears so, in a packet.
#[test]
fn requests_cut_short() {
    let server = Server::start();
    let error = "002bERR the remote end hung up unexpectedly";
    for cut in [1, 3, 4, 12, 19] {
        let text = server.exchange(post(&format!("Connection: close\r\nContent-Length: {cut}\r\n"), &LS_REFS[..cut]));
        assert!(status(&text) == 200 && text.contains(error), "after {cut} bytes: {text}");
        let text = server.exchange(post(&format!("Connection: close\r\n{CHUNKED}"), &chunks(&LS_REFS[..cut])));
        assert!(status(&text) == 200 && text.contains(error), "after {cut} bytes in chunks: {text}");
    }
    // Nothing at all is no request, and no mistake.
    let text = server.exchange(post("Connection: close\r\nContent-Length: 0\r\n", b""));
    assert!(status(&text) == 200 && !text.contains("ERR"), "{text}");
    server.lives_on();
}

/// A peer that stops in the middle is not answered, and holds nothing.
#[test]
fn cut_short() {
    let server = Server::start();
    let whole = post(CHUNKED, &chunks(LS_REFS));
    let requests: Vec<Vec<u8>> = (1..whole.len() - 1).step_by(7).map(|cut| whole[..cut].to_vec()).collect();
    for part in requests {
        let mut peer = server.peer();
        peer.send(&part);
        peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let text = peer.read_to_end();
        assert_eq!(text, "", "{:?}", String::from_utf8_lossy(&part));
    }
    server.lives_on();
}

#[test]
fn too_long_in_earnest() {
    let server = Server::start();
    let line = b"0032have 0123456789012345678901234567890123456789\n";
    let haves = line.repeat(REQUEST_BYTES_MAX / line.len() + 1);
    let text = server.exchange(post(CHUNKED, &chunks(&haves)));
    assert_eq!((status(&text), answers(&text)), (413, 1), "{text}");
    server.lives_on();
}
