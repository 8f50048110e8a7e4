//! The server under test: the built binary, started with given flags, its log kept.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::Signal;

use super::http::{self, Answer};
use super::process::{Guarded, SERVER_TIMEOUT, free_port, hermetic, wait_until};

/// The binary that cargo built for this test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_heliostat");

/// How much of its log a failed test shows.
const LOG_LINES_SHOWN: usize = 40;

/// A `heliostat serve`, running or ended, always on the same ports.
pub struct Heliostat {
    folder: PathBuf,
    arguments: Vec<String>,
    port: u16,
    admin_port: u16,
    process: Option<Guarded>,
}

impl Heliostat {
    /// Mirrors all of `upstream` (a URL or a folder), unless a configuration says what, and waits until `/status` says that it serves.
    pub fn start(folder: &Path, upstream: &str, flags: &[&str]) -> Self {
        let kind = if upstream.contains("://") { "git" } else { "directory" };
        let mut last = String::new();
        for _ in 0..5 {
            let (port, admin_port) = (free_port(), free_port());
            let mut arguments: Vec<String> =
                ["serve", "--kind", kind, "--upstream", upstream, "--data"].map(str::to_owned).into();
            arguments.push(folder.join("data").display().to_string());
            for (flag, port) in [("--listen", port), ("--admin-listen", admin_port)] {
                arguments.extend([flag.to_owned(), format!("127.0.0.1:{port}")]);
            }
            if kind == "git" && !flags.contains(&"--mirror") && !has_rules(flags) {
                arguments.extend(["--mirror", "*"].map(str::to_owned));
            }
            arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
            let mut server = Self { folder: folder.into(), arguments, port, admin_port, process: None };
            if server.try_start() {
                return server;
            }
            last = server.log();
            if !last.to_lowercase().contains("in use") {
                break;
            }
        }
        panic!("heliostat does not come up:\n{last}");
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same where it speaks TLS.
    pub fn secure_url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn id(&self) -> u32 {
        self.process().id()
    }

    /// Where its admin port is.
    pub fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.admin_port)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Everything it has logged since its first start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("heliostat.log")).unwrap_or_default()
    }

    /// Asks it to drain and end, and waits for that.
    pub fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("heliostat runs");
        process.signal(Signal::TERM);
        let status = process.wait(SERVER_TIMEOUT);
        status.unwrap_or_else(|| panic!("heliostat does not stop on SIGTERM:\n{}", self.log()))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("heliostat runs").kill();
    }

    /// Starts it again with the same flags, ports and data.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "heliostat does not come back:\n{}", self.log());
    }

    /// Private memory, without mapped files, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let status = self.process().proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a kernel since 4.5");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib * 1024
    }

    /// Has it ever started a process? Children that ended leave page faults in the account of their parent.
    pub fn started_a_process(&self) -> bool {
        let stat = self.process().proc("stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("after the name").split(' ').collect();
        // proc_pid_stat(5): cminflt is field 11, cmajflt 13; `fields` begins with the third.
        let faults_of_children = [fields[8], fields[10]];
        let living = self.process().proc(&format!("task/{}/children", self.process().id()));
        faults_of_children != ["0", "0"] || !living.trim().is_empty()
    }

    fn process(&self) -> &Guarded {
        self.process.as_ref().expect("heliostat runs")
    }

    /// A request to the admin port.
    pub fn admin(&self, method: &str, path: &str) -> Answer {
        http::request(method, self.admin_port, path, &[], b"").expect("the admin port answers")
    }

    /// Arguments of a `heliostat sync` that finds this server, or its data while it does not run.
    pub fn sync_arguments(&self, more: &[&str]) -> Vec<String> {
        let after = |flag: &str| {
            let at = self.arguments.iter().position(|word| word == flag).expect("a flag that is always given");
            &self.arguments[at + 1]
        };
        let text = format!(
            "[node]\ndata = {:?}\n[http]\nlisten = {:?}\n[admin]\nlisten = {:?}\n[upstream]\nurl = {:?}\n\
             [[mirror]]\ninclude = [\"*\"]\n",
            after("--data"),
            after("--listen"),
            after("--admin-listen"),
            after("--upstream"),
        );
        let file = self.folder.join("heliostat.toml");
        std::fs::write(&file, text).expect("the sandbox is writable");
        let first = ["sync".to_owned(), "--config".to_owned(), file.display().to_string()];
        first.into_iter().chain(more.iter().map(|&word| word.to_owned())).collect()
    }

    /// `GET path` on the main port.
    pub fn get(&self, path: &str) -> Answer {
        http::request("GET", self.port, path, &[], b"").expect("the main port answers")
    }

    /// The `current` folder of each repository in its store: valid bare repositories at any instant.
    pub fn stored(&self) -> Vec<PathBuf> {
        let folder = self.data().join("repositories");
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let current = entries.map(|entry| entry.expect("readable").path().join("current"));
        current.filter(|path| path.exists()).collect()
    }

    fn try_start(&mut self) -> bool {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("heliostat.log"));
        let log = log.expect("the sandbox is writable");
        let mut process = Guarded::start(
            hermetic(PROGRAM, &self.folder)
                .args(&self.arguments)
                .stdout(log.try_clone().expect("a second handle"))
                .stderr(log),
        );
        wait_until("heliostat serves or gives up", SERVER_TIMEOUT, || {
            process.ended().is_some()
                // The main port may speak TLS, or be behind something that has to speak first.
                || http::request("GET", self.admin_port, "/status", &[], b"").is_ok_and(|answer| answer.status == 200)
        });
        let up = process.ended().is_none();
        self.process = up.then_some(process);
        up
    }
}

/// Whether the configuration file that `flags` name says what is mirrored.
fn has_rules(flags: &[&str]) -> bool {
    let file = flags.iter().skip_while(|flag| **flag != "--config").nth(1);
    file.is_some_and(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains("[[mirror]]")))
}

impl Drop for Heliostat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
            eprintln!("-- the end of the log of heliostat {}:\n{tail}", self.arguments.join(" "));
        }
    }
}
