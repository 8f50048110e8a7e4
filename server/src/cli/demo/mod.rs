//! `heliostat demo`: an upstream, a mirror and a clone through it, on this machine, with nothing to configure.
//!
//! Everything is real: the generator makes the upstream's repository, one `heliostat serve` plays the Git host, another
//! mirrors it over HTTP, and the machine's `git` clones (this program's own client, where there is no `git`). What came
//! out is compared with what the generator made, reference by reference; a difference fails the demo.

mod client;
mod node;

use super::{complain, say};
use client::Client;
use heliostat_testrepo::{Change, Repository, Spec};
use node::Node;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    fs, io,
    path::{self, Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

/// The path that the demo's repository has at the upstream, and so at the mirror.
const REPOSITORY: &str = "team/app.git";
const SEED: u64 = 2026;

/// Run an upstream, a mirror and a clone through it on this machine
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// End after the fetch instead of serving on
    #[arg(long)]
    once: bool,
    /// Where to put everything; must not exist (default: a temporary directory, removed at the end)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// 0: everything came out as it should; 1: it did not, in words on standard error.
pub fn run(arguments: &Demo) -> ExitCode {
    match tell(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            complain(format_args!("heliostat demo: {words}"));
            ExitCode::FAILURE
        }
    }
}

fn tell(arguments: &Demo) -> Result<(), String> {
    // From here on Ctrl-C and a closed terminal come as values, so that the nodes are ended and the folder is removed.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|e| format!("signals: {e}"))?;
    let place = Place::new(arguments.dir.as_deref())?;
    let client = Client::new(&place.path);
    say(format_args!("Heliostat demo, in {}\n", place.path.display()));

    let started = Instant::now();
    let upstream_dir = place.path.join("upstream");
    let mut repository = Spec::medium(SEED)
        .write(&upstream_dir.join(REPOSITORY))
        .map_err(|e| format!("the upstream's repository could not be made: {e}"))?;
    let (objects, refs) = (repository.objects, repository.refs.len());
    step(started, &format!("an upstream repository: {objects} objects, {refs} refs"));

    let started = Instant::now();
    let upstream_dir = upstream_dir.display().to_string();
    let upstream = Node::start("upstream", &place.path, &["--upstream", &upstream_dir])?;
    step(started, &format!("a Git host that serves it: http://{}/{REPOSITORY}", upstream.http));

    let started = Instant::now();
    let host = format!("http://{}", upstream.http);
    let mirror = Node::start("mirror", &place.path, &["--upstream", &host, "--mirror", "team/*"])?;
    let url = format!("http://{}/{REPOSITORY}", mirror.http);
    step(started, &format!("a mirror of that host: http://{}", mirror.http));

    let started = Instant::now();
    let clone = client.clone_from(&url, "clone")?;
    step(started, &format!("{} through the mirror, which fetched the repository meanwhile", client.describe("clone")));
    compare(&repository, &clone)?;

    let started = Instant::now();
    let again = client.clone_from(&url, "clone-again")?;
    step(started, &format!("{} again, from what the mirror has", client.describe("clone")));
    compare(&repository, &again)?;

    let change = Change::AddCommits { branch: "main".into(), count: 1 };
    let outcome = repository.advance(&[change]).map_err(|e| format!("the commit could not be added: {e}"))?;
    let commit = outcome.commits.first().map(|id| id.to_hex_with_len(10).to_string()).unwrap_or_default();
    say(format_args!("  {:>8}  a commit upstream: main is {commit} now", ""));

    let started = Instant::now();
    client.fetch(&clone, &url)?;
    step(started, &format!("{} through the mirror brought it", client.describe("fetch")));
    compare(&repository, &clone)?;
    say(format_args!("\nEach time the client had every ref of the upstream, with the same value."));

    if !arguments.once {
        say(format_args!("\nBoth keep running. Try:\n"));
        say(format_args!("    git clone {url}"));
        say(format_args!("    curl http://{}/status", mirror.admin));
        say(format_args!("    less {}\n", mirror.log.display()));
        say(format_args!("Ctrl-C ends the demo{}.", if place.temporary { " and removes its folder" } else { "" }));
        wait(&mut signals, [&upstream, &mirror])?;
    }
    // The mirror first: it would log a vanished upstream.
    mirror.stop();
    upstream.stop();
    Ok(())
}

fn step(started: Instant, text: &str) {
    say(format_args!("  {:>6.3} s  {text}", started.elapsed().as_secs_f64()));
}

/// Until a signal, or until a node ends by itself.
fn wait(signals: &mut Signals, nodes: [&Node; 2]) -> Result<(), String> {
    loop {
        if signals.pending().next().is_some() {
            say(format_args!(""));
            return Ok(());
        }
        for node in nodes {
            if let Some(words) = node.ended() {
                return Err(words);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Every reference of the upstream, with its value, and no other.
fn compare(repository: &Repository, clone: &Path) -> Result<(), String> {
    let mut found = client::references(clone)?;
    for (name, id) in &repository.refs {
        match found.remove(name) {
            Some(here) if here == *id => {}
            Some(here) => return Err(format!("{name} is {here} in the clone and {id} at the upstream")),
            None => return Err(format!("{name} is missing in the clone")),
        }
    }
    match found.keys().find(|name| !repository.symbolic.contains_key(*name)) {
        Some(extra) => Err(format!("{extra} is in the clone and not at the upstream")),
        None => Ok(()),
    }
}

/// The demo's folder.
struct Place {
    path: PathBuf,
    temporary: bool,
}

impl Place {
    fn new(dir: Option<&Path>) -> Result<Self, String> {
        let path = match dir {
            // The nodes, `git` and we look for it from different places.
            Some(dir) => path::absolute(dir).map_err(|e| format!("{}: {e}", dir.display()))?,
            None => std::env::temp_dir().join(format!("heliostat-demo-{}", std::process::id())),
        };
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::create_dir(&path));
        made.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self { path, temporary: dir.is_none() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            complain(format_args!("heliostat demo: {} could not be removed: {error}", self.path.display()));
        }
    }
}

/// What the operator has set for a real node or for a repository of their own must not reach the demo's processes
/// (`HELIOSTAT_DATA`, `GIT_DIR`, `GIT_CONFIG_COUNT`, `http_proxy`, …). Where Git's programs lie is no such thing.
fn without_settings(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let of_git = name.starts_with("GIT_") && name != "GIT_EXEC_PATH";
        if name.starts_with("HELIOSTAT_") || of_git || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(variable);
        }
    }
}
