//! An upstream that moves and goes away, mirrors of it, and what must hold after one of them was killed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::on_disk::{OnDisk, Phase};
use crate::support::apache::Apache;
use crate::support::compare::{fsck, sound_and_same};
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::process::{Guarded, SERVER_TIMEOUT, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const APP: &str = "team/app.git";
/// Few, so that publications have something to clear away.
pub const GENERATIONS_KEPT: usize = 2;
/// Each is a file of its own in a generation: writing them takes long enough to be hit.
const SYMBOLIC_REFERENCES: usize = 12;
const FILE_BYTES: usize = 1500;
/// The upstream is asked again after a pause that grows with its failures.
const TIMEOUT: Duration = Duration::from_secs(60);

/// References with their ids, and where `HEAD` points, as one value.
pub type Refs = BTreeSet<String>;

/// One kill and what it left.
pub struct Kill {
    pub number: usize,
    pub phase: Phase,
    pub before: OnDisk,
    pub after: OnDisk,
    /// What was published when the work began, and what was on its way.
    pub states: [Option<Refs>; 2],
}

pub struct Scene {
    seed: u64,
    pub random: fastrand::Rng,
    git: Git,
    upstream: Upstream,
    apache: Apache,
    round: usize,
    sandbox: Sandbox,
}

impl Scene {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let repositories = sandbox.folder("upstream");
        let upstream = Upstream::rich(&git, &repositories.join(APP));
        for number in 0..SYMBOLIC_REFERENCES {
            upstream.run(&["symbolic-ref", &format!("refs/also/{number}"), "refs/heads/main"]);
        }
        let apache = Apache::start(&sandbox.folder("apache"), &repositories, &git);
        let settings = format!("[store]\ngenerations_kept = {GENERATIONS_KEPT}\n");
        std::fs::write(sandbox.path().join("heliostat.toml"), settings).expect("the sandbox is writable");
        let seed = fastrand::u64(..);
        Self { seed, random: fastrand::Rng::with_seed(seed), git, upstream, apache, round: 0, sandbox }
    }

    /// A mirror with nothing in it.
    pub fn server(&self, name: &str) -> Heliostat {
        let settings = self.sandbox.path().join("heliostat.toml").display().to_string();
        Heliostat::start(&self.sandbox.folder(name), &self.apache.url(), &["--config", &settings])
    }

    /// What the upstream has now.
    pub fn refs(&self) -> Refs {
        self.refs_of(&self.upstream.folder)
    }

    /// The upstream moves: forward, by force, with a branch more, a branch less, and another `HEAD`. What is new is `files`
    /// files that nothing had before; what they replace is reached by nothing.
    pub fn advance(&mut self, files: usize) {
        self.round += 1;
        let round = self.round;
        let mut text = || (0..FILE_BYTES).map(|_| self.random.alphanumeric()).collect::<String>();
        let files: Vec<(String, String)> =
            (0..files).map(|file| (format!("new/{}/{file}.txt", file % 13), text())).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let base = self.upstream.id("v1.0^{commit}");
        self.upstream.commit_on(&base, "forced", &files);
        self.upstream.commit("main", &[("round.txt", &round.to_string())]);
        self.upstream.run(&["update-ref", &format!("refs/heads/round-{round}"), "main~1"]);
        if round > 1 {
            self.upstream.run(&["update-ref", "-d", &format!("refs/heads/round-{}", round - 1)]);
        }
        let head = if round.is_multiple_of(2) { "refs/heads/main" } else { "refs/heads/topic" };
        self.upstream.run(&["symbolic-ref", "HEAD", head]);
    }

    /// Starts a client's question, which makes the mirror sync; nobody waits for the answer. In version 0, whose answer waits
    /// for the objects.
    pub fn ask(&self, server: &Heliostat) -> Guarded {
        let mut command =
            self.git.command(self.sandbox.path(), &["-c", "protocol.version=0", "ls-remote", &self.url(server)]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        Guarded::start(&mut command)
    }

    /// A sync from its begin to its end.
    pub fn sync(&self, server: &Heliostat) {
        let status = self.ask(server).wait(SERVER_TIMEOUT);
        assert!(status.is_some_and(|status| status.success()), "no answer: {}", server.log());
    }

    /// The upstream goes away.
    pub fn leave(&mut self) {
        self.apache.stop();
    }

    /// Looks at what the kill left, brings the server back without its upstream, and then the upstream.
    pub fn recover(&mut self, server: &mut Heliostat, kill: Kill) {
        let outcome = self.try_recover(server, &kill);
        let Kill { number, phase, before, after, .. } = kill;
        outcome.unwrap_or_else(|error| {
            panic!("kill {number}, in {phase:?}: {error}\nbefore: {before:#?}\nafter: {after:#?}")
        });
    }

    fn try_recover(&mut self, server: &mut Heliostat, kill: &Kill) -> Result<(), String> {
        let at_rest = self.at_rest(kill)?;
        self.apache.stop();
        server.start_again();
        self.alone(server, &at_rest).map_err(|error| format!("without the upstream: {error}"))?;
        // It went on meanwhile.
        self.upstream.commit("main", &[("meanwhile.txt", &kill.number.to_string())]);
        self.apache.start_again();
        self.caught_up(server, kill, &at_rest).map_err(|error| format!("with the upstream: {error}"))
    }

    /// The repository as the kill left it, to stock Git: the old state if the link names that, else the new one.
    fn at_rest(&self, kill: &Kill) -> Result<Option<Refs>, String> {
        let Some(current) = kill.after.current() else {
            return if kill.before.link.is_none() { Ok(None) } else { Err("the published generation is gone".into()) };
        };
        fsck(&self.git, &current)?;
        let [old, new] = &kill.states;
        let expected = if kill.after.generation() == kill.before.generation() { old } else { new };
        let refs = self.refs_of(&current);
        if Some(&refs) == expected.as_ref() { Ok(Some(refs)) } else { Err(format!("neither old nor new: {refs:#?}")) }
    }

    /// What a server serves that has nothing but what lies on its disk.
    fn alone(&self, server: &Heliostat, at_rest: &Option<Refs>) -> Result<(), String> {
        let found = OnDisk::read(&server.data());
        if !found.left_behind().is_empty() {
            return Err(format!("the start has not swept {:?}", found.left_behind()));
        }
        let Some(refs) = at_rest else {
            let answer = server.get(&format!("/{APP}/info/refs?service=git-upload-pack"));
            let unavailable = answer.status == 503 && answer.header("retry-after").is_some();
            return match found.root {
                None if unavailable => Ok(()),
                _ => Err(format!("{answer:?}, with {found:?}")),
            };
        };
        let clone = self.clone(&self.url(server))?;
        fsck(&self.git, &clone)?;
        let served = self.refs_of(&clone);
        remove(&clone);
        if served == *refs { Ok(()) } else { Err(format!("served is {served:#?}, on disk was {refs:#?}")) }
    }

    fn caught_up(&self, server: &Heliostat, kill: &Kill, at_rest: &Option<Refs>) -> Result<(), String> {
        let newest = self.upstream.id("main");
        wait_until("the mirror catches up", TIMEOUT, || {
            let told = self.git.try_text(self.sandbox.path(), &["ls-remote", &self.url(server), "refs/heads/main"]);
            told.is_ok_and(|told| told.starts_with(&newest))
        });
        let ours = self.clone(&self.url(server))?;
        let theirs = self.clone(&format!("{}/{APP}", self.apache.url()))?;
        sound_and_same(&self.git, &ours, &theirs)?;
        remove(&ours);
        remove(&theirs);
        // A consolidation may be under way by now; what is left of anything else stays until the next start.
        wait_until("quarantine is empty", TIMEOUT, || OnDisk::read(&server.data()).quarantine.is_empty());
        let found = OnDisk::read(&server.data());
        if kill.after.link.is_some() && found.root != kill.after.root {
            return Err(format!("the repository has been made anew: {found:?}"));
        }
        let current = found.current().ok_or("nothing is published")?;
        fsck(&self.git, &current)?;
        // Nothing has been deleted: what was published is an earlier generation now, forced away or not.
        let ids = at_rest.iter().flatten().filter_map(|line| line.split_once(' '));
        let ids: String = ids.map(|(id, _)| format!("{id}\n")).collect();
        let had = self.git.run_with(&current, &["cat-file", "--batch-check"], ids.as_bytes()).text();
        if had.contains("missing") { Err(format!("deleted: {had}")) } else { Ok(()) }
    }

    fn url(&self, server: &Heliostat) -> String {
        format!("{}/{APP}", server.url())
    }

    fn clone(&self, url: &str) -> Result<PathBuf, String> {
        let folder = self.sandbox.fresh("clone");
        let target = folder.display().to_string();
        self.git.try_text(self.sandbox.path(), &["clone", "--quiet", "--mirror", url, &target])?;
        Ok(folder)
    }

    fn refs_of(&self, folder: &Path) -> Refs {
        let lines = self.git.text(folder, &["for-each-ref", "--format=%(objectname) %(refname)"]);
        let head = self.git.text(folder, &["symbolic-ref", "HEAD"]);
        lines.lines().map(str::to_owned).chain([format!("HEAD={head}")]).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- the seed was {}", self.seed);
        }
    }
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).expect("ours");
}
