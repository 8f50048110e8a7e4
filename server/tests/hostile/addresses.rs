//! Requests that want to lead the mirror's own requests elsewhere: by their paths, by the host that they name, by what they
//! say of themselves. What comes to the upstream is written down there.

use crate::support::{Server, status};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};
use tempfile::TempDir;

/// A host that has nothing, and keeps the heads of all that it was asked.
fn recorder() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = heads.clone();
    // Ends with the process.
    thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let seen = seen.clone();
            thread::spawn(move || record(peer, &seen));
        }
    });
    (address, heads)
}

fn record(mut peer: TcpStream, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while peer.read(&mut byte).is_ok_and(|length| length == 1) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            seen.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            head.clear();
            let _ = peer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    }
}

/// Whatever is asked for, the upstream is asked at its own address, for a repository below its own path, with what the mirror
/// has to say, and for nothing else.
#[test]
fn the_upstream_is_asked_where_it_is() {
    let (address, heads) = recorder();
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("host"), format!("http://{address}/base")).unwrap();
    let server = Server::on(folder, &[], &["--mirror", "*"]);
    let paths = [
        "team/plain.git",
        "team/%40evil.example/app.git",
        "@evil.example/app.git",
        "user:secret@evil.example/app.git",
        "evil.example:80/app.git",
        "http:/evil.example/app.git",
        "http%3A%2F%2Fevil.example/app.git",
        "/evil.example/app.git",
        "%2fevil.example/app.git",
        "team/a%3Fservice=git-receive-pack%23x/app.git",
        "team/a?service=git-receive-pack",
        "team/a%23fragment",
        "team/a;b=c/app.git",
        "team/a%20HTTP/1.1",
        "team/a%0d%0aHost:%20evil.example/app.git",
        "team/a%0aX-Evil:%201/app.git",
        "team/a%09b/app.git",
        "team/a%00b/app.git",
        "team/..%2f..%2fevil/app.git",
        "team/%2e%2e/evil/app.git",
        "team/%252e%252e/evil/app.git",
        "team/a%5c..%5cevil/app.git",
        "team/\u{fc}ber.git",
        "team/%C3%BCber.git",
        "team/$(id)`id`/app.git",
        "team/ext::sh%20-c%20id/app.git",
    ];
    let lines = [
        "Host: h\r\n",
        "Host: evil.example\r\n",
        "Host: user@evil.example\r\n",
        "Host: h\r\nX-Forwarded-Host: evil.example\r\nX-Original-URL: http://evil.example/\r\nForwarded: host=evil.example\r\n",
        "Host: h\r\nX-Evil: evil.example\r\nCookie: evil=1\r\nReferer: http://evil.example/\r\nProxy: http://evil.example/\r\n",
        "Host: h\r\nGit-Protocol: version=2:evil=1\r\nUser-Agent: evil\r\nAccept-Language: evil\r\n",
    ];
    let service = "info/refs?service=git-upload-pack";
    for path in paths {
        for (at, lines) in lines.iter().enumerate() {
            // In absolute form as well.
            let base = if at % 2 == 0 { "" } else { "http://evil.example" };
            let request = format!("GET {base}/{path}/{service} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
            let text = server.exchange(request);
            assert!([400, 404, 403, 429].contains(&status(&text)) && !text.contains("evil"), "{path}: {text}");
        }
    }
    let heads = heads.lock().unwrap().clone();
    assert!(heads.iter().any(|head| head.contains("/base/team/plain.git/")), "{heads:?}");
    assert!(heads.iter().any(|head| head.contains("/base/team/%40evil.example/app.git/")), "{heads:?}");
    for head in &heads {
        let line = head.lines().next().unwrap();
        let path = line.strip_prefix("GET /base/").and_then(|rest| rest.strip_suffix(&format!("/{service} HTTP/1.1")));
        let path = path.unwrap_or_else(|| panic!("{head}"));
        let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte);
        assert!(path.bytes().all(may_stand), "{head}");
        assert!(path.split('/').all(|part| !["", ".", ".."].contains(&part)), "{head}");
        let hosts: Vec<&str> = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("host:")).collect();
        assert_eq!(hosts, [format!("Host: {address}")], "{head}");
        assert!(!head[line.len()..].contains("evil"), "{head}");
    }
    server.lives_on();
}
