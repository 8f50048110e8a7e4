//! Proxies that break rules: each is blamed, soon, and nothing of what they said is taken for the upstream's.

use super::peer::{ADVERTISEMENT, Peer, Request, Say, USUAL, ok, v2};
use heliostat::upstream::{
    Context, GitUpstream, Upstream, UpstreamError,
    transport::{Egress, Proxies, Proxy},
};
use std::time::{Duration, Instant};

/// A name that only a proxy could resolve.
const UPSTREAM: &str = "https://git.invalid/scm";

fn asked(url: &str, proxy: &Peer) -> UpstreamError {
    let address = proxy.url().replace("//", "//user:hunter2@");
    let proxies = Proxies::only(Proxy::parse(&address, "TEST").unwrap());
    let upstream =
        GitUpstream::through(url, Egress::new(None, None, proxies).unwrap(), Duration::from_secs(10)).unwrap();
    let context = Context { stop: std::sync::Arc::default(), progress: std::sync::Arc::default() };
    let started = Instant::now();
    let Err(error) = upstream.ask(&"team/app.git".parse().unwrap(), &context) else { panic!("it was believed") };
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    error
}

/// The words of the blame for a proxy that answers so.
fn blamed(script: impl Fn(&Request) -> Say + Send + Sync + 'static) -> String {
    let proxy = Peer::start(script);
    let error = asked(UPSTREAM, &proxy);
    let UpstreamError::Proxy(words) = &error else { panic!("{error:?}") };
    assert!(words.starts_with("the proxy 127.0.0.1:") && words.contains("(TEST): "), "{words}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{words}");
    let seen = proxy.seen();
    assert!(seen.iter().all(|request| request.line == "CONNECT git.invalid:443 HTTP/1.1"), "{seen:?}");
    assert!(seen.iter().all(|request| request.head.contains("\r\nProxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n")));
    words.clone()
}

fn answered(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref().to_vec();
    blamed(move |_| Say::Close(bytes.clone()))
}

#[test]
fn refusals_are_told_apart() {
    for (status, words) in [
        ("407 Authenticate\r\nProxy-Authenticate: NTLM", "does not take our user name and password (407)"),
        ("403 Filtered", "does not let us through to the upstream (403)"),
        ("502 Bad Gateway", "can't reach the upstream (502)"),
        ("504 Timeout", "can't reach the upstream (504)"),
        ("302 Found\r\nLocation: https://evil.example/", "does not open a tunnel (302)"),
        ("404 Not Found", "does not open a tunnel (404)"),
        ("401 Unauthorized", "does not take our user name and password (401)"),
    ] {
        let heard = answered(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno"));
        assert!(heard.contains(words), "{status}: {heard}");
    }
}

#[test]
fn answers_that_are_none() {
    assert!(answered("SSH-2.0-OpenSSH_9.2\r\n").contains("not HTTP/1"));
    assert!(answered([0x16, 3, 3, 0, 2, 2, 40]).contains("not HTTP/1"));
    assert!(answered("").contains("closed the connection"));
    assert!(answered("HTTP/1.1 200 OK\r\nX: ").contains("closed the connection"));
    assert!(answered("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").contains("goes on speaking"));
    assert!(answered([b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'y'; 1 << 20]].concat()).contains("too large"));
    assert!(blamed(|_| Say::ForEver(b"X-Endless: header\r\n".to_vec())).contains("not HTTP/1"));
    assert!(
        blamed(|_| Say::ForEver(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())).contains("does not open a tunnel (100)")
    );
}

/// It is waited for no longer than an upstream.
#[test]
fn silence() {
    assert!(blamed(|_| Say::Hang(Vec::new())).contains("took too long"));
    assert!(blamed(|_| Say::Hang(b"HTTP/1.1 200 O".to_vec())).contains("took too long"));
}

/// What comes through the tunnel is the upstream's to answer for, and is not believed without its certificate.
#[test]
fn tunnels_that_lead_elsewhere() {
    let through = b"HTTP/1.1 200 Connection established\r\n\r\n";
    let proxy = Peer::start(|_| Say::Close(through.to_vec()));
    assert!(matches!(asked(UPSTREAM, &proxy), UpstreamError::Unreachable(_)));
    // A tunnel to somebody who speaks no TLS: the proxy answers our handshake itself.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let liar = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let mut socket = listener.accept().unwrap().0;
        let mut buffer = [0; 4096];
        assert!(socket.read(&mut buffer).unwrap() > 0);
        socket.write_all(through).unwrap();
        assert_eq!((socket.read(&mut buffer).unwrap() > 0, buffer[0]), (true, 22), "a handshake comes next");
        socket.write_all(&ok(ADVERTISEMENT, &v2(USUAL))).unwrap();
    });
    let proxies = Proxies::only(Proxy::parse(&address, "TEST").unwrap());
    let upstream =
        GitUpstream::through(UPSTREAM, Egress::new(None, None, proxies).unwrap(), Duration::from_secs(10)).unwrap();
    let context = Context { stop: std::sync::Arc::default(), progress: std::sync::Arc::default() };
    let asked = upstream.ask(&"team/app.git".parse().unwrap(), &context);
    assert!(matches!(asked.map(|_| ()), Err(UpstreamError::Insecure(_))));
    liar.join().unwrap();
}

/// An `http` upstream is asked for by its whole address; 407 is the proxy's, everything else may be the upstream's.
#[test]
fn whole_addresses() {
    let proxy = Peer::start(|_| Say::Close(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()));
    assert_eq!(asked("http://git.invalid/scm", &proxy), UpstreamError::Missing);
    let seen = proxy.seen();
    let line = "GET http://git.invalid/scm/team/app.git/info/refs?service=git-upload-pack HTTP/1.1";
    assert_eq!(seen[0].line, line);
    assert!(
        seen[0].head.contains("\r\nProxy-Authorization: Basic ") && seen[0].head.contains("\r\nHost: git.invalid\r\n")
    );
    let proxy = Peer::start(|_| Say::Close(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n".to_vec()));
    assert!(matches!(asked("http://git.invalid/scm", &proxy), UpstreamError::Proxy(words) if words.contains("(407)")));
}
