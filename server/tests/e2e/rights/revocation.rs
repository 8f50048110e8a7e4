//! A right that is taken away: gone within `ttl` on every shard, and at once where somebody says so.

use super::*;
use crate::support::http::request;
use crate::support::process::wait_until;
use std::time::{Duration, Instant};

const CROWD: usize = 40;

#[test]
fn gone_within_its_time_on_every_shard() {
    let house = House::start(true, "[auth]\nttl = \"3s\"\nnegative_ttl = \"1s\"\n");
    let mut crowd = Crowd::gather(&house, CROWD);
    assert_eq!(crowd.statuses(PRIVATE, ALICE), [200; CROWD]);
    assert_eq!(crowd.statuses(PRIVATE, BOB), [200; CROWD]);
    house.users(&USERS[1..]);
    let revoked = Instant::now();
    let _ = crowd.statuses(PRIVATE, ALICE);
    wait_until("the time is over", Duration::from_secs(10), || revoked.elapsed() >= Duration::from_secs(3));
    assert_eq!(crowd.statuses(PRIVATE, ALICE), [401; CROWD]);
    assert_eq!(crowd.statuses(PRIVATE, BOB), [200; CROWD], "who was not meant");
    // And given again.
    house.users(&USERS);
    let given = Instant::now();
    wait_until("a refusal's time is over", Duration::from_secs(10), || given.elapsed() >= Duration::from_secs(1));
    assert_eq!(crowd.statuses(PRIVATE, ALICE), [200; CROWD]);
}

#[test]
fn forgotten_at_once() {
    let house = House::start(true, "[auth]\nttl = \"1h\"\n");
    let mut crowd = Crowd::gather(&house, CROWD);
    for path in [PRIVATE, ALICES] {
        assert_eq!(crowd.statuses(path, ALICE), [200; CROWD]);
    }
    house.users(&USERS[1..]);
    assert_eq!(crowd.statuses(PRIVATE, ALICE), [200; CROWD], "remembered for an hour");
    // Under its other spelling it is the same repository.
    house.forget_rights(Some("team/private"));
    assert_eq!(crowd.statuses(PRIVATE, ALICE), [401; CROWD]);
    assert_eq!(crowd.statuses(ALICES, ALICE), [200; CROWD], "another repository");
    house.forget_rights(None);
    assert_eq!(crowd.statuses(ALICES, ALICE), [401; CROWD]);
    // A fetch by the id of what was advertised is refused as well.
    assert_eq!(house.statuses(ALICES, Some(ALICE)), [401; 5]);
    assert_eq!(house.statuses(PRIVATE, Some(BOB)), [200; 5]);
}

/// What was for everybody and is not any more, at a mirror without credentials.
#[test]
fn no_longer_public() {
    let mut house = House::start(false, "[auth]\nttl = \"1h\"\n");
    assert_eq!(house.statuses(PUBLIC, None), [200; 5]);
    let users = house.sandbox.path().join("apache/users");
    house.apache.configure(MODULES, &protection(&users).replace("private", "(private|public)"));
    house.forget_rights(Some(PUBLIC));
    let tip = house.upstream(PUBLIC).id("main");
    let body = format!("0012command=fetch\n00010032want {tip}\n0009done\n0000");
    let fetch = house.ask("POST", &format!("/{PUBLIC}/git-upload-pack"), 2, None, &body);
    assert_eq!(fetch.status, 401, "{fetch:?}");
    assert_eq!(house.statuses(PUBLIC, None), [401; 5]);
}

/// The admin port's own rules hold for this too.
#[test]
fn not_everybody_may_say_so() {
    let house = House::start(true, "[admin]\ntoken = \"0123456789-CANARY-abcdef\"\n");
    let admin = |method: &str, target: &str, headers: &[(&str, &str)]| {
        let port = house.mirror.admin_address().rsplit(':').next().unwrap().parse().unwrap();
        request(method, port, target, headers, b"").unwrap().status
    };
    let one = format!("/api/v1/repositories/{PRIVATE}/forget-rights");
    for target in ["/api/v1/forget-rights", one.as_str()] {
        assert_eq!(admin("POST", target, &[]), 401);
        assert_eq!(admin("POST", target, &[("Authorization", "Bearer 0123456789-CANARY-abcdex")]), 401);
        let token = ("Authorization", "Bearer 0123456789-CANARY-abcdef");
        assert_eq!(admin("GET", target, &[token]), 405);
        assert_eq!(admin("POST", target, &[token]), 200);
    }
    let open = House::start(true, "");
    let port = open.mirror.admin_address().rsplit(':').next().unwrap().parse().unwrap();
    let cross = [("Origin", "https://evil.example")];
    assert_eq!(request("POST", port, "/api/v1/forget-rights", &cross, b"").unwrap().status, 403);
}
