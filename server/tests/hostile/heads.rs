//! Heads that two readers could take for different requests, pipelining, and the words of HTTP.

use crate::support::{LS_REFS, Server, answers, post, status};

/// Each is refused with 400 and the connection closes: what follows it is never a request.
#[test]
fn smuggling() {
    let server = Server::start();
    let smuggled = "GET /status HTTP/1.1\r\nHost: h\r\n\r\n";
    let heads = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nContent-Length: 5\r\n",
        "X: y\rContent-Length: 5\r\n",
        "X: y\0\r\n",
        "\0X: y\r\n",
        "Host: other\r\n",
    ];
    for head in heads {
        for target in ["/status", "/team/app.git/git-upload-pack"] {
            let request = format!("POST {target} HTTP/1.1\r\nHost: h\r\n{head}\r\n0\r\n\r\n{smuggled}");
            let text = server.exchange(request);
            assert_eq!((status(&text), answers(&text)), (400, 1), "{head:?}: {text}");
            assert!(text.contains("Connection: close"), "{text}");
        }
    }
    for request in [
        "POST /status HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /status HTTP/1.1\n\n",
        "GET /status HTTP/1.1\r\nHost: h\n\r\n",
        "GET /status HTTP/1.1\r\n\r\n",
        "GET /status\r\n\r\n",
        "GET  /status HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let text = server.exchange(format!("{request}{smuggled}"));
        assert_eq!((status(&text), answers(&text)), (400, 1), "{request:?}: {text}");
    }
    // TLS on a plain port hears an alert; what is behind it is no request.
    let text = server.exchange(format!("\x16\x03\x01\x02\0\x01\0\x01\n\0{smuggled}"));
    assert!(text.starts_with("\x15\x03") && answers(&text) == 0, "{text:?}");
    server.lives_on();
}

/// HTTP/2 is not spoken, to who asks for it and to who begins with it: none of its frames is looked at, however many.
#[test]
fn http_2_is_not_spoken() {
    let server = Server::start();
    let settings = &b"\0\0\0\x04\0\0\0\0\0"[..];
    // A stream that is begun and taken back at once, and one whose head does not end.
    let reset = b"\0\0\x01\x01\x05\0\0\0\x01\x82\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";
    let continuation = b"\0\0\x01\x09\0\0\0\0\x03\x82";
    for frames in [&b""[..], &reset.repeat(10_000), &continuation.repeat(10_000)] {
        let text = server.exchange([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], settings, frames].concat());
        assert!([400, 505].contains(&status(&text)) && answers(&text) == 1, "{text}");
        assert!(text.contains("Connection: close"), "{text}");
    }
    let upgrade = "GET /status HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let text = server.exchange(format!("{upgrade}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    assert!(status(&text) == 200 && answers(&text) == 2 && !text.contains("HTTP/1.1 101"), "{text}");
    server.lives_on();
}

/// A body is a body, whatever it says: bytes that look like a request are not one.
#[test]
fn a_body_is_not_a_request() {
    let server = Server::start();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    for (method, target, expected) in [
        ("POST", "/nowhere", 404),
        ("GET", "/status", 200),
        ("POST", "/status", 405),
        ("PUT", "/a/git-upload-pack", 405),
    ] {
        let mut peer = server.peer();
        peer.send(format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()));
        peer.send("GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let text = peer.read_to_end();
        assert_eq!((status(&text), answers(&text)), (expected, 2), "{method} {target}: {text}");
        assert!(text.contains("\"state\""), "the second is the status: {text}");
        assert!(!server.log().contains("/hidden"));
    }
    // Too much to be read for nothing: the answer comes, and the connection closes.
    let mut peer = server.peer();
    peer.send(format!("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{hidden}"));
    let text = peer.read_to_end();
    assert_eq!((status(&text), answers(&text)), (404, 1), "{text}");
    // Upgrades are not known here, and what follows is HTTP/1.1 still.
    let text = server.exchange(
        "GET /status HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n\
         GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    );
    assert_eq!((status(&text), answers(&text)), (200, 2), "{text}");
    server.lives_on();
}

/// Ten requests in one packet, of different kinds and bodies: ten answers, in order.
#[test]
fn pipelining() {
    let server = Server::start();
    let length = format!("Content-Length: {}\r\n", LS_REFS.len());
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", LS_REFS.len(), String::from_utf8_lossy(LS_REFS));
    let mut packet = Vec::new();
    for _ in 0..3 {
        packet.extend(b"GET /status HTTP/1.1\r\nHost: h\r\n\r\n");
        packet.extend(post(&length, LS_REFS));
        packet.extend(post("Transfer-Encoding: chunked\r\n", chunked.as_bytes()));
    }
    packet.extend(b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let text = server.exchange(&packet);
    let statuses: Vec<u16> = text.match_indices("HTTP/1.1 ").map(|(at, _)| status(&text[at..])).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 200, 404], "{text}");
    assert_eq!(text.matches(" refs/heads/main\n").count(), 6, "{text}");
    server.lives_on();
}

#[test]
fn words_of_http() {
    let server = Server::start();
    let long = format!("/{}", "a".repeat(20_000));
    let many = "X: y\r\n".repeat(100);
    let info = "/team/app.git/info/refs?service=git-upload-pack";
    let cases: &[(&str, &str, &str, u16, &str)] = &[
        ("GET", "/status", "", 200, "application/json"),
        ("HEAD", "/status", "", 200, "application/json"),
        ("POST", "/status", "", 405, "Allow: GET, HEAD"),
        ("OPTIONS", "/status", "", 405, "Allow: GET, HEAD"),
        ("DELETE", info, "", 405, "Allow: GET, HEAD"),
        ("HEAD", info, "", 200, "application/x-git-upload-pack-advertisement"),
        ("GET", "/team/app.git/git-upload-pack", "", 405, "Allow: POST"),
        ("GET", "/team/app.git/git-receive-pack", "", 405, "Allow: POST"),
        ("POST", "/team/app.git/git-upload-pack", "", 415, "application/x-git-upload-pack-request"),
        ("POST", "/team/app.git/git-receive-pack", "", 403, "push"),
        ("GET", "/team/app.git/info/refs?service=git-receive-pack", "", 403, "push"),
        ("GET", "/team/app.git/info/refs", "", 403, "dumb"),
        ("GET", "/team/app.git/HEAD", "", 403, ""),
        ("GET", &long, "", 431, ""),
        ("GET", "/status", &many, 431, ""),
        ("GET", "/status", "Expect: something\r\n", 417, ""),
        ("CONNECT", "h:443", "", 400, ""),
    ];
    for (method, target, headers, expected, word) in cases {
        let text =
            server.exchange(format!("{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n"));
        assert_eq!(status(&text), *expected, "{method} {target:.60}: {text}");
        assert!(text.contains(word), "{word} in {text}");
        if *method == "HEAD" {
            assert!(text.ends_with("\r\n\r\n"), "no body: {text}");
        }
    }
    let text = server.exchange("GET /status HTTP/2.0\r\nHost: h\r\n\r\n");
    assert_eq!(status(&text), 505, "{text}");
    let text = server.exchange("GET /status HTTP/1.0\r\n\r\n");
    assert!(text.contains("Connection: close") && !text.contains("chunked"), "{text}");
    let text = server.exchange(format!("GET {info} HTTP/1.0\r\n\r\n"));
    assert!(!text.contains("chunked") && text.contains("001e# service=git-upload-pack\n0000"), "{text}");
    for line in ["Pragma: no-cache", "Expires: Fri, 01 Jan 1980", "Cache-Control: no-cache, max-age=0, must-revalidate"]
    {
        assert!(text.contains(line), "{text}");
    }
    for header in ["Heliostat-Generation: ", "Heliostat-Freshness: confirmed", "Heliostat-Cache: miss"] {
        assert!(text.contains(header), "{text}");
    }
    server.lives_on();
}

/// `docs/protocol.md`, "Over HTTP": `miss` for what needs no object, `hit` for what has been ordered twice, nothing where objects
/// are looked at and no pack is sent.
#[test]
fn answers_say_whether_they_were_made_for_the_request() {
    let server = Server::start();
    let info = "/team/app.git/info/refs?service=git-upload-pack";
    let advertisement = server.exchange(format!("GET {info} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    let tip = advertisement.split_once(" HEAD\0").map(|(before, _)| &before[before.len() - 40..]).expect("a tip");
    let cache_of = |text: &str| {
        assert_eq!(status(text), 200, "{text}");
        text.lines().find_map(|line| Some(line.strip_prefix("Heliostat-Cache: ")?.to_owned()))
    };
    assert_eq!(cache_of(&advertisement).as_deref(), Some("miss"));
    let packets = |lines: &[&str]| -> Vec<u8> {
        let packet = |line: &&str| match *line {
            "0000" | "0001" => (*line).to_owned(),
            line => format!("{:04x}{line}\n", line.len() + 5),
        };
        lines.iter().map(packet).collect::<String>().into_bytes()
    };
    let (want, have, oid) = (format!("want {tip}"), format!("have {}", "1".repeat(40)), format!("oid {tip}"));
    let absent = format!("want {}", "1".repeat(40));
    for (what, version, request, cache) in [
        ("ls-refs", 2, LS_REFS.to_vec(), Some("miss")),
        ("nothing", 2, Vec::new(), Some("miss")),
        ("nothing in version 0", 0, Vec::new(), Some("miss")),
        ("a pack", 2, packets(&["command=fetch", "0001", &want, "done", "0000"]), Some("miss")),
        ("the same again", 2, packets(&["command=fetch", "0001", &want, "done", "0000"]), Some("miss")),
        ("once more", 2, packets(&["command=fetch", "0001", &want, "done", "0000"]), Some("hit")),
        ("in other frames", 2, packets(&["command=fetch", "0001", "no-progress", &want, "done", "0000"]), Some("hit")),
        (
            "in another encoding",
            2,
            packets(&["command=fetch", "0001", "ofs-delta", &want, "done", "0000"]),
            Some("miss"),
        ),
        ("a round", 2, packets(&["command=fetch", "0001", &want, &have, "0000"]), None),
        ("sizes", 2, packets(&["command=object-info", "0001", "size", &oid, "0000"]), None),
        ("a refusal", 2, packets(&["command=fetch", "0001", &absent, "done", "0000"]), None),
    ] {
        let mut message = post(&format!("Content-Length: {}\r\nConnection: close\r\n", request.len()), &request);
        if version == 0 {
            message = String::from_utf8(message).unwrap().replace("Git-Protocol: version=2\r\n", "").into_bytes();
        }
        let said = cache_of(&server.exchange(message));
        // The worker may not have let go of the first plan when the client has read all of it.
        let said = said.as_deref().map(|said| if what == "the same again" && said == "shared" { "miss" } else { said });
        assert_eq!(said, cache, "{what}");
    }
    server.lives_on();
}
