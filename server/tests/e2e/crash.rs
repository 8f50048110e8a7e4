//! SIGKILL at fifty random instants: what is on disk is a whole generation, it is served, and it catches up.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::compare::{fsck, sound_and_same};
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::process::SERVER_TIMEOUT;
use crate::support::repositories::Upstream;
use crate::support::site::Site;

const APP: &str = "team/app.git";

/// References with their ids, as one value.
type Refs = BTreeSet<String>;

fn refs_of(git: &Git, folder: &Path) -> Refs {
    let lines = git.text(folder, &["for-each-ref", "--format=%(objectname) %(refname)"]);
    lines.lines().map(str::to_owned).collect()
}

/// Enough new objects that their way through quarantine takes a while.
fn advance(upstream: &Upstream, round: usize) {
    let mut random = fastrand::Rng::with_seed(round as u64);
    let files: Vec<(String, String)> = (0..200)
        .map(|file| (format!("big/{}/{file}.txt", file % 13), (0..400).map(|_| random.alphanumeric()).collect()))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    upstream.commit("main", &files);
    upstream.run(&["update-ref", &format!("refs/heads/round-{round}"), "main~1"]);
    if round > 1 {
        upstream.run(&["update-ref", "-d", &format!("refs/heads/round-{}", round - 1)]);
    }
}

/// Starts a client's question, which makes the mirror sync; nobody waits for the answer.
fn ask(git: &Git, folder: &Path, url: &str) -> crate::support::process::Guarded {
    let mut command = git.command(folder, &["ls-remote", url]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    crate::support::process::Guarded::start(&mut command)
}

struct Run {
    site: Site,
    seed: u64,
    random: fastrand::Rng,
}

impl Run {
    fn start() -> Self {
        let site = Site::start(|git, folder| {
            let upstream = Upstream::rich(git, &folder.join(APP));
            advance(&upstream, 0);
        });
        let seed = fastrand::u64(..);
        Self { site, seed, random: fastrand::Rng::with_seed(seed) }
    }

    /// How long the mirror takes for the sync that a question causes.
    fn time_a_sync(&self, url: &str) -> Duration {
        let begin = Instant::now();
        let status = ask(&self.site.git, self.site.sandbox.path(), url).wait(SERVER_TIMEOUT);
        assert!(status.is_some_and(|status| status.success()), "no answer to the first question");
        begin.elapsed()
    }

    /// Kills `server` at a random instant of a sync and checks what is left; `states` are the generations that
    /// may be there.
    fn kill_once(&mut self, server: &mut Heliostat, span: Duration, states: &[Refs], may_be_empty: bool) {
        let url = format!("{}/{APP}", server.url());
        let instant = span.mul_f64(self.random.f64() * 1.2);
        let context = format!("seed {}, killed after {instant:?} of {span:?}", self.seed);
        let client = ask(&self.site.git, self.site.sandbox.path(), &url);
        std::thread::sleep(instant);
        server.kill();
        drop(client);

        let stored = server.stored();
        assert!(may_be_empty || !stored.is_empty(), "{context}: the repository is gone");
        for folder in &stored {
            fsck(&self.site.git, folder).unwrap_or_else(|error| panic!("{context}: {error}"));
            let refs = refs_of(&self.site.git, folder);
            assert!(states.contains(&refs), "{context}: neither the old generation nor the new one: {refs:#?}");
        }
        server.start_again();
        let clone = |url: &str| {
            let folder = self.site.sandbox.fresh("clone");
            let target = folder.display().to_string();
            let done = self.site.git.try_text(self.site.sandbox.path(), &["clone", "-q", "--mirror", url, &target]);
            done.unwrap_or_else(|error| panic!("{context}: {error}"));
            folder
        };
        let (ours, theirs) = (clone(&url), clone(&self.site.upstream_url(APP)));
        sound_and_same(&self.site.git, &ours, &theirs).unwrap_or_else(|error| panic!("{context}: {error}"));
        for folder in [ours, theirs] {
            std::fs::remove_dir_all(folder).expect("ours");
        }
    }
}

#[test]
fn killed_in_the_first_sync() {
    let mut run = Run::start();
    let span = run.time_a_sync(&run.site.mirror_url(APP));
    let states = [refs_of(&run.site.git, &run.site.upstream(APP).folder)];
    for number in 0..15 {
        let folder = run.site.sandbox.folder(&format!("victim-{number}"));
        let mut server = Heliostat::start(&folder, &run.site.apache.url(), &[]);
        run.kill_once(&mut server, span, &states, true);
    }
}

#[test]
fn killed_in_later_syncs() {
    let mut run = Run::start();
    let folder = run.site.sandbox.folder("victim");
    let mut server = Heliostat::start(&folder, &run.site.apache.url(), &[]);
    let url = format!("{}/{APP}", server.url());
    run.time_a_sync(&url);
    let upstream = run.site.upstream(APP);
    advance(&upstream, 1);
    let span = run.time_a_sync(&url);
    let mut old = refs_of(&run.site.git, &upstream.folder);
    for round in 2..37 {
        advance(&upstream, round);
        let new = refs_of(&run.site.git, &upstream.folder);
        run.kill_once(&mut server, span, &[old, new.clone()], false);
        old = new;
    }
    // What the crashes left behind is swept at start: one repository, nothing in quarantine, no old generations
    // beyond those that are kept.
    server.start_again();
    let repositories: Vec<_> = server.stored();
    assert_eq!(repositories.len(), 1);
    let quarantine = repositories[0].with_file_name("quarantine");
    let left = std::fs::read_dir(quarantine).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(left, 0, "something is left in quarantine");
}
