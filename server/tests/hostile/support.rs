//! The server under test, its upstream folder, and a peer that sends what it is told to.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_heliostat");
const START_TIME: Duration = Duration::from_secs(60);
/// Longer than anything that is waited for, shorter than a test's end.
const READ_TIME: Duration = Duration::from_secs(60);

/// A `heliostat serve` on a folder with one repository, `team/app.git`.
pub struct Server {
    child: Child,
    pub main: SocketAddr,
    pub admin: SocketAddr,
    pub folder: TempDir,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[], &[])
    }

    /// With more flags, and through `wrapper` (`prlimit …`) if it is not empty.
    pub fn with(wrapper: &[&str], flags: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        repository(&folder.path().join("upstream/team/app.git"));
        Self::on(folder, wrapper, flags)
    }

    /// On a folder that holds `upstream/`, once it is ready.
    pub fn on(folder: TempDir, wrapper: &[&str], flags: &[&str]) -> Self {
        let mut server = Self::listening(folder, wrapper, flags);
        server.until("it is ready", |server| server.status() == Some(200));
        server
    }

    /// On a folder, once it listens.
    pub fn listening(folder: TempDir, wrapper: &[&str], flags: &[&str]) -> Self {
        let unknown = ([127, 0, 0, 1], 0).into();
        let child = spawn(folder.path(), wrapper, flags);
        let mut server = Self { child, main: unknown, admin: unknown, folder };
        server.find_ports();
        server
    }

    /// Ends it as a crash would, and starts it again on the same folder.
    pub fn start_again(&mut self, wrapper: &[&str], flags: &[&str]) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.folder.path(), wrapper, flags);
        self.find_ports();
    }

    fn find_ports(&mut self) {
        self.until("it listens", |server| {
            let log = server.log();
            let address = |name: &str| {
                let line = log.lines().find(|line| line.contains(" listening "))?;
                line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok())
            };
            let (Some(main), Some(admin)) = (address("http="), address("admin=")) else { return false };
            (server.main, server.admin) = (main, admin);
            true
        });
    }

    /// Waits until `is_so`, while it runs.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + START_TIME;
        while !is_so(self) {
            let runs = self.child.try_wait().unwrap().is_none();
            assert!(runs && Instant::now() < deadline, "not so: {what}; it runs: {runs}\n{}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the log, which a thread writes, holds `words`.
    pub fn logs(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "{words}: {}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The status of `/status`, if anybody answers.
    pub fn status(&self) -> Option<u16> {
        let mut peer = TcpStream::connect(self.main).ok()?;
        peer.write_all(b"GET /status HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        peer.read_to_string(&mut answer).ok()?;
        answer.get(9..12)?.parse().ok()
    }

    /// A new connection to the main port.
    pub fn peer(&self) -> Peer {
        Peer::connect(self.main)
    }

    /// Sends `bytes`, ends nothing, and reads until the server closes.
    pub fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut peer = self.peer();
        peer.send(bytes);
        peer.read_to_end()
    }

    /// The end of each test: the server answers, and nothing panicked.
    pub fn lives_on(&self) {
        assert_eq!(self.status(), Some(200), "{}", self.log());
        assert!(!self.log().contains("panic"), "{}", self.log());
    }

    /// Most memory it has had, in bytes.
    pub fn memory_peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// Memory without mapped files, now, in bytes.
    pub fn memory_beyond_maps(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        wait(&mut self.child, time)
    }

    pub fn url(&self) -> String {
        format!("http://{}/team/app.git", self.main)
    }

    /// A clone with the machine's git, into a new folder.
    pub fn clone(&self, name: &str) -> Command {
        let mut git = git(self.folder.path());
        git.args(["clone", "-q", "--bare", &self.url(), name]);
        git
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("-- log:\n{}", self.log());
        }
    }
}

/// The server with its log in `folder`.
fn spawn(folder: &Path, wrapper: &[&str], flags: &[&str]) -> Child {
    let mut command = command(wrapper, folder);
    command.args(flags).stderr(File::create(folder.join("log")).unwrap()).stdout(Stdio::null());
    command.spawn().unwrap()
}

/// `wrapper heliostat serve` on free ports, with its folders below `folder`.
pub fn command(wrapper: &[&str], folder: &Path) -> Command {
    let mut words = wrapper.iter().copied().chain([PROGRAM]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg("serve");
    command.arg("--data").arg(folder.join("data"));
    // A host may be its upstream.
    if folder.join("upstream").exists() || !folder.join("host").exists() {
        command.arg("--upstream").arg(folder.join("upstream"));
    } else {
        command.arg("--upstream").arg(fs::read_to_string(folder.join("host")).unwrap()).args(["--mirror", "team/*"]);
    }
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    forget_environment(&mut command);
    command
}

/// Nothing of what the machine has been told of servers and proxies reaches `command`.
pub fn forget_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        if text.starts_with("heliostat_") || text.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
}

pub fn wait(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(Duration::from_millis(10));
    }
}

/// The machine's git, without anybody's configuration.
pub fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    git.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("HOME", "/nonexistent"), ("GIT_TERMINAL_PROMPT", "0")]);
    for person in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{person}_NAME"), "a").env(format!("GIT_{person}_EMAIL"), "a@b");
        git.env(format!("GIT_{person}_DATE"), "1700000000 +0000");
    }
    git
}

/// What it says, without the last line's end.
pub fn run(git: &mut Command) -> String {
    let output = git.output().unwrap();
    assert!(output.status.success(), "{git:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A small bare repository with one commit on `main`.
pub fn repository(path: &Path) -> PathBuf {
    repository_with(path, b"hello\n")
}

/// A bare repository whose one commit holds one file with that content.
pub fn repository_with(path: &Path, content: &[u8]) -> PathBuf {
    fs::create_dir_all(path).unwrap();
    run(git(path).args(["init", "-q", "--bare", "-b", "main", "."]));
    fs::write(path.join("content"), content).unwrap();
    let blob = run(git(path).args(["hash-object", "-w", "content"]));
    fs::remove_file(path.join("content")).unwrap();
    commit_blob(path, &blob);
    path.to_owned()
}

/// A commit on `main` whose one file is `blob`, which need not be there.
pub fn commit_blob(path: &Path, blob: &str) {
    run(git(path).args(["update-index", "--add", "--cacheinfo", &format!("100644,{blob},file")]));
    let tree = run(git(path).args(["write-tree", "--missing-ok"]));
    let commit = run(git(path).args(["commit-tree", "-m", "first", &tree]));
    run(git(path).args(["update-ref", "refs/heads/main", &commit]));
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

/// One connection.
pub struct Peer {
    pub stream: TcpStream,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(READ_TIME)).unwrap();
        stream.set_write_timeout(Some(READ_TIME)).unwrap();
        Self { stream }
    }

    /// Sends; the server may have closed already.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Everything until the server closes. A reset ends it too.
    pub fn read_to_end(&mut self) -> String {
        let mut answer = Vec::new();
        let began = Instant::now();
        match self.stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("still open after {:?}: {:?}", began.elapsed(), String::from_utf8_lossy(&answer))
            }
            _ => String::from_utf8_lossy(&answer).into_owned(),
        }
    }

    /// One answer with `Content-Length`: its status and its body.
    pub fn answer(&mut self) -> (u16, String) {
        let head = self.head();
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (status(&head), String::from_utf8_lossy(&body).into_owned())
    }

    /// One head.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&head));
            });
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }
}

/// The status of the first answer in `text`.
pub fn status(text: &str) -> u16 {
    text.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {text:?}"))
}

/// How many answers are in `text`.
pub fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

/// A whole POST of a request body to `team/app.git`.
pub fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /team/app.git/git-upload-pack HTTP/1.1\r\nHost: h\r\nGit-Protocol: version=2\r\n\
         Content-Type: application/x-git-upload-pack-request\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// `command=ls-refs`, whole.
pub const LS_REFS: &[u8] = b"0014command=ls-refs\n0001001bref-prefix refs/heads/\n0000";
