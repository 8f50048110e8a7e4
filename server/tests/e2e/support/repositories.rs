//! Upstream repositories with everything that a mirror must carry over, made and changed by stock Git.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::git::Git;

/// 2024-01-01T00:00:00Z; commit number `n` of a history is `n` days later.
const EPOCH: u64 = 1_704_067_200;
const DAY: u64 = 86_400;

/// A bare repository at the upstream.
#[derive(Clone)]
pub struct Upstream {
    pub git: Git,
    pub folder: PathBuf,
}

impl Upstream {
    /// No references, HEAD at an unborn `main`.
    pub fn empty(git: &Git, folder: &Path) -> Self {
        let parent = folder.parent().expect("a folder in the sandbox");
        std::fs::create_dir_all(parent).expect("the sandbox is writable");
        git.text(parent, &["init", "-q", "--bare", &folder.display().to_string()]);
        Self { git: git.clone(), folder: folder.into() }
    }

    /// One commit in the other object format.
    pub fn in_sha256(git: &Git, folder: &Path) -> Self {
        let parent = folder.parent().expect("a folder in the sandbox");
        git.text(parent, &["init", "-q", "--bare", "--object-format=sha256", &folder.display().to_string()]);
        let upstream = Self { git: git.clone(), folder: folder.into() };
        upstream.commit_on_nothing("main", &[("file.txt", "content\n")]);
        upstream
    }

    /// A history of ninety commits with branches, merges, every kind of tag, pull requests, notes, a symbolic
    /// reference, small and large blobs, deep folders, in one pack and some loose objects.
    pub fn rich(git: &Git, folder: &Path) -> Self {
        let upstream = Self::empty(git, folder);
        upstream.import(&rich_history());
        upstream.run(&["tag", "-a", "-m", "a tag of a tag", "v1.0-nested", "v1.0"]);
        upstream.run(&["tag", "v0.1-blob", "v0.1:src/f1.txt"]);
        upstream.run(&["tag", "-a", "-m", "a tag of a tree", "v0.1-tree", "v0.1^{tree}"]);
        upstream.run(&["notes", "add", "-m", "a note", "main~3"]);
        upstream.run(&["symbolic-ref", "refs/heads/current", "refs/heads/release/1.0"]);
        upstream.run(&["repack", "-a", "-d", "-q"]);
        upstream.commit("main", &[("loose.txt", "after the repack\n")]);
        upstream
    }

    /// Another upstream repository in the same state.
    pub fn copy_to(&self, folder: &Path) -> Self {
        let source = self.folder.display().to_string();
        let copy = std::process::Command::new("cp").args(["-a", "--", &source]).arg(folder).status();
        assert!(copy.expect("cp runs").success(), "cp -a {source} {}", folder.display());
        Self { git: self.git.clone(), folder: folder.into() }
    }

    /// A Git command in it that must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.git.text(&self.folder, arguments)
    }

    /// An object id.
    pub fn id(&self, revision: &str) -> String {
        self.run(&["rev-parse", "--verify", revision])
    }

    /// Adds a commit with these files to a branch, which is made at HEAD if it is not there.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        let known = self.git.run(&self.folder, &["rev-parse", "-q", "--verify", &format!("refs/heads/{branch}")]);
        let parent = if known.status.success() { known.text() } else { self.id("HEAD") };
        self.commit_on(&parent, branch, files)
    }

    /// Makes a commit on top of `parent` and points a branch at it, whatever was there before.
    pub fn commit_on(&self, parent: &str, branch: &str, files: &[(&str, &str)]) -> String {
        let mut stream = Stream::default();
        let count: u64 = self.run(&["rev-list", "--count", parent]).parse().expect("a count");
        stream.commit(&format!("refs/heads/{branch}"), count, Some(("from", parent)), files);
        self.import(&stream.text);
        self.id(&format!("refs/heads/{branch}"))
    }

    /// The first commit of a repository.
    pub fn commit_on_nothing(&self, branch: &str, files: &[(&str, &str)]) {
        let mut stream = Stream::default();
        stream.commit(&format!("refs/heads/{branch}"), 0, None, files);
        self.import(&stream.text);
    }

    /// Adds a commit in which `path` is a submodule at `commit`.
    pub fn add_submodule(&self, branch: &str, path: &str, commit: &str) {
        let mut stream = Stream::default();
        let parent = self.id(branch);
        stream.commit(&format!("refs/heads/{branch}"), 1, Some(("from", &parent)), &[]);
        let stream = format!("{}\nM 160000 {commit} {path}\n", stream.text.trim_end());
        self.import(&stream);
    }

    fn import(&self, stream: &str) {
        let arguments = ["fast-import", "--quiet", "--force", "--date-format=raw"];
        let finished = self.git.run_with(&self.folder, &arguments, stream.as_bytes());
        assert!(finished.status.success(), "fast-import: {}", finished.stderr);
    }
}

/// A stream for `git fast-import`.
#[derive(Default)]
struct Stream {
    text: String,
}

impl Stream {
    /// A commit on day `day`, on top of what the stream gave the reference before; `parent` adds to that (`merge`)
    /// or stands in its place (`from`).
    fn commit(&mut self, reference: &str, day: u64, parent: Option<(&str, &str)>, files: &[(&str, &str)]) {
        let date = EPOCH + day * DAY;
        let message = format!("Change on day {day}\n");
        let _ = write!(
            self.text,
            "commit {reference}\ncommitter A U Thor <author@example.com> {date} +0000\ndata {}\n{message}",
            message.len()
        );
        if let Some((how, parent)) = parent {
            let _ = writeln!(self.text, "{how} {parent}");
        }
        for (path, content) in files {
            let _ = write!(self.text, "M 100644 inline {path}\ndata {}\n{content}\n", content.len());
        }
        self.text.push('\n');
    }

    /// Points a reference at what another one of the stream points at.
    fn branch(&mut self, reference: &str, from: &str) {
        let _ = writeln!(self.text, "reset {reference}\nfrom {from}\n");
    }

    fn tag(&mut self, name: &str, from: &str, day: u64) {
        let date = EPOCH + day * DAY;
        let _ = write!(
            self.text,
            "tag {name}\nfrom {from}\ntagger A U Thor <author@example.com> {date} +0000\ndata 8\nrelease\n\n"
        );
    }
}

fn rich_history() -> String {
    let mut stream = Stream::default();
    let main = "refs/heads/main";
    let mut big = String::new();
    for day in 0..80_u64 {
        let _ = write!(
            big,
            "line {day} of a file that grows: {:016x}\n{}",
            day.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            "x".repeat(60)
        );
        let small = format!("content {day}\n").repeat(3);
        let path = format!("src/f{}.txt", day % 10);
        let deep = format!("deep/a{}/b/c/d{}/leaf.txt", day % 3, day % 7);
        // Of its own: one blob below and above a filter's depth is where stock Git's `combine:` forgets it.
        let leaf = format!("leaf {day}\n");
        let files = [(path.as_str(), small.as_str()), (deep.as_str(), leaf.as_str()), ("src/big.txt", big.as_str())];
        let merged = match day {
            40 => Some("refs/heads/topic"),
            60 => Some("refs/heads/side"),
            _ => None,
        };
        stream.commit(main, day, merged.map(|other| ("merge", other)), &files);
        match day {
            10 => stream.branch("refs/tags/v0.1", "refs/heads/main"),
            20 => stream.branch("refs/heads/topic", "refs/heads/main"),
            21..=27 => stream.commit("refs/heads/topic", day, None, &[("topic.txt", &small)]),
            30 => stream.branch("refs/heads/release/1.0", "refs/heads/main"),
            31 => stream.tag("v1.0", "refs/heads/release/1.0", day),
            45 => stream.branch("refs/heads/side", "refs/heads/main"),
            46..=50 => stream.commit("refs/heads/side", day, None, &[("side/s.txt", &small)]),
            61 => stream.tag("v2.0", "refs/heads/main", day),
            70 => stream.branch("refs/pull/1/head", "refs/heads/main"),
            71..=73 => stream.commit("refs/pull/1/head", day, None, &[("pull.txt", &small)]),
            75 => stream.branch("refs/heads/unmerged", "refs/heads/main"),
            76..=78 => stream.commit("refs/heads/unmerged", day, None, &[("un.txt", &small)]),
            _ => {}
        }
    }
    stream.text
}
