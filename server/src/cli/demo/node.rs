//! A `heliostat serve` of the demo: a process of its own, which is ended when the demo ends.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    cell::RefCell,
    fs::File,
    io::{BufRead, BufReader},
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
        super::without_settings(&mut command);
        // However the demo ends: a killed one can't end it.
        command.arg("--end-with").arg(std::process::id().to_string());
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
        let words = self.last_words();
        Err(format!("the {} did not listen within {START_TIME_MAX:?}; its last words:\n{words}", self.name))
    }

    fn listening(&self) -> Option<(SocketAddr, SocketAddr)> {
        let lines = BufReader::new(File::open(&self.log).ok()?).lines().map_while(Result::ok);
        lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()).find_map(|line| {
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

    /// The end of its log as a person reads it.
    fn last_words(&self) -> String {
        const LINES: usize = 10;
        let log = match std::fs::read(&self.log) {
            Ok(log) => log,
            Err(error) => return error.to_string(),
        };
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LINES));
        last.map(|line| format!("  {}", readable(line))).collect::<Vec<_>>().join("\n")
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

/// A line of the log without the marks that only programs read. What is no such line (before the log is open, mistakes are
/// told plainly) is taken as it is.
fn readable(line: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else { return line.to_owned() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut words: Vec<_> = ["level", "message"].iter().filter_map(|name| fields.get(*name)).map(text).collect();
    let others =
        fields.iter().filter(|(name, _)| !["level", "message", "target", "timestamp"].contains(&name.as_str()));
    words.extend(others.map(|(name, value)| format!("{name}={}", text(value))));
    words.join(" ")
}
