//! What an operator purges is gone from the disk at once, and what nobody asks for goes while the store is full; both come
//! back when they are asked for, and nothing else brings them back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::apache::Apache;
use crate::support::compare::sound_and_same;
use crate::support::conversation::{fetch, pack_of};
use crate::support::exposition::{read, sum};
use crate::support::git::Git;
use crate::support::heliostat::{Heliostat, PROGRAM};
use crate::support::process::{SERVER_TIMEOUT, free_port, hermetic, run, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const APP: &str = "team/app.git";
const OTHER: &str = "team/other.git";
/// Incompressible bytes of a repository: more than a socket and a client hold.
const LARGE: usize = 24 << 20;

struct Scene {
    sandbox: Sandbox,
    git: Git,
    apache: Apache,
    node: Heliostat,
}

impl Scene {
    fn start(settings: &str, paths: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let upstream = sandbox.folder("upstream");
        for path in paths {
            Upstream::rich(&git, &upstream.join(path));
        }
        let apache = Apache::start(&sandbox.folder("apache"), &upstream, &git);
        let folder = sandbox.folder("node");
        let file = folder.join("node.toml");
        std::fs::write(&file, settings).unwrap();
        let node = Heliostat::start(&folder, &apache.url(), &["--config", &file.display().to_string()]);
        Self { sandbox, git, apache, node }
    }

    fn upstream(&self, path: &str) -> Upstream {
        Upstream { git: self.git.clone(), folder: self.sandbox.path().join("upstream").join(path) }
    }

    fn clone(&self, path: &str) -> PathBuf {
        let target = self.sandbox.fresh("clone");
        let url = format!("{}/{path}", self.node.url());
        self.git.text(self.sandbox.path(), &["clone", "--quiet", "--bare", &url, &target.display().to_string()]);
        target
    }

    /// `heliostat COMMAND` beside the node, or on its data where it does not run.
    fn command(&self, arguments: &[&str]) -> (i32, String) {
        let (admin, data) = (self.node.admin_address(), self.node.data().display().to_string());
        let more = ["--admin-listen", &admin, "--data", &data];
        let mut command = hermetic(PROGRAM, self.sandbox.path());
        let finished = run(command.args(arguments).args(more), b"", self.sandbox.path());
        (finished.status.code().unwrap(), finished.text() + &finished.stderr)
    }

    /// Paths of what is here.
    fn here(&self) -> Vec<String> {
        let answer = self.node.admin("GET", "/api/v1/repositories");
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        let rows = page["repositories"].as_array().unwrap().iter();
        rows.map(|row| row["repository"].as_str().unwrap().to_owned()).collect()
    }

    fn asked_about(&self, path: &str) -> usize {
        self.apache.requests().iter().filter(|request| request.contains(path)).count()
    }

    fn figure(&self, name: &str) -> f64 {
        sum(&read(&self.node.admin("GET", "/metrics").text()).unwrap(), name, "")
    }

    fn port(&self) -> u16 {
        self.node.port()
    }
}

fn same(scene: &Scene, clone: &std::path::Path, path: &str) {
    let upstream = scene.sandbox.fresh("clone");
    let from = format!("file://{}", scene.upstream(path).folder.display());
    scene.git.text(scene.sandbox.path(), &["clone", "--quiet", "--bare", &from, &upstream.display().to_string()]);
    sound_and_same(&scene.git, clone, &upstream).unwrap();
}

/// Gone at once, not back at the interval, back when somebody asks.
#[test]
fn a_purged_repository_is_gone_until_it_is_asked_for() {
    let scene = Scene::start("[sync]\ninterval = \"1s\"\n", &[APP, OTHER]);
    scene.clone(APP);
    scene.clone(OTHER);
    assert_eq!(scene.here(), [APP, OTHER]);
    // By its other spelling it is the same repository.
    let (code, said) = scene.command(&["purge", "team/app"]);
    assert!(code == 0 && said.contains("team/app: purged"), "{code} {said}");
    assert_eq!(scene.here(), [OTHER]);
    assert_eq!(std::fs::read_dir(scene.node.data().join("repositories")).unwrap().count(), 1);
    let (purged, other) = (scene.asked_about(APP), scene.asked_about(OTHER));
    wait_until("three intervals pass", SERVER_TIMEOUT, || scene.asked_about(OTHER) >= other + 3);
    assert_eq!(
        (scene.asked_about(APP), scene.here()),
        (purged, vec![OTHER.to_owned()]),
        "the interval leaves it alone"
    );
    let (code, said) = scene.command(&["purge", APP]);
    assert!(code == 1 && said.contains("no such repository here"), "{code} {said}");
    same(&scene, &scene.clone(APP), APP);
    assert_eq!(scene.here(), [APP, OTHER]);
}

/// Where no node runs, the command does it under the lock, and a node that is started later has it no more.
#[test]
fn purging_without_a_node() {
    let mut scene = Scene::start("", &[APP, OTHER]);
    scene.clone(APP);
    scene.clone(OTHER);
    let old = scene.upstream(OTHER).id("main");
    let stored = |scene: &Scene| scene.node.stored();
    assert!(scene.node.stop().success());
    let (code, said) = scene.command(&["purge", "team/app"]);
    assert!(code == 0 && said.contains("purged"), "{code} {said}");
    assert_eq!(stored(&scene).len(), 1);
    let (code, said) = scene.command(&["purge", "--unreachable", OTHER]);
    assert!(code == 0 && said.contains("purged"), "{code} {said}");
    scene.git.text(&stored(&scene)[0], &["cat-file", "-e", &old]);
    let nowhere = scene.sandbox.fresh("data");
    let mut command = hermetic(PROGRAM, scene.sandbox.path());
    let nobody = format!("127.0.0.1:{}", free_port());
    command.args(["purge", APP, "--admin-listen", &nobody, "--data", &nowhere.display().to_string()]);
    let finished = run(&mut command, b"", scene.sandbox.path());
    assert!(finished.status.code() == Some(1) && !nowhere.exists(), "{}", finished.stderr);
    scene.node.start_again();
    assert_eq!(scene.here(), [OTHER]);
    same(&scene, &scene.clone(APP), APP);
}

/// What was forced away can be asked for by its id for a while; after a purge nobody gets it, and it lies nowhere.
#[test]
fn what_nothing_reaches_is_purged_from_every_generation() {
    let scene = Scene::start("[sync]\ninterval = \"1d\"\n", &[APP]);
    scene.clone(APP);
    let secret = scene.upstream(APP).commit("main", &[("secret.txt", "what must not stay\n")]);
    let ls = || {
        let url = format!("{}/{APP}", scene.node.url());
        // Version 0 waits for the objects.
        scene.git.text(scene.sandbox.path(), &["-c", "protocol.version=0", "ls-remote", &url, "refs/heads/main"])
    };
    assert!(ls().contains(&secret));
    let before = scene.git.text(&scene.upstream(APP).folder, &["rev-parse", "main~1"]).trim().to_owned();
    scene.upstream(APP).run(&["update-ref", "refs/heads/main", &before]);
    assert!(ls().contains(&before));
    // The upstream lets go of it: what it still had, it would give by its id.
    scene.upstream(APP).run(&["reflog", "expire", "--expire=now", "--all"]);
    scene.upstream(APP).run(&["gc", "--quiet", "--prune=now"]);
    assert!(scene.git.try_text(&scene.upstream(APP).folder, &["cat-file", "-e", &secret]).is_err());
    let wanted = || fetch(scene.port(), APP, 2, &[&format!("want {secret}")], &[]);
    assert!(pack_of(&wanted()).is_some(), "an earlier generation still has it");
    let (code, said) = scene.command(&["purge", "--unreachable", APP]);
    assert!(code == 0 && said.contains("purged"), "{code} {said}");
    let answer = wanted();
    assert!(pack_of(&answer).is_none() && answer.text().contains("not our ref"), "{}", answer.text());
    let stored = scene.node.stored().remove(0);
    assert!(scene.git.try_text(&stored, &["cat-file", "-e", &secret]).is_err(), "it lies on the disk");
    same(&scene, &scene.clone(APP), APP);
}

/// Whoever is being sent a repository when it is purged gets all of it.
#[test]
fn readers_under_way_finish() {
    let scene = Scene::start("", &[APP]);
    let noise: String = large();
    scene.upstream(APP).commit("main", &[("large.bin", &noise)]);
    scene.clone(APP);
    let id = scene.upstream(APP).id("main");
    let mut body = packet("command=fetch") + "0001";
    for line in ["no-progress", "ofs-delta", &format!("want {id}"), "done"] {
        body += &packet(line);
    }
    body += "0000";
    let mut socket = TcpStream::connect(("127.0.0.1", scene.port())).unwrap();
    socket.set_read_timeout(Some(SERVER_TIMEOUT)).unwrap();
    let head = format!(
        "POST /{APP}/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nGit-Protocol: version=2\r\n\
         Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body.as_bytes()).unwrap();
    let mut answer = vec![0; 64 << 10];
    socket.read_exact(&mut answer).unwrap();
    for arguments in [&["purge", "--unreachable", APP][..], &["purge", APP]] {
        let (code, said) = scene.command(arguments);
        assert_eq!(code, 0, "{said}");
    }
    assert!(scene.here().is_empty());
    socket.read_to_end(&mut answer).unwrap();
    assert!(answer.len() > LARGE, "{} bytes", answer.len());
    assert!(answer.ends_with(b"0\r\n\r\n"), "the last chunk, which only a whole answer has");
    assert_eq!(scene.figure("heliostat_requests_cut_total"), 0.0);
}

fn packet(line: &str) -> String {
    format!("{:04x}{line}\n", line.len() + 5)
}

/// Text that does not compress below half.
fn large() -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut text = String::with_capacity(2 * LARGE);
    while text.len() < 2 * LARGE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text += &format!("{state:016x}");
    }
    text
}

/// The one that has not been asked for the longest goes, also after a restart, and comes back when it is asked for.
#[test]
fn a_full_store_lets_go_of_what_nobody_asks_for() {
    let paths = ["team/a.git", "team/b.git", "team/c.git"];
    let mut scene = Scene::start("[store]\nbytes = \"3MiB\"\n[sync]\ninterval = \"1d\"\n", &paths);
    // A megabyte and a tenth each: two have room.
    let noise: String = large();
    for (at, path) in paths.iter().enumerate() {
        scene.upstream(path).commit("main", &[("noise.txt", &noise[at << 20..][..1 << 21])]);
    }
    scene.clone(paths[0]);
    scene.clone(paths[1]);
    assert_eq!(scene.here(), paths[..2]);
    // Asked for again: it is not the oldest any more.
    scene.clone(paths[0]);
    assert!(scene.node.stop().success());
    scene.node.start_again();
    assert_eq!(scene.here(), paths[..2]);
    scene.clone(paths[2]);
    // Counted when it is gone, and after that what is left.
    wait_until("one is evicted", Duration::from_secs(60), || {
        scene.figure("heliostat_evictions_total") > 0.0 && scene.figure("heliostat_store_bytes") <= (3 << 20) as f64
    });
    assert_eq!(scene.here(), [paths[0], paths[2]]);
    assert_eq!(scene.figure("heliostat_evictions_total"), 1.0);
    assert_eq!(scene.figure("heliostat_store_bytes_limit"), (3 << 20) as f64);
    let bytes = scene.figure("heliostat_store_bytes");
    assert!(bytes > 0.0 && bytes <= (3 << 20) as f64, "{bytes}");
    same(&scene, &scene.clone(paths[1]), paths[1]);
}
