//! A scripted peer that answers wrong, each time in another way: every one must count as a failure, and of its kind.

// A panic is a test's report, in what it calls too.
#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use heliostat_loadtest::{CloneKind, Fleet, Report};
use sha1::{Digest, Sha1};

const ID: &str = "1111111111111111111111111111111111111111";
/// Longer than this machine ever stalls on loopback.
const PATIENCE: Duration = Duration::from_secs(20);

fn packet(payload: &[u8]) -> Vec<u8> {
    [format!("{:04x}", payload.len() + 4).as_bytes(), payload].concat()
}

fn lines(lines: &[&str]) -> Vec<u8> {
    let packets: Vec<u8> = lines.iter().flat_map(|line| packet(format!("{line}\n").as_bytes())).collect();
    [&packets[..], b"0000"].concat()
}

fn banded(band: u8, data: &[u8]) -> Vec<u8> {
    data.chunks(100).flat_map(|piece| packet(&[&[band], piece].concat())).collect()
}

/// A pack that says it has `claimed` blobs and has one.
fn pack(claimed: u8) -> Vec<u8> {
    let mut pack = [&b"PACK\0\0\0\x02\0\0\0"[..], &[claimed, 0x33]].concat();
    let mut deflate = flate2::write::ZlibEncoder::new(&mut pack, flate2::Compression::default());
    deflate.write_all(b"one").unwrap();
    deflate.finish().unwrap();
    let checksum = Sha1::digest(&pack);
    pack.extend(checksum);
    pack
}

fn packfile(pack: &[u8]) -> Vec<u8> {
    [packet(b"packfile\n"), banded(1, pack), b"0000".to_vec()].concat()
}

fn with_length(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn chunked(body: &[u8], piece: usize) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let chunks: Vec<u8> = body
        .chunks(piece)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .collect();
    [head.as_bytes(), &chunks, b"0\r\n\r\n"].concat()
}

/// The three answers of a clone, as bytes on the wire.
#[derive(Clone)]
struct Script {
    answers: [Vec<u8>; 3],
    /// Keep the connection open without a word when the script is over.
    hang: bool,
}

impl Script {
    /// A sound server, but for its answer to `fetch`.
    fn fetch(answer: Vec<u8>) -> Self {
        let capabilities = lines(&["version 2", "agent=peer", "ls-refs=unborn", "fetch=shallow filter"]);
        let references =
            lines(&[&format!("{ID} HEAD symref-target:refs/heads/main"), &format!("{ID} refs/heads/main")]);
        let answers = [with_length("advertisement", &capabilities), with_length("result", &references), answer];
        Self { answers, hang: false }
    }

    /// A sound server that sends this as the body of its answer to `fetch`.
    fn body(body: &[u8]) -> Self {
        Self::fetch(with_length("result", body))
    }

    /// Serves `connections`, one after another.
    fn serve(self, listener: &TcpListener, connections: u32) {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut stream = BufReader::new(stream);
            for answer in &self.answers {
                if !read_request(&mut stream) {
                    break;
                }
                // The client may have left in disgust.
                let _ = stream.get_mut().write_all(answer);
            }
            if self.hang {
                let _ = stream.read(&mut [0]);
            }
        }
    }
}

/// False if the client has left instead.
fn read_request(stream: &mut BufReader<TcpStream>) -> bool {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            return stream.read_exact(&mut vec![0; length]).is_ok();
        }
    }
}

fn run(script: Script, kind: CloneKind, clients: u32) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/app.git", listener.local_addr().unwrap()).parse().unwrap();
    let patience = if script.hang { Duration::from_millis(300) } else { PATIENCE };
    std::thread::scope(|scope| {
        scope.spawn(|| script.serve(&listener, clients));
        let fleet = Fleet { clients, walk: true, patience, ..Fleet::new(address, kind) };
        fleet.run().unwrap()
    })
}

#[track_caller]
fn fails_as(script: Script, clone: CloneKind, kind: &str) {
    let report = run(script, clone, 1);
    assert_eq!((report.whole, report.failed), (0, 1), "{report}");
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&kind], "{report}");
}

#[track_caller]
fn fails(script: Script, kind: &str) {
    fails_as(script, CloneKind::Full, kind);
}

#[test]
fn sound_answers_are_whole() {
    let body = [packet(b"packfile\n"), banded(2, b"counting"), banded(1, &pack(1)), b"0000".to_vec()].concat();
    for answer in [with_length("result", &body), chunked(&body, 7), chunked(&body, 100_000)] {
        let report = run(Script::fetch(answer), CloneKind::Full, 3);
        assert_eq!((report.whole, report.failed), (3, 0), "{report}");
        assert_eq!((report.objects, report.references), ([1, 1], [2, 2]), "{report}");
        assert_eq!(report.answer_bytes, 3 * body.len() as u64);
    }
    let shallow = [packet(b"shallow-info\n"), packet(format!("shallow {ID}").as_bytes()), b"0001".to_vec()].concat();
    let report = run(Script::body(&[shallow, packfile(&pack(1))].concat()), CloneKind::Depth1, 1);
    assert_eq!((report.whole, report.failed), (1, 0), "{report}");
}

#[test]
fn a_truncated_answer() {
    let body = packfile(&pack(1));
    let whole = with_length("result", &body);
    // Every cut: in the head, in a length, in a frame, before the flush.
    for end in 0..whole.len() {
        fails(Script::fetch(whole[..end].to_vec()), "truncated");
    }
    let whole = chunked(&body, 20);
    for end in (0..whole.len()).step_by(5).chain([whole.len() - 1, whole.len() - 2]) {
        fails(Script::fetch(whole[..end].to_vec()), "truncated");
    }
    // HTTP is content, the pkt-lines are not.
    fails(Script::body(&body[..body.len() - 4]), "truncated");
}

#[test]
fn a_bad_pack() {
    let mut damaged = pack(1);
    *damaged.last_mut().unwrap() ^= 1;
    fails(Script::body(&packfile(&damaged)), "pack");
    fails(Script::body(&packfile(&pack(2))), "pack");
    fails(Script::body(&packfile(&pack(1)[..16])), "pack");
    fails(Script::body(&packfile(b"PICK")), "pack");
    fails(Script::body(&packfile(b"")), "pack");
    fails(Script::body(&[packet(b"acknowledgments\n"), packet(b"NAK\n"), b"0000".to_vec()].concat()), "pack");
}

#[test]
fn an_error_in_words() {
    fails(Script::body(&packet(b"ERR upload-pack: not our ref")), "ERR");
    fails(Script::body(&[packet(b"shallow-info\n"), packet(b"ERR later")].concat()), "ERR");
    let fatal = [packet(b"packfile\n"), banded(1, &pack(1)[..9]), banded(3, b"out of luck\n")].concat();
    let report = run(Script::body(&fatal), CloneKind::Full, 1);
    assert_eq!(report.failures_listed, ["fatal, says the server: out of luck"]);
}

#[test]
fn bad_framing() {
    let name = packet(b"packfile\n");
    let bodies = [
        [&packfile(&pack(1))[..], b"0000"].concat(),
        [&name[..], b"fff1"].concat(),
        [&name[..], b"00zz"].concat(),
        [&name[..], b"0004"].concat(),
        [&name[..], b"0001"].concat(),
        [name.clone(), banded(4, b"?")].concat(),
        packet(b"gifts\n"),
        b"0000".to_vec(),
    ];
    for body in bodies {
        fails(Script::body(&body), "framing");
    }
}

#[test]
fn bad_http() {
    let unavailable = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    fails(Script::fetch(unavailable.to_vec()), "status");
    fails(Script::fetch(with_length("advertisement", &packfile(&pack(1)))), "http");
    fails(Script::fetch(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), "http");
    let negative = String::from_utf8_lossy(&chunked(b"x", 1)).replace("\r\n1\r\n", "\r\n-1\r\n");
    fails(Script::fetch(negative.into_bytes()), "http");
}

#[test]
fn a_peer_that_falls_silent() {
    let whole = with_length("result", &packfile(&pack(1)));
    fails(Script { hang: true, ..Script::fetch(whole[..whole.len() - 4].to_vec()) }, "timeout");
}

#[test]
fn a_server_that_lacks_something() {
    let mut script = Script::body(&packfile(&pack(1)));
    script.answers[0] = with_length("advertisement", &lines(&["version 2", "ls-refs", "fetch"]));
    for kind in [CloneKind::Depth1, CloneKind::BlobNone] {
        fails_as(script.clone(), kind, "capability");
    }
    script.answers[1] = with_length("result", b"0000");
    fails(script.clone(), "references");
    script.answers[0] = with_length("advertisement", &lines(&[&format!("{ID} HEAD")]));
    fails(script, "framing");
}

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/app.git", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let report = Fleet::new(address, CloneKind::Full).run().unwrap();
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&"connect"], "{report}");
}
