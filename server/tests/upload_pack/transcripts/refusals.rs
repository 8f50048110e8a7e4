//! Clients that are refused.

use super::{EVERY, FIRST, Scene, Upstream, check, scene};
use crate::stage::Stage;
use heliostat_testrepo::Spec;

#[test]
fn wants_that_are_not_granted() {
    let stage = Stage::new();
    let path = stage.path("upstream.git");
    Spec { pulls: 3, commits: 30, ..Spec::small(71) }.write(&path).unwrap();
    let upstream = Upstream::new(&stage, path);
    upstream.configure(&["transfer.hideRefs=refs/pull"]);
    stage.git(&["init", "-q", "--bare", "new.git"]);
    let ids = [
        ("absent", "1".repeat(40)),
        ("hidden", upstream.git(&["rev-parse", "refs/pull/1/head"])),
        ("ancestor", upstream.git(&["rev-parse", "HEAD~4"])),
        ("lost", upstream.git(&["commit-tree", "-m", "lost", "HEAD^{tree}"])),
        ("tree", upstream.git(&["rev-parse", "HEAD^{tree}"])),
    ];
    let fetch = |id: &str| format!("-C TARGET fetch URL {id}");
    // In v2 stock Git gives out whatever is there, and where it looks for what is reachable it looks at commits alone.
    let scenes = |fail: [&'static [u8]; 5]| -> Vec<Scene> {
        let one = |((name, id), versions): (&(&str, String), _)| {
            scene(name, "new.git", &[&fetch(id)], &["want "]).fails(0, versions)
        };
        ids.iter().zip(fail).map(one).collect()
    };
    check(&upstream, &scenes([EVERY, FIRST, FIRST, FIRST, FIRST]));
    for (allowed, fail) in [
        ("uploadpack.allowTipSHA1InWant", [EVERY, &[], FIRST, FIRST, FIRST]),
        ("uploadpack.allowReachableSHA1InWant", [EVERY, &[], &[], FIRST, &[]]),
    ] {
        upstream.configure(&[&format!("{allowed}=true")]);
        check(&upstream, &scenes(fail));
        upstream.configure(&[&format!("{allowed}=false")]);
    }
    let banded = scene("banded", "new.git", &[&fetch(&ids[0].1)], &["sideband-all", "< ERR "]).fails(0, EVERY);
    upstream.configure(&["uploadpack.allowSidebandAll=true"]);
    check(&upstream, &[banded]);
}

#[test]
fn filters_and_boundaries_that_are_not_granted() {
    let stage = Stage::new();
    let path = stage.path("upstream.git");
    Spec { commits: 30, ..Spec::small(72) }.write(&path).unwrap();
    let upstream = Upstream::new(&stage, path);
    let fresh = |name, steps: &[&str], shows: &[&str]| scene(name, "", steps, shows);
    let refused = |name, steps: &[&str], shows: &[&str]| fresh(name, steps, shows).fails(0, EVERY);
    let partial = |shows| fresh("filter", &["clone --bare --filter=blob:none URL TARGET"], shows);
    // Not offered: the client warns and clones everything.
    check(&upstream, &[partial(&["want "])]);
    upstream.configure(&["uploadpack.allowFilter=true", "uploadpackfilter.blob:none.allow=false"]);
    check(&upstream, &[partial(&["< ERR filter 'blob:none' not supported"]).fails(0, EVERY)]);
    upstream.configure(&["uploadpackfilter.tree.maxDepth=2"]);
    check(
        &upstream,
        &[
            refused("deep", &["clone --bare --filter=tree:3 URL TARGET"], &["< ERR tree filter allows max depth 2"]),
            refused("combined", &["clone --bare --filter=combine:tree:1+blob:none URL TARGET"], &["< ERR filter "]),
            fresh("granted", &["clone --bare --filter=tree:1 URL TARGET"], &["filter tree:1"]),
            refused("none such", &["clone --bare --shallow-exclude=none URL TARGET"], &["deepen-not none"]),
            refused("an id", &["clone --bare --shallow-exclude=HEAD~2 URL TARGET"], &["deepen-not HEAD~2"]),
            refused("since tomorrow", &["clone --bare --shallow-since=4000000000 URL TARGET"], &["deepen-since "]),
            refused("no branch", &["clone --bare --branch=none URL TARGET"], &["command=ls-refs"]),
        ],
    );
}
