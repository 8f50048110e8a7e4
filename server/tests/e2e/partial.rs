//! Partial clones that come back for what they left out, and submodules filtered with them.

use std::path::{Path, PathBuf};

use crate::support::compare::{Report, State, fsck, sound_and_same};
use crate::support::git::{Git, Which};
use crate::support::repositories::Upstream;
use crate::support::site::Site;

/// How it was cloned, and what is done with it; each command fetches what it lacks by itself.
struct Case {
    clone: &'static [&'static str],
    commands: &'static [&'static [&'static str]],
}

const CASES: &[Case] = &[
    Case { clone: &["--filter=blob:none", "--no-checkout"], commands: &[&["checkout", "--quiet", "main"]] },
    Case { clone: &["--filter=blob:none", "--no-checkout"], commands: &[&["log", "-p", "-4", "main"]] },
    Case { clone: &["--filter=blob:none", "--bare"], commands: &[&["cat-file", "-p", "v0.1-blob"]] },
    Case { clone: &["--filter=blob:none", "--bare"], commands: &[&["show", "main~20:src/big.txt"]] },
    Case {
        clone: &["--filter=blob:none"],
        commands: &[&["blame", "src/big.txt"], &["checkout", "--quiet", "v0.1"], &["grep", "-c", "content", "v1.0"]],
    },
    Case { clone: &["--filter=tree:0", "--no-checkout"], commands: &[&["log", "--oneline", "--", "deep/a1"]] },
    Case { clone: &["--filter=tree:0"], commands: &[&["diff", "--stat", "main~6", "main"]] },
    Case { clone: &["--filter=tree:1", "--bare"], commands: &[&["ls-tree", "-r", "main~3"]] },
    Case { clone: &["--filter=blob:limit=1k"], commands: &[&["checkout", "--quiet", "main~50"]] },
    Case {
        clone: &["--filter=blob:none", "--depth", "1"],
        commands: &[&["fetch", "-q", "--unshallow"], &["log", "-p", "-2"]],
    },
    Case { clone: &["--filter=blob:none", "--sparse"], commands: &[&["sparse-checkout", "add", "deep/a1"]] },
    Case { clone: &["--filter=object:type=commit", "--bare"], commands: &[&["archive", "--output=x.tar", "main"]] },
];

fn clone(client: &Git, site: &Site, url: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    let folder = site.sandbox.fresh("clone");
    let target = folder.display().to_string();
    client.try_text(site.sandbox.path(), &[&["clone", "--quiet"], arguments, &[url, &target]].concat())?;
    Ok(folder)
}

fn run(site: &Site, client: &Git, case: &Case) -> Result<(), String> {
    let work = |url: &str| -> Result<(PathBuf, Vec<String>), String> {
        let folder = clone(client, site, url, case.clone)?;
        let said = case.commands.iter().map(|command| client.try_text(&folder, command)).collect::<Result<_, _>>()?;
        Ok((folder, said))
    };
    let (ours, we_say) = work(&site.mirror_url("app.git"))?;
    let (theirs, they_say) = work(&site.upstream_url("app.git"))?;
    if we_say != they_say {
        return Err(format!("mirror: {we_say:#?}\nupstream: {they_say:#?}"));
    }
    sound_and_same(client, &ours, &theirs)
}

fn check(which: Which, version: u8) {
    let site = Site::start(|git, folder| {
        Upstream::rich(git, &folder.join("app.git"));
    });
    let client = Git::client(&site.sandbox, which, version);
    let mut report = Report::default();
    for case in CASES {
        report.case(&format!("{:?}, {:?}", case.clone, case.commands), run(&site, &client, case));
    }
    report.finish();
}

#[test]
fn lazy_protocol_2() {
    check(Which::Machine, 2);
}

#[test]
fn lazy_protocol_0() {
    check(Which::Machine, 0);
}

#[test]
fn lazy_debian_protocol_2() {
    check(Which::Debian, 2);
}

#[test]
fn lazy_protocol_1() {
    check(Which::Machine, 1);
}

#[test]
fn lazy_debian_protocol_0() {
    check(Which::Debian, 0);
}

#[test]
fn lazy_debian_protocol_1() {
    check(Which::Debian, 1);
}

/// `--also-filter-submodules`: the submodule, beside the superproject at the mirror, is cloned with the same filter.
#[test]
fn submodules() {
    let site = Site::start(|git, folder| {
        let app = Upstream::rich(git, &folder.join("team/app.git"));
        let sup = Upstream::empty(git, &folder.join("team/super.git"));
        sup.commit_on_nothing("main", &[(".gitmodules", "[submodule \"app\"]\n path = app\n url = ../app.git\n")]);
        sup.add_submodule("main", "app", &app.id("main~2"));
    });
    let mut report = Report::default();
    let clients =
        [Which::Machine, Which::Debian].into_iter().flat_map(|which| [0, 1, 2].map(|version| (which, version)));
    for (which, version) in clients {
        for arguments in [
            &["--recurse-submodules", "--filter=blob:none", "--also-filter-submodules"][..],
            &["--recurse-submodules", "--filter=tree:0", "--also-filter-submodules"],
            &["--recurse-submodules", "--depth", "1", "--shallow-submodules"],
            &["--recurse-submodules"],
        ] {
            let client = Git::client(&site.sandbox, which, version);
            report.case(&format!("{which:?} v{version} {arguments:?}"), submodule_case(&site, &client, arguments));
        }
    }
    report.finish();
}

fn submodule_case(site: &Site, client: &Git, arguments: &[&str]) -> Result<(), String> {
    let ours = clone(client, site, &site.mirror_url("team/super.git"), arguments)?;
    let theirs = clone(client, site, &site.upstream_url("team/super.git"), arguments)?;
    sound_and_same(client, &ours, &theirs)?;
    let inside = |folder: &Path| folder.join("app");
    fsck(client, &inside(&ours))?;
    State::of(client, &inside(&ours))?.same_as(&State::of(client, &inside(&theirs))?)
}
