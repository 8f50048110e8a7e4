//! Clones, and fetches of what has moved: forced, pruned, with tags, negotiated in every way.

use super::{EVERY, FIRST, Upstream, check, mine, scene};
use crate::stage::Stage;
use heliostat_testrepo::{Change, Spec};

/// An upstream that has moved on since `old.git` was made: branches forced, deleted, renamed, and tags of all kinds.
fn moved(stage: &Stage) -> Upstream<'_> {
    let path = stage.path("upstream.git");
    let mut repository = Spec { pulls: 4, commits: 60, ..Spec::small(31) }.write(&path).unwrap();
    let upstream = Upstream::new(stage, path);
    upstream.configure(&["uploadpack.allowReachableSHA1InWant=true", "transfer.hideRefs=refs/pull"]);
    for branch in ["forced", "deleted", "renamed"] {
        upstream.git(&["branch", branch, "HEAD~3"]);
    }
    stage.git(&["clone", "-q", "--mirror", upstream.path.to_str().unwrap(), "old.git"]);
    let reopened = heliostat_testrepo::Repository::open(&upstream.path).unwrap();
    repository.refs = reopened.refs;
    repository
        .advance(&[
            Change::AddCommits { branch: "main".into(), count: 9 },
            Change::ForcePush { branch: "forced".into(), count: 4 },
            Change::DeleteRef { name: "refs/heads/deleted".into() },
            Change::RenameBranch { from: "renamed".into(), to: "deleted/renamed".into() },
        ])
        .unwrap();
    let git = |arguments: &[&str]| upstream.git(arguments);
    git(&["tag", "light", "main"]);
    git(&["tag", "-a", "-m", "new", "annotated", "main~1"]);
    git(&["tag", "-a", "-m", "of a tag", "nested", "annotated"]);
    git(&["tag", "-a", "-m", "of a tag of a tag", "deep", "nested"]);
    git(&["tag", "-a", "-m", "of a tree", "tree", "main^{tree}"]);
    git(&["tag", "-a", "-m", "of old history", "late", "main~20"]);
    git(&["tag", "-a", "-m", "of what no branch reaches", "aside", "refs/pull/1/head"]);
    upstream
}

#[test]
fn clones() {
    let stage = Stage::new();
    let upstream = moved(&stage);
    let fresh = |name, steps: &[&str]| scene(name, "", steps, &["want "]);
    check(
        &upstream,
        &[
            fresh("clone", &["clone URL TARGET"]),
            fresh("bare", &["clone --bare URL TARGET"]),
            fresh("mirror", &["clone --mirror URL TARGET"]),
            fresh("single branch", &["clone --single-branch URL TARGET", "-C TARGET fetch"]),
            fresh("another branch", &["clone --single-branch --branch=forced URL TARGET"]),
            fresh("a tag's", &["clone --single-branch --branch=deep URL TARGET"]),
            fresh("no tags", &["clone --no-tags URL TARGET", "-C TARGET fetch"]),
            fresh("no tags, single branch", &["clone --no-tags --single-branch URL TARGET"]),
        ],
    );
}

#[test]
fn what_has_moved() {
    let stage = Stage::new();
    let upstream = moved(&stage);
    let moved_on = |name, steps: &[&str]| scene(name, "old.git", steps, &["want "]);
    check(
        &upstream,
        &[
            // A branch is where a folder of branches is now.
            moved_on("fetch, and again", &["-C TARGET fetch URL +refs/heads/*:refs/heads/*"; 2])
                .fails(0, EVERY)
                .fails(1, EVERY),
            moved_on("not forced", &["-C TARGET fetch URL refs/heads/forced:refs/heads/forced"]).fails(0, EVERY),
            moved_on("forced", &["-C TARGET fetch URL +refs/heads/forced:refs/heads/forced"]),
            moved_on("pruned", &["-C TARGET fetch --prune URL +refs/heads/*:refs/heads/*"]),
            moved_on("atomic", &["-C TARGET fetch --atomic --prune URL +refs/heads/main:refs/heads/main"]),
            moved_on("refetch", &["-C TARGET fetch --refetch URL +refs/heads/*:refs/heads/*"]).fails(0, EVERY),
            moved_on("by name", &["-C TARGET fetch URL main", "-C TARGET fetch URL refs/heads/none"]).fails(1, EVERY),
            moved_on("HEAD", &["-C TARGET fetch URL"]),
        ],
    );
}

#[test]
fn tags() {
    let stage = Stage::new();
    let upstream = moved(&stage);
    let moved_on = |name, steps: &[&str], shows: &[&str]| scene(name, "old.git", steps, shows);
    check(
        &upstream,
        &[
            moved_on("followed", &["-C TARGET fetch URL refs/heads/main:refs/heads/main"], &["include-tag"]),
            moved_on("all", &["-C TARGET fetch --tags URL"], &["refs/tags/deep peeled:"]),
            moved_on("none", &["-C TARGET fetch --no-tags URL refs/heads/main:refs/heads/main"], &["want "]),
            moved_on("one", &["-C TARGET fetch URL tag deep"], &["want "]),
            moved_on("with a branch", &["-C TARGET fetch --tags URL refs/heads/main:refs/heads/main"], &["want "]),
            moved_on("of a tree", &["-C TARGET fetch URL refs/tags/tree:refs/tags/tree"], &["want "]),
            moved_on("of hidden history", &["-C TARGET fetch URL refs/tags/aside:refs/tags/aside"], &["want "]),
        ],
    );
}

#[test]
fn negotiations() {
    let stage = Stage::new();
    let upstream = moved(&stage);
    mine(&stage, "old.git", "refs/heads/main");
    stage.git(&["-C", "old.git", "remote", "set-url", "origin", &format!("file://{}", upstream.path.display())]);
    stage.git(&["init", "-q", "--bare", "unrelated.git"]);
    let tree = stage.git(&["-C", "unrelated.git", "write-tree"]);
    let root = stage.git(&["-C", "unrelated.git", "commit-tree", "-m", "root", &tree]);
    stage.git(&["-C", "unrelated.git", "update-ref", "HEAD", &root]);
    const ALL: &str = "+refs/heads/*:refs/remotes/u/*";
    let with = |algorithm: &str| format!("-c fetch.negotiationAlgorithm={algorithm} -C TARGET fetch URL {ALL}");
    let [consecutive, skipping, noop] = ["consecutive", "skipping", "noop"].map(with);
    let tip = format!("-C TARGET fetch --negotiation-tip=refs/heads/forced URL {ALL}");
    let tips = format!("-C TARGET fetch --negotiation-tip=refs/heads/* --negotiation-tip=main~9 URL {ALL}");
    check(
        &upstream,
        &[
            scene("consecutive", "old.git", &[&*consecutive], &["have ", "acknowledgments"]),
            scene("skipping", "old.git", &[&*skipping], &["have ", "acknowledgments"]),
            scene("noop", "old.git", &[&*noop], &["done"]),
            scene("tip", "old.git", &[&*tip], &["have "]),
            scene("tips", "old.git", &[&*tips], &["have "]),
            scene("nothing in common", "unrelated.git", &[&*consecutive], &["have ", "done"]),
            scene(
                "only",
                "old.git",
                &["-C TARGET fetch --negotiate-only --negotiation-tip=refs/heads/main origin"],
                &["wait-for-done", "ACK "],
            )
            .fails(0, FIRST),
            scene(
                "only, of a branch",
                "old.git",
                &["-C TARGET fetch --negotiate-only --negotiation-tip=refs/heads/forced origin"],
                &["wait-for-done", "ACK "],
            )
            .fails(0, FIRST),
            scene(
                "only, without success",
                "unrelated.git",
                &["-C TARGET remote add origin URL", "-C TARGET fetch --negotiate-only --negotiation-tip=HEAD origin"],
                &["wait-for-done", "NAK"],
            )
            // With nothing in common the server goes on to a pack, which this client does not expect.
            .fails(1, EVERY),
        ],
    );
}

#[test]
fn exact_ids_and_names() {
    let stage = Stage::new();
    let upstream = moved(&stage);
    stage.git(&["init", "-q", "--bare", "new.git"]);
    let ancestor = upstream.git(&["rev-parse", "main~25"]);
    let tag = upstream.git(&["rev-parse", "nested"]);
    let by_id = format!("-C TARGET fetch URL {ancestor}");
    let by_ids = format!("-C TARGET fetch URL {ancestor} {tag} refs/heads/main");
    let shallow = format!("-C TARGET fetch --depth=1 URL {ancestor}");
    check(
        &upstream,
        &[
            scene("id", "new.git", &[&*by_id], &["want "]),
            scene("ids", "new.git", &[&*by_ids], &["want "]),
            scene("id, had", "old.git", &[&*by_ids], &["want "]),
            scene("id, shallow", "new.git", &[&*shallow, &*by_id], &["shallow "]),
        ],
    );
    // With a boundary stock Git sends `wanted-refs` before `shallow-info`, and its own client dies of it.
    upstream.configure(&["uploadpack.allowRefInWant=true", "uploadpack.allowSidebandAll=true"]);
    check(
        &upstream,
        &[
            scene("ref in want", "new.git", &["-C TARGET fetch URL refs/heads/main"], &["want-ref refs/heads/main"]),
            scene("refs in want", "old.git", &["-C TARGET fetch URL +refs/heads/*:refs/heads/*"], &["wanted-refs"])
                .fails(0, EVERY),
            scene("tags in want", "old.git", &["-C TARGET fetch --tags URL"], &["want-ref refs/tags/"]),
            scene("clone", "", &["clone URL TARGET"], &["want-ref "]),
        ],
    );
}
