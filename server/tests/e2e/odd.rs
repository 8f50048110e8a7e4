//! Upstreams in which something is odd or broken, and which stock Git serves all the same: so do their mirrors.

use std::path::PathBuf;

use crate::support::apache::Apache;
use crate::support::compare::{Report, State};
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const MISSING: &str = "2222222222222222222222222222222222222222";

/// Repositories in a folder, the folder behind Apache, and a mirror of each.
struct Scene {
    git: Git,
    apache: Apache,
    of_host: Heliostat,
    of_folder: Heliostat,
    sandbox: Sandbox,
}

impl Scene {
    fn start(fill: impl FnOnce(&Git, &PathBuf)) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let folder = sandbox.folder("upstream");
        fill(&git, &folder);
        let apache = Apache::start(&sandbox.folder("apache"), &folder, &git);
        let of_host = Heliostat::start(&sandbox.folder("of-host"), &apache.url(), &[]);
        let of_folder = Heliostat::start(&sandbox.folder("of-folder"), &folder.display().to_string(), &[]);
        Self { git, apache, of_host, of_folder, sandbox }
    }

    fn clone(&self, url: &str, arguments: &[&str]) -> Result<State, String> {
        let folder = self.sandbox.fresh("clone");
        let target = folder.display().to_string();
        let words = [&["clone", "--quiet", "--bare"], arguments, &[url, &target]].concat();
        self.git.try_text(self.sandbox.path(), &words)?;
        State::of(&self.git, &folder)
    }
}

/// An entry whose mode is none that Git writes is taken by its highest bits; what is neither file, link nor directory then
/// counts as a submodule, and what it names is nobody's.
#[test]
fn modes_of_other_times() {
    let scene = Scene::start(|git, folder| {
        let upstream = Upstream::rich(git, &folder.join("odd.git"));
        let store = |kind: &str, content: &[u8]| {
            let arguments = ["hash-object", "-w", "--literally", "-t", kind, "--stdin"];
            let finished = git.run_with(&upstream.folder, &arguments, content);
            assert!(finished.status.success(), "{}", finished.stderr);
            finished.text()
        };
        let entry = |mode: &str, name: &str, id: &str| {
            let id = (0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap());
            [mode.as_bytes(), b" ", name.as_bytes(), b"\0"].concat().into_iter().chain(id).collect::<Vec<u8>>()
        };
        let blob = |content: &str| store("blob", content.as_bytes());
        let below = [entry("100664", "f", &blob("below\n")), entry("100600", "g", &blob("g\n"))].concat();
        let tree = [
            entry("644", "a", &blob("not sent\n")),
            entry("140000", "b", &blob("not sent either\n")),
            entry("0", "c", MISSING),
            entry("20000", "d", MISSING),
            entry("40755", "e", &store("tree", &below)),
            entry("120777", "f", &blob("a")),
            entry("000000100644", "g", &blob("many zeros\n")),
        ];
        let tree = store("tree", &tree.concat());
        let commit = upstream.run(&["commit-tree", "-p", "main", "-m", "odd", &tree]);
        upstream.run(&["update-ref", "refs/heads/odd", &commit]);
    });
    let mut report = Report::default();
    for arguments in [&[][..], &["--mirror"], &["--depth=1", "--single-branch", "-b", "odd"], &["--filter=blob:none"]] {
        let theirs = scene.clone(&format!("{}/odd.git", scene.apache.url()), arguments).expect("stock Git serves it");
        for (kind, mirror) in [("host", &scene.of_host), ("folder", &scene.of_folder)] {
            let ours = scene.clone(&format!("{}/odd.git", mirror.url()), arguments);
            report.case(&format!("{kind} {arguments:?}"), ours.and_then(|ours| ours.same_as(&theirs)));
        }
    }
    report.finish();
    assert!(scene.of_folder.log().contains("cosmetic faults"), "{}", scene.of_folder.log());
}
