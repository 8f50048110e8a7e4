//! Stock Git as a client and as the oracle, in a hermetic environment.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use super::process::{Finished, hermetic, run};
use super::sandbox::Sandbox;

/// One `git` with one protocol version and a home of its own.
#[derive(Clone)]
pub struct Git {
    program: PathBuf,
    home: PathBuf,
}

/// Which `git` of those that the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The first on the search path.
    Machine,
    /// Debian's own in `/usr/bin`, older than a locally built one; the same as `Machine` where there is just one.
    Debian,
}

impl Which {
    fn program(self) -> PathBuf {
        let debian = Path::new("/usr/bin/git");
        match self {
            Which::Debian if debian.exists() => debian.into(),
            Which::Debian | Which::Machine => "git".into(),
        }
    }

    /// Says once which versions these are: `.config/nextest.toml` has it shown when all is well, and it stands above any
    /// failure.
    fn announce() {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            for which in [Which::Machine, Which::Debian] {
                let program = which.program();
                let told = Command::new(&program).arg("version").output().expect("git starts").stdout;
                println!("{which:?}: {} ({})", String::from_utf8_lossy(&told).trim(), program.display());
            }
        });
    }
}

impl Git {
    /// The `git` for setting things up and looking at them.
    pub fn new(sandbox: &Sandbox) -> Self {
        Self::client(sandbox, Which::Machine, 2)
    }

    /// A client that asks for this protocol version.
    pub fn client(sandbox: &Sandbox, which: Which, version: u8) -> Self {
        Which::announce();
        let program = which.program();
        let home = sandbox.folder(&format!("home-v{version}"));
        let settings = format!(
            "[user]\n name = A U Thor\n email = author@example.com\n[init]\n defaultBranch = main\n\
             [protocol]\n version = {version}\n[gc]\n auto = 0\n[maintenance]\n auto = false\n\
             [advice]\n detachedHead = false\n[safe]\n directory = *\n[core]\n fsync = none\n"
        );
        std::fs::write(home.join(".gitconfig"), settings).expect("the sandbox is writable");
        Self { program, home }
    }

    /// A command that is not started yet, in `folder`.
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = hermetic(&self.program, &self.home);
        command
            .args(arguments)
            .current_dir(folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ADVICE", "0")
            .env("GIT_AUTHOR_DATE", "2024-06-01T12:00:00Z")
            .env("GIT_COMMITTER_DATE", "2024-06-01T12:00:00Z");
        command
    }

    /// Runs to the end, whatever the exit status.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Finished {
        self.run_with(folder, arguments, b"")
    }

    /// The same with standard input.
    pub fn run_with(&self, folder: &Path, arguments: &[&str], input: &[u8]) -> Finished {
        run(&mut self.command(folder, arguments), input, &self.home)
    }

    /// Standard output of a command that must succeed; else what it said.
    pub fn try_text(&self, folder: &Path, arguments: &[&str]) -> Result<String, String> {
        let finished = self.run(folder, arguments);
        if finished.status.success() {
            return Ok(finished.text());
        }
        let (status, stderr) = (finished.status, finished.stderr);
        Err(format!("git {}: {status}\n{stderr}", arguments.join(" ")))
    }

    /// The same where failing is a fault of the test's own set-up.
    pub fn text(&self, folder: &Path, arguments: &[&str]) -> String {
        self.try_text(folder, arguments).unwrap_or_else(|error| panic!("in {}: {error}", folder.display()))
    }

    /// Where this Git keeps its programs (`git-http-backend`).
    pub fn exec_path(&self) -> PathBuf {
        self.text(&self.home, &["--exec-path"]).into()
    }
}
