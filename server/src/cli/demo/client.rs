//! The demo's Git client: the machine's `git`, or this program's own where there is none.

use heliostat_core::{
    ObjectId,
    repository::{Environment, HiddenRefs, Repository},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Clones and fetches bare mirrors, so that every reference can be compared.
pub(super) struct Client {
    place: PathBuf,
    git: bool,
}

impl Client {
    /// Looks for `git`.
    pub(super) fn new(place: &Path) -> Self {
        let found = Command::new("git").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        Self { place: place.to_owned(), git: found.is_ok_and(|status| status.success()) }
    }

    /// `git clone`, or what stands for it.
    pub(super) fn describe(&self, verb: &str) -> String {
        if self.git { format!("`git {verb}`") } else { format!("a {verb} (by this program: there is no git here)") }
    }

    /// A mirror clone; gives the bare repository's folder.
    pub(super) fn clone_from(&self, url: &str, name: &str) -> Result<PathBuf, String> {
        let target = self.place.join(name);
        if self.git {
            run(self.git().args(["clone", "--quiet", "--mirror", url]).arg(&target))?;
            return Ok(target);
        }
        fetch_ourselves(&target, url)?;
        Ok(target)
    }

    /// Brings a clone up to date.
    pub(super) fn fetch(&self, clone: &Path, url: &str) -> Result<(), String> {
        if self.git {
            return run(self.git().arg("-C").arg(clone).args(["fetch", "--quiet", "--prune"]));
        }
        fetch_ourselves(clone, url)
    }

    /// A `git` that knows no configuration of this machine's user: no proxy, no rewritten address, no question.
    fn git(&self) -> Command {
        let mut command = Command::new("git");
        super::without_settings(&mut command);
        command.env("HOME", &self.place).env("XDG_CONFIG_HOME", &self.place);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("no_proxy", "127.0.0.1");
        command
    }
}

/// Our own client: `heliostat sync` into a data directory of its own.
fn fetch_ourselves(target: &Path, url: &str) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| format!("this program's own file: {e}"))?;
    let (base, repository) = url.split_at(url.len() - super::REPOSITORY.len());
    let mut command = Command::new(program);
    super::without_settings(&mut command);
    command.args(["sync", repository, "--upstream", base, "--mirror", "*", "--data"]).arg(target);
    run(&mut command)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// What the clone's references say.
pub(super) fn references(clone: &Path) -> Result<BTreeMap<String, ObjectId>, String> {
    let directory = published(clone);
    let environment = Environment::isolated(PathBuf::from("/"), rustix::process::geteuid().as_raw());
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", directory.display());
    let repository = Repository::open(&directory, &environment, true).map_err(|e| wrong(&e))?;
    let references = repository.references(&HiddenRefs::default(), None).map_err(|e| wrong(&e))?;
    Ok(references.table.iter().map(|r| (r.name.to_string(), r.id)).collect())
}

/// A `git` clone is a repository itself; a data directory holds one.
fn published(clone: &Path) -> PathBuf {
    let repositories = fs::read_dir(clone.join("repositories")).into_iter().flatten().map_while(Result::ok);
    let mut published = repositories.map(|entry| entry.path().join("current")).filter(|path| path.exists());
    published.next().unwrap_or_else(|| clone.to_owned())
}
