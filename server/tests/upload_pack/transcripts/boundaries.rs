//! Shallow clients, and shallow servers.

use super::{EVERY, Upstream, check, scene};
use crate::stage::Stage;
use heliostat_testrepo::{Change, Repository, Spec};

fn subject(stage: &Stage, spec: Spec) -> (Upstream<'_>, Repository) {
    let path = stage.path("upstream.git");
    let repository = spec.write(&path).unwrap();
    let upstream = Upstream::new(stage, path);
    upstream.git(&["tag", "-a", "-m", "in the middle", "middle", "HEAD~9"]);
    (upstream, repository)
}

/// Every way to a boundary, and back to the whole. What was cut by date is pruned before it is deepened: where dates cross,
/// stock Git's client goes on only without the commits that it was told of and not sent (difference 17).
fn bounded(spec: Spec) {
    let stage = Stage::new();
    let (upstream, mut repository) = subject(&stage, spec);
    let url = format!("file://{}", upstream.path.display());
    stage.git(&["clone", "-q", "--bare", "--depth=3", "--no-single-branch", &url, "shallow.git"]);
    stage.git(&["clone", "-q", "--mirror", &url, "whole.git"]);
    let when = upstream.git(&["log", "-1", "--format=%ct", "HEAD~7"]);
    repository.advance(&[Change::AddCommits { branch: "main".into(), count: 6 }]).unwrap();
    let since = format!("clone --bare --shallow-since={when} URL TARGET");
    let deeper_since = format!("-C TARGET fetch --shallow-since={when} URL +refs/heads/*:refs/heads/*");
    const ALL: &str = "+refs/heads/*:refs/heads/*";
    let [deepen, deep, unshallow, exclude, update] =
        ["--deepen=2", "--depth=5", "--unshallow", "--shallow-exclude=middle", "--tags"]
            .map(|option| format!("-C TARGET fetch {option} URL {ALL}"));
    check(
        &upstream,
        &[
            scene(
                "depth, then all of it",
                "",
                &["clone --bare --depth=2 URL TARGET", "-C TARGET fetch --deepen=3 URL HEAD", &*unshallow],
                &["deepen 2", "deepen-relative", "unshallow "],
            ),
            scene("depth of all", "", &["clone --bare --depth=4 --no-single-branch URL TARGET"], &["deepen 4"]),
            scene("since", "", &[&*since, "-C TARGET prune", &*deepen], &["deepen-since ", "< shallow "]),
            scene("exclude", "", &["clone --bare --shallow-exclude=middle URL TARGET"], &["deepen-not middle"]),
            scene("shallow and moved", "shallow.git", &[&*update], &["> shallow "]),
            scene("shallow deepened", "shallow.git", &[&*deepen, &*deepen], &["deepen-relative", "> shallow "]),
            scene("shallow to a depth", "shallow.git", &[&*deep], &["deepen 5", "> shallow "]),
            scene("shallow since", "shallow.git", &[&*deeper_since], &["deepen-since ", "> shallow "]),
            scene("shallow, excluding", "shallow.git", &[&*exclude], &["deepen-not ", "> shallow "]),
            scene("shallow no more", "shallow.git", &[&*unshallow], &["deepen 2147483647", "unshallow "]),
            scene("whole, cut", "whole.git", &[&*deep, &*unshallow], &["< shallow "]),
        ],
    );
}

#[test]
fn shallow_clients() {
    bounded(Spec { commits: 60, ..Spec::small(51) });
}

#[test]
fn shallow_clients_of_a_braided_history() {
    bounded(Spec { commits: 120, ..Spec::braided(52) });
}

#[test]
fn shallow_and_partial_servers() {
    let stage = Stage::new();
    let (upstream, _) = subject(&stage, Spec { commits: 60, ..Spec::small(53) });
    let url = format!("file://{}", upstream.path.display());
    stage.git(&["clone", "-q", "--mirror", &url, "whole.git"]);
    stage.git(&["clone", "-q", "--bare", "--depth=5", "--no-single-branch", &url, "shallow.git"]);
    upstream.configure(&["uploadpack.allowFilter=true"]);
    stage.git(&["clone", "-q", "--bare", "--filter=blob:none", &url, "partial.git"]);
    stage.git(&["init", "-q", "--bare", "new.git"]);
    let shallow = Upstream::new(&stage, stage.path("shallow.git"));
    let partial = Upstream::new(&stage, stage.path("partial.git"));
    const ALL: &str = "-C TARGET fetch URL +refs/heads/*:refs/heads/*";
    check(
        &shallow,
        &[
            scene("clone", "", &["clone --bare URL TARGET", ALL], &["< shallow "]),
            scene("refused by the client", "", &["clone --bare --reject-shallow URL TARGET"], &["< shallow "])
                .fails(0, EVERY),
            scene("depth within", "", &["clone --bare --depth=2 URL TARGET", ALL], &["< shallow "]),
            scene("depth beyond", "", &["clone --bare --depth=50 URL TARGET"], &["< shallow "]),
            scene("not updated", "new.git", &[ALL], &["< shallow "]),
            scene("updated", "new.git", &["-C TARGET fetch --update-shallow URL +refs/*:refs/*"], &["< shallow "]),
            scene("to a whole one", "whole.git", &[ALL, "-C TARGET fetch --tags URL"], &["command=ls-refs"]),
            scene(
                "all of it",
                "",
                &["clone --bare --depth=2 URL TARGET", "-C TARGET fetch --unshallow URL HEAD"],
                &["deepen 2147483647"],
            ),
        ],
    );
    partial.configure(&["uploadpack.allowFilter=true"]);
    check(
        &partial,
        &[
            scene("partial of partial", "", &["clone --bare --filter=blob:none URL TARGET"], &["filter blob:none"]),
            scene("whole of partial", "", &["clone --bare URL TARGET"], &["sideband< \\3"]).fails(0, EVERY),
            scene("depth of partial", "", &["clone --bare --depth=1 URL TARGET"], &["sideband< \\3"]).fails(0, EVERY),
        ],
    );
}
