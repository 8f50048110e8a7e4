//! Who may not read a repository does not learn that it is there: neither by what is answered, nor by how long that takes, nor
//! by what it costs. As long as the upstream does not tell either.

use super::*;
use crate::support::http::request_from;
use crate::support::process::{SERVER_TIMEOUT, wait_until};
use std::time::{Duration, Instant};

/// Nothing is there at the upstream.
const ABSENT: &str = "team/absent.git";
/// A refusal is asked about again, every time; the mirror asks nothing of its own.
const CONFIG: &str = "[auth]\nnegative_ttl = \"0s\"\n[sync]\ninterval = \"1d\"\n";

/// A host that answers 404 to whoever is not alice or the mirror, whatever there is.
fn hides(house: &mut House) {
    let known = [ALICE, MIRROR].map(|user| base64(user.as_bytes()).replace('+', "\\+")).join("|");
    let rules = format!(
        "RewriteEngine On\nRewriteCond %{{HTTP:Authorization}} \"!^Basic ({known})$\"\nRewriteRule ^/team/ - [R=404,L]\n"
    );
    house.apache.configure(&[MODULES, &["rewrite"]].concat(), &rules);
}

/// A host that wants alice's password for whatever there may be.
fn asks(house: &mut House) {
    let users = house.sandbox.path().join("apache/users");
    house.apache.configure(MODULES, &protection(&users).replace("alices", "(alices|absent|random-[0-9]+)"));
}

/// A mirror that has `ALICES`, of a host that `changes` then.
fn house(changes: fn(&mut House)) -> House {
    let mut house = House::start(true, CONFIG);
    changes(&mut house);
    assert_eq!(house.statuses(ALICES, Some(ALICE)), [200; 5]);
    assert_eq!(house.mirror.stored().len(), 1);
    house
}

/// A question from an address from which nobody has been let in.
fn stranger(house: &House, method: &str, target: &str, version: u8, user: Option<&str>, body: &str) -> Answer {
    let (protocol, authorization) = (format!("version={version}"), user.map(basic));
    let mut headers = vec![("Git-Protocol", &*protocol), ("Content-Type", "application/x-git-upload-pack-request")];
    headers.extend(authorization.as_deref().map(|line| ("Authorization", line)));
    request_from([127, 0, 0, 9], method, house.mirror.port(), target, &headers, body.as_bytes()).unwrap()
}

fn strangers_get(house: &House, path: &str) -> Answer {
    stranger(house, "GET", &format!("/{path}/info/refs?service=git-upload-pack"), 2, None, "")
}

/// Without its date and the path that was asked for.
fn told(answer: &Answer, path: &str) -> String {
    let lines = answer.head.lines().filter(|line| !line.starts_with("Date: "));
    let text = format!("{}\n\n{}", lines.collect::<Vec<_>>().join("\n"), answer.text());
    text.replace(path, "PATH")
}

/// How many requests about it the upstream has refused.
fn questions(house: &House, path: &str) -> usize {
    house.requests(|line| line.contains(path.trim_end_matches(".git")) && !line.ends_with(" 200"))
}

#[test]
fn what_is_refused_is_answered_as_what_is_absent() {
    for (changes, statuses) in [(hides as fn(&mut House), [404; 3]), (asks, [401, 401, 403])] {
        let house = house(changes);
        let tip = house.upstream(ALICES).id("main");
        let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
        let fetch = format!("{}0001{}{}0000", line("command=fetch"), line(&format!("want {tip}")), line("done"));
        let info = format!("{}0001{}{}0000", line("command=object-info"), line("size"), line(&format!("oid {tip}")));
        let list = format!("{}0000", line("command=ls-refs"));
        let kinds = [
            ("GET", "info/refs?service=git-upload-pack", 2, ""),
            ("POST", "git-upload-pack", 2, &*fetch),
            ("GET", "info/refs?service=git-upload-pack", 0, ""),
            ("POST", "git-upload-pack", 2, &list),
            ("POST", "git-upload-pack", 2, &info),
            ("GET", "HEAD", 2, ""),
            ("GET", "info/refs", 2, ""),
            ("GET", "info/refs?service=git-receive-pack", 2, ""),
            ("POST", "git-receive-pack", 2, "0000"),
            ("POST", "info/lfs/objects/batch", 2, "{}"),
        ];
        for (user, status) in [None, Some("alice:wrong"), Some(BOB)].into_iter().zip(statuses) {
            // Refused credentials are counted: few of them.
            let kinds = if user.is_none() { &kinds[..] } else { &kinds[..2] };
            for (at, (method, target, version, body)) in kinds.iter().enumerate() {
                let ask = |path: &str| stranger(&house, method, &format!("/{path}/{target}"), *version, user, body);
                let (there, absent) = (ask(ALICES), ask(ABSENT));
                if at < 5 {
                    assert_eq!(there.status, status, "{user:?} {method} {target}: {there:?}");
                }
                assert_eq!(told(&there, ALICES), told(&absent, ABSENT), "{user:?} {method} {target}");
            }
        }
        // Apache writes them down a moment after it has answered.
        wait_until("as many questions about either", SERVER_TIMEOUT, || {
            let [there, absent] = [ALICES, ABSENT].map(|path| questions(&house, path));
            there == absent && there > 0
        });
    }
}

/// One that has no more to pay with, by paths that are unknown, can't tell by that either.
#[test]
fn what_is_refused_costs_as_much_as_what_is_absent() {
    let house = house(asks);
    let mut random = 0;
    let mut drain = || {
        loop {
            random += 1;
            assert!(random < 3_000, "the bucket has no bottom");
            if strangers_get(&house, &format!("team/random-{random}.git")).status == 429 {
                return;
            }
        }
    };
    let mut refused = [0; 2];
    for _ in 0..20 {
        for (count, path) in refused.iter_mut().zip([ALICES, ABSENT]) {
            drain();
            *count += usize::from(strangers_get(&house, path).status == 429);
        }
    }
    // A drop may fall into the bucket at the wrong moment.
    assert!(refused.iter().all(|count| *count >= 15), "429 for what is here and for what is not: {refused:?}");
    assert_eq!(house.get(ALICES, Some(ALICE)).status, 200, "who is let in is let in");
}

/// The middle time of each, taken by turns. That it differs has to be seen three times: this machine may be busy.
#[test]
fn what_is_refused_takes_as_long_as_what_is_absent() {
    const TURNS: usize = 25;
    const RATIO_MAX: f64 = 1.4;
    let house = house(hides);
    let measure = || {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (times, path) in times.iter_mut().zip([ALICES, ABSENT]) {
                let began = Instant::now();
                assert_eq!(strangers_get(&house, path).status, 404);
                times.push(began.elapsed());
            }
        }
        let [there, absent]: [Duration; 2] = times.map(|mut times| {
            times.sort_unstable();
            times[TURNS / 2]
        });
        eprintln!("{there:?} for what is here, {absent:?} for what is not");
        there.max(absent).as_secs_f64() / there.min(absent).as_secs_f64()
    };
    assert!((0..3).any(|_| measure() < RATIO_MAX), "how long it takes tells what is here");
}
