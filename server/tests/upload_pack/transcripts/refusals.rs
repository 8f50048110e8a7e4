//! Clients that are refused.

use super::{Scene, Upstream, check, scene};
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
    let scenes: Vec<Scene> = ids.iter().map(|(name, id)| scene(name, "new.git", &[&fetch(id)], &["want "])).collect();
    check(&upstream, &scenes);
    for allowed in ["uploadpack.allowTipSHA1InWant", "uploadpack.allowReachableSHA1InWant"] {
        upstream.configure(&[&format!("{allowed}=true")]);
        check(&upstream, &scenes);
        upstream.configure(&[&format!("{allowed}=false")]);
    }
    let banded = scene("banded", "new.git", &[&fetch(&ids[0].1)], &["sideband-all", "< ERR "]);
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
    let partial = |shows| fresh("filter", &["clone --bare --filter=blob:none URL TARGET"], shows);
    // Not offered: the client warns and clones everything.
    check(&upstream, &[partial(&["want "])]);
    upstream.configure(&["uploadpack.allowFilter=true", "uploadpackfilter.blob:none.allow=false"]);
    check(&upstream, &[partial(&["< ERR filter 'blob:none' not supported"])]);
    upstream.configure(&["uploadpackfilter.tree.maxDepth=2"]);
    check(
        &upstream,
        &[
            fresh("deep", &["clone --bare --filter=tree:3 URL TARGET"], &["< ERR tree filter allows max depth 2"]),
            fresh("combined", &["clone --bare --filter=combine:tree:1+blob:none URL TARGET"], &["< ERR filter "]),
            fresh("granted", &["clone --bare --filter=tree:1 URL TARGET"], &["filter tree:1"]),
            fresh("none such", &["clone --bare --shallow-exclude=none URL TARGET"], &["deepen-not none"]),
            fresh("an id", &["clone --bare --shallow-exclude=HEAD~2 URL TARGET"], &["deepen-not HEAD~2"]),
            fresh("since tomorrow", &["clone --bare --shallow-since=4000000000 URL TARGET"], &["deepen-since "]),
            fresh("no branch", &["clone --bare --branch=none URL TARGET"], &["command=ls-refs"]),
        ],
    );
}
