//! The commonest commands on histories and stores of many shapes.

use super::{EVERY, Upstream, check, mine, scene};
use crate::stage::Stage;
use heliostat_testrepo::{Change, Spec};

/// What CI does: clones of three kinds, and a fetch of what has moved, negotiated in three ways.
fn everyday(spec: Spec) {
    let stage = Stage::new();
    let path = stage.path("upstream.git");
    let mut repository = spec.write(&path).unwrap();
    let upstream = Upstream::new(&stage, path);
    upstream.configure(&["uploadpack.allowFilter=true"]);
    stage.git(&["clone", "-q", "--mirror", upstream.path.to_str().unwrap(), "old.git"]);
    repository
        .advance(&[
            Change::AddCommits { branch: "main".into(), count: 9 },
            Change::AddCommits { branch: "brand-new".into(), count: 2 },
            Change::ForcePush { branch: "main".into(), count: 3 },
            Change::Pull { number: 2 },
        ])
        .unwrap();
    mine(&stage, "old.git", "refs/heads/main");
    let update = |algorithm: &str| {
        format!("-c fetch.negotiationAlgorithm={algorithm} -C TARGET fetch URL +refs/heads/*:refs/remotes/u/*")
    };
    let [consecutive, skipping, noop] = ["consecutive", "skipping", "noop"].map(update);
    let updated = |name, step: &str| scene(name, "old.git", &[step], &["want "]);
    check(
        &upstream,
        &[
            scene("clone", "", &["clone URL TARGET"], &["want "]),
            scene("mirror", "", &["clone --mirror URL TARGET", "-C TARGET fetch URL +refs/*:refs/*"], &["want "]),
            scene(
                "depth",
                "",
                &["clone --bare --depth=3 --no-single-branch URL TARGET", "-C TARGET fetch --deepen=4 URL main"],
                &["deepen 3", "deepen-relative", "shallow "],
            ),
            scene("partial", "", &["clone --bare --filter=tree:0 URL TARGET"], &["filter tree:0"]),
            updated("consecutive", &consecutive),
            updated("skipping", &skipping),
            updated("noop", &noop),
        ],
    );
}

#[test]
fn small() {
    everyday(Spec::small(41));
}

#[test]
fn braided() {
    everyday(Spec::braided(42));
}

#[test]
fn curious() {
    everyday(Spec { commits: 60, ..Spec::curious(43) });
}

#[test]
fn scattered() {
    everyday(Spec { commits: 100, ..Spec::scattered(44) });
}

#[test]
fn loose() {
    everyday(Spec { commits: 40, ..Spec::loose(45) });
}

#[test]
fn detached() {
    everyday(Spec { commits: 40, ..Spec::detached(46) });
}

#[test]
fn unborn() {
    everyday(Spec { commits: 40, ..Spec::unborn(47) });
}

#[test]
fn empty() {
    let stage = Stage::new();
    let path = stage.path("empty.git");
    Spec::empty().write(&path).unwrap();
    let fresh = |name, steps: &[&str]| scene(name, "", steps, &["command=ls-refs", "unborn HEAD"]);
    let scenes = [
        fresh("clone", &["clone URL TARGET", "-C TARGET fetch origin"]),
        fresh("mirror", &["clone --mirror URL TARGET"]),
        fresh("depth", &["clone --bare --depth=1 URL TARGET"]),
        fresh("branch", &["clone --bare --single-branch --branch=none URL TARGET"]).fails(0, EVERY),
    ];
    check(&Upstream::new(&stage, path), &scenes);
}
