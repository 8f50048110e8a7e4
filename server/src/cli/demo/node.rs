//! A `heliostat serve` of the demo: a process of its own, which is ended when the demo ends.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    cell::RefCell,
    fs::File,
    io::{BufRead, BufReader, Seek},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A node that takes longer to listen is broken.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// After a polite word; then it is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// A running node.
pub(super) struct Node {
    name: &'static str,
    child: RefCell<Child>,
    /// Where it serves Git.
    pub(super) http: SocketAddr,
    /// Its admin port.
    pub(super) admin: SocketAddr,
    /// What it logs, as JSON lines.
    pub(super) log: PathBuf,
}

impl Node {
    /// Starts one on ports that the system picks, with its data and log below `place`.
    pub(super) fn start(name: &'static str, place: &Path, arguments: &[&str]) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| format!("this program's own file: {e}"))?;
        let log = place.join(format!("{name}.log"));
        let file = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let output = file.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
        let data = place.join(format!("{name}-data"));
        let mut command = Command::new(program);
        command.arg("serve").args(arguments).arg("--data").arg(data);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"]);
        // What the operator has set for a real node must not reach the demo's.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("HELIOSTAT_") {
                command.env_remove(variable);
            }
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(file)
            .spawn()
            .map_err(|e| format!("the {name} could not be started: {e}"))?;
        let unbound = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node = Self { name, child: RefCell::new(child), http: unbound, admin: unbound, log };
        (node.http, node.admin) = node.await_listening()?;
        Ok(node)
    }

    fn await_listening(&self) -> Result<(SocketAddr, SocketAddr), String> {
        let started = Instant::now();
        while started.elapsed() < START_TIME_MAX {
            if let Some(addresses) = self.listening() {
                return Ok(addresses);
            }
            if let Some(words) = self.ended() {
                return Err(words);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("the {} did not listen within {START_TIME_MAX:?}", self.name))
    }

    fn listening(&self) -> Option<(SocketAddr, SocketAddr)> {
        let lines = BufReader::new(File::open(&self.log).ok()?).lines().map_while(Result::ok);
        lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok()).find_map(|line| {
            let address = |key: &str| line.get(key)?.as_str()?.parse().ok();
            (line.get("message")? == "listening").then_some(())?;
            Some((address("http")?, address("admin")?))
        })
    }

    /// If the process has ended by itself: that, and the end of its log.
    pub(super) fn ended(&self) -> Option<String> {
        let status = self.child.borrow_mut().try_wait().ok()??;
        Some(format!("the {} ended ({status}); its last words:\n{}", self.name, self.last_words()))
    }

    fn last_words(&self) -> String {
        const BYTES: u64 = 2_000;
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(std::io::SeekFrom::Start(length.saturating_sub(BYTES)))?;
            std::io::read_to_string(file)
        };
        read().unwrap_or_else(|e| e.to_string())
    }

    /// Asks it to drain and end, and waits.
    pub(super) fn stop(self) {
        drop(self);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
            && kill_process(pid, Signal::TERM).is_ok()
        {
            let asked = Instant::now();
            while asked.elapsed() < STOP_TIME_MAX {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // A node that does not listen to reason must not outlive the demo; that it is gone already is no error.
        let _ = child.kill();
        let _ = child.wait();
    }
}
