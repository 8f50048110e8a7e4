//! Stock Git as a client and as the judge, in a hermetic environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// The `git` of the search path, with a home of its own.
pub struct Git {
    home: PathBuf,
}

impl Git {
    /// Uses `home` for its configuration.
    pub fn new(home: &Path) -> io::Result<Self> {
        fs::create_dir_all(home)?;
        let settings = "[init]\n defaultBranch = main\n[safe]\n directory = *\n[gc]\n auto = 0\n[maintenance]\n auto = false\n[core]\n fsync = none\n";
        fs::write(home.join(".gitconfig"), settings)?;
        Ok(Self { home: home.to_owned() })
    }

    /// Standard output of a command that must succeed and keep silent on standard error.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> io::Result<String> {
        let output = hermetic("git", &self.home).args(arguments).current_dir(folder).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        if output.status.success() && complaint.is_empty() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(io::Error::other(format!("git {}: {}\n{complaint}", arguments.join(" "), output.status)))
    }

    /// Where `git-http-backend` lies.
    pub fn http_backend(&self) -> io::Result<PathBuf> {
        Ok(Path::new(self.run(&self.home, &["--exec-path"])?.trim_end()).join("git-http-backend"))
    }
}

/// A command with an empty environment but for what every program needs.
pub fn hermetic(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command
        .env_clear()
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("PATH", path)
        .env("HOME", home)
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

/// Lets Apache's workers, who are another user, write in a repository.
pub fn writable_by_all(repository: &Path) -> io::Result<()> {
    let status = Command::new("chmod").args(["-R", "a+rwX"]).arg(repository).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("chmod: {status}"))) }
}
