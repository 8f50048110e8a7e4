//! When the upstream is asked before references are told: in each mode, counted at the upstream.

use std::time::{Duration, Instant};

use crate::support::conversation::post;
use crate::support::http::Answer;
use crate::support::process::{SERVER_TIMEOUT, wait_until};
use crate::support::repositories::Upstream;
use crate::support::site::Site;

const APP: &str = "team/app.git";

fn site(rule: &str) -> Site {
    Site::start_ruled(rule, |git, folder| {
        Upstream::rich(git, &folder.join(APP));
    })
}

fn ls_refs(site: &mut Site) -> Answer {
    let answer = post(site.mirror().port(), APP, 2, &["command=ls-refs", "0001", "ref-prefix refs/heads/main", "0000"]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn shows(answer: &Answer, id: &str) -> bool {
    answer.text().contains(&format!("{id} refs/heads/main\n"))
}

fn freshness(answer: &Answer) -> &str {
    answer.header("heliostat-freshness").expect("the header")
}

/// How often the upstream has been asked about references.
fn questions(site: &Site) -> usize {
    site.apache.requests().iter().filter(|line| line.contains("/info/refs")).count()
}

/// Whoever pushes to the upstream and then fetches through the mirror sees it, each time.
#[test]
fn strict_shows_ones_own_push() {
    let mut site = site("");
    for round in 0..8 {
        let pushed = site.upstream(APP).commit("main", &[("push.txt", &format!("{round}\n"))]);
        let answer = ls_refs(&mut site);
        assert!(shows(&answer, &pushed), "round {round}: {answer:?}");
        assert_eq!(freshness(&answer), "confirmed");
    }
}

/// What the upstream answers for some repositories, however badly, is no outage of the upstream for the others.
#[test]
fn failures_of_some_repositories_hide_no_push_to_another() {
    let broken: Vec<String> = (0..6).map(|number| format!("team/broken-{number}.git")).collect();
    let mut site = Site::start(|git, folder| {
        let app = Upstream::rich(git, &folder.join(APP));
        for path in &broken {
            app.copy_to(&folder.join(path));
        }
    });
    ls_refs(&mut site);
    let advertisement = |site: &mut Site, path: &str| {
        let answer = site.mirror().get(&format!("/{path}/info/refs?service=git-upload-pack"));
        assert_eq!(answer.status, 200, "{answer:?}");
        freshness(&answer).split(';').next().unwrap().to_owned()
    };
    for path in &broken {
        assert_eq!(advertisement(&mut site, path), "confirmed");
        std::fs::write(site.upstream(path).folder.join("config"), "[broken").unwrap();
    }
    for round in 0..4 {
        for path in &broken {
            assert_eq!(advertisement(&mut site, path), "stale", "round {round}");
        }
        let failures = site.apache.requests().iter().filter(|line| line.ends_with(" 500")).count();
        assert!(failures > 0, "the upstream is asked, and fails");
        let pushed = site.upstream(APP).commit("main", &[("push.txt", &format!("{round}\n"))]);
        let answer = ls_refs(&mut site);
        assert!(shows(&answer, &pushed), "round {round}: {answer:?}");
        assert_eq!(freshness(&answer), "confirmed");
    }
}

/// A branch that was made a moment ago is known to whoever has history cut off at it, although no object of it is new.
#[test]
fn strict_knows_a_boundary_that_was_just_made() {
    let mut site = site("");
    ls_refs(&mut site);
    let (git, url) = (site.git.clone(), site.mirror_url(APP));
    for round in 1..6 {
        let boundary = format!("refs/heads/boundary-{round}");
        site.upstream(APP).run(&["update-ref", &boundary, &format!("main~{round}")]);
        let clone = site.sandbox.fresh("clone");
        let exclude = format!("--shallow-exclude={boundary}");
        git.text(site.sandbox.path(), &["clone", "-q", "--bare", &exclude, &url, &clone.display().to_string()]);
        let expected = site.upstream(APP).run(&["rev-list", "--count", "main", "--not", &boundary]);
        assert_eq!(git.text(&clone, &["rev-list", "--count", "main"]), expected, "{boundary}");
    }
}

/// Within the lease nobody is asked, whatever has moved; after it one question serves all.
#[test]
fn a_lease_is_one_question() {
    let mut site = site("freshness = \"lease\"\nlease = \"20s\"");
    let asked = Instant::now();
    let old = site.upstream(APP).id("main");
    let first = ls_refs(&mut site);
    assert!(shows(&first, &old) && freshness(&first) == "confirmed", "{first:?}");
    let (before, moved) = (questions(&site), site.upstream(APP).commit("main", &[("lease.txt", "moved\n")]));
    for _ in 0..5 {
        let answer = ls_refs(&mut site);
        assert!(shows(&answer, &old) && freshness(&answer).starts_with("unasked; age="), "{answer:?}");
    }
    assert_eq!(questions(&site), before, "asked within the lease");
    assert!(asked.elapsed() < Duration::from_secs(20), "this machine is too slow for the lease of this test");
    wait_until("the lease ends", SERVER_TIMEOUT, || {
        let answer = ls_refs(&mut site);
        assert!(asked.elapsed() >= Duration::from_secs(20) || freshness(&answer) != "confirmed", "{answer:?}");
        shows(&answer, &moved)
    });
    assert_eq!(questions(&site), before + 1);
    assert!(shows(&ls_refs(&mut site), &moved));
    assert_eq!(questions(&site), before + 1);
}

/// What is here is told at once, also by an upstream that never answers, and the interval brings it up to date.
#[test]
fn eventual_answers_at_once_and_catches_up() {
    let mut site = site("freshness = \"eventual\"\n[sync]\ninterval = \"1s\"");
    let old = site.upstream(APP).id("main");
    assert!(shows(&ls_refs(&mut site), &old), "the first is asked about");
    site.apache.freeze();
    for _ in 0..3 {
        let began = Instant::now();
        assert!(shows(&ls_refs(&mut site), &old));
        assert!(began.elapsed() < Duration::from_secs(8), "waited for a silent upstream: {:?}", began.elapsed());
    }
    site.apache.thaw();
    let moved = site.upstream(APP).commit("main", &[("eventual.txt", "moved\n")]);
    wait_until("the interval brings it", SERVER_TIMEOUT, || shows(&ls_refs(&mut site), &moved));
}

/// A rule may forbid what is stale: then nothing is told or sent until the upstream answers again.
#[test]
fn what_is_stale_may_be_forbidden() {
    for mode in ["strict", "eventual"] {
        let mut site = site(&format!("freshness = \"{mode}\"\nserve_stale = false\n[sync]\ninterval = \"1s\""));
        let main = site.upstream(APP).id("main");
        let ask = |site: &mut Site, lines: &[&str]| post(site.mirror().port(), APP, 2, lines);
        let list = ["command=ls-refs", "0001", "ref-prefix refs/heads/main", "0000"];
        let want = format!("want {main}");
        let fetch = ["command=fetch", "0001", &want, "done", "0000"];
        assert!(shows(&ask(&mut site, &list), &main));
        assert_eq!(ask(&mut site, &fetch).status, 200);
        site.apache.stop();
        wait_until("the upstream is missed", SERVER_TIMEOUT, || ask(&mut site, &list).status == 503);
        for lines in [&list[..], &fetch] {
            let answer = ask(&mut site, lines);
            assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{mode}: {answer:?}");
        }
        let head = site.mirror().get(&format!("/{APP}/info/refs?service=git-upload-pack"));
        assert_eq!(head.status, 503, "{mode}: {head:?}");
        site.apache.start_again();
        wait_until("it heals", SERVER_TIMEOUT, || ask(&mut site, &list).status == 200);
        assert_eq!(ask(&mut site, &fetch).status, 200);
    }
}

/// A rule may leave it to the operator what is mirrored.
#[test]
fn what_is_not_here_may_be_left_to_the_operator() {
    let mut site = site("on_demand = false");
    let target = format!("/{APP}/info/refs?service=git-upload-pack");
    for _ in 0..2 {
        let answer = site.mirror().get(&target);
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(site.mirror().stored().is_empty());
    }
    let answer = site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/sync"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let main = site.upstream(APP).id("main");
    assert!(shows(&ls_refs(&mut site), &main));
    assert_eq!(site.mirror().get(&target).status, 200);
}
