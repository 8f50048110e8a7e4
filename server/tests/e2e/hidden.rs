//! What may not be had: what hidden references reach, what was forced away, and what another repository holds that the
//! upstream keeps in the same place. Every id of it is asked for in every way that the protocol has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::compare::Report;
use crate::support::conversation::{self, pack_of};
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::http::Answer;
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const APP: &str = "team/app.git";
const FORK: &str = "team/fork.git";
const PRIVATE: &str = "team/private.git";
/// All of history.
const INFINITE: &str = "deepen 2147483647";

/// A mirror of a folder, and what nobody may have of each of its repositories.
struct Target {
    git: Git,
    server: Heliostat,
    sandbox: Sandbox,
    folder: PathBuf,
}

impl Target {
    fn start() -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let folder = sandbox.folder("upstream");
        let app = Upstream::rich(&git, &folder.join(APP));
        app.run(&["config", "uploadpack.hideRefs", "refs/hidden"]);
        secret(&app, "app's");
        // A fork that borrows all of its objects, the private ones of its parent too.
        let private = Upstream::rich(&git, &folder.join(PRIVATE));
        let fork = Upstream::empty(&git, &folder.join(FORK));
        let objects = format!("{}\n", private.folder.join("objects").display());
        std::fs::write(fork.folder.join("objects/info/alternates"), objects).unwrap();
        fork.run(&["update-ref", "refs/heads/main", &private.id("main")]);
        secret(&private, "private's");

        let config = sandbox.path().join("heliostat.toml");
        std::fs::write(&config, "[store]\ngenerations_kept = 1\n").unwrap();
        let flags = ["--config", &config.display().to_string()];
        let server = Heliostat::start(&sandbox.folder("heliostat"), &folder.display().to_string(), &flags);
        Self { git, server, sandbox, folder }
    }

    fn upstream(&self, path: &str) -> Upstream {
        Upstream { git: self.git.clone(), folder: self.folder.join(path) }
    }

    fn clone(&self, path: &str) -> PathBuf {
        let (clone, url) = (self.sandbox.fresh("clone"), format!("{}/{path}", self.server.url()));
        self.git.text(self.sandbox.path(), &["clone", "--quiet", "--mirror", &url, &clone.display().to_string()]);
        clone
    }

    /// The repository as it is stored.
    fn stored(&self, path: &str) -> PathBuf {
        let is_it = |current: &PathBuf| {
            std::fs::read_to_string(current.with_file_name("path")).is_ok_and(|stored| stored == path)
        };
        self.server.stored().into_iter().find(is_it).expect("it is mirrored")
    }

    fn post(&self, path: &str, version: u8, lines: &[&str]) -> Answer {
        conversation::post(self.server.port(), path, version, lines)
    }

    fn fetch(&self, path: &str, version: u8, wants: &[&str], more: &[&str]) -> Answer {
        conversation::fetch(self.server.port(), path, version, wants, more)
    }

    /// The objects of the pack in an answer, all of which must be whole by themselves.
    fn objects_of(&self, answer: &Answer) -> Result<BTreeSet<String>, String> {
        let pack = pack_of(answer).ok_or_else(|| format!("no pack: {:.300}", answer.text()))?;
        let into = self.sandbox.fresh("pack");
        self.git.text(self.sandbox.path(), &["init", "--quiet", "--bare", &into.display().to_string()]);
        let indexed = self.git.run_with(&into, &["index-pack", "--stdin"], &pack);
        if !indexed.status.success() {
            return Err(indexed.stderr);
        }
        Ok(all_objects(&self.git, &into))
    }
}

/// Adds `refs/hidden/secret`: two commits, a tag, trees and blobs that nothing else holds.
fn secret(upstream: &Upstream, whose: &str) {
    upstream.commit_on(&upstream.id("main"), "secret", &[("secret/first.txt", &format!("{whose} first secret\n"))]);
    let tip = upstream.commit("secret", &[("secret/second.txt", &format!("{whose} second secret\n"))]);
    upstream.run(&["tag", "-a", "-m", "secret", "secret", &tip]);
    let tag = upstream.run(&["rev-parse", "refs/tags/secret"]);
    upstream.run(&["update-ref", "refs/hidden/secret", &tag]);
    upstream.run(&["tag", "-d", "secret"]);
    upstream.run(&["update-ref", "-d", "refs/heads/secret"]);
}

fn all_objects(git: &Git, folder: &Path) -> BTreeSet<String> {
    let listing = git.text(folder, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    listing.lines().map(str::to_owned).collect()
}

/// Asks the repository at `path` for each of `hidden` in every way; `main` is one that may be had, `reference` the name of a
/// hidden reference if there is one.
fn ask_for_all(target: &Target, path: &str, hidden: &BTreeSet<String>, reference: Option<&str>, report: &mut Report) {
    let main = format!("want {}", target.upstream(path).id("main"));
    let ok = |holds: bool, answer: &Answer| if holds { Ok(()) } else { Err(format!("{:.400}", answer.text())) };
    for id in hidden {
        let (want, short) = (format!("want {id}"), format!("{path} {id}"));
        let refusal = format!("not our ref {id}");
        for version in [0, 1, 2] {
            for (wants, more) in [
                (&[want.as_str()][..], &[][..]),
                (&[&main, &want], &[]),
                (&[&want], &["deepen 1"]),
                (&[&want], &["filter blob:none"]),
                (&[&want], &["filter tree:0"]),
                (&[&want], &["filter object:type=blob"]),
                (&[&want], &[&format!("have {id}")]),
                (&[&main, &want], &[&format!("shallow {id}"), INFINITE]),
            ] {
                let answer = target.fetch(path, version, wants, more);
                let text = answer.text();
                // Of what is here and no commit a client is told so before anything is granted.
                let refused = text.contains(&refusal) || text.contains(&format!("invalid shallow object {id}"));
                let refused = refused && pack_of(&answer).is_none();
                report.case(&format!("{short} v{version} {more:?}"), ok(refused, &answer));
            }
        }
        // What may be had comes without what may not, whatever the client says that it is shallow at.
        let shallow = format!("shallow {id}");
        for (version, more) in [
            (0, &[&*shallow, INFINITE][..]),
            (2, &[&shallow]),
            (2, &[&shallow, INFINITE]),
            (2, &[&shallow, "deepen 1", "deepen-relative"]),
        ] {
            let answer = target.fetch(path, version, &[&main], more);
            let outcome = match target.objects_of(&answer) {
                Ok(objects) if objects.is_disjoint(hidden) => Ok(()),
                Ok(_) => Err("hidden objects in the pack".into()),
                // Only a commit can be shallow; that is said of every other object that is here.
                Err(_) if answer.text().contains("invalid shallow object") => Ok(()),
                Err(error) => Err(error),
            };
            report.case(&format!("{short} v{version} {more:?}"), outcome);
        }
        let answer = target.post(path, 2, &["command=object-info", "0001", "size", &format!("oid {id}"), "0000"]);
        let unknown = answer.text() == format!("0008size002d{id} 0000");
        report.case(&format!("{short} object-info"), ok(unknown, &answer));
        let answer = target.fetch(path, 2, &[&main], &[&format!("filter sparse:oid={id}")]);
        report.case(&format!("{short} sparse"), ok(pack_of(&answer).is_none(), &answer));
    }
    if let Some(name) = reference {
        let answer = target.fetch(path, 2, &[], &[&format!("want-ref {name}")]);
        let refused = answer.text().contains(&format!("unknown ref {name}")) && pack_of(&answer).is_none();
        report.case(&format!("{path} want-ref {name}"), ok(refused, &answer));
        let answer = target.fetch(path, 2, &[&main], &[&format!("deepen-not {name}")]);
        report.case(&format!("{path} deepen-not {name}"), ok(pack_of(&answer).is_none(), &answer));
        let lines =
            ["command=ls-refs", "0001", "peel", "symrefs", &format!("ref-prefix {name}"), "ref-prefix refs/", "0000"];
        let answer = target.post(path, 2, &lines);
        report.case(&format!("{path} ls-refs {name}"), ok(!answer.text().contains(name), &answer));
    }
    let everything = all_objects(&target.git, &target.clone(path));
    let clean = everything.is_disjoint(hidden);
    report.case(&format!("{path} cloned"), if clean { Ok(()) } else { Err("hidden objects in a clone".into()) });
}

/// The ids that only `refs/hidden/secret` leads to: a tag, two commits, their trees and blobs.
fn hidden_of(upstream: &Upstream) -> BTreeSet<String> {
    let listing = upstream.run(&["rev-list", "--objects", "--no-object-names", "refs/hidden/secret", "--not", "main"]);
    let hidden: BTreeSet<String> = listing.lines().map(str::to_owned).collect();
    assert_eq!(hidden.len(), 9, "{listing}");
    hidden
}

#[test]
fn hidden_references_and_what_they_reach() {
    let target = Target::start();
    let hidden = hidden_of(&target.upstream(APP));
    let mut report = Report::default();
    ask_for_all(&target, APP, &hidden, Some("refs/hidden/secret"), &mut report);
    report.finish();
    assert!(all_objects(&target.git, &target.stored(APP)).is_disjoint(&hidden), "they are not even here");
    assert!(!target.server.log().contains("panicked"), "{}", target.server.log());
}

/// The repository that is borrowed from is mirrored too, its secrets lie where both look at the upstream, and the mirror of
/// the borrower knows nothing of them.
#[test]
fn objects_that_are_borrowed_by_alternates() {
    let target = Target::start();
    let private = target.upstream(PRIVATE);
    let hidden = hidden_of(&private);
    private.run(&["update-ref", "refs/heads/shown", "refs/hidden/secret^{}"]);
    let borrowed = target.upstream(FORK);
    let tip = private.id("shown");
    assert_eq!(borrowed.run(&["cat-file", "-t", &tip]), "commit", "it can be reached at the upstream");
    assert!(all_objects(&target.git, &target.clone(PRIVATE)).contains(&tip), "who may read it there gets it there");
    let mut report = Report::default();
    ask_for_all(&target, FORK, &hidden, None, &mut report);
    report.finish();
    let stored = target.stored(FORK);
    assert!(all_objects(&target.git, &stored).is_disjoint(&hidden), "they are not even here");
    assert!(!stored.join("objects/info/alternates").exists());
    assert!(!target.server.log().contains("panicked"), "{}", target.server.log());
}

/// Forced away, and more generations since than are kept: the objects still lie here, and nobody gets them.
#[test]
fn what_was_forced_away_long_ago() {
    let target = Target::start();
    let app = target.upstream(APP);
    let (main, before) = (app.id("main"), all_objects(&target.git, &app.folder));
    app.commit("main", &[("gone/first.txt", "a first mistake\n")]);
    let tip = app.commit("main", &[("gone/second.txt", "a second mistake\n")]);
    app.run(&["tag", "-a", "-m", "a mistake", "mistake", &tip]);
    let gone: BTreeSet<String> = all_objects(&target.git, &app.folder).difference(&before).cloned().collect();
    assert_eq!(gone.len(), 9, "{gone:?}");
    assert!(all_objects(&target.git, &target.clone(APP)).is_superset(&gone));
    app.run(&["tag", "-d", "mistake"]);
    app.run(&["update-ref", "refs/heads/main", &main]);
    let mut report = Report::default();
    for later in 0..3 {
        app.commit("main", &[("later.txt", &format!("{later}\n"))]);
        target.clone(APP);
        if later == 0 {
            // The generation before this one is still kept.
            for version in [0, 1, 2] {
                let answer = target.fetch(APP, version, &[&format!("want {tip}")], &[]);
                let outcome = target.objects_of(&answer).map(|objects| assert!(objects.contains(&tip)));
                report.case(&format!("{tip} v{version}, lately"), outcome);
            }
        }
    }
    assert!(all_objects(&target.git, &target.stored(APP)).is_superset(&gone), "they do lie here");
    ask_for_all(&target, APP, &gone, None, &mut report);
    report.finish();
    assert!(!target.server.log().contains("panicked"), "{}", target.server.log());
}
