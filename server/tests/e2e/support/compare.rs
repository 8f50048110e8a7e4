//! Is what came through the mirror what comes from the upstream? References, objects, shallow lines, `git fsck`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::git::Git;

/// How many differences a report shows.
const SHOWN_MAX: usize = 8;

/// Everything that one repository holds.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    /// `HEAD`'s target and every reference with its id, its target if symbolic, and what it peels to.
    refs: BTreeSet<String>,
    /// Every object that is here, with type and size.
    objects: BTreeSet<String>,
    /// What the references reach, missing objects of a partial clone marked with `?`.
    reached: BTreeSet<String>,
    /// The shallow boundary.
    shallow: BTreeSet<String>,
}

impl State {
    /// Reads a repository, bare or not.
    pub fn of(git: &Git, folder: &Path) -> Result<Self, String> {
        let lines = |arguments: &[&str]| -> Result<BTreeSet<String>, String> {
            Ok(git.try_text(folder, arguments)?.lines().map(str::to_owned).collect())
        };
        let format = "--format=%(refname) %(objectname) %(symref) %(*objectname)";
        let mut refs = lines(&["for-each-ref", format])?;
        let head = git.run(folder, &["symbolic-ref", "-q", "HEAD"]).text();
        let at = git.run(folder, &["rev-parse", "-q", "--verify", "HEAD"]).text();
        refs.insert(format!("HEAD {head} {at}"));
        let git_dir = PathBuf::from(git.try_text(folder, &["rev-parse", "--absolute-git-dir"])?);
        let shallow = std::fs::read_to_string(git_dir.join("shallow")).unwrap_or_default();
        Ok(Self {
            refs,
            objects: lines(&["cat-file", "--batch-all-objects", "--unordered", "--batch-check"])?,
            reached: reached(git, folder),
            shallow: shallow.lines().map(str::to_owned).collect(),
        })
    }

    /// How many objects are here.
    pub fn objects(&self) -> usize {
        self.objects.len()
    }

    /// Nothing, or what differs from what the upstream gave.
    pub fn same_as(&self, upstream: &Self) -> Result<(), String> {
        let parts = [
            ("references", &self.refs, &upstream.refs),
            ("objects", &self.objects, &upstream.objects),
            ("reached objects", &self.reached, &upstream.reached),
            ("shallow boundary", &self.shallow, &upstream.shallow),
        ];
        let mut report = String::new();
        for (what, ours, theirs) in parts {
            difference(&mut report, what, "only through the mirror", ours, theirs);
            difference(&mut report, what, "only from the upstream", theirs, ours);
        }
        if report.is_empty() { Ok(()) } else { Err(report) }
    }
}

/// Where commits are missing an older Git gives up; that then is what must be equal. `fsck` judges, not this.
fn reached(git: &Git, folder: &Path) -> BTreeSet<String> {
    let finished = git.run(folder, &["rev-list", "--objects", "--all", "--no-object-names", "--missing=print"]);
    finished.text().lines().chain(finished.stderr.lines()).map(str::to_owned).collect()
}

fn difference(report: &mut String, what: &str, side: &str, ours: &BTreeSet<String>, theirs: &BTreeSet<String>) {
    let only: Vec<_> = ours.difference(theirs).collect();
    if only.is_empty() {
        return;
    }
    let _ = writeln!(report, "{what}: {} {side}:", only.len());
    for line in only.iter().take(SHOWN_MAX) {
        let _ = writeln!(report, "    {line}");
    }
}

/// `git fsck --full --strict`, with nothing to say.
pub fn fsck(git: &Git, folder: &Path) -> Result<(), String> {
    let finished = git.run(folder, &["fsck", "--full", "--strict", "--no-dangling", "--no-progress"]);
    let notice = |line: &&str| {
        line.starts_with("notice: HEAD points to an unborn branch") || *line == "notice: No default references"
    };
    let said: Vec<_> = finished.stderr.lines().filter(|line| !notice(line)).collect();
    if finished.status.success() && said.is_empty() && finished.stdout.is_empty() {
        return Ok(());
    }
    Err(format!("fsck: {}\n{}{}", finished.status, said.join("\n"), finished.text()))
}

/// Sound by itself and equal to what came from the upstream.
pub fn sound_and_same(git: &Git, mirror: &Path, upstream: &Path) -> Result<(), String> {
    fsck(git, mirror)?;
    State::of(git, mirror)?.same_as(&State::of(git, upstream)?)
}

/// What failed, case by case; ends the test when anything did.
#[derive(Default)]
pub struct Report {
    cases: usize,
    failures: Vec<String>,
}

impl Report {
    pub fn case(&mut self, name: &str, outcome: Result<(), String>) {
        self.cases += 1;
        if let Err(error) = outcome {
            self.failures.push(format!("--- {name}\n{error}"));
        }
    }

    /// Fails the test if a case failed, or if there was none.
    pub fn finish(self) {
        assert!(self.cases > 0, "no case ran");
        let (failed, cases) = (self.failures.len(), self.cases);
        assert!(failed == 0, "{failed} of {cases} cases failed\n{}", self.failures.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::repositories::Upstream;
    use crate::support::sandbox::Sandbox;

    /// Changes a clone and expects the comparison, or `git fsck`, to say so.
    fn check(change: impl Fn(&Git, &Path), says: &str) {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let upstream = Upstream::rich(&git, &sandbox.fresh("app.git"));
        let from = upstream.folder.display().to_string();
        let [one, other] = [sandbox.fresh("clone"), sandbox.fresh("clone")];
        for to in [&one, &other] {
            let to = to.display().to_string();
            git.text(sandbox.path(), &["clone", "--quiet", "--mirror", "--no-local", &from, &to]);
        }
        sound_and_same(&git, &one, &other).unwrap();
        change(&git, &one);
        let error = sound_and_same(&git, &one, &other).unwrap_err();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn a_lost_reference_is_found() {
        let lose = |git: &Git, clone: &Path| drop(git.text(clone, &["update-ref", "-d", "refs/heads/topic"]));
        check(lose, "references: 1 only from the upstream");
    }

    #[test]
    fn a_moved_head_is_found() {
        let turn = |git: &Git, clone: &Path| drop(git.text(clone, &["symbolic-ref", "HEAD", "refs/heads/topic"]));
        check(turn, "references: 1 only through the mirror");
    }

    #[test]
    fn an_extra_object_is_found() {
        let add = |git: &Git, clone: &Path| drop(git.text(clone, &["commit-tree", "-m", "x", "HEAD^{tree}"]));
        check(add, "objects: 1 only through the mirror");
    }

    #[test]
    fn a_cut_history_is_found() {
        let cut = |git: &Git, clone: &Path| {
            let tip = git.text(clone, &["rev-parse", "main~3"]);
            std::fs::write(clone.join("shallow"), tip).unwrap();
        };
        check(cut, "shallow boundary: 1 only through the mirror");
    }

    #[test]
    fn a_damaged_pack_is_found() {
        let damage = |_: &Git, clone: &Path| {
            for entry in std::fs::read_dir(clone.join("objects/pack")).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "pack") {
                    let mut bytes = std::fs::read(&path).unwrap();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0x55;
                    std::fs::remove_file(&path).unwrap();
                    std::fs::write(&path, bytes).unwrap();
                }
            }
        };
        check(damage, "fsck: exit status");
    }
}
