//! Ids that nothing at the mirror leads to: the upstream is asked for them, by all who want something in one sync, and not
//! for each of many that nobody has.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::conversation::{fetch, pack_of, post};
use crate::support::http::Answer;
use crate::support::process::{SERVER_TIMEOUT, wait_until};
use crate::support::repositories::Upstream;
use crate::support::site::Site;
use heliostat_core::limits::{UPSTREAM_BY_ID_TRIES_MAX, WANTED_SYNCS_BURST, WANTED_SYNCS_PER_SECOND};

const APP: &str = "team/app.git";

fn site(rule: &str) -> Site {
    Site::start_ruled(rule, |git, folder| {
        Upstream::rich(git, &folder.join(APP));
    })
}

fn wanted(site: &mut Site, version: u8, id: &str) -> Answer {
    fetch(site.mirror().port(), APP, version, &[&format!("want {id}")], &[])
}

fn ls_refs(site: &mut Site) -> String {
    post(site.mirror().port(), APP, 2, &["command=ls-refs", "0001", "0000"]).text()
}

/// Whether the pack of `answer` is whole and holds `id`.
fn holds(site: &Site, answer: &Answer, id: &str) -> bool {
    let folder = site.sandbox.fresh("pack");
    site.git.text(site.sandbox.path(), &["init", "--quiet", "--bare", &folder.display().to_string()]);
    let pack = pack_of(answer).unwrap_or_else(|| panic!("no pack: {}", answer.text()));
    let indexed = site.git.run_with(&folder, &["index-pack", "--stdin", "--strict"], &pack);
    assert!(indexed.status.success(), "{}", indexed.stderr);
    site.git.run(&folder, &["cat-file", "-e", id]).status.success()
}

/// A commit that no reference leads to, on top of what there is.
fn unadvertised(site: &Site, words: &str) -> String {
    let upstream = site.upstream(APP);
    upstream.run(&["commit-tree", "-m", words, "-p", "main", "main^{tree}"])
}

/// How often the upstream has been asked something: each question and each fetch by id begins so.
fn requests(site: &Site) -> usize {
    site.apache.requests().iter().filter(|line| line.contains("/info/refs")).count()
}

/// What the upstream gives by its id comes, in each version, is not advertised, and is not asked for again while it is kept.
#[test]
fn by_its_id() {
    let mut site = site("");
    ls_refs(&mut site);
    for version in [0, 1, 2] {
        let id = unadvertised(&site, &format!("for version {version}"));
        let answer = wanted(&mut site, version, &id);
        assert!(holds(&site, &answer, &id), "version {version}");
        assert!(!ls_refs(&mut site).contains(&id), "it is advertised");
        let before = requests(&site);
        for version in [0, 1, 2] {
            let answer = wanted(&mut site, version, &id);
            assert!(holds(&site, &answer, &id));
        }
        assert_eq!(requests(&site), before, "asked again for what is here");
    }
    // With a client of the other kind.
    let id = unadvertised(&site, "for stock Git");
    let (folder, url) = (site.sandbox.fresh("stock"), site.mirror_url(APP));
    site.git.text(site.sandbox.path(), &["init", "--quiet", "--bare", &folder.display().to_string()]);
    site.git.text(&folder, &["fetch", "--quiet", &url, &id]);
    assert_eq!(site.git.text(&folder, &["rev-parse", "FETCH_HEAD"]), id);
    for stored in site.mirror().stored() {
        crate::support::compare::fsck(&site.git, &stored).unwrap();
    }
}

/// In a mirror that asks nobody by itself, an id that a moved reference leads to brings all that moved.
#[test]
fn behind_a_reference_that_moved() {
    let mut site = site("freshness = \"eventual\"");
    let old = site.upstream(APP).id("main");
    assert!(ls_refs(&mut site).contains(&format!("{old} refs/heads/main")));
    let first = site.upstream(APP).commit("main", &[("first.txt", "moved\n")]);
    let second = site.upstream(APP).commit("main", &[("second.txt", "moved\n")]);
    assert!(ls_refs(&mut site).contains(&format!("{old} refs/heads/main")), "asked though it is eventual");
    let answer = wanted(&mut site, 2, &first);
    assert!(holds(&site, &answer, &first));
    assert!(ls_refs(&mut site).contains(&format!("{second} refs/heads/main")));
}

/// What nobody has is refused in Git's words, remembered, and looked for again when the references have changed.
#[test]
fn nobody_has_it() {
    let mut site = site("");
    ls_refs(&mut site);
    let id = "0123456789012345678901234567890123456789";
    let refused = |answer: &Answer| answer.text().contains(&format!("ERR upload-pack: not our ref {id}"));
    let answer = wanted(&mut site, 2, id);
    assert!(answer.status == 200 && refused(&answer), "{answer:?}");
    let before = requests(&site);
    for version in [0, 1, 2] {
        assert!(refused(&wanted(&mut site, version, id)));
    }
    assert_eq!(requests(&site), before, "it is remembered");
    site.upstream(APP).commit("main", &[("more.txt", "moved\n")]);
    ls_refs(&mut site);
    let before = requests(&site);
    assert!(refused(&wanted(&mut site, 2, id)));
    assert!(requests(&site) > before, "the references have changed");
}

/// Random ids from many clients at once are a bounded load for the upstream, and who wants what there is gets it.
#[test]
fn random_ids() {
    let mut site = site("park = \"60s\"");
    ls_refs(&mut site);
    let good = unadvertised(&site, "among random ids");
    let (before, began, port) = (requests(&site), Instant::now(), site.mirror().port());
    let random = || (0..40).map(|_| fastrand::digit(16)).collect::<String>();
    let answer = std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let mut refused = 0;
                    while began.elapsed() < Duration::from_secs(8) {
                        let id = random();
                        let answer = fetch(port, APP, 2, &[&format!("want {id}")], &[]);
                        refused += usize::from(answer.text().contains("not our ref"));
                    }
                    refused
                })
            })
            .collect();
        let honest = scope.spawn(|| fetch(port, APP, 2, &[&format!("want {good}")], &[]));
        let refused: usize = attackers.into_iter().map(|attacker| attacker.join().unwrap()).sum();
        assert!(refused > 0, "nobody was refused");
        honest.join().unwrap()
    });
    assert!(holds(&site, &answer, &good));
    let syncs = f64::from(WANTED_SYNCS_BURST) + f64::from(WANTED_SYNCS_PER_SECOND) * began.elapsed().as_secs_f64();
    let most = (syncs * (1 + UPSTREAM_BY_ID_TRIES_MAX) as f64) as usize;
    let asked = requests(&site) - before;
    assert!(asked <= most, "{asked} requests, {most} at most");
}

/// An upstream that is away is not taken for one that has it not; `park` ends the wait.
#[test]
fn the_upstream_is_away() {
    let mut site = site("park = \"2s\"");
    let tip = site.upstream(APP).id("main");
    assert!(pack_of(&wanted(&mut site, 2, &tip)).is_some());
    let id = unadvertised(&site, "while it is away");
    site.apache.stop();
    let answer = wanted(&mut site, 2, &id);
    assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
    let answer = wanted(&mut site, 2, &tip);
    assert!(holds(&site, &answer, &tip), "what is here is served");
    site.apache.start_again();
    site.apache.freeze();
    let began = Instant::now();
    let answer = wanted(&mut site, 2, &id);
    let said = answer.status == 503 || answer.text().contains(&format!("not our ref {id}"));
    assert!(said && began.elapsed() < Duration::from_secs(20), "{:?}: {answer:?}", began.elapsed());
    site.apache.thaw();
    wait_until("it is found again", SERVER_TIMEOUT, || {
        let answer = fetch(site.mirror().port(), APP, 2, &[&format!("want {id}")], &[]);
        pack_of(&answer).is_some()
    });
}

/// What lies here and nothing leads to any more is the upstream's to give: it is asked, and its word holds.
#[test]
fn what_lies_here_all_the_same() {
    let mut site = site("[store]\ngenerations_kept = 0");
    let upstream = site.upstream(APP);
    let base = upstream.id("main");
    let gone = upstream.commit("main", &[("gone.txt", "a mistake\n")]);
    assert!(ls_refs(&mut site).contains(&gone));
    wanted(&mut site, 2, &gone);
    upstream.run(&["update-ref", "refs/heads/main", &base]);
    wait_until("it has gone", SERVER_TIMEOUT, || !ls_refs(&mut site).contains(&gone));
    let answer = wanted(&mut site, 2, &gone);
    assert!(holds(&site, &answer, &gone), "the upstream still gives it");
    let ids: BTreeSet<_> = ls_refs(&mut site).lines().map(str::to_owned).collect();
    assert!(ids.iter().all(|line| !line.contains(&gone)));
}
