//! Users with passwords: right and wrong ones, public, private and missing repositories, and the ways in which clients bring
//! them.

use super::*;
use crate::support::compare::sound_and_same;

/// Who may what, for every kind of request, with the statuses of the upstream itself. The mirror has a credential.
#[test]
fn each_user_reads_what_the_upstream_lets_them_read() {
    let house = House::start(true, "");
    let wrong = "alice:wrong";
    for (path, user, status) in [
        (PUBLIC, None, 200),
        (PUBLIC, Some(ALICE), 200),
        (PRIVATE, None, 401),
        (PRIVATE, Some(wrong), 401),
        (PRIVATE, Some("nobody:x"), 401),
        (PRIVATE, Some(ALICE), 200),
        (PRIVATE, Some(BOB), 200),
        (ALICES, None, 401),
        (ALICES, Some(BOB), 403),
        (ALICES, Some(ALICE), 200),
        (POSTED, None, 401),
        (POSTED, Some(wrong), 401),
        (POSTED, Some(BOB), 200),
    ] {
        assert_eq!(house.statuses(path, user), [status; 5], "{path} as {user:?}");
    }
    let answer = house.get(PRIVATE, None);
    assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"Git at the upstream\""));
    assert!(!house.mirror.log().contains("panic"));
}

/// A mirror without credentials shows what everybody may read, and tells those who may read more why it can't.
#[test]
fn a_mirror_without_credentials() {
    let house = House::start(false, "");
    assert_eq!(house.statuses(PUBLIC, None), [200; 5]);
    assert_eq!(house.statuses(PUBLIC, Some(ALICE)), [200; 5]);
    for path in [PRIVATE, POSTED] {
        assert_eq!(house.statuses(path, None), [401; 5], "{path}");
        let answer = house.get(path, None);
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"Git at the upstream\""), "{path}");
    }
    assert_eq!(house.statuses(PRIVATE, Some("alice:wrong")), [401; 5]);
    assert_eq!(house.statuses(PRIVATE, Some(ALICE)), [403; 5]);
    let words = house.get(PRIVATE, Some(ALICE)).text();
    assert!(words.contains("this mirror may not") && words.contains("operator"), "{words}");
    assert_eq!(house.mirror.stored().len(), 1, "only the public one is here");
}

/// Whoever the mirror is, a caller gets what the caller may: neither what only the mirror may, nor nothing in silence where
/// only the caller may.
#[test]
fn the_mirrors_own_credential_is_nobody_elses() {
    let house = House::start(true, "");
    assert_eq!(house.statuses(ALICES, Some(ALICE)), [200; 5], "it is here now");
    for user in [None, Some(BOB), Some("mirror:wrong"), Some(":"), Some("mirror:")] {
        let status = if user == Some(BOB) { 403 } else { 401 };
        assert_eq!(house.statuses(ALICES, user), [status; 5], "{user:?}");
    }
    let answer = house.get(HERS, Some(ALICE));
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.text().contains("you may read this repository, but this mirror may not"), "{answer:?}");
    assert_eq!(house.get(HERS, Some(BOB)).status, 403);
    assert_eq!(house.get(HERS, None).status, 401);
}

/// What is not there is not there for anybody, in the words that Git has for it, and under no path is anything told apart
/// that the upstream does not.
#[test]
fn what_is_not_there() {
    let house = House::start(true, "\n[[mirror]]\ninclude = [\"team/*\"]\n");
    let bodies: Vec<_> = [None, Some(ALICE), Some("alice:wrong")]
        .into_iter()
        .flat_map(|user| {
            // Not at the upstream, and by no rule mirrored though it is there.
            ["team/no-such.git", POSTED].map(|path| {
                let answer = house.get(path, user);
                assert_eq!(answer.status, 404, "{path} {user:?}");
                let kept = answer.head.lines().filter(|line| !line.starts_with("Date:")).collect::<Vec<_>>().join("\n");
                (kept, answer.body)
            })
        })
        .collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");
    let error = house.clone(&house.url("team/no-such.git", Some(ALICE)), &[]).unwrap_err();
    assert!(error.contains("not found"), "{error}");
    let asked = house.requests(|line| line.contains("post"));
    assert_eq!(asked, 0, "no rule mirrors it, and nobody was asked");
}

/// Git with somebody to ask for credentials, with a header of its own, with the user in the URL.
#[test]
fn clients_bring_credentials_in_their_ways() {
    let house = House::start(true, "");
    let from = house.apache.url().replace("://", &format!("://{ALICE}@"));
    let upstream = house.clone(&format!("{from}/{ALICES}"), &[]).unwrap();
    let (user, password) = ALICE.split_once(':').unwrap();
    let asked = format!("credential.helper=!f() {{ echo username={user}; echo password={password}; }}; f");
    let header = format!("http.extraHeader=Authorization: {}", basic(ALICE));
    for (url, settings) in [
        (house.url(ALICES, None), &[asked.as_str()][..]),
        (house.url(ALICES, None), &[header.as_str()]),
        (house.url(ALICES, Some(ALICE)), &[]),
        (house.url(ALICES, Some(ALICE)), &["protocol.version=0"]),
        (house.url(ALICES, Some(ALICE)), &["protocol.version=1"]),
        (house.url("team/alices", Some(ALICE)), &[]),
    ] {
        let clone = house.clone(&url, settings).unwrap_or_else(|error| panic!("{url} {settings:?}: {error}"));
        sound_and_same(&house.git, &clone, &upstream).unwrap();
    }
    // Only when it posts is it asked.
    house.clone(&house.url(POSTED, None), &[&asked]).unwrap();
    let refused = house.clone(&house.url(ALICES, Some(BOB)), &[]).unwrap_err();
    assert!(refused.contains("403"), "{refused}");
    let unasked = house.clone(&house.url(ALICES, None), &[]).unwrap_err();
    assert!(unasked.contains("could not read Username"), "{unasked}");
    let wrong = house.clone(&house.url(ALICES, Some("alice:wrong")), &[]).unwrap_err();
    assert!(wrong.contains("Authentication failed"), "{wrong}");
}

/// Many at once, of one repository: nobody ever hears another's answer.
#[test]
fn two_users_never_share_an_answer() {
    let house = House::start(true, "[auth]\nttl = \"1s\"\nnegative_ttl = \"0s\"\n");
    let cases = [(Some(ALICE), 200), (Some(BOB), 403), (None, 401), (Some("alice:alices-CANARY-pass-2"), 401)];
    std::thread::scope(|scope| {
        for round in 0..8 {
            let house = &house;
            scope.spawn(move || {
                for turn in 0..30 {
                    let (user, status) = cases[(round + turn) % cases.len()];
                    let heard = house.get(ALICES, user).status;
                    // Guesses may find their bucket empty, and are not let in for that.
                    assert!(
                        heard == status || (heard == 429 && status != 200),
                        "{user:?}: {heard} instead of {status}"
                    );
                }
            });
        }
    });
}

/// Callers who are known cost the upstream nothing until their time is over; those who ask at once cost one question.
#[test]
fn answers_are_remembered_and_questions_shared() {
    let house = House::start(true, "");
    assert_eq!(house.get(PRIVATE, Some(ALICE)).status, 200);
    let all = |line: &str| line.contains("private");
    let before = house.requests(all);
    let mut crowd = Crowd::gather(&house, 30);
    assert_eq!(crowd.statuses(PRIVATE, ALICE), [200; 30]);
    let after = house.requests(all);
    // The mirror may ask whether the repository is there, of its own.
    assert!(after <= before + 2, "{} requests", after - before);
    let before = house.requests(|line| line.starts_with("POST") && all(line));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(house.get(PRIVATE, Some(BOB)).status, 200));
        }
    });
    let after = house.requests(|line| line.starts_with("POST") && all(line));
    assert!(after <= before + 3, "{} posts for one new caller", after - before);
}
