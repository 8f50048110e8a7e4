//! Callers who try: a dictionary of passwords, random paths, headers that mean two things, an upstream that sends callers
//! elsewhere. Everybody else is served meanwhile, and the upstream is asked no more than the buckets let through.

use super::*;
use crate::support::http::raw;
use crate::support::process::wait_until;
use std::time::Duration;

/// At once and one after the other. Who has been let in before is let in while it goes on.
#[test]
fn a_dictionary_of_passwords() {
    let house = House::start(true, "[auth]\nttl = \"1s\"\n");
    assert_eq!(house.get(PRIVATE, Some(ALICE)).status, 200);
    let guesses = 400;
    let memory = house.mirror.memory_bytes();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guess = |part: usize| {
            let house = &house;
            move || -> Vec<u16> {
                let words = (0..guesses / 4).map(|n| format!("alice:guess-{part}-{n}"));
                words.map(|word| house.get(PRIVATE, Some(&word)).status).collect()
            }
        };
        let threads: Vec<_> = (0..4).map(|part| scope.spawn(guess(part))).collect();
        let known = scope.spawn(|| {
            for _ in 0..20 {
                assert_eq!(
                    house.get(PRIVATE, Some(ALICE)).status,
                    200,
                    "a guesser at the same address shuts nobody out"
                );
            }
        });
        known.join().unwrap();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    let asked = house.requests(|line| line.contains("private") && line.ends_with("401"));
    assert!(asked < guesses / 2, "{asked} guesses came through of {guesses}");
    let answer = (0..50).map(|n| house.get(PRIVATE, Some(&format!("bob:{n}")))).find(|answer| answer.status == 429);
    let answer = answer.expect("the bucket is empty");
    assert!(answer.header("retry-after").is_some_and(|value| value.parse::<u32>().unwrap() > 0), "{answer:?}");
    assert!(house.mirror.memory_bytes() < memory + (32 << 20));
}

#[test]
fn random_paths() {
    let house = House::start(true, "");
    assert_eq!(house.get(PUBLIC, None).status, 200);
    let tries = 1_000;
    let statuses: Vec<u16> = (0..tries).map(|n| house.get(&format!("random/{n:x}.git"), None).status).collect();
    assert!(statuses.iter().all(|status| [404, 429].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&429));
    let asked = house.requests(|line| line.contains("random"));
    assert!(asked < tries, "{asked} questions for {tries} paths");
    assert_eq!(house.get(PUBLIC, None).status, 200);
    let answer = house.get("random/another.git", None);
    assert!(answer.status != 429 || answer.header("retry-after").is_some(), "{answer:?}");
    // What is not here yet is counted until it is known who may read it: not for long.
    wait_until("somebody at the same address is heard", Duration::from_secs(30), || {
        house.get(PRIVATE, Some(ALICE)).status == 200
    });
}

/// Refused before anybody is asked.
#[test]
fn malformed_credentials() {
    let house = House::start(true, "");
    let before = house.apache.requests().len();
    let target = format!("/{PRIVATE}/info/refs?service=git-upload-pack");
    let control = format!("Basic {}", base64(b"alice:\nhost=evil.example\n"));
    for line in [
        "Basic",
        "Basic !!!",
        "Basic YWxpY2U=",
        "Basic YTpi, Basic YTpj",
        "Bearer",
        "Bearer a b",
        "Bearer a,b",
        &control,
    ] {
        let answer = house.ask("GET", &target, 2, Some(line), "");
        assert_eq!(answer.status, 400, "{line}: {answer:?}");
        assert!(!answer.text().contains("alice"), "{answer:?}");
    }
    let request = |lines: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}\r\n");
        raw(house.mirror.port(), head.as_bytes()).unwrap().status
    };
    let alice = basic(ALICE);
    assert_eq!(request(&format!("Authorization: {alice}\r\nAuthorization: {alice}\r\n")), 400);
    assert_eq!(request("Authorization: Basic a\rb\r\n"), 400);
    assert_eq!(request("Authorization: Basic a\0b\r\n"), 400);
    assert_eq!(request(&format!("Authorization: Bearer {}\r\n", "x".repeat(20 << 10))), 431);
    assert_eq!(house.apache.requests().len(), before, "somebody was asked");
    // Asked about like any other, and refused; the longer one Apache itself does not take.
    assert_eq!(request(&format!("Authorization: Bearer {}\r\n", "x".repeat(4 << 10))), 401);
    assert_eq!(request(&format!("Authorization: Bearer {}\r\n", "x".repeat(8 << 10))), 403);
    assert_eq!(house.get(PRIVATE, Some(ALICE)).status, 200);
}

/// A path in a body that is too large is refused before the body is read: no right, no 80 MiB.
#[test]
fn who_may_not_read_need_not_write() {
    let house = House::start(true, "");
    let head = format!(
        "POST /{PRIVATE}/git-upload-pack HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-git-upload-pack-request\r\n\
         Content-Length: 60000000\r\nExpect: 100-continue\r\n\r\n"
    );
    let answer = raw(house.mirror.port(), head.as_bytes()).unwrap();
    assert_eq!(answer.status, 401, "{answer:?}");
}

/// A credential is never carried to where an upstream points.
#[test]
fn a_redirection_is_not_followed() {
    let mut house = House::start(true, "");
    let evil = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    evil.set_nonblocking(true).unwrap();
    let port = evil.local_addr().unwrap().port();
    let modules = [MODULES, &["rewrite"]].concat();
    let rule =
        format!("RewriteEngine On\nRewriteRule ^/team/private(.*)$ http://127.0.0.1:{port}/team/private$1 [R=302,L]\n");
    house.apache.configure(&modules, &rule);
    for user in [None, Some(ALICE)] {
        let answer = house.get(PRIVATE, user);
        assert!(answer.status == 502, "{answer:?}");
        assert!(answer.header("location").is_none(), "{answer:?}");
    }
    assert!(evil.accept().is_err(), "somebody came");
}
