//! `/status` on both ports, a sync on request, and `heliostat sync` beside a running server.

use serde_json::Value;

use crate::support::compare::sound_and_same;
use crate::support::heliostat::PROGRAM;
use crate::support::process::{hermetic, run};
use crate::support::repositories::Upstream;
use crate::support::site::Site;

const APP: &str = "team/app.git";

fn site() -> Site {
    Site::start(|git, folder| {
        Upstream::rich(git, &folder.join(APP));
    })
}

#[test]
fn status_says_that_it_serves() {
    let mut site = site();
    let mirror = site.mirror();
    for answer in [mirror.get("/status"), mirror.admin("GET", "/status")] {
        assert_eq!(answer.status, 200, "{answer:?}");
        let status: Value = serde_json::from_slice(&answer.body).unwrap();
        let state = status["state"].as_str().unwrap();
        assert!(["SYNCHRONIZED", "SYNCHRONIZING"].contains(&state), "{state}");
    }
}

/// After a sync on request the objects are here: the next clone asks the upstream for references at most.
fn nothing_left_to_fetch(site: &mut Site) {
    let stored = site.mirror().stored();
    assert_eq!(stored.len(), 1, "one repository is here after the sync");
    let theirs = site.upstream(APP);
    assert_eq!(site.git.text(&stored[0], &["rev-parse", "main"]), theirs.id("main"));
    site.apache.stop();
    let clone = site.sandbox.fresh("clone");
    let (url, target) = (site.mirror_url(APP), clone.display().to_string());
    site.git.text(site.sandbox.path(), &["clone", "--quiet", "--bare", &url, &target]);
    let upstream = site.sandbox.fresh("clone");
    let (from, target) = (format!("file://{}", theirs.folder.display()), upstream.display().to_string());
    site.git.text(site.sandbox.path(), &["clone", "--quiet", "--bare", &from, &target]);
    sound_and_same(&site.git, &clone, &upstream).unwrap();
}

#[test]
fn sync_on_request() {
    let mut site = site();
    let answer = site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/sync"));
    assert_eq!(answer.status, 200, "{answer:?}");
    site.upstream(APP).commit("main", &[("later.txt", "later\n")]);
    // By its other spelling it is the same repository.
    let answer = site.mirror().admin("POST", "/api/v1/repositories/team/app/sync");
    assert_eq!(answer.status, 200, "{answer:?}");
    nothing_left_to_fetch(&mut site);
}

/// Clones by either spelling of the path are clones of one repository.
#[test]
fn two_spellings_are_one_repository() {
    let mut site = site();
    for spelling in ["team/app", APP] {
        let (url, target) = (site.mirror_url(spelling), site.sandbox.fresh("clone").display().to_string());
        site.git.text(site.sandbox.path(), &["clone", "--quiet", "--bare", &url, &target]);
    }
    let answer = site.mirror().get("/status");
    let status: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(status["repositories"], 1, "{status}");
    nothing_left_to_fetch(&mut site);
}

#[test]
fn sync_of_what_the_upstream_does_not_have() {
    let mut site = site();
    let answer = site.mirror().admin("POST", "/api/v1/repositories/team/no-such.git/sync");
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(site.mirror().stored().is_empty());
}

#[test]
fn command_line_sync_beside_a_server() {
    let mut site = site();
    let arguments = site.mirror().sync_arguments(&[APP]);
    let mut command = hermetic(PROGRAM, site.sandbox.path());
    let finished = run(command.args(arguments), b"", site.sandbox.path());
    assert!(finished.status.success(), "{}{}", finished.text(), finished.stderr);
    nothing_left_to_fetch(&mut site);
}

/// Without a server the same command does the work itself, and a server started later has it.
#[test]
fn command_line_sync_alone() {
    let mut site = site();
    assert!(site.mirror().stop().success());
    for spelling in [APP, "team/app"] {
        let arguments = site.mirror().sync_arguments(&[spelling]);
        let mut command = hermetic(PROGRAM, site.sandbox.path());
        let finished = run(command.args(arguments), b"", site.sandbox.path());
        assert!(finished.status.success(), "{}{}", finished.text(), finished.stderr);
    }
    site.mirror().start_again();
    nothing_left_to_fetch(&mut site);
}

/// A bundle seeds the repository; what the bundle lacks comes from the upstream.
#[test]
fn command_line_sync_from_a_bundle() {
    let mut site = site();
    assert!(site.mirror().stop().success());
    let bundle = site.sandbox.path().join("app.bundle").display().to_string();
    site.upstream(APP).run(&["bundle", "create", "-q", &bundle, "--all"]);
    site.upstream(APP).commit("main", &[("after-the-bundle.txt", "later\n")]);
    let arguments = site.mirror().sync_arguments(&[APP, "--from", &bundle]);
    let mut command = hermetic(PROGRAM, site.sandbox.path());
    let finished = run(command.args(arguments), b"", site.sandbox.path());
    assert!(finished.status.success(), "{}{}", finished.text(), finished.stderr);
    site.mirror().start_again();
    nothing_left_to_fetch(&mut site);
}

/// What `--from` names is no seed: it is blamed, and neither the upstream nor the node, whatever they are doing.
#[test]
fn command_line_sync_from_what_is_no_seed() {
    let mut site = site();
    let folder = site.sandbox.folder("seeds");
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(path("text"), "PACK, but not at all\n").unwrap();
    std::fs::create_dir_all(path("empty")).unwrap();
    site.upstream(APP).run(&["bundle", "create", "-q", &path("whole.bundle"), "--all"]);
    site.upstream(APP).run(&["bundle", "create", "-q", &path("thin.bundle"), "main~3..main"]);
    let mut cut = std::fs::read(path("whole.bundle")).unwrap();
    cut.truncate(cut.len() / 2);
    std::fs::write(path("cut.bundle"), cut).unwrap();
    let url = format!("file://{}", site.upstream(APP).folder.display());
    site.git.text(site.sandbox.path(), &["clone", "-q", "--bare", "--depth", "1", &url, &path("shallow.git")]);
    let sync = |site: &mut Site, seed: &str| {
        let arguments = site.mirror().sync_arguments(&[APP, "--from", seed]);
        let finished = run(hermetic(PROGRAM, site.sandbox.path()).args(arguments), b"", site.sandbox.path());
        (finished.status.code().unwrap(), finished.stderr)
    };
    let no_seeds = [
        ("absent", 2, "No such file"),
        ("text", 2, "not a git bundle"),
        ("empty", 2, "neither a Git repository nor a bundle"),
        ("shallow.git", 2, "the repository is shallow"),
        ("cut.bundle", 1, "the pack ends early"),
        ("thin.bundle", 1, "builds on commit"),
    ];
    // Beside a node: what can be seen at once, and else that the node is in the way.
    for (name, code, words) in no_seeds {
        let (code, words) = if code == 2 { (code, words) } else { (1, "stop it to seed") };
        let (ended, said) = sync(&mut site, &path(name));
        assert!(ended == code && said.contains(words), "{name}: {ended} {said}");
    }
    let (ended, said) = sync(&mut site, &path("whole.bundle"));
    let data = site.mirror().data().display().to_string();
    assert!(ended == 1 && said.contains("a node runs on") && said.contains(&data), "{ended} {said}");
    assert!(site.mirror().stop().success());
    for (name, code, words) in no_seeds {
        let (ended, said) = sync(&mut site, &path(name));
        assert!(ended == code && said.contains(words) && said.contains(&path(name)), "{name}: {ended} {said}");
        assert!(!said.contains("upstream's") && !said.contains("the upstream"), "{name}: {said}");
        assert_eq!(std::fs::read_dir(format!("{data}/repositories")).unwrap().count(), 0, "{name}");
    }
    site.apache.stop();
    let (ended, said) = sync(&mut site, &path("text"));
    assert!(ended == 2 && said.contains("not a git bundle"), "{ended} {said}");
    let (ended, said) = sync(&mut site, &path("whole.bundle"));
    assert!(ended == 1 && said.contains("the upstream can't be reached"), "{ended} {said}");
}

/// One process a data directory: the second is told so and leaves the first alone.
#[test]
fn a_second_server_is_refused() {
    let mut site = site();
    let data = site.mirror().data().display().to_string();
    let url = site.apache.url();
    let mut command = hermetic(PROGRAM, site.sandbox.path());
    command.args(["serve", "--upstream", &url, "--mirror", "*", "--data", &data]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let finished = run(&mut command, b"", site.sandbox.path());
    assert!(!finished.status.success());
    let said = format!("{}{}", finished.text(), finished.stderr);
    assert!(said.contains("in use") || said.contains("another process"), "{said}");
    assert_eq!(site.mirror().get("/status").status, 200);
}

/// A repository in SHA-256 gets words and a status of its own; others are served as ever.
#[test]
fn sha256_upstream() {
    let mut site = site();
    let folder = site.sandbox.path().join("upstream/team/sha256.git");
    let other = Upstream::in_sha256(&site.git, &folder);
    assert_eq!(other.id("main").len(), 64);
    let answer = site.mirror().get("/team/sha256.git/info/refs?service=git-upload-pack");
    assert!([501, 502].contains(&answer.status), "{answer:?}");
    assert!(answer.text().to_lowercase().contains("sha-256"), "{answer:?}");
    let status: Value = serde_json::from_slice(&site.mirror().get("/status").body).unwrap();
    assert_eq!(status["repositories"], 0, "{status}");
    assert_eq!(std::fs::read_dir(site.mirror().data().join("repositories")).unwrap().count(), 0);
    let answer = site.mirror().get("/team/app.git/info/refs?service=git-upload-pack");
    assert_eq!(answer.status, 200);
}
