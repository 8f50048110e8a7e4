//! A folder for one test, the two servers, and processes that can't hang.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// No process of a test takes longer.
const PROCESS_TIME_MAX: Duration = Duration::from_secs(120);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Ours,
    Stock,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Stock, Side::Ours];

    /// The upload-pack command, for `--upload-pack` and shells.
    pub fn command_line(self) -> String {
        match self {
            Side::Ours => format!("{} upload-pack", env!("CARGO_BIN_EXE_heliostat")),
            Side::Stock => "git upload-pack".into(),
        }
    }
}

/// What a process left behind.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub out: Vec<u8>,
    pub err: String,
}

impl Outcome {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).trim_end().to_owned()
    }

    /// Standard output of a process that must have succeeded.
    pub fn expect(self, what: &str) -> String {
        assert!(self.status.success(), "{what}: {}: {}", self.status, self.err);
        self.text()
    }
}

/// A folder with a home of its own.
pub struct Stage {
    _directory: tempfile::TempDir,
    pub root: PathBuf,
}

impl Stage {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("home")).unwrap();
        std::fs::create_dir(root.join("scratch")).unwrap();
        Self { _directory: directory, root }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A process with nothing of this machine's configuration.
    pub fn process(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env_clear().envs([
            ("PATH", std::env::var("PATH").unwrap_or_default().as_str()),
            ("HOME", self.root.join("home").to_str().unwrap()),
            ("TMPDIR", self.root.join("scratch").to_str().unwrap()),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
        ]);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "A").env(format!("GIT_{who}_EMAIL"), "a@example.com");
            command.env(format!("GIT_{who}_DATE"), "1700000000 +0000");
        }
        command
    }

    /// Runs stock Git, which must succeed.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = self.process("git");
        run(command.args(arguments), b"").expect(&format!("git {arguments:?}"))
    }

    /// A server's process, its directory not yet given.
    pub fn server(&self, side: Side) -> Command {
        match side {
            Side::Ours => {
                let mut command = self.process(env!("CARGO_BIN_EXE_heliostat"));
                command.arg("upload-pack");
                command
            }
            Side::Stock => {
                let mut command = self.process("git");
                command.arg("upload-pack");
                command
            }
        }
    }

    /// The ids in `pack`, which may be thin against the objects of `repository`.
    pub fn objects_of_pack(&self, pack: &[u8], repository: &Path) -> BTreeSet<String> {
        let scratch = tempfile::tempdir_in(self.root.join("scratch")).unwrap();
        let bare = scratch.path().join("x.git");
        self.git(&["init", "-q", "--bare", bare.to_str().unwrap()]);
        let borrowed = self.git(&["-C", repository.to_str().unwrap(), "rev-parse", "--git-path", "objects"]);
        let borrowed = repository.join(borrowed);
        std::fs::write(bare.join("objects/info/alternates"), format!("{}\n", borrowed.display())).unwrap();
        let mut command = self.process("git");
        command.arg("-C").arg(&bare).args(["index-pack", "--strict", "--stdin", "--fix-thin"]);
        let name = run(&mut command, pack).expect("index-pack");
        let name = name.split_whitespace().last().unwrap();
        let index = File::open(bare.join(format!("objects/pack/pack-{name}.idx"))).unwrap();
        let mut command = self.process("git");
        command.arg("show-index").stdin(Stdio::from(index));
        let listing = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let mut objects: Vec<(u64, &str)> = listing
            .lines()
            .map(|line| {
                let mut words = line.split_whitespace();
                (words.next().unwrap().parse().unwrap(), words.next().unwrap())
            })
            .collect();
        objects.sort_unstable();
        // Bases that completed a thin pack stand behind those that were sent.
        let sent = u32::from_be_bytes(pack[8..12].try_into().unwrap()) as usize;
        objects.into_iter().take(sent).map(|(_, id)| id.to_owned()).collect()
    }

    /// All ids that `tips` reach.
    pub fn reachable(&self, repository: &Path, tips: &[String]) -> BTreeSet<String> {
        if tips.is_empty() {
            return BTreeSet::new();
        }
        let mut command = self.process("git");
        command.arg("-C").arg(repository).args(["rev-list", "--objects", "--no-object-names", "--stdin"]);
        let listing = run(&mut command, tips.join("\n").as_bytes()).expect("rev-list");
        listing.lines().map(String::from).collect()
    }
}

/// Runs to the end, or panics when the time is over.
pub fn run(command: &mut Command, input: &[u8]) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // A server that refuses does not read to the end.
        let _ = stdin.write_all(&input);
    });
    let out = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let err = thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).map(|_| bytes)
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PROCESS_TIME_MAX {
            child.kill().unwrap();
            panic!("{command:?} does not end");
        }
        thread::sleep(Duration::from_millis(2));
    };
    writer.join().unwrap();
    let out = out.join().unwrap().unwrap();
    let err = String::from_utf8_lossy(&err.join().unwrap().unwrap()).into_owned();
    Outcome { status, out, err }
}
