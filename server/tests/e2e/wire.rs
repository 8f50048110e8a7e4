//! HTTP as Git clients, proxies and load balancers speak it, and the end of a server in the middle of an answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use heliostat_testrepo::Spec;
use rustix::process::Signal;

use crate::support::compare::{fsck, sound_and_same};
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::http::{Answer, raw, request};
use crate::support::process::SERVER_TIMEOUT;
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const REFS: &str = "/app.git/info/refs?service=git-upload-pack";
const LS_REFS: &[u8] = b"0014command=ls-refs\n0001001bref-prefix refs/heads/\n0000";

fn start() -> (Sandbox, Git, Upstream, Heliostat) {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    let upstream = Upstream::rich(&git, &folder.join("app.git"));
    let server = Heliostat::start(&sandbox.folder("heliostat"), &folder.display().to_string(), &[]);
    (sandbox, git, upstream, server)
}

fn post(server: &Heliostat, headers: &str, body: &[u8]) -> Answer {
    let head = format!(
        "POST /app.git/git-upload-pack HTTP/1.1\r\nHost: a\r\nConnection: close\r\nGit-Protocol: version=2\r\n\
         Content-Type: application/x-git-upload-pack-request\r\n{headers}\r\n"
    );
    raw(server.port(), &[head.as_bytes(), body].concat()).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// In pieces of 7 bytes, with an extension and a trailer.
fn chunked(bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in bytes.chunks(7) {
        write!(body, "{:x};extension=1\r\n", piece.len()).unwrap();
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
    body
}

/// Whatever form the body has, the answer is the same.
#[test]
fn forms_of_a_request_body() {
    let (_sandbox, _git, upstream, server) = start();
    let length = |body: &[u8]| format!("Content-Length: {}\r\n", body.len());
    let plain = post(&server, &length(LS_REFS), LS_REFS).payload();
    let text = String::from_utf8_lossy(&plain);
    assert!(text.contains(&upstream.id("main")), "{text}");

    let zipped = gzip(LS_REFS);
    let encoded = "Content-Encoding: gzip\r\n";
    let transfer = "Transfer-Encoding: chunked\r\n".to_owned();
    for (name, headers, body) in [
        ("chunked", transfer.clone(), chunked(LS_REFS)),
        ("gzip", encoded.to_owned() + &length(&zipped), zipped.clone()),
        ("x-gzip", format!("Content-Encoding: x-gzip\r\n{}", length(&zipped)), zipped.clone()),
        ("gzip, chunked", encoded.to_owned() + &transfer, chunked(&zipped)),
    ] {
        let answer = post(&server, &headers, &body);
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.payload(), plain, "{name}");
    }
}

#[test]
fn expect_100_continue() {
    let (_sandbox, _git, _upstream, server) = start();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = LS_REFS.len();
    write!(
        stream,
        "POST /app.git/git-upload-pack HTTP/1.1\r\nHost: a\r\nConnection: close\r\nGit-Protocol: version=2\r\n\
         Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    )
    .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(LS_REFS).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
}

/// Three requests on one connection, two of them sent at once.
#[test]
fn keep_alive_and_pipelining() {
    let (_sandbox, _git, _upstream, server) = start();
    let once = format!("GET {REFS} HTTP/1.1\r\nHost: a\r\nGit-Protocol: version=2\r\n\r\n");
    let last = format!("GET {REFS} HTTP/1.1\r\nHost: a\r\nGit-Protocol: version=2\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(format!("{once}{once}").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(last.as_bytes()).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let text = String::from_utf8_lossy(&answers);
    assert_eq!(text.matches("HTTP/1.1 200").count(), 3, "{text}");
    assert_eq!(text.matches("version 2\n").count(), 3, "{text}");
}

/// HEAD has the head of GET and no body; answers of Git are never cached on the way.
#[test]
fn heads() {
    let (_sandbox, _git, _upstream, server) = start();
    let version = [("Git-Protocol", "version=2")];
    let get = request("GET", server.port(), REFS, &version, b"").unwrap();
    let head = request("HEAD", server.port(), REFS, &version, b"").unwrap();
    assert_eq!((get.status, head.status), (200, 200));
    assert!(head.body.is_empty(), "{head:?}");
    for answer in [&get, &head] {
        assert_eq!(answer.header("content-type"), Some("application/x-git-upload-pack-advertisement"));
        assert!(answer.header("cache-control").is_some_and(|value| value.contains("no-cache")), "{answer:?}");
    }
}

/// Two ways to frame one body would let a proxy and us see different requests: refused, and the connection closed.
#[test]
fn ambiguous_framing_is_refused() {
    let (_sandbox, _git, _upstream, server) = start();
    let both = format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", LS_REFS.len());
    for headers in [
        both.as_str(),
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5 \r\nTransfer-Encoding : chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let answer = post(&server, headers, &chunked(LS_REFS));
        assert!([400, 501].contains(&answer.status), "{headers:?}: {answer:?}");
        // Nothing after it was taken for a request.
        assert_eq!(String::from_utf8_lossy(&answer.body).matches("HTTP/1.1").count(), 0, "{headers:?}: {answer:?}");
    }
}

/// SIGTERM in the middle of an answer: it is finished, nobody new comes in, and the exit is clean.
#[test]
fn drains_on_sigterm() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    // Larger than all socket buffers on the way together.
    Spec { large_blob_bytes: 8 << 20, ..Spec::large_blobs(3) }.write(&folder.join("app.git")).unwrap();
    let mut server = Heliostat::start(&sandbox.folder("heliostat"), &folder.display().to_string(), &[]);
    let clone = |url: &str| {
        let to = sandbox.fresh("clone");
        git.text(sandbox.path(), &["clone", "--quiet", "--mirror", url, &to.display().to_string()]);
        to
    };
    clone(&format!("{}/app.git", server.url()));

    let tip = git.text(&folder.join("app.git"), &["rev-parse", "main"]);
    let body = format!("0011command=fetch0001{:04x}want {tip}\n0009done\n0000", tip.len() + 10);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /app.git/git-upload-pack HTTP/1.1\r\nHost: a\r\nConnection: close\r\nGit-Protocol: version=2\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = vec![0; 100_000];
    stream.read_exact(&mut answer).unwrap();
    server.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(500));
    let status = request("GET", server.port(), "/status", &[], b"");
    assert!(status.is_err() || status.is_ok_and(|answer| answer.status == 503), "still open for new clients");
    stream.read_to_end(&mut answer).unwrap();
    let status = server.wait(SERVER_TIMEOUT);
    assert!(status.success(), "{status}\n{}", server.log());

    // The answer is whole: its last chunk is there, and Git takes the pack.
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let answer = Answer {
        status: 200,
        head: String::from_utf8_lossy(&answer[..head]).into_owned(),
        body: answer.split_off(head + 4),
    };
    let pack = pack_of(&answer.payload());
    let target = sandbox.folder("target");
    git.text(&target, &["init", "--quiet", "--bare", "."]);
    let finished = git.run_with(&target, &["index-pack", "--stdin", "--strict"], &pack);
    assert!(finished.status.success(), "{}", finished.stderr);
    git.text(&target, &["update-ref", "refs/heads/main", &tip]);
    fsck(&git, &target).unwrap();

    server.start_again();
    let ours = clone(&format!("{}/app.git", server.url()));
    let theirs = clone(&format!("file://{}/app.git", folder.display()));
    sound_and_same(&git, &ours, &theirs).unwrap();
}

/// Side-band 1 of the packfile section.
fn pack_of(mut lines: &[u8]) -> Vec<u8> {
    let mut pack = Vec::new();
    while lines.len() >= 4 {
        let length = usize::from_str_radix(std::str::from_utf8(&lines[..4]).unwrap(), 16).unwrap();
        if let Some((1, data)) = lines.get(4..length).and_then(<[u8]>::split_first) {
            pack.extend_from_slice(data);
        }
        lines = &lines[length.max(4)..];
    }
    pack
}
