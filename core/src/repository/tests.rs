//! Repositories made by stock Git, opened here.

use super::*;
use crate::refs::Head;
use std::process::Command;

struct Fixture {
    _directory: tempfile::TempDir,
    root: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        Self { _directory: directory, root }
    }

    fn environment(&self, variables: &[(&str, &str)]) -> Environment {
        let own = [("HOME", self.root.to_str().unwrap()), ("GIT_CONFIG_NOSYSTEM", "1")];
        let variables = own.iter().chain(variables).map(|(name, value)| (name.into(), value.into()));
        Environment::new(variables, self.root.clone(), rustix::process::geteuid().as_raw())
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(&self.root)
            .env("HOME", &self.root)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_DATE", "1700000000 +0000")
            .env("GIT_COMMITTER_DATE", "1700000000 +0000")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().into()
    }

    fn stock(&self, arguments: &[&str], variables: &[(&str, &str)]) -> std::process::Output {
        Command::new("git")
            .arg("upload-pack")
            .args(arguments)
            .current_dir(&self.root)
            .env("HOME", &self.root)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(variables.iter().copied())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    }

    /// A work tree `w` with two commits, a branch, a light and an annotated tag of a tag.
    fn with_history(self) -> Self {
        self.git(&["init", "-q", "-b", "main", "w"]);
        self.git(&["-C", "w", "config", "user.name", "A"]);
        self.git(&["-C", "w", "config", "user.email", "a@example.com"]);
        for message in ["one", "two"] {
            self.git(&["-C", "w", "commit", "-q", "--allow-empty", "-m", message]);
        }
        self.git(&["-C", "w", "branch", "side", "HEAD^"]);
        self.git(&["-C", "w", "tag", "light"]);
        self.git(&["-C", "w", "tag", "-m", "x", "inner"]);
        self.git(&["-C", "w", "tag", "-m", "x", "outer", "inner"]);
        self.git(&["-C", "w", "symbolic-ref", "refs/heads/alias", "refs/heads/side"]);
        self
    }

    fn open(&self, path: &str, variables: &[(&str, &str)]) -> Result<Repository, OpenError> {
        Repository::open(Path::new(path), &self.environment(variables), false)
    }

    fn references(&self, path: &str, variables: &[(&str, &str)]) -> References {
        let repository = self.open(path, variables).unwrap();
        let hidden = HiddenRefs::from_configuration(repository.configuration()).unwrap();
        let (objects, complaints) = repository.objects().unwrap();
        assert_eq!(complaints, [""; 0]);
        repository.references(&hidden, Some(&objects)).unwrap()
    }
}

/// Who runs the test.
fn user() -> String {
    let told = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().into()
}

/// `id name` lines as `git ls-remote` prints them.
fn listed(references: &References) -> Vec<String> {
    let head = references.table.head_id().map(|id| format!("{id}\tHEAD"));
    let refs = references.table.iter().flat_map(|reference| {
        let peeled = reference.peeled.map(|id| format!("{id}\t{}^{{}}", reference.name));
        [Some(format!("{}\t{}", reference.id, reference.name)), peeled].into_iter().flatten()
    });
    head.into_iter().chain(refs).collect()
}

#[test]
fn references_equal_ls_remote_loose_and_packed() {
    let fixture = Fixture::new().with_history();
    let stock = |fixture: &Fixture| fixture.git(&["ls-remote", "w"]).lines().map(String::from).collect::<Vec<_>>();
    assert_eq!(listed(&fixture.references("w", &[])), stock(&fixture));
    fixture.git(&["-C", "w", "pack-refs", "--all"]);
    fixture.git(&["-C", "w", "branch", "-f", "side", "main"]);
    assert_eq!(listed(&fixture.references("w", &[])), stock(&fixture));
    let references = fixture.references("w", &[]);
    let alias = references.table.find(b"refs/heads/alias").unwrap();
    assert_eq!(alias.symbolic.unwrap(), "refs/heads/side");
    assert!(matches!(references.table.head(), Head::Symbolic(name) if name.as_bstr() == "refs/heads/main"));
}

/// `git pack-refs` between the two halves of a reading: what went from its file into `packed-refs` is seen in the file.
#[test]
fn references_that_are_packed_while_they_are_read() {
    let fixture = Fixture::new().with_history();
    let before = fixture.git(&["ls-remote", "w"]);
    let repository = fixture.open("w", &[]).unwrap();
    let hidden = HiddenRefs::from_configuration(repository.configuration()).unwrap();
    let (objects, _) = repository.objects().unwrap();
    let loose = repository.loose_references();
    fixture.git(&["-C", "w", "pack-refs", "--all", "--prune"]);
    assert!(!fixture.root.join("w/.git/refs/heads/main").exists(), "it was packed");
    let references = repository.references_over(&loose, &hidden, Some(&objects)).unwrap();
    assert_eq!(listed(&references).join("\n"), before);
    let alias = references.table.find(b"refs/heads/alias").unwrap();
    assert_eq!(alias.symbolic.unwrap(), "refs/heads/side");
    assert!(matches!(references.table.head(), Head::Symbolic(name) if name.as_bstr() == "refs/heads/main"));
}

/// The same at any instant: a real Git writes files and packs them away, again and again, and nothing ever vanishes.
#[test]
fn references_beside_a_git_that_packs_them() {
    const ROUNDS: usize = 40;
    let fixture = Fixture::new().with_history();
    let names = (0..100).map(|number| format!("refs/heads/b{number}"));
    let names: Vec<String> = names.chain(["refs/heads/main".into(), "refs/heads/side".into()]).collect();
    let write = |target: &str| {
        let lines: String = names.iter().map(|name| format!("update {name} {target}\n")).collect();
        std::fs::write(fixture.root.join("lines"), lines).unwrap();
        let file = std::fs::File::open(fixture.root.join("lines")).unwrap();
        let mut command = Command::new("git");
        command.args(["-C", "w", "update-ref", "--stdin"]).current_dir(&fixture.root).stdin(file);
        assert!(command.status().unwrap().success());
    };
    let ids = ["main", "side"].map(|name| fixture.git(&["-C", "w", "rev-parse", name]));
    write(&ids[0]);
    let running = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut readings = 0;
            while running.load(std::sync::atomic::Ordering::Relaxed) {
                let repository = fixture.open("w", &[]).unwrap();
                let references = repository.references(&HiddenRefs::default(), None).unwrap();
                for name in &names {
                    let found = references.table.find(name.as_bytes());
                    let found = found.unwrap_or_else(|| panic!("{name} has vanished"));
                    assert!(ids.contains(&found.id.to_string()), "{name} is {}", found.id);
                }
                assert!(references.table.find(b"refs/heads/alias").is_some(), "what alias names has vanished");
                assert!(references.table.head_id().is_some(), "what HEAD names has vanished");
                readings += 1;
            }
            readings
        });
        for round in 0..ROUNDS {
            if !reader.is_finished() {
                write(&ids[round % 2]);
                fixture.git(&["-C", "w", "pack-refs", "--all", "--prune"]);
            }
        }
        running.store(false, std::sync::atomic::Ordering::Relaxed);
        let readings = reader.join().unwrap();
        assert!(readings >= 10, "{readings} readings beside {ROUNDS} rounds");
    });
}

#[test]
fn broken_references_are_shown_as_stock_shows_them() {
    let fixture = Fixture::new().with_history();
    let refs = fixture.root.join("w/.git/refs/heads");
    std::fs::write(refs.join("broken"), "nonsense\n").unwrap();
    std::fs::write(refs.join("null"), format!("{}\n", "0".repeat(40))).unwrap();
    std::fs::write(refs.join("missing"), format!("{}\n", "1".repeat(40))).unwrap();
    std::fs::write(refs.join("loop"), "ref: refs/heads/loop\n").unwrap();
    std::fs::write(refs.join("dangling"), "ref: refs/heads/none\n").unwrap();
    std::fs::write(refs.join("main.lock"), "").unwrap();
    let references = fixture.references("w", &[]);
    assert_eq!(listed(&references).join("\n"), fixture.git(&["ls-remote", "w"]));
    assert_eq!(references.complaints, [""; 0]);
    std::fs::write(refs.join("bad name"), format!("{}\n", "1".repeat(40))).unwrap();
    let complaints = fixture.references("w", &[]).complaints;
    assert_eq!(complaints, ["warning: ignoring ref with broken name refs/heads/bad name"]);
}

/// A first line that begins with `#` is the header, and only what Git writes there is one.
#[test]
fn malformed_packed_refs_are_refused_as_stock_refuses_them() {
    let fixture = Fixture::new().with_history();
    let main = fixture.git(&["-C", "w", "rev-parse", "main"]);
    let line = format!("{main} refs/heads/packed\n");
    let long = "x".repeat(100);
    for (content, sound) in [
        (format!("# pack-refs with: peeled fully-peeled sorted \n{line}"), true),
        (format!("# pack-refs with:\n{line}"), true),
        (format!("# pack-refs with:peeled\n{line}"), true),
        (line.clone(), true),
        (format!("# a comment\n{line}"), false),
        (format!("#\n{line}"), false),
        (format!("# pack-refs\n{line}"), false),
        (format!("# {long}\n{line}"), false),
        ("# pack-refs with: peeled".into(), false),
        ("# a comment".into(), false),
        (format!("{line}# late\n"), false),
        (format!("{line}{long}\n"), false),
        (format!("{line}{main} refs/heads/cut"), false),
        (format!("{line}{main} refs/heads/{long}"), false),
    ] {
        std::fs::write(fixture.root.join("w/.git/packed-refs"), &content).unwrap();
        let ours = fixture.open("w", &[]).unwrap().references(&HiddenRefs::default(), None);
        let stock = fixture.stock(&["--advertise-refs", "w"], &[]);
        assert_eq!(ours.is_ok(), sound, "{content:?}");
        assert_eq!(stock.status.success(), sound, "{content:?}");
        if let Err(error) = ours {
            assert_eq!(format!("fatal: {error}\n"), String::from_utf8_lossy(&stock.stderr), "{content:?}");
        }
    }
}

#[test]
fn head_unborn_detached_hidden() {
    let fixture = Fixture::new().with_history();
    let commit = fixture.git(&["-C", "w", "rev-parse", "HEAD"]);
    let hide = [("GIT_CONFIG_PARAMETERS", "'transfer.hideRefs'='refs/heads/main'")];
    let references = fixture.references("w", &hide);
    assert!(references.table.find(b"refs/heads/main").is_none());
    assert_eq!(references.table.head_id().unwrap().to_string(), commit);
    assert_eq!(references.hidden.len(), 1);
    std::fs::write(fixture.root.join("w/.git/HEAD"), "ref: refs/heads/none\n").unwrap();
    let references = fixture.references("w", &[]);
    assert!(matches!(references.table.head(), Head::Symbolic(name) if name.as_bstr() == "refs/heads/none"));
    assert_eq!(references.table.head_id(), None);
    std::fs::write(fixture.root.join("w/.git/HEAD"), format!("{commit}\n")).unwrap();
    assert!(matches!(fixture.references("w", &[]).table.head(), Head::Detached(id) if id.to_hex() == commit));
}

#[test]
fn namespaces_show_their_own_references_alone() {
    let fixture = Fixture::new().with_history();
    fixture.git(&["-C", "w", "update-ref", "refs/namespaces/a/refs/namespaces/b/refs/heads/x", "main"]);
    fixture.git(&[
        "-C",
        "w",
        "symbolic-ref",
        "refs/namespaces/a/refs/namespaces/b/HEAD",
        "refs/namespaces/a/refs/namespaces/b/refs/heads/x",
    ]);
    let references = fixture.references("w", &[("GIT_NAMESPACE", "a//b")]);
    assert_eq!(references.table.iter().map(|r| r.name.to_string()).collect::<Vec<_>>(), ["refs/heads/x"]);
    assert!(matches!(references.table.head(), Head::Symbolic(name) if name.as_bstr() == "refs/heads/x"));
    let error = fixture.open("w", &[("GIT_NAMESPACE", "a..b")]).unwrap_err();
    assert_eq!(error.to_string(), "bad git namespace path \"a..b\"");
}

#[test]
fn paths_are_tried_as_stock_tries_them() {
    let fixture = Fixture::new().with_history();
    fixture.git(&["clone", "-q", "--bare", "w", "bare.git"]);
    fixture.git(&["clone", "-q", "w", "both.git"]);
    fixture.git(&["init", "-q", "--separate-git-dir", "apart", "linked"]);
    fixture.git(&["-C", "w", "worktree", "add", "-q", "../tree", "side"]);
    // From that user's home up to the root, and down again.
    let of_a_user = format!("~{}{}{}/bare", user(), "/..".repeat(16), fixture.root.display());
    let paths =
        ["w", "w/", "w/.git", "bare.git", "bare", "both", "linked", "tree", "~/w", "none", "w/none", "linked/.git"];
    assert!(Repository::open(Path::new(&of_a_user), &fixture.environment(&[]), false).is_ok(), "{of_a_user}");
    for path in paths.into_iter().chain([&*of_a_user, "~no-such-user/w", "~no-such-user"]) {
        for strict in [false, true] {
            let ours = Repository::open(Path::new(path), &fixture.environment(&[]), strict);
            let output =
                fixture.stock(&[if strict { "--strict" } else { "--no-strict" }, "--advertise-refs", path], &[]);
            assert_eq!(ours.is_ok(), output.status.success(), "{path} {strict} {ours:?}");
            if let Err(error) = ours {
                assert_eq!(format!("fatal: {error}\n"), String::from_utf8_lossy(&output.stderr), "{path} {strict}");
            }
        }
    }
    let tree = fixture.references("tree", &[]);
    assert!(matches!(tree.table.head(), Head::Symbolic(name) if name.as_bstr() == "refs/heads/side"));
    assert!(tree.table.find(b"refs/heads/main").is_some());
}

#[test]
fn another_users_repository_needs_safe_directory() {
    let fixture = Fixture::new().with_history();
    let distrust = ("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
    let root = fixture.root.to_str().unwrap().to_owned();
    let user = user();
    let error = fixture.open("w", &[distrust]).unwrap_err();
    let stock = fixture.stock(&["w"], &[distrust]);
    assert_eq!(format!("fatal: {error}\n"), String::from_utf8_lossy(&stock.stderr));
    for (value, safe) in [
        ("*", true),
        ("", false),
        ("/elsewhere", false),
        ("relative", false),
        (&format!("{root}/w/.git"), true),
        (&format!("{root}/*"), true),
        ("~/w/.git", true),
        (&format!("~{user}{}{root}/w/.git", "/..".repeat(16)), true),
        (&format!("~{user}/w/.git"), false),
        ("~no-such-user/w/.git", false),
        (&format!("{root}/w"), false),
    ] {
        let variables = [
            distrust,
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", value),
        ];
        assert_eq!(fixture.open("w", &variables).is_ok(), safe, "{value}");
        let stock = fixture.stock(&["--advertise-refs", "w"], &variables);
        assert_eq!(stock.status.success(), safe, "stock: {value}");
    }
}

#[test]
fn what_lies_in_the_home_of_a_user_is_included() {
    let fixture = Fixture::new().with_history();
    std::fs::write(fixture.root.join("more"), "[transfer]\n\thideRefs = refs/heads/side\n").unwrap();
    let include = format!("~{}{}{}/more", user(), "/..".repeat(16), fixture.root.display());
    let variables =
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "include.path"), ("GIT_CONFIG_VALUE_0", &*include)];
    let stock = fixture.stock(&["--advertise-refs", "w"], &variables);
    assert!(stock.status.success() && !String::from_utf8_lossy(&stock.stdout).contains("refs/heads/side"));
    assert!(fixture.references("w", &variables).table.find(b"refs/heads/side").is_none());
}

#[test]
fn formats_that_are_not_understood_are_refused_in_words() {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q", "--bare", "x.git"]);
    for (version, extensions, words) in [
        (2, "", "Expected git repo version <= 1, found 2"),
        (1, "\tfoo = 1\n", "unknown repository extension found:\n\tfoo"),
        (0, "\tfoo = 1\n\tworktreeConfig = true\n\tpartialClone = origin\n", ""),
        (0, "\tobjectFormat = sha1\n", "repo version is 0, but v1-only extension found:\n\tobjectformat"),
        (1, "\tobjectFormat = sha1\n\tnoop = 1\n", ""),
        (1, "\tobjectFormat = sha256\n", "this repository's object format is sha256; only sha1 is served"),
        (1, "\trefStorage = reftable\n", "this repository's references are stored as reftable; only files are served"),
    ] {
        let text = format!("[core]\n\trepositoryformatversion = {version}\n\tbare = true\n[extensions]\n{extensions}");
        std::fs::write(fixture.root.join("x.git/config"), text).unwrap();
        let ours = fixture.open("x.git", &[]).map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(ours, words, "{version} {extensions}");
    }
}

#[test]
fn objects_are_found_in_packs_loose_and_alternates() {
    let fixture = Fixture::new().with_history();
    fixture.git(&["clone", "-q", "--shared", "--bare", "w", "a.git"]);
    fixture.git(&["clone", "-q", "--shared", "--bare", "a.git", "b.git"]);
    std::fs::write(fixture.root.join("b.git/objects/info/alternates"), "# comment\n../../a.git/objects\n\n/none\n")
        .unwrap();
    let repository = fixture.open("b.git", &[]).unwrap();
    assert_eq!(repository.object_directories().paths.len(), 3);
    assert_eq!(
        repository.object_directories().complaints,
        ["error: object directory /none does not exist; check .git/objects/info/alternates"]
    );
    let (objects, _) = repository.objects().unwrap();
    let head = crate::ObjectId::from_hex(fixture.git(&["-C", "w", "rev-parse", "HEAD"]).as_bytes()).unwrap();
    assert!(objects.number(&head).is_some());
    fixture.git(&["-C", "w", "repack", "-qad"]);
    let (objects, _) = fixture.open("b.git", &[]).unwrap().objects().unwrap();
    assert!(objects.number(&head).is_some());
    let borrowed = fixture.root.join("w/.git/objects");
    std::fs::remove_file(fixture.root.join("b.git/objects/info/alternates")).unwrap();
    assert!(fixture.open("b.git", &[]).unwrap().objects().unwrap().0.number(&head).is_none());
    let variables = [("GIT_ALTERNATE_OBJECT_DIRECTORIES", borrowed.to_str().unwrap())];
    assert!(fixture.open("b.git", &variables).unwrap().objects().unwrap().0.number(&head).is_some());
}

#[test]
fn shallow_boundaries_are_read() {
    let fixture = Fixture::new().with_history();
    let source = format!("file://{}/w", fixture.root.display());
    fixture.git(&["clone", "-q", "--bare", "--depth=1", &source, "s.git"]);
    let repository = fixture.open("s.git", &[]).unwrap();
    let expected = fixture.git(&["-C", "w", "rev-parse", "HEAD"]);
    assert_eq!(repository.shallow().unwrap().iter().map(|id| id.to_string()).collect::<Vec<_>>(), [expected]);
    assert!(fixture.open("w", &[]).unwrap().shallow().unwrap().is_empty());
    std::fs::write(fixture.root.join("s.git/shallow"), "nonsense\n").unwrap();
    assert_eq!(repository.shallow().unwrap_err().to_string(), "bad shallow line: nonsense");
}
