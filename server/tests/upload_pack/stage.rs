//! A folder for one test, the two servers, and processes that can't hang.

use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
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
            // By its path: a client puts the folder of its own Git first on the search path.
            Side::Stock => format!("{} upload-pack", gits()[0].path.display()),
        }
    }
}

/// A stock Git of this machine.
#[derive(Debug)]
pub struct Git {
    pub path: PathBuf,
    pub version: String,
}

/// The first Git on the search path, and the distribution's where it is another; the newest, which is the stock server,
/// first.
pub fn gits() -> &'static [Git] {
    static GITS: OnceLock<Vec<Git>> = OnceLock::new();
    GITS.get_or_init(|| {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let first = std::env::split_paths(&folders).map(|folder| folder.join("git")).find(|path| path.exists());
        let mut gits: Vec<Git> = Vec::new();
        for path in [first.expect("git is on the search path"), "/usr/bin/git".into()] {
            let Ok(told) = Command::new(&path).arg("version").output() else { continue };
            let version = String::from_utf8_lossy(&told.stdout).trim().replacen("git version ", "", 1);
            if gits.iter().all(|git| git.version != version) {
                gits.push(Git { path, version });
            }
        }
        let numbers = |git: &Git| -> Vec<u32> { git.version.split('.').map_while(|n| n.parse().ok()).collect() };
        gits.sort_by_key(|git| std::cmp::Reverse(numbers(git)));
        // For the log: `.config/nextest.toml` has it shown once when all is well, and it stands above any failure.
        for (git, role) in gits.iter().zip(["stock server and client", "client"]) {
            println!("{role}: Git {} ({})", git.version, git.path.display());
        }
        gits
    })
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
                let mut command = self.process(&gits()[0].path);
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
        // Within a repository: without one, Git 2.47 dies of not knowing the hash.
        let listing = command.arg("-C").arg(&bare).arg("show-index").stdin(Stdio::from(index)).output().unwrap();
        assert!(listing.status.success(), "show-index: {}", listing.status);
        let listing = String::from_utf8(listing.stdout).unwrap();
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
        assert!(objects.len() >= sent, "{} of {sent} objects", objects.len());
        objects.into_iter().take(sent).map(|(_, id)| id.to_owned()).collect()
    }

    /// The kind of an object.
    pub fn kind(&self, repository: &Path, id: &str) -> String {
        self.git(&["-C", repository.to_str().unwrap(), "cat-file", "-t", id])
    }

    /// All ids that `tips` reach, where history ends at `shallow`.
    pub fn reachable(&self, repository: &Path, tips: &[String], shallow: &BTreeSet<String>) -> BTreeSet<String> {
        if tips.is_empty() {
            return BTreeSet::new();
        }
        let mut command = self.process("git");
        let file = self.shallow_file(shallow);
        command.arg("-C").arg(repository).arg("--shallow-file").arg(file.path());
        command.args(["rev-list", "--objects", "--no-object-names", "--stdin"]);
        let listing = run(&mut command, tips.join("\n").as_bytes()).expect("rev-list");
        listing.lines().map(String::from).collect()
    }

    /// A file for `--shallow-file`.
    pub fn shallow_file(&self, ids: &BTreeSet<String>) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new_in(self.root.join("scratch")).unwrap();
        ids.iter().for_each(|id| writeln!(file, "{id}").unwrap());
        file
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

/// Does something in a thread where `root`, too, may read only what its modes allow; so do the processes that it starts.
pub fn unprivileged<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let privileges = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    thread::scope(|scope| {
        let acting = scope.spawn(move || {
            if rustix::process::geteuid().is_root() {
                for privilege in privileges.iter() {
                    remove_capability_from_bounding_set(privilege).unwrap();
                }
                let mut sets = capabilities(None).unwrap();
                sets.effective -= privileges;
                sets.permitted -= privileges;
                sets.inheritable -= privileges;
                set_capabilities(None, sets).unwrap();
            }
            act()
        });
        acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A copy of a folder.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
