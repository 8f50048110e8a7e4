//! `heliostat demo`, as a new user runs it: with the machine's git, and without any.

use crate::support::heliostat::PROGRAM;
use crate::support::process::{hermetic, run};

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
