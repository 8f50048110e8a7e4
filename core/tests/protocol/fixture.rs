//! One repository with something of everything, made by stock Git, and the view of it that the machine gets.

use crate::stock::{database, git, git_with, id, import, linear_history};
use bstr::ByteSlice;
use heliostat_core::{
    ObjectId,
    objects::Database,
    protocol::{Policy, View},
    refs::{Head, Ref, RefName, RefTable},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::AtomicBool},
};
use tempfile::TempDir;

/// A bare repository and what a view borrows.
pub struct Fixture {
    _root: TempDir,
    pub path: PathBuf,
    pub refs: RefTable,
    pub recent: Vec<Arc<RefTable>>,
    pub hidden: Vec<ObjectId>,
    pub objects: Database,
    pub shallow: BTreeSet<ObjectId>,
    /// Ids by mark: `c1` to `c12` on main, `s1` to `s4` on side, `lost` on no branch, `secret` under a hidden reference.
    pub ids: BTreeMap<String, ObjectId>,
    stop: AtomicBool,
}

impl Fixture {
    /// Two branches, a merge, tags of all kinds, symbolic and hidden references, a commit that no reference reaches.
    pub fn full() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("full.git");
        import(&path, &stream());
        git(&path, &["tag", "-a", "-m", "nested", "nested", "v1"]);
        let mut marks: BTreeMap<String, ObjectId> = BTreeMap::new();
        for n in 1..=12 {
            marks.insert(format!("c{n}"), id(&git(&path, &["rev-parse", &format!("main~{}", 12 - n)])));
        }
        for n in 1..=4 {
            marks.insert(format!("s{n}"), id(&git(&path, &["rev-parse", &format!("side~{}", 4 - n)])));
        }
        for (mark, rev) in [
            ("lost", "lost"),
            ("lost-parent", "lost^"),
            ("secret", "secret"),
            ("secret-parent", "secret^"),
            ("tag", "v1"),
            ("nested", "nested"),
            ("blob", "main:file"),
            ("tree", "main^{tree}"),
            ("lost-blob", "lost:lost"),
        ] {
            marks.insert(mark.into(), id(&git(&path, &["rev-parse", rev])));
        }
        git(&path, &["update-ref", "refs/hidden/secret", "refs/heads/secret"]);
        git(&path, &["update-ref", "-d", "refs/heads/secret"]);
        git(&path, &["update-ref", "-d", "refs/heads/lost"]);
        git(&path, &["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
        git(&path, &["symbolic-ref", "refs/heads/alias-of-alias", "refs/heads/alias"]);
        git(&path, &["config", "uploadpack.hideRefs", "refs/hidden"]);
        let mut fixture = Self::open(root, path);
        fixture.hidden = vec![marks["secret"]];
        fixture.ids = marks;
        fixture
    }

    /// No references; `HEAD` names a branch that is not born.
    pub fn empty() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("empty.git");
        import(&path, "done\n");
        Self::open(root, path)
    }

    /// The same as [`Fixture::full`], but shallow itself: `main` is cut behind its three newest commits.
    pub fn shallow() -> Self {
        let whole = Self::full();
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("shallow.git");
        let url = format!("file://{}", whole.path.display());
        git(root.path(), &["clone", "-q", "--bare", "--depth=3", "--no-single-branch", &url, "shallow.git"]);
        let mut fixture = Self::open(root, path);
        fixture.ids = whole.ids;
        fixture
    }

    /// One long branch.
    pub fn linear(commits: u32) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("linear.git");
        import(&path, &linear_history(commits));
        Self::open(root, path)
    }

    /// One long branch of commits without files.
    pub fn bare_history(commits: usize) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("bare.git");
        let mut stream = String::new();
        for n in 0..commits {
            let _ = write!(
                stream,
                "commit refs/heads/main\ncommitter C <c@example.com> {} +0000\ndata 0\n\n",
                1_600_000_000 + n
            );
        }
        import(&path, &(stream + "done\n"));
        Self::open(root, path)
    }

    /// As [`Fixture::full`] with `HEAD` naming an object, by its mark.
    pub fn detached_at(mark: &str) -> Self {
        let mut fixture = Self::full();
        // Not by `update-ref`, which takes commits alone.
        std::fs::write(fixture.path.join("HEAD"), format!("{}\n", fixture.ids[mark])).expect("a file");
        fixture.refs = references(&fixture.path);
        fixture
    }

    fn open(root: TempDir, path: PathBuf) -> Self {
        let shallow = std::fs::read_to_string(path.join("shallow")).unwrap_or_default();
        Self {
            refs: references(&path),
            objects: database(&path),
            shallow: shallow.lines().map(id).collect(),
            _root: root,
            path,
            recent: Vec::new(),
            hidden: Vec::new(),
            ids: BTreeMap::new(),
            stop: AtomicBool::new(false),
        }
    }

    /// What the machine gets to see.
    pub fn view<'a>(&'a self, policy: &'a Policy) -> View<'a> {
        View {
            refs: &self.refs,
            hidden: &self.hidden,
            recent: &self.recent,
            pending: None,
            objects: &self.objects,
            shallow: &self.shallow,
            policy,
            stop: &self.stop,
        }
    }

    /// `text` with each `{mark}` replaced by its id.
    pub fn fill(&self, text: &str) -> String {
        let filled = self
            .ids
            .iter()
            .fold(text.to_owned(), |text, (mark, id)| text.replace(&format!("{{{mark}}}"), &id.to_string()));
        assert!(!filled.contains('{'), "an unknown mark in {filled:?}");
        filled
    }
}

/// The references of a repository as its configuration lets `upload-pack` see them.
fn references(path: &Path) -> RefTable {
    let listing = git(path, &["for-each-ref", "--format=%(objectname) %(refname) %(symref)"]);
    let mut refs = Vec::new();
    for line in listing.lines() {
        let mut words = line.split(' ');
        let (hex, name) = (words.next().expect("an id"), words.next().expect("a name"));
        if name.starts_with("refs/hidden/") {
            continue;
        }
        let peeled = id(&git(path, &["rev-parse", &format!("{name}^{{}}")]));
        // What `%(symref)` says is where the chain ends; the table holds its first step.
        let symbolic =
            words.next().filter(|end| !end.is_empty()).map(|_| git(path, &["symbolic-ref", "--no-recurse", name]));
        refs.push(Ref {
            name: RefName::new(name.as_bytes()).expect("a valid name"),
            id: id(hex),
            peeled: (peeled != id(hex)).then_some(peeled),
            symbolic: symbolic.map(|target| RefName::new(target.as_bytes()).expect("a valid name")),
        });
    }
    let head = std::fs::read(path.join("HEAD")).expect("HEAD");
    let head = match head.trim_end().strip_prefix(b"ref: ") {
        Some(name) => Head::Symbolic(RefName::new(name).expect("a valid name")),
        None => Head::Detached(id(&String::from_utf8_lossy(head.trim_end()))),
    };
    let head_peeled = match head {
        Head::Detached(at) => Some(id(&git(path, &["rev-parse", "HEAD^{}"]))).filter(|peeled| *peeled != at),
        _ => None,
    };
    RefTable::new(refs, head).with_head_peeled(head_peeled)
}

fn stream() -> String {
    let mut stream = String::new();
    let mut mark = 0;
    let mut commit = |branch: &str, from: Option<&str>, merge: Option<&str>, file: &str, time: u32| {
        mark += 1;
        let _ = write!(
            stream,
            "commit refs/heads/{branch}\nmark :{mark}\ncommitter C <c@example.com> {time} +0000\ndata 2\nm\n"
        );
        for (word, parent) in [("from", from), ("merge", merge)] {
            if let Some(parent) = parent {
                let _ = writeln!(stream, "{word} {parent}");
            }
        }
        let content = format!("{file} as commit {mark} has it\n");
        let _ = write!(stream, "M 100644 inline {file}\ndata {}\n{content}\n", content.len());
        mark
    };
    // main: c1 to c12; side leaves it at c3 (s1 is c3's child) and is merged into c8.
    for n in 1..=5 {
        commit("main", None, None, "file", 1_600_000_000 + n * 1000);
    }
    for n in 1..=4 {
        let from = (n == 1).then_some(":3");
        commit("side", from, None, "side/file", 1_600_003_500 + n * 100);
    }
    for n in 6..=7 {
        commit("main", None, None, "file", 1_600_000_000 + n * 1000);
    }
    commit("main", None, Some(":9"), "dir/sub/merged", 1_600_008_000);
    for n in 9..=12 {
        commit("main", None, None, "file", 1_600_000_000 + n * 1000);
    }
    for (branch, times) in [("lost", 2), ("secret", 2)] {
        for n in 0..times {
            let from = (n == 0).then_some(":5");
            commit(branch, from, None, branch, 1_600_020_000 + n);
        }
    }
    stream += "reset refs/tags/light\nfrom :4\n\n";
    stream += "reset refs/pull/1/head\nfrom :7\n\n";
    stream += "tag v1\nfrom :10\ntagger C <c@example.com> 1600030000 +0000\ndata 2\nt\n\n";
    stream + "done\n"
}

/// What `git upload-pack` writes on its output and its standard error, and whether it succeeds.
pub fn upload_pack(
    path: &Path,
    version: u8,
    options: &[&str],
    config: &[&str],
    input: &[u8],
) -> (Vec<u8>, String, bool) {
    let mut command = Command::new("git");
    command
        .args(config.iter().flat_map(|entry| ["-c", entry]))
        .arg("upload-pack")
        .args(options)
        .arg(path)
        .env("GIT_PROTOCOL", format!("version={version}"))
        .env("LC_ALL", "C");
    let (ok, output, errors) = crate::stock::run(&mut command, input);
    (output, errors, ok)
}

/// Makes sure that the streams above stay what the marks say.
#[test]
fn the_fixture_is_what_its_marks_say() {
    let fixture = Fixture::full();
    let show = |rev: &str| git(&fixture.path, &["rev-parse", rev]);
    assert_eq!(show(&format!("{}^2", fixture.ids["c8"])), fixture.ids["s4"].to_string());
    assert_eq!(show(&format!("{}^", fixture.ids["s1"])), fixture.ids["c3"].to_string());
    assert!(fixture.refs.find(b"refs/hidden/secret").is_none());
    assert_eq!(fixture.refs.len(), 8);
    let fsck = git_with(&fixture.path, &["fsck", "--full", "--strict"], b"");
    assert!(fsck.is_empty() || fsck.starts_with(b"dangling"));
}
