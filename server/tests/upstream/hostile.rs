//! Peers that break rules: each gives a stated error, soon, and nothing of what they said is believed.

use super::peer::{ADVERTISEMENT, Peer, RESULT, Say, USUAL, line, ok, v2, with_refs};
use heliostat::upstream::{Advertised, Context, GitUpstream, Upstream, UpstreamError};
use heliostat_core::{limits::UPSTREAM_REFS_BYTES_MAX, refs::Head};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

const ID: &str = "1111111111111111111111111111111111111111";

fn context() -> Context {
    Context { stop: Arc::default(), progress: Arc::default() }
}

fn ask(url: &str) -> Result<Advertised, UpstreamError> {
    let upstream = GitUpstream::new(url, None, Duration::from_secs(10)).unwrap();
    let started = Instant::now();
    let asked = upstream.ask(&"team/app.git".parse().unwrap(), &context());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    asked.map(|asked| asked.advertised().clone())
}

fn answer_to_get(bytes: &[u8]) -> UpstreamError {
    let bytes = bytes.to_vec();
    let peer = Peer::start(move |_| Say::Close(bytes.clone()));
    ask(&peer.url()).expect_err("not believed")
}

#[test]
fn statuses_are_told_apart() {
    let of = |status: &str| answer_to_get(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno").as_bytes());
    assert_eq!(of("404 Not Found"), UpstreamError::Missing);
    assert_eq!(of("410 Gone"), UpstreamError::Denied(410));
    assert_eq!(of("401 Unauthorized\r\nWWW-Authenticate: Basic realm=x"), UpstreamError::Denied(401));
    assert_eq!(of("403 Forbidden"), UpstreamError::Denied(403));
    assert_eq!(of("500 Oops"), UpstreamError::Failing(500));
    assert_eq!(of("503 Later\r\nRetry-After: 5"), UpstreamError::Failing(503));
    assert_eq!(of("429 Slow down"), UpstreamError::Failing(429));
    assert!(matches!(of("204 No Content"), UpstreamError::NotGit(_)));
}

#[test]
fn redirections_are_named_and_never_followed() {
    let elsewhere = Peer::start(|_| Say::Close(Vec::new()));
    for status in ["301", "302", "303", "307", "308"] {
        let target = format!("{}/team/app.git/info/refs", elsewhere.url());
        let answer = format!("HTTP/1.1 {status} Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n");
        let UpstreamError::Redirected { to, .. } = answer_to_get(answer.as_bytes()) else { panic!("{status}") };
        assert!(elsewhere.url().ends_with(&to), "{to}");
    }
    assert!(elsewhere.seen().is_empty(), "nobody may be led there");
}

#[test]
fn other_hosts_than_git_ones() {
    let html = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 13\r\n\r\n<html></html>";
    assert!(matches!(answer_to_get(html), UpstreamError::NotGit(text) if text.contains("text/html")));
    let no_type = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>";
    assert!(matches!(answer_to_get(no_type), UpstreamError::NotGit(_)));
    assert!(matches!(answer_to_get(b"SSH-2.0-OpenSSH_9.2\r\n"), UpstreamError::NotGit(_)));
    assert!(matches!(answer_to_get(&ok(ADVERTISEMENT, b"<html></html>")), UpstreamError::Broken(_)));
    assert!(matches!(answer_to_get(&ok(ADVERTISEMENT, b"")), UpstreamError::Broken(_)));
    let dumb = ok("text/plain", format!("{ID}\trefs/heads/main\n").as_bytes());
    assert!(matches!(answer_to_get(&dumb), UpstreamError::NotGit(_)));
}

#[test]
fn answers_that_end_early_or_never_began() {
    assert!(matches!(answer_to_get(b""), UpstreamError::Unreachable(_)));
    assert!(matches!(answer_to_get(b"HTTP/1.1 200 OK\r\nContent-"), UpstreamError::Unreachable(_)));
    let mut cut = ok(ADVERTISEMENT, &v2(USUAL));
    cut.truncate(cut.len() - 10);
    assert!(matches!(answer_to_get(&cut), UpstreamError::Unreachable(_)));
    let chunked =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {ADVERTISEMENT}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n001e#");
    assert!(matches!(answer_to_get(chunked.as_bytes()), UpstreamError::Unreachable(_)));
    // Without a length only Git's own framing can tell that something is missing.
    let mut open = format!("HTTP/1.1 200 OK\r\nContent-Type: {ADVERTISEMENT}\r\n\r\n").into_bytes();
    open.extend(&v2(USUAL)[..60]);
    assert!(ask_error_is_broken(&open));
    assert!(matches!(ask("http://127.0.0.1:1"), Err(UpstreamError::Unreachable(_))));
}

fn ask_error_is_broken(answer: &[u8]) -> bool {
    matches!(answer_to_get(answer), UpstreamError::Broken(_))
}

#[test]
fn lengths_that_lie() {
    let both = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {ADVERTISEMENT}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    assert!(ask_error_is_broken(both.as_bytes()));
    let chunks = |text: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: {ADVERTISEMENT}\r\nTransfer-Encoding: chunked\r\n\r\n{text}")
            .into_bytes()
    };
    assert!(ask_error_is_broken(&chunks("-1\r\n")));
    assert!(ask_error_is_broken(&chunks("4\r\n0000XX\r\n0\r\n\r\n")));
    assert!(ask_error_is_broken(&chunks(&"1".repeat(10_000))));
    let trailers = format!("4\r\n0000\r\n0\r\n{}", "X-T: y\r\n".repeat(10_000));
    assert!(!matches!(answer_to_get(&chunks(&trailers)), UpstreamError::Ours(_)));
    // More bytes than the length says: the next answer would begin with them.
    let peer = Peer::start(|request| {
        let mut answer = if request.line.starts_with("GET") {
            ok(ADVERTISEMENT, &v2(USUAL))
        } else {
            ok(RESULT, &[line(format!("{ID} refs/heads/main\n")), b"0000".to_vec()].concat())
        };
        answer.extend(b"HTTP/1.1 200 OK\r\n\r\n");
        Say::Keep(answer)
    });
    assert!(matches!(ask(&peer.url()), Err(UpstreamError::Broken(text)) if text.contains("after the end")));
}

#[test]
fn heads_and_bodies_without_end() {
    let first = std::sync::atomic::AtomicBool::new(false);
    let peer = Peer::start(move |_| {
        if first.swap(true, Ordering::SeqCst) {
            return Say::ForEver(b"X-Endless: header\r\n".to_vec());
        }
        Say::ForEver(b"HTTP/1.1 200 OK\r\n".to_vec())
    });
    assert!(ask(&peer.url()).is_err());
    let peer = Peer::start(|_| Say::ForEver(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()));
    assert!(matches!(ask(&peer.url()), Err(UpstreamError::NotGit(_))));
    let peer = Peer::start(|_| Say::Close([b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'y'; 1 << 20]].concat()));
    assert!(matches!(ask(&peer.url()), Err(UpstreamError::Broken(_))));
}

/// Names that are left out are not counted as references: what ends this is the bound on bytes.
#[test]
fn references_without_end() {
    let begun = std::sync::atomic::AtomicBool::new(false);
    let peer = Peer::start(move |request| {
        if request.line.starts_with("GET") {
            return Say::Keep(ok(ADVERTISEMENT, &v2(USUAL)));
        }
        assert!(!begun.swap(true, Ordering::SeqCst), "asked once");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {RESULT}\r\n\r\n");
        Say::Endless { first: head.into_bytes(), then: line(format!("{ID} refs/{}\n", "x".repeat(60_000))).repeat(16) }
    });
    let upstream = GitUpstream::new(&peer.url(), None, Duration::from_secs(10)).unwrap();
    let context = context();
    // Without a bound only the stop flag would end it.
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let stop = context.stop.clone();
    let stopper = std::thread::spawn(move || {
        let _ = is_over.recv_timeout(Duration::from_secs(60));
        stop.store(true, Ordering::SeqCst);
    });
    let error = upstream.ask(&"a".parse().unwrap(), &context).err();
    let bytes = context.progress.bytes();
    drop(over);
    stopper.join().unwrap();
    assert_eq!(error, Some(UpstreamError::TooLarge("bytes of the upstream's answer")));
    assert!(bytes <= UPSTREAM_REFS_BYTES_MAX, "{bytes}");
}

#[test]
fn silence_ends_with_the_stop_flag() {
    let peer = Peer::start(|_| Say::Hang(b"HTTP/1.1 200 OK\r\n".to_vec()));
    let upstream = GitUpstream::new(&peer.url(), None, Duration::from_secs(10)).unwrap();
    let context = context();
    let stop = context.stop.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::SeqCst);
    });
    let started = Instant::now();
    let error = upstream.ask(&"a".parse().unwrap(), &context).err();
    assert_eq!(error, Some(UpstreamError::Stopped));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    stopper.join().unwrap();
}

#[test]
fn references_are_whole_or_an_error() {
    let refs = |body: Vec<u8>| {
        let peer = with_refs(move || body.clone());
        ask(&peer.url())
    };
    let main = line(format!("{ID} refs/heads/main\n"));
    let head = line(format!("{ID} HEAD symref-target:refs/heads/main\n"));
    let whole = refs([head.clone(), main.clone(), b"0000".to_vec()].concat()).unwrap();
    assert_eq!(whole.refs.len(), 1);
    assert!(matches!(whole.refs.head(), Head::Symbolic(name) if name.as_bstr() == "refs/heads/main"));
    for (what, body) in [
        ("no flush", main.clone()),
        ("a delimiter in the middle", [main.clone(), b"0001".to_vec(), main.clone(), b"0000".to_vec()].concat()),
        ("a response end", [main.clone(), b"0002".to_vec()].concat()),
        ("a cut line", [main.clone(), b"0040111".to_vec()].concat()),
        ("a bad length", [main.clone(), b"zzzz".to_vec()].concat()),
        ("an id too short", [line("1111 refs/heads/main\n"), b"0000".to_vec()].concat()),
        ("an id of SHA-256", [line(format!("{} refs/heads/main\n", "1".repeat(64))), b"0000".to_vec()].concat()),
        ("no name", [line(format!("{ID}\n")), b"0000".to_vec()].concat()),
        ("a bad peeled id", [line(format!("{ID} refs/tags/a peeled:xyz\n")), b"0000".to_vec()].concat()),
        ("an empty line", [b"0004".to_vec(), b"0000".to_vec()].concat()),
    ] {
        assert!(matches!(refs(body), Err(UpstreamError::Broken(_))), "{what}");
    }
    let refused = refs([line("ERR no such thing \x1b[2J\n"), b"0000".to_vec()].concat());
    assert_eq!(refused.err(), Some(UpstreamError::Refused("no such thing \\u{1b}[2J".into())));
    let empty = refs(b"0000".to_vec()).unwrap();
    assert!(empty.refs.is_empty() && *empty.refs.head() == Head::Absent);
}

#[test]
fn malformed_names_are_left_out_and_counted() {
    let names: [&[u8]; 12] = [
        b"refs/heads/..",
        b"refs/heads/a..b",
        b"refs/heads/x.lock",
        b"refs/heads/a\x07b",
        b"refs/heads/@{",
        b"refs//heads",
        b"refs/heads/",
        b"config",
        b"../../etc/passwd",
        b"objects/pack/x",
        b"FETCH_HEAD",
        b"refs/heads/a\\b",
    ];
    let mut body = Vec::new();
    for name in names {
        body.extend(line([ID.as_bytes(), b" ", name, b"\n"].concat()));
    }
    body.extend(line(format!("{ID} refs/heads/good\n")));
    body.extend(b"0000");
    let peer = with_refs(move || body.clone());
    let advertised = ask(&peer.url()).unwrap();
    assert_eq!(advertised.refs.iter().map(|r| r.name.to_string()).collect::<Vec<_>>(), ["refs/heads/good"]);
    assert_eq!(advertised.skipped, names.len());
    assert!(!advertised.examples.is_empty());
    assert!(advertised.examples.iter().all(|name| !name.bytes().any(|byte| byte < b' ')), "{:?}", advertised.examples);
}

#[test]
fn heads_of_every_kind() {
    let head = |text: String| {
        let body = [line(text), line(format!("{ID} refs/heads/main\n")), b"0000".to_vec()].concat();
        let peer = with_refs(move || body.clone());
        ask(&peer.url()).unwrap().refs.head().clone()
    };
    assert!(matches!(head(format!("{ID} HEAD\n")), Head::Detached(_)));
    assert!(
        matches!(head("unborn HEAD symref-target:refs/heads/new\n".into()), Head::Symbolic(n) if n.as_bstr() == "refs/heads/new")
    );
    assert!(matches!(head(format!("{ID} HEAD symref-target:(null)\n")), Head::Detached(_)));
    assert!(matches!(head(format!("{ID} HEAD symref-target:../../x\n")), Head::Detached(_)));
    assert_eq!(head("unborn HEAD symref-target:..\n".into()), Head::Absent);
}

#[test]
fn what_cannot_be_mirrored_is_said_in_words() {
    let sha256 = Peer::start(|_| {
        let capabilities = ["ls-refs=unborn", "fetch=shallow", "object-format=sha256"];
        Say::Keep(ok(ADVERTISEMENT, &v2(&capabilities)))
    });
    let error = ask(&sha256.url()).err();
    assert!(matches!(error, Some(UpstreamError::Unsupported(text)) if text.contains("SHA-256")));
    let body = [
        line("# service=git-upload-pack\n"),
        b"0000".to_vec(),
        line(format!("{ID} HEAD\0multi_ack_detailed side-band-64k symref=HEAD:refs/heads/main object-format=sha1\n")),
        line(format!("{ID} refs/heads/main\n")),
        line(format!("shallow {ID}\n")),
        b"0000".to_vec(),
    ]
    .concat();
    let peer = Peer::start(move |_| Say::Keep(ok(ADVERTISEMENT, &body)));
    assert!(matches!(ask(&peer.url()), Err(UpstreamError::Unsupported(text)) if text.contains("shallow")));
}

#[test]
fn version_0_hosts() {
    let v0 = |lines: &[String]| {
        let mut body = [line("# service=git-upload-pack\n"), b"0000".to_vec()].concat();
        lines.iter().for_each(|text| body.extend(line(text)));
        body.extend(b"0000");
        let peer = Peer::start(move |_| Say::Keep(ok(ADVERTISEMENT, &body)));
        ask(&peer.url())
    };
    let caps = "multi_ack_detailed side-band-64k thin-pack ofs-delta agent=git/1.8";
    let tag = "2222222222222222222222222222222222222222";
    let advertised = v0(&[
        format!("{ID} HEAD\0{caps} symref=HEAD:refs/heads/main\n"),
        format!("{ID} refs/heads/main\n"),
        format!("{tag} refs/tags/v1\n"),
        format!("{ID} refs/tags/v1^{{}}\n"),
    ])
    .unwrap();
    assert!(matches!(advertised.refs.head(), Head::Symbolic(name) if name.as_bstr() == "refs/heads/main"));
    let found = advertised.refs.find(b"refs/tags/v1").unwrap();
    assert_eq!((found.id.to_string(), found.peeled.map(|id| id.to_string())), (tag.into(), Some(ID.into())));
    let empty = v0(&[format!("{} capabilities^{{}}\0{caps}\n", "0".repeat(40))]).unwrap();
    assert!(empty.refs.is_empty());
    // A symbolic reference that is announced and does not come: gix's own reader would panic on it.
    let odd = v0(&[format!("{ID} refs/heads/main\0{caps} symref=HEAD:refs/heads/main symref=X\n")]).unwrap();
    assert_eq!(odd.refs.len(), 1);
    assert!(matches!(v0(&["<html>".into()]), Err(UpstreamError::Broken(_))));
}

#[test]
fn a_closed_idle_connection_is_opened_anew_once() {
    let body = [line(format!("{ID} refs/heads/main\n")), b"0000".to_vec()].concat();
    let peer = Peer::start(move |request| match (request.line.starts_with("GET"), request.connection) {
        (true, _) => Say::Keep(ok(ADVERTISEMENT, &v2(USUAL))),
        (false, 0) => Say::Close(Vec::new()),
        (false, _) => Say::Keep(ok(RESULT, &body)),
    });
    assert_eq!(ask(&peer.url()).unwrap().refs.len(), 1);
    assert_eq!(peer.seen().iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 0, 1]);
    let peer = Peer::start(|request| {
        if request.line.starts_with("GET") { Say::Keep(ok(ADVERTISEMENT, &v2(USUAL))) } else { Say::Close(Vec::new()) }
    });
    assert!(matches!(ask(&peer.url()), Err(UpstreamError::Unreachable(_))));
    assert_eq!(peer.seen().len(), 3, "once, not for ever");
}

#[test]
fn requests_carry_no_secret_and_name_the_host() {
    let peer = with_refs(|| b"0000".to_vec());
    ask(&format!("{}/base", peer.url())).unwrap();
    let seen = peer.seen();
    assert_eq!(seen[0].line, "GET /base/team/app.git/info/refs?service=git-upload-pack HTTP/1.1");
    assert_eq!(seen[1].line, "POST /base/team/app.git/git-upload-pack HTTP/1.1");
    let host = peer.url().trim_start_matches("http://").to_owned();
    for request in seen {
        let head = request.head.to_ascii_lowercase();
        assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
        assert!(head.contains("\r\nuser-agent: git/heliostat-"), "{head}");
        assert!(head.contains("\r\ngit-protocol: version=2\r\n"), "{head}");
        assert!(!head.contains("authorization") && !head.contains("cookie"), "{head}");
        assert_eq!(head.matches("user-agent").count(), 1);
    }
}
