//! The admin port without a token: open to programs on this machine, closed to the web pages in its browsers.

use crate::support::{Peer, Server, repository, status};
use heliostat_core::limits::ADMIN_CONNECTIONS_MAX;
use std::{
    fs,
    io::Read as _,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SYNC: &str = "/api/v1/repositories/team/app.git/sync";

fn post(server: &Server, lines: &str) -> (u16, String) {
    let mut peer = Peer::connect(server.admin);
    peer.send(format!("POST {SYNC} HTTP/1.1\r\n{lines}Content-Length: 0\r\nConnection: close\r\n\r\n"));
    peer.answer()
}

#[test]
fn a_web_page_is_refused_and_a_program_is_not() {
    let server = Server::start();
    let own = format!("Host: {}\r\n", server.admin);
    for lines in [own.clone(), format!("Host: localhost:{}\r\nUser-Agent: curl/8\r\n", server.admin.port())] {
        assert_eq!(post(&server, &lines).0, 200, "{lines}");
    }
    for lines in [
        format!("{own}Origin: https://evil.example\r\nContent-Type: text/plain\r\n"),
        format!("{own}Origin: null\r\n"),
        format!("{own}Sec-Fetch-Site: cross-site\r\n"),
        format!("Host: evil.example:{}\r\n", server.admin.port()),
        "Host: evil.example\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n".into(),
    ] {
        let (status, words) = post(&server, &lines);
        assert_eq!(status, 403, "{lines}: {words}");
        assert!(words.contains("admin port"), "{lines}: {words}");
    }
    // A load balancer asks by whatever name.
    let mut peer = Peer::connect(server.admin);
    peer.send("GET /status HTTP/1.1\r\nHost: mirror.example\r\nConnection: close\r\n\r\n");
    assert_eq!(peer.answer().0, 200);
    server.lives_on();
}

/// Who knows the token is let in by any name: a page can't know it.
#[test]
fn with_a_token_the_token_decides() {
    let folder = TempDir::new().unwrap();
    repository(&folder.path().join("upstream/team/app.git"));
    let config = folder.path().join("heliostat.toml");
    fs::write(&config, "[admin]\ntoken = \"0123456789abcdef\"\n").unwrap();
    let config = config.display().to_string();
    let server = Server::on(folder, &[], &["--config", &config]);
    let elsewhere = "Host: admin.example\r\nOrigin: https://dashboard.example\r\n";
    assert_eq!(post(&server, elsewhere).0, 401);
    assert_eq!(post(&server, &format!("{elsewhere}Authorization: Bearer 0123456789abcdef\r\n")).0, 200);
    server.lives_on();
}

/// Its connections are few and counted by themselves: beyond them it says so, and the main port goes on.
#[test]
fn too_many_connections() {
    let server = Server::start();
    let request = "GET /status HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut held: Vec<Peer> = (0..ADMIN_CONNECTIONS_MAX).map(|_| Peer::connect(server.admin)).collect();
    for peer in &mut held {
        peer.send(request);
        assert_eq!(peer.answer().0, 200);
    }
    for _ in 0..5 {
        let mut peer = Peer::connect(server.admin);
        peer.send(request);
        let mut text = String::new();
        let end = peer.stream.read_to_string(&mut text);
        assert!(end.is_ok() && status(&text) == 503 && text.contains("Retry-After: "), "{end:?} {text}");
    }
    assert_eq!(server.status(), Some(200), "the main port");
    held.truncate(held.len() - 1);
    let began = Instant::now();
    loop {
        let mut peer = Peer::connect(server.admin);
        peer.send("GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        if status(&peer.read_to_end()) == 200 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "a place that becomes free is not given");
    }
    server.lives_on();
}
