//! Stock Git as the maker of repositories and as the oracle.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod answer;

use heliostat_core::{ObjectId, objects::Database, pack::SealedPack};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

/// Runs `git` in `directory`, fed with `input`, and returns its output. Fixed names and times: same script, same ids.
pub fn git_with(directory: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let (ok, output, errors) = try_git(directory, args, input);
    assert!(ok, "git {args:?}: {errors}");
    output
}

/// As [`git_with`], telling whether `git` succeeded and what it complained of.
pub fn try_git(directory: &Path, args: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
    let mut command = Command::new("git");
    command
        .args(args)
        .current_dir(directory)
        .env("GIT_AUTHOR_NAME", "A")
        .env("GIT_AUTHOR_EMAIL", "a@example.com")
        .env("GIT_COMMITTER_NAME", "C")
        .env("GIT_COMMITTER_EMAIL", "c@example.com")
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000");
    run(&mut command, input)
}

/// Runs a command of `git`'s without the configuration of machine and user; whether it succeeded, its output and what it
/// complained of.
pub fn run(command: &mut Command, input: &[u8]) -> (bool, Vec<u8>, String) {
    let mut child = command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A git that fails early closes its input: its status tells.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("git ends")
    });
    (output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs `git` and returns its output as trimmed text.
pub fn git(directory: &Path, args: &[&str]) -> String {
    String::from_utf8_lossy(&git_with(directory, args, b"")).trim().to_owned()
}

/// Parses a hexadecimal id.
pub fn id(hex: &str) -> ObjectId {
    ObjectId::from_hex(hex.as_bytes()).expect("an id")
}

/// What `rev` names.
pub fn rev(directory: &Path, rev: &str) -> ObjectId {
    id(&git(directory, &["rev-parse", "--verify", rev]))
}

/// The packs of a repository, in order of name.
pub fn packs(objects: &Path) -> Vec<Arc<SealedPack>> {
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(objects.join("pack")) {
        Ok(entries) => entries.map(|entry| entry.expect("an entry").path()).collect(),
        Err(_) => Vec::new(),
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pack"));
    paths.sort();
    paths.iter().map(|path| Arc::new(SealedPack::open(path).expect("a whole pack"))).collect()
}

/// All objects of a bare repository.
pub fn database(repository: &Path) -> Database {
    let objects = repository.join("objects");
    Database::with_loose(packs(&objects), &[objects]).expect("a listing")
}

/// A bare repository made from a `git fast-import` stream.
pub fn import(directory: &Path, stream: &str) {
    std::fs::create_dir_all(directory).expect("a directory");
    git(directory, &["init", "-q", "--bare", "-b", "main"]);
    git_with(directory, &["-c", "fastimport.unpackLimit=1", "fast-import", "--quiet"], stream.as_bytes());
}

/// A `git fast-import` stream of `commits` linear commits that each change a few lines of large files in nested folders.
pub fn linear_history(commits: u32) -> String {
    let mut stream = String::new();
    let mut lines: Vec<String> = (0..400).map(|line| format!("line {line} of the beginning\n")).collect();
    for commit in 1..=commits {
        let at = (commit as usize * 37) % lines.len();
        lines[at] = format!("line {at} as commit {commit} wrote it\n");
        let big = lines.concat();
        let small = format!("small {commit}\n");
        stream += &format!(
            "commit refs/heads/main\nmark :{commit}\ncommitter C <c@example.com> {} +0000\ndata <<END\ncommit {commit}\nEND\n\n",
            1_600_000_000 + commit * 60
        );
        if commit > 1 {
            stream += &format!("from :{}\n", commit - 1);
        }
        stream += &format!("M 100644 inline a/b/c/big.txt\ndata {}\n{big}\n", big.len());
        stream += &format!("M 100755 inline a/d{}/small.txt\ndata {}\n{small}\n", commit % 5, small.len());
        stream += &format!("M 120000 inline link{}\ndata 3\nfoo\n", commit % 3);
    }
    stream + "done\n"
}
