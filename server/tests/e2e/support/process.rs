//! Child processes with an end: every wait is bounded, every child and its children die with their owner.

use std::fs::File;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long any one client command may take. Generous: the machine may be busy with a build.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a server may take to come up or to stop.
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

/// What a finished command left.
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Finished {
    /// Standard output as text, without the last line break.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').into()
    }
}

/// A process in a group of its own; dropping it kills the group.
pub struct Guarded {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Guarded {
    pub fn start(command: &mut Command) -> Self {
        let child =
            command.process_group(0).spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { child, ended: None }
    }

    /// Its status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("our own child can be waited for");
        }
        self.ended
    }

    /// Waits for the end; `None` when `timeout` passes first.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        let mut pause = Duration::from_millis(1);
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        self.ended
    }

    /// Sends a signal to the whole group.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // It may have ended since; there is nobody to tell then.
            let _ = kill_process_group(Pid::from_child(&self.child), signal);
        }
    }

    /// SIGKILL to the whole group, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait(SERVER_TIMEOUT).expect("a killed process ends");
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the kernel says of it in `/proc`.
    pub fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Also when the leader has ended: its children may live on.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Runs a command to its end with `input`; panics when it takes longer than `COMMAND_TIMEOUT`.
pub fn run(command: &mut Command, input: &[u8], scratch: &Path) -> Finished {
    // Files instead of pipes: no threads to drain them, and no deadlock whatever the sizes.
    let unique = fastrand::u64(..);
    let path = |kind: &str| scratch.join(format!("run-{unique:016x}.{kind}"));
    let (stdin, stdout, stderr) = (path("in"), path("out"), path("err"));
    std::fs::write(&stdin, input).expect("scratch is writable");
    command
        .stdin(File::open(&stdin).expect("just written"))
        .stdout(File::create(&stdout).expect("scratch is writable"))
        .stderr(File::create(&stderr).expect("scratch is writable"));
    let mut child = Guarded::start(command);
    let status = child.wait(COMMAND_TIMEOUT);
    let read = |path: &PathBuf| std::fs::read(path).expect("just written");
    let (out, err) = (read(&stdout), String::from_utf8_lossy(&read(&stderr)).into_owned());
    for path in [stdin, stdout, stderr] {
        std::fs::remove_file(path).expect("ours");
    }
    let Some(status) = status else {
        panic!("{command:?} still runs after {COMMAND_TIMEOUT:?}; stderr so far:\n{err}");
    };
    Finished { status, stdout: out, stderr: err }
}

/// Polls until `done`; panics with `what` when `timeout` passes first.
pub fn wait_until(what: &str, timeout: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {timeout:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A loopback port that was free a moment ago, outside the range that the kernel gives to clients. No other test on this
/// machine is given it while this process lives: a server that is down for a while finds it free again, and nobody else
/// answers there.
pub fn free_port() -> u16 {
    let reserve = |port: u16| {
        let name = format!("heliostat-test-port-{port}");
        let address = SocketAddr::from_abstract_name(name).expect("a short name");
        UnixListener::bind_addr(&address).is_ok_and(|reservation| {
            std::mem::forget(reservation);
            true
        })
    };
    (0..1000)
        .map(|_| fastrand::u16(10_000..32_000))
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok() && reserve(port))
        .expect("one port in a thousand is free")
}

/// A command with an empty environment but for what every program needs.
pub fn hermetic(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()))
        .env("HOME", home)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}
