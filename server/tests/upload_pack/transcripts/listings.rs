//! References, as `ls-remote` lists them.

use super::{EVERY, FIRST, Scene, Upstream, check, scene};
use crate::stage::Stage;
use heliostat_testrepo::Spec;

fn forms() -> Vec<Scene> {
    let form = |name, step, shows| scene(name, "", &[step], &[shows]);
    vec![
        form("all", "ls-remote URL", "command=ls-refs"),
        form("heads", "ls-remote --heads URL m*", "ref-prefix refs/heads/"),
        form("tags", "ls-remote --tags URL", "ref-prefix refs/tags/"),
        form("refs", "ls-remote --refs --symref URL", "symrefs"),
        form("patterns", "ls-remote --exit-code URL HEAD none", "symrefs"),
    ]
}

#[test]
fn listings() {
    let stage = Stage::new();
    for (name, spec) in [
        ("empty", Spec::empty()),
        ("unborn", Spec::unborn(3)),
        ("detached", Spec::detached(4)),
        ("curious", Spec { commits: 40, ..Spec::curious(5) }),
        ("scattered", Spec { commits: 40, ..Spec::scattered(6) }),
        ("many", Spec::many_refs(7, 3_000)),
    ] {
        let path = stage.path(&format!("{name}.git"));
        spec.write(&path).unwrap();
        let mut scenes = forms();
        if ["empty", "unborn"].contains(&name) {
            // There is no `HEAD`, and the step asks to be told so.
            let patterns = scenes.pop().unwrap();
            scenes.push(patterns.fails(0, EVERY));
        }
        check(&Upstream::new(&stage, path), &scenes);
    }
}

/// The listings of all references, and clones.
fn seen_and_cloned() -> Vec<Scene> {
    let mut scenes = forms();
    scenes.retain(|form| ["all", "refs"].contains(&form.name.as_str()));
    scenes.push(scene("clone", "", &["clone --bare URL TARGET"], &[]));
    scenes.push(scene("mirror", "", &["clone --mirror URL TARGET"], &[]));
    scenes
}

#[test]
fn hidden_references() {
    let stage = Stage::new();
    let path = stage.path("upstream.git");
    Spec { commits: 40, ..Spec::curious(8) }.write(&path).unwrap();
    let upstream = Upstream::new(&stage, path);
    for hidden in ["refs/pull", "refs/heads/feature", "refs/tags", "refs/heads/main", "HEAD"] {
        upstream.configure(&[&format!("transfer.hideRefs={hidden}")]);
        check(&upstream, &seen_and_cloned());
    }
}

#[test]
fn namespaces() {
    let stage = Stage::new();
    let path = stage.path("upstream.git");
    let repository = Spec { commits: 40, ..Spec::curious(8) }.write(&path).unwrap();
    let mut upstream = Upstream::new(&stage, path);
    upstream.configure(&["transfer.hideRefs=refs/pull", "uploadpack.hideRefs=refs/namespaces/a/refs/heads/hidden"]);
    let main = repository.head_commit().unwrap().to_string();
    for name in ["heads/main", "heads/other", "heads/hidden", "tags/t"] {
        upstream.git(&["update-ref", &format!("refs/namespaces/a/refs/{name}"), &main]);
    }
    upstream.git(&["symbolic-ref", "refs/namespaces/a/HEAD", "refs/namespaces/a/refs/heads/main"]);
    for environment in ["GIT_NAMESPACE=a", "GIT_NAMESPACE=none"] {
        upstream.environment = environment;
        check(&upstream, &seen_and_cloned());
    }
}

#[test]
fn what_a_client_says_of_itself() {
    let stage = Stage::new();
    let path = stage.path("upstream.git");
    Spec::linear(9).write(&path).unwrap();
    let upstream = Upstream::new(&stage, path);
    upstream.configure(&["transfer.advertiseSID=true", "transfer.advertiseObjectInfo=true", "lsrefs.unborn=allow"]);
    let id = scene(
        "session-id",
        "",
        &["-c transfer.advertiseSID=true clone URL TARGET"],
        &["> session-id=", "< session-id="],
    );
    check(&upstream, &[id]);
    let option = scene(
        "server-option",
        "",
        &["ls-remote -o first -o second=2 URL", "clone --server-option=x URL TARGET"],
        &["server-option=second=2", "server-option=x"],
    )
    .fails(0, FIRST)
    .fails(1, FIRST);
    check(&upstream, &[option]);
}
