//! Stock Git, asked about what the generator made.

use std::path::Path;
use std::process::Command;

/// What `git` prints; fails the test if Git fails.
#[track_caller]
pub fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", dir)
        .output()
        .expect("git is needed to judge the generator");
    let heard = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {heard}");
    String::from_utf8(output.stdout).expect("git printed UTF-8")
}

/// `git fsck --full --strict` has nothing to say but that no ref reaches some commits or tags.
#[track_caller]
pub fn fsck(dir: &Path) {
    let said = git(dir, &["fsck", "--full", "--strict", "--no-progress"]);
    let harmless = ["dangling commit ", "dangling tag ", "notice: "];
    let is_harmless = |line: &&str| harmless.iter().any(|start| line.starts_with(start));
    let faults: Vec<&str> = said.lines().filter(|line| !is_harmless(line)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// All refs as `name id`, in order, symbolic ones left out.
#[track_caller]
pub fn refs(dir: &Path) -> Vec<String> {
    let format = "--format=%(refname) %(objectname)%(symref)";
    git(dir, &["for-each-ref", format])
        .lines()
        .filter(|line| line.rsplit(' ').next().is_some_and(|id| id.len() == 40))
        .map(str::to_owned)
        .collect()
}
