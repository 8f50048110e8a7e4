//! Several callers on one connection, as a balancer in front of the mirror brings them.

use super::*;
use crate::support::http::raw;

/// In one packet, with bodies and without: each request is judged by its own credential, and what one may have is in nobody
/// else's answer.
#[test]
fn each_request_is_judged_by_itself() {
    let house = House::start(true, "");
    assert_eq!(house.statuses(ALICES, Some(ALICE)), [200; 5]);
    let tip = house.upstream(ALICES).id("main");
    let users = [(Some(ALICE), 200), (None, 401), (Some(BOB), 403), (Some(ALICE), 200), (Some("alice:wrong"), 401)];
    let body = "0014command=ls-refs\n0001001bref-prefix refs/heads/\n0000";
    let (mut packet, mut expected) = (String::new(), Vec::new());
    for round in 0..4 {
        for (user, status) in users {
            let authorization = user.map(|user| format!("Authorization: {}\r\n", basic(user))).unwrap_or_default();
            let (method, target, length) = match round % 2 {
                0 => ("POST", "git-upload-pack", body.len()),
                _ => ("GET", "info/refs?service=git-upload-pack", 0),
            };
            packet += &format!(
                "{method} /{ALICES}/{target} HTTP/1.1\r\nHost: h\r\n{authorization}\
                 Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {length}\r\n"
            );
            // In version 0 an advertisement names references too.
            packet += if round % 2 == 0 { "Git-Protocol: version=2\r\n\r\n" } else { "\r\n" };
            packet += &body[..length];
            expected.push(status);
        }
    }
    packet += "GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    expected.push(200);
    let answer = raw(house.mirror.port(), packet.as_bytes()).unwrap();
    let text = format!("{}\r\n\r\n{}", answer.head, String::from_utf8_lossy(&answer.body));
    let answers: Vec<&str> = text.split("HTTP/1.1 ").skip(1).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer[..3].parse().unwrap()).collect();
    assert_eq!(statuses, expected, "{text}");
    for answer in &answers[..answers.len() - 1] {
        assert_eq!(answer.contains(&tip), answer.starts_with("200"), "{answer}");
    }
}
