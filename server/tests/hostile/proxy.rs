//! Peers of a port that demands the PROXY protocol: none, half of one, one of the wrong kind, slow ones, and those that may
//! not send any.

use crate::support::{Peer, Server, repository, status};
use heliostat_core::limits::{PROXY_HEADER_BYTES_MAX, PROXY_HEADER_TIME};
use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n";
const GET: &[u8] = b"GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn server(more: &str) -> Server {
    let folder = TempDir::new().unwrap();
    repository(&folder.path().join("upstream/team/app.git"));
    let file = folder.path().join("heliostat.toml");
    fs::write(&file, format!("[http]\nproxy_protocol = true\n{more}\n")).unwrap();
    Server::listening(folder, &[], &["--config", &file.display().to_string()])
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, rest].concat()
}

fn ready(server: &mut Server) {
    server.until("it is ready", |server| status(&server.exchange([V1, GET].concat())) == 200);
}

#[test]
fn headers_of_all_kinds() {
    let mut server = server("");
    ready(&mut server);
    let addresses = [192, 0, 2, 7, 192, 0, 2, 2, 0x12, 0x67, 0, 80];
    let tlv = [&addresses[..], &[0xee; 200]].concat();
    for (header, expected, client) in [
        (V1.to_vec(), 200, "192.0.2.1:4711"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 80\r\n".to_vec(), 200, "[2001:db8::1]:4711"),
        (b"PROXY TCP6 ::ffff:192.0.2.3 2001:db8::2 4711 80\r\n".to_vec(), 200, "192.0.2.3:4711"),
        (v2(0x21, 0x11, &tlv), 200, "192.0.2.7:4711"),
        (v2(0x20, 0x00, &[]), 200, "127.0.0.1:"),
        (b"PROXY UNKNOWN\r\n".to_vec(), 200, "127.0.0.1:"),
        (Vec::new(), 400, "127.0.0.1:"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n".to_vec(), 400, "127.0.0.1:"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400, "127.0.0.1:"),
        (v2(0x21, 0x12, &addresses), 400, "127.0.0.1:"),
        (v2(0x21, 0x11, &vec![0; PROXY_HEADER_BYTES_MAX]), 400, "127.0.0.1:"),
        // One is a header, a second one is no request.
        ([V1, V1].concat(), 505, "192.0.2.1:4711"),
    ] {
        let text = server.exchange([&header, GET].concat());
        assert_eq!(status(&text), expected, "{:?}: {text}", String::from_utf8_lossy(&header));
        // Who it was is written down once it has been answered.
        let line = format!("status={expected} ");
        server.until(client, |server| {
            server.log().lines().any(|said| said.contains(&format!(" peer={client}")) && said.contains(&line))
        });
    }
    // In pieces, and with a request behind it that is answered as any.
    let mut peer = server.peer();
    for byte in [V1, GET].concat() {
        peer.send([byte]);
        sleep(Duration::from_millis(1));
    }
    assert_eq!(status(&peer.read_to_end()), 200);
    assert!(!server.log().contains("panic"), "{}", server.log());
}

/// A header that does not come is not waited for long; the connection ends without a word.
#[test]
fn slow_headers() {
    let mut server = server("");
    ready(&mut server);
    let began = Instant::now();
    let mut slow: Vec<Peer> = (0..50).map(|_| server.peer()).collect();
    slow.iter_mut().enumerate().for_each(|(at, peer)| peer.send(&V1[..at % V1.len()]));
    for peer in &mut slow {
        assert_eq!(peer.read_to_end(), "");
    }
    let took = began.elapsed();
    assert!(took >= PROXY_HEADER_TIME - Duration::from_secs(1) && took < 4 * PROXY_HEADER_TIME, "{took:?}");
    ready(&mut server);
}

/// Where balancers are named, nobody else is believed to be one.
#[test]
fn a_header_from_somebody_else() {
    let mut server = server("trusted_proxies = [\"10.0.0.0/8\"]");
    let text = server.exchange([V1, GET].concat());
    assert_eq!(status(&text), 400, "{text}");
    server.until("it is written down", |server| server.log().contains(" peer=127.0.0.1:"));
    assert!(!server.log().contains("192.0.2.1"), "{}", server.log());
}
