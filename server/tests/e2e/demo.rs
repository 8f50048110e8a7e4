//! `heliostat demo`, as a new user runs it: with the machine's git, and without any.

use crate::support::heliostat::PROGRAM;
use crate::support::process::{Guarded, SERVER_TIMEOUT, hermetic, run, wait_until};
use rustix::process::Signal;
use std::{
    fs::File,
    io::{Read, Seek},
    os::unix::process::ExitStatusExt,
    path::Path,
    time::Duration,
};
use tempfile::TempDir;

fn demo(path: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = hermetic(PROGRAM, folder.path());
    command.args(["demo", "--once"]).env("TMPDIR", folder.path());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let done = run(&mut command, b"", folder.path());
    let said = done.text();
    assert!(done.status.success(), "{said}\n{}", done.stderr);
    assert!(said.contains("a commit upstream: main is "), "{said}");
    assert!(said.contains("Each time the client had every ref of the upstream, with the same value."), "{said}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("run-")), "left behind: {left:?}");
}

#[test]
fn with_git() {
    demo(None);
}

#[test]
fn without_git() {
    demo(Some("/nonexistent"));
}

/// A folder of the user's own, named from where they stand, stays.
#[test]
fn into_a_folder() {
    for path in [None, Some("/nonexistent")] {
        let folder = TempDir::new().unwrap();
        let mut command = hermetic(PROGRAM, folder.path());
        command.args(["demo", "--once", "--dir", "some/demo"]).current_dir(folder.path());
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let done = run(&mut command, b"", folder.path());
        assert!(done.status.success(), "{}\n{}", done.text(), done.stderr);
        assert!(folder.path().join("some/demo/clone").is_dir());
    }
}

/// What is set for a repository or a node of the user's own reaches none of the demo's processes.
#[test]
fn with_settings_of_other_things() {
    for path in [None, Some("/nonexistent")] {
        let folder = TempDir::new().unwrap();
        let mut command = hermetic(PROGRAM, folder.path());
        command.args(["demo", "--once"]).env("TMPDIR", folder.path()).envs([
            ("GIT_DIR", "/nonexistent/git"),
            ("GIT_WORK_TREE", "/nonexistent/tree"),
            ("GIT_INDEX_FILE", "/nonexistent/index"),
            ("GIT_OBJECT_DIRECTORY", "/nonexistent/objects"),
            ("GIT_NAMESPACE", "other"),
            ("GIT_CONFIG_PARAMETERS", "nonsense"),
            ("HELIOSTAT_DATA", "/nonexistent/data"),
            ("HELIOSTAT_CONFIG", "/nonexistent/heliostat.toml"),
        ]);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let done = run(&mut command, b"", folder.path());
        assert!(done.status.success(), "{}\n{}", done.text(), done.stderr);
    }
}

/// A node that does not start says why, and the demo passes that on.
#[test]
fn a_node_that_does_not_start() {
    let folder = TempDir::new().unwrap();
    let mut command = hermetic("prlimit", folder.path());
    command.args(["--memlock=65536:65536", PROGRAM, "demo", "--once"]).env("TMPDIR", folder.path());
    let done = run(&mut command, b"", folder.path());
    assert_eq!(done.status.code(), Some(1), "{}", done.stderr);
    assert!(done.stderr.contains("the upstream ended"), "{}", done.stderr);
    assert!(done.stderr.contains("memory-lock limit is 64 KiB"), "{}", done.stderr);
}

/// A demo that keeps running, and the ids of its two nodes.
struct Running {
    folder: TempDir,
    demo: Guarded,
    nodes: Vec<String>,
}

impl Running {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut said =
            File::options().read(true).write(true).create_new(true).open(folder.path().join("said")).unwrap();
        let mut command = hermetic(PROGRAM, folder.path());
        command.arg("demo").env("TMPDIR", folder.path());
        command.stdout(said.try_clone().unwrap()).stderr(said.try_clone().unwrap());
        let mut demo = Guarded::start(&mut command);
        wait_until("the demo runs", 2 * SERVER_TIMEOUT, || {
            let mut text = String::new();
            said.rewind().unwrap();
            said.read_to_string(&mut text).unwrap();
            assert!(demo.ended().is_none(), "{text}");
            text.contains("Ctrl-C ends the demo")
        });
        let nodes: Vec<String> =
            demo.proc(&format!("task/{}/children", demo.id())).split_whitespace().map(str::to_owned).collect();
        assert_eq!(nodes.len(), 2);
        Self { folder, demo, nodes }
    }

    /// To the demo alone: its nodes must hear of it from the demo.
    fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_raw(self.demo.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn nodes_end(&self) {
        wait_until("the nodes end", SERVER_TIMEOUT, || {
            self.nodes.iter().all(|pid| {
                // Where nothing reaps orphans they stay as zombies.
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                !Path::new("/proc").join(pid).exists() || stat.contains(") Z ")
            })
        });
    }
}

#[test]
fn a_closed_terminal_ends_it() {
    let mut running = Running::start();
    running.signal(Signal::HUP);
    let status = running.demo.wait(Duration::from_secs(30)).unwrap();
    assert!(status.success(), "{status}");
    running.nodes_end();
    let left: Vec<_> = std::fs::read_dir(running.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["said"]);
}

#[test]
fn its_nodes_do_not_outlive_a_kill() {
    let mut running = Running::start();
    running.signal(Signal::KILL);
    assert_eq!(running.demo.wait(Duration::from_secs(30)).unwrap().signal(), Some(9));
    running.nodes_end();
}
