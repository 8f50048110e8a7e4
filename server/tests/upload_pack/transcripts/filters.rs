//! Partial clones, and what they fetch later because they lack it.

use super::{Scene, Upstream, check, scene};
use crate::stage::Stage;
use heliostat_testrepo::{Change, Spec};

fn subject(stage: &Stage) -> Upstream<'_> {
    let path = stage.path("upstream.git");
    Spec { commits: 30, ..Spec::small(61) }.write(&path).unwrap();
    let upstream = Upstream::new(stage, path);
    upstream.configure(&["uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true"]);
    upstream
}

#[test]
fn every_filter() {
    let stage = Stage::new();
    let upstream = subject(&stage);
    std::fs::write(stage.path("patterns"), "/*\n!/*/\n").unwrap();
    let sparse = upstream.git(&["hash-object", "-w", stage.path("patterns").to_str().unwrap()]);
    let sparse = format!("sparse:oid={sparse}");
    let filters = [
        "blob:none",
        "blob:limit=1k",
        "blob:limit=0",
        "tree:0",
        "tree:1",
        "tree:3",
        "object:type=commit",
        "object:type=tree",
        "object:type=blob",
        "object:type=tag",
        "combine:blob:none+tree:2",
        "combine:blob:limit=1k+object:type=blob",
        &sparse,
    ];
    let scenes: Vec<Scene> = filters
        .iter()
        .map(|filter| {
            let clone = format!("clone --bare --filter={filter} URL TARGET");
            let again = format!("-C TARGET fetch --refetch --filter={filter} URL refs/heads/main:refs/heads/again");
            scene(filter, "", &[&clone, &again], &["> filter "])
        })
        .collect();
    check(&upstream, &scenes);
}

#[test]
fn what_is_lacking_is_fetched_later() {
    let stage = Stage::new();
    let upstream = subject(&stage);
    let fresh = |name, steps: &[&str], shows: &[&str]| scene(name, "", steps, shows);
    check(
        &upstream,
        &[
            fresh(
                "blobs",
                &["clone --filter=blob:none URL TARGET", "-C TARGET checkout HEAD~9"],
                &["filter blob:none"],
            ),
            fresh(
                "large blobs",
                &["clone --no-checkout --filter=blob:limit=500 URL TARGET", "-C TARGET checkout main"],
                &["filter blob:limit=500"],
            ),
            fresh(
                "trees",
                &["clone --no-checkout --filter=tree:0 URL TARGET", "-C TARGET ls-tree -r HEAD"],
                &["filter tree:0"],
            ),
            fresh(
                "a shallow and partial one",
                &[
                    "clone --no-checkout --depth=2 --filter=blob:none URL TARGET",
                    "-C TARGET fetch --deepen=3",
                    "-C TARGET checkout main",
                    "-C TARGET diff --stat HEAD~1",
                ],
                &["filter blob:none", "deepen-relative"],
            ),
        ],
    );
}

#[test]
fn a_partial_clone_goes_on() {
    let stage = Stage::new();
    let path = stage.path("upstream.git");
    let mut repository = Spec { commits: 30, ..Spec::small(62) }.write(&path).unwrap();
    let upstream = Upstream::new(&stage, path);
    upstream.configure(&["uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true"]);
    let url = format!("file://{}", upstream.path.display());
    for (name, filter) in [("no-blobs.git", "blob:none"), ("no-trees.git", "tree:0")] {
        stage.git(&["clone", "-q", "--bare", &format!("--filter={filter}"), &url, name]);
    }
    repository.advance(&[Change::AddCommits { branch: "main".into(), count: 5 }]).unwrap();
    const ALL: &str = "-C TARGET fetch origin +refs/heads/*:refs/heads/*";
    check(
        &upstream,
        &[
            scene("blobs", "no-blobs.git", &[ALL, "-C TARGET log --stat -3 main"], &["filter blob:none", "have "]),
            scene("trees", "no-trees.git", &[ALL, "-C TARGET log --format=%T -3 main"], &["filter tree:0", "have "]),
            scene("everything", "no-blobs.git", &["-C TARGET fetch --refetch --no-filter origin"], &["want "]),
        ],
    );
}
