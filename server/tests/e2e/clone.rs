//! Every form of `git clone`, in protocol 0, 1 and 2, by each Git of the machine.

use std::collections::BTreeSet;

use crate::support::compare::{Report, sound_and_same};
use crate::support::git::{Git, Which};
use crate::support::process::run;
use crate::support::repositories::Upstream;
use crate::support::site::Site;

/// Names and arguments after `git clone`.
const FORMS: &[(&str, &[&str])] = &[
    ("full", &[]),
    ("bare", &["--bare"]),
    ("mirror", &["--mirror"]),
    ("no checkout", &["--no-checkout"]),
    ("single branch", &["--single-branch"]),
    ("single branch, another", &["--single-branch", "--branch", "unmerged"]),
    ("at a tag", &["--branch", "v1.0"]),
    ("single branch at a tag", &["--single-branch", "--branch", "v2.0"]),
    ("no tags", &["--no-tags"]),
    ("no tags, single branch", &["--no-tags", "--single-branch"]),
    ("depth 1", &["--depth", "1"]),
    ("depth 1, all branches", &["--depth", "1", "--no-single-branch"]),
    ("depth 1 at a tag", &["--depth", "1", "--branch", "v1.0-nested"]),
    ("depth 3, mirror", &["--depth", "3", "--mirror"]),
    ("depth 50", &["--depth", "50"]),
    ("deeper than the history", &["--depth", "500"]),
    ("shallow since", &["--shallow-since", "2024-02-15T00:00:00Z"]),
    ("shallow since, all branches", &["--shallow-since", "2024-03-05T00:00:00Z", "--no-single-branch"]),
    ("shallow exclude", &["--shallow-exclude", "v0.1"]),
    ("shallow exclude two", &["--shallow-exclude", "v0.1", "--shallow-exclude", "release/1.0"]),
    ("no blobs", &["--filter=blob:none"]),
    ("no blobs, bare", &["--filter=blob:none", "--bare"]),
    ("no blobs, depth 1", &["--filter=blob:none", "--depth", "1"]),
    ("small blobs", &["--filter=blob:limit=1k"]),
    ("blobs of nothing", &["--filter=blob:limit=0", "--bare"]),
    ("no trees", &["--filter=tree:0", "--no-checkout"]),
    ("no trees, checked out", &["--filter=tree:0"]),
    ("no trees, depth 5", &["--filter=tree:0", "--depth", "5", "--no-checkout"]),
    ("root trees", &["--filter=tree:1", "--bare"]),
    ("three levels", &["--filter=tree:3", "--bare"]),
    ("commits only", &["--filter=object:type=commit", "--bare"]),
    ("tags only", &["--filter=object:type=tag", "--bare"]),
    ("combined", &["--filter=combine:blob:none+tree:2", "--bare"]),
    ("combined by the client", &["--filter=blob:limit=1k", "--filter=tree:3", "--bare"]),
    ("sparse", &["--filter=blob:none", "--sparse"]),
    ("skipping negotiation", &["-c", "fetch.negotiationAlgorithm=skipping"]),
];

fn check(which: Which, version: u8) {
    let site = Site::start(|git, folder| {
        Upstream::rich(git, &folder.join("team/app.git"));
    });
    let client = Git::client(&site.sandbox, which, version);
    let mut report = Report::default();
    for (name, arguments) in FORMS {
        report.case(&format!("{name}: {arguments:?}"), case(&site, &client, "team/app.git", arguments));
    }
    report.finish();
}

/// Clones through the mirror and from the upstream, and compares.
fn case(site: &Site, client: &Git, path: &str, arguments: &[&str]) -> Result<(), String> {
    let clone = |url: &str| {
        let folder = site.sandbox.fresh("clone");
        let target = folder.display().to_string();
        let command = [&["clone", "--quiet"], arguments, &[url, &target]].concat();
        client.try_text(site.sandbox.path(), &command).map(|_| folder)
    };
    let mirror = clone(&site.mirror_url(path))?;
    let upstream = clone(&site.upstream_url(path))?;
    sound_and_same(client, &mirror, &upstream)?;
    for folder in [mirror, upstream] {
        std::fs::remove_dir_all(folder).map_err(|error| error.to_string())?;
    }
    Ok(())
}

each_client!(check);

/// Each side learns the other's session id, so that their traces can be joined; what a client says in it can't write on an
/// operator's terminal.
#[test]
fn session_ids_join_traces() {
    let mut site = Site::start_with(&["--log", "debug"], |git, folder| {
        Upstream::rich(git, &folder.join("team/app.git"));
    });
    let url = site.mirror_url("team/app.git");
    let mut offered = BTreeSet::new();
    for version in [0, 1, 2] {
        let client = Git::client(&site.sandbox, Which::Machine, version);
        let trace = site.sandbox.path().join(format!("trace-{version}"));
        let target = site.sandbox.fresh("clone").display().to_string();
        let arguments = ["-c", "transfer.advertiseSID=true", "clone", "-q", "--bare", &url, &target];
        let mut command = client.command(site.sandbox.path(), &arguments);
        command.env("GIT_TRACE_PACKET", &trace).env("GIT_TRACE2_PARENT_SID", format!("ci\u{1b}[7mjob-{version}"));
        let finished = run(&mut command, b"", site.sandbox.path());
        assert!(finished.status.success(), "v{version}: {}", finished.stderr);
        let told = std::fs::read_to_string(&trace).expect("a trace");
        let told = told.lines().find(|line| line.contains("< ") && line.contains("session-id=")).expect("the server's");
        let id = told.split("session-id=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a value");
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "v{version}: {id}");
        offered.insert(id.to_owned());
        let log = site.mirror().log();
        let line = log.lines().find(|line| line.contains(&format!("job-{version}"))).expect("the client's id");
        assert!(line.contains("ci?[7mjob-") && line.contains("team/app"), "v{version}: {line}");
    }
    assert_eq!(offered.len(), 1, "one id for a run of the process: {offered:?}");
    assert!(site.mirror().log().contains(offered.first().expect("an id")), "the operator is told of it");
}
