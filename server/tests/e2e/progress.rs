//! What `heliostat sync` shows while it works: counts of what has been done, wherever it is looked at.
//!
//! The upstream stops in the middle of the pack, so that what is shown there stands still.

use crate::support::cutter::Cutter;
use crate::support::heliostat::{Heliostat, PROGRAM};
use crate::support::process::{Guarded, SERVER_TIMEOUT, hermetic, wait_until};
use crate::support::sandbox::Sandbox;
use heliostat_testrepo::Spec;
use std::fs::File;
use std::path::{Path, PathBuf};

const APP: &str = "team/app.git";

/// An upstream that sends half a pack.
struct Scene {
    sandbox: Sandbox,
    objects: u64,
    cutter: Cutter,
    _upstream: Heliostat,
}

impl Scene {
    fn start() -> Self {
        let sandbox = Sandbox::new();
        let folder = sandbox.path().join("upstream").join(APP);
        let objects = Spec::medium(7).write(&folder).expect("a repository").objects;
        let packs = std::fs::read_dir(folder.join("objects/pack")).unwrap();
        let bytes: u64 = packs
            .map(|entry| entry.unwrap())
            .filter(|e| e.path().extension().is_some_and(|e| e == "pack"))
            .map(|e| e.metadata().unwrap().len())
            .sum();
        let folder = sandbox.path().join("upstream").display().to_string();
        let upstream = Heliostat::start(&sandbox.folder("host"), &folder, &[]);
        let cutter = Cutter::start(upstream.port());
        cutter.hold_after(bytes / 2);
        Self { sandbox, objects, cutter, _upstream: upstream }
    }

    /// Runs until `is_enough` of what it says.
    fn watch(&self, program: &str, arguments: &[&str], is_enough: impl Fn(&str) -> bool) {
        let file = self.sandbox.fresh("said");
        let said = File::create(&file).unwrap();
        let mut command = hermetic(program, self.sandbox.path());
        command.args(arguments).env("TERM", "xterm").stdout(said.try_clone().unwrap()).stderr(said);
        let mut running = Guarded::start(&mut command);
        wait_until("it says how far it is", SERVER_TIMEOUT, || {
            let said = text(&file);
            assert!(running.ended().is_none(), "{said}");
            is_enough(&said)
        });
    }

    /// Whether `N of M objects` (or with another word between) after `receiving` is true.
    fn is_true(&self, said: &str, between: &str) -> bool {
        said.split("receiving").skip(1).any(|rest| {
            let Some((left, right)) = rest.split_once(between) else { return false };
            let digits = |c: char| c.is_ascii_digit() || c == ',';
            let number = |text: &str| text.replace(',', "").parse::<u64>().ok();
            let done = number(&left[left.trim_end_matches(digits).len()..]);
            let total = number(&right[..right.len() - right.trim_start_matches(digits).len()]);
            let (Some(done), Some(total)) = (done, total) else { return false };
            assert!(done < total && total <= self.objects, "{done} of {total}, of {}: {said}", self.objects);
            done > 0
        })
    }
}

fn text(file: &PathBuf) -> String {
    String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned()
}

fn data(sandbox: &Sandbox) -> String {
    sandbox.fresh("data").display().to_string()
}

#[test]
fn off_a_terminal_a_line_now_and_then() {
    let scene = Scene::start();
    let (url, data) = (scene.cutter.url(), data(&scene.sandbox));
    let arguments = ["sync", "--upstream", &url, "--data", &data, "--admin-listen", "127.0.0.1:9", APP];
    scene.watch(PROGRAM, &arguments, |said| {
        said.lines().any(|line| line.starts_with("team/app.git: receiving ")) && scene.is_true(said, " of ")
    });
}

#[test]
fn on_a_terminal_a_bar() {
    let scene = Scene::start();
    let command = format!(
        "stty cols 120 rows 24; exec {PROGRAM} sync --upstream {} --data {} --admin-listen 127.0.0.1:9 {APP}",
        scene.cutter.url(),
        data(&scene.sandbox)
    );
    let python = "import pty, sys; pty.spawn(sys.argv[1:])";
    scene.watch("python3", &["-c", python, "sh", "-c", &command], |said| {
        said.contains("[=") && said.contains(">") && scene.is_true(said, "/")
    });
}

#[test]
fn beside_a_node_what_the_node_does() {
    let scene = Scene::start();
    let node = Heliostat::start(&scene.sandbox.folder("node"), &scene.cutter.url(), &[]);
    let admin = node.admin_address();
    scene.watch(PROGRAM, &["sync", "--admin-listen", &admin, APP], |said| {
        said.contains(&format!("the node at {admin}: at work for ")) && scene.is_true(said, " of ")
    });
    assert!(Path::new(&node.data()).exists());
}
