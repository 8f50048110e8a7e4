//! The upstream away: known callers for a stated time and public repositories are served, as stale; others hear 503, never 401,
//! at which Git would throw a saved password away.

use super::*;
use crate::support::process::wait_until;
use std::time::{Duration, Instant};

fn freshness(answer: &Answer) -> String {
    answer.header("heliostat-freshness").unwrap_or_default().split(';').next().unwrap().to_owned()
}

fn unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some_and(|value| value.parse::<u32>().unwrap() > 0), "{answer:?}");
    assert!(answer.header("www-authenticate").is_none(), "{answer:?}");
}

fn pass(time: Duration) {
    let began = Instant::now();
    wait_until("time passes", 2 * time + Duration::from_secs(5), || began.elapsed() >= time);
}

#[test]
fn known_callers_and_public_repositories_are_served() {
    let mut house = House::start(true, "[auth]\nttl = \"1s\"\nnegative_ttl = \"0s\"\nstale_if_error = \"1h\"\n");
    for (path, user) in [(PUBLIC, None), (PRIVATE, Some(ALICE)), (ALICES, Some(ALICE))] {
        assert_eq!(house.statuses(path, user), [200; 5]);
        house.clone(&house.url(path, user), &[]).unwrap();
    }
    assert_eq!(house.get(ALICES, Some(BOB)).status, 403);
    house.apache.stop();
    pass(Duration::from_secs(2));
    for (path, user) in [(PUBLIC, None), (PRIVATE, Some(ALICE)), (ALICES, Some(ALICE))] {
        let target = format!("/{path}/info/refs?service=git-upload-pack");
        let answer = house.ask("GET", &target, 0, user.map(basic).as_deref(), "");
        assert_eq!((answer.status, freshness(&answer)), (200, "stale".into()), "{path}");
        house.clone(&house.url(path, user), &[]).unwrap();
    }
    assert_eq!(house.get(PUBLIC, Some(BOB)).status, 200, "everybody may read it");
    // Who is not known, who has been refused, what has never been here.
    for (path, user) in [
        (PRIVATE, Some(BOB)),
        (PRIVATE, Some("alice:wrong")),
        (ALICES, Some(BOB)),
        (POSTED, Some(ALICE)),
        ("team/never.git", None),
    ] {
        unavailable(&house.get(path, user));
    }
    // Git brings nothing before it is asked for it.
    let answer = house.get(PRIVATE, None);
    assert_eq!((answer.status, answer.header("www-authenticate").is_some()), (401, true), "{answer:?}");
    assert_eq!(house.mirror.stored().len(), 3, "nothing is deleted");
    house.apache.start_again();
    wait_until("it heals", Duration::from_secs(60), || {
        house.get(PRIVATE, Some(BOB)).status == 200
            && house.get(PRIVATE, Some("alice:wrong")).status == 401
            && house.get(ALICES, Some(BOB)).status == 403
    });
}

/// Without `stale_if_error` a right ends with its time, whatever the upstream is doing. Who brings nothing is not asked for
/// what would not help.
#[test]
fn nobody_is_let_in_for_longer_unless_that_was_said() {
    let mut house = House::start(true, "[auth]\nttl = \"1s\"\n");
    assert_eq!(house.get(PRIVATE, None).status, 401);
    assert_eq!(house.statuses(PRIVATE, Some(ALICE)), [200; 5]);
    house.apache.stop();
    pass(Duration::from_secs(6));
    for user in [Some(ALICE), None, Some(ALICE), None] {
        unavailable(&house.get(PRIVATE, user));
    }
    for user in [Some(ALICE), None] {
        let error = house.clone(&house.url(PRIVATE, user), &[]).unwrap_err();
        assert!(error.contains("503") && !error.contains("Authentication"), "{error}");
    }
}

/// What Git asks for credentials, and to forget what was refused: in an outage it is not asked to.
#[test]
fn a_saved_password_is_kept() {
    let mut house = House::start(true, "[auth]\nttl = \"1s\"\n");
    let erased = house.sandbox.path().join("erased");
    let (user, password) = ALICE.split_once(':').unwrap();
    let asked = format!(
        "credential.helper=!f() {{ if test \"$1\" = erase; then touch {}; fi; echo username={user}; echo password={password}; }}; f",
        erased.display()
    );
    house.clone(&house.url(PRIVATE, None), &[&asked]).unwrap();
    house.apache.stop();
    pass(Duration::from_secs(1));
    house.clone(&house.url(PRIVATE, Some("alice")), &[&asked]).unwrap_err();
    assert!(!erased.exists(), "Git was told that the password is wrong");
}

/// A mirror without credentials holds what everybody may read: so it goes on, after a restart too, for those as well who
/// bring something that can't be asked about. But not on data that another mirror has brought there.
#[test]
fn what_everybody_may_read_is_served() {
    let mut house = House::start(false, "");
    assert_eq!(house.statuses(PUBLIC, None), [200; 5]);
    house.apache.stop();
    assert_eq!(house.statuses(PUBLIC, None), [200; 5]);
    assert_eq!(house.statuses(PUBLIC, Some(ALICE)), [200; 5]);
    house.mirror.stop();
    house.mirror.start_again();
    assert_eq!(house.statuses(PUBLIC, None), [200; 5]);
    unavailable(&house.get(PRIVATE, None));

    let config = house.sandbox.path().join("heliostat.toml");
    let anonymous = std::fs::read_to_string(&config).unwrap();
    let file = secret_file(&house.sandbox, "credentials", MIRROR);
    let with_credentials = anonymous.replacen("[upstream]\n", &format!("[upstream]\ncredentials = {file:?}\n"), 1);
    std::fs::write(&config, with_credentials).unwrap();
    house.apache.start_again();
    house.mirror.stop();
    house.mirror.start_again();
    assert_eq!(house.statuses(PRIVATE, Some(ALICE)), [200; 5]);
    std::fs::write(&config, &anonymous).unwrap();
    house.apache.stop();
    house.mirror.stop();
    house.mirror.start_again();
    for path in [PRIVATE, PUBLIC] {
        unavailable(&house.get(path, None));
        let tip = house.upstream(path).id("main");
        let body = format!("0012command=fetch\n00010032want {tip}\n0009done\n0000");
        unavailable(&house.ask("POST", &format!("/{path}/git-upload-pack"), 2, None, &body));
    }
    house.apache.start_again();
    wait_until("the upstream has said what is public", Duration::from_secs(60), || {
        house.get(PUBLIC, None).status == 200 && house.get(PRIVATE, None).status == 401
    });
}

/// It accepts connections and is silent: bounded, and 503.
#[test]
fn silent() {
    let mut house = House::start(true, "[auth]\nttl = \"1s\"\nstale_if_error = \"1h\"\n");
    assert_eq!(house.statuses(PRIVATE, Some(ALICE)), [200; 5]);
    house.apache.freeze();
    pass(Duration::from_secs(1));
    let began = Instant::now();
    unavailable(&house.get(PRIVATE, Some(BOB)));
    assert_eq!(house.get(PRIVATE, Some(ALICE)).status, 200);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    house.apache.thaw();
}
