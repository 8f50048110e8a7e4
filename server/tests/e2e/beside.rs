//! `heliostat sync` and a running node: which node it is, what it is asked, and who is in the way.

use crate::support::git::Git;
use crate::support::heliostat::{Heliostat, PROGRAM};
use crate::support::process::{Guarded, SERVER_TIMEOUT, free_port, hermetic, run, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;
use std::net::TcpListener;
use std::path::Path;

const APP: &str = "team/app.git";

/// A node on a folder with one repository.
struct Scene {
    sandbox: Sandbox,
    git: Git,
    node: Heliostat,
}

impl Scene {
    fn start() -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        Upstream::rich(&git, &sandbox.path().join("upstream").join(APP));
        let node =
            Heliostat::start(&sandbox.folder("node"), &sandbox.path().join("upstream").display().to_string(), &[]);
        Self { sandbox, git, node }
    }

    fn upstream(&self) -> String {
        self.sandbox.path().join("upstream").display().to_string()
    }

    /// `heliostat sync`, in a folder of its own: its exit code and what it said.
    fn sync(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = hermetic(PROGRAM, self.sandbox.path());
        command.arg("sync").args(arguments).current_dir(self.sandbox.folder("elsewhere"));
        let finished = run(&mut command, b"", self.sandbox.path());
        (finished.status.code().unwrap(), finished.text() + &finished.stderr)
    }
}

/// The node has a configuration: none is needed beside it, and one that says otherwise is not passed over.
#[test]
fn the_nodes_own_configuration_counts() {
    let scene = Scene::start();
    let admin = scene.node.admin_address();
    let (code, said) = scene.sync(&["--admin-listen", &admin, APP]);
    assert!(code == 0 && said.contains("team/app.git: current, generation 1"), "{code} {said}");
    let (code, said) = scene.sync(&["--admin-listen", &admin, "--upstream", &scene.upstream(), APP]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = scene.sync(&["--admin-listen", &admin, "--upstream", "https://invented.example/", APP]);
    assert!(
        code == 2 && said.contains(&scene.upstream()) && said.contains("https://invented.example"),
        "{code} {said}"
    );
    let left = std::fs::read_dir(scene.sandbox.folder("elsewhere")).unwrap().count();
    assert_eq!(left, 0, "a data directory was made beside the node's");
    // Without a node the upstream is demanded.
    let nobody = format!("127.0.0.1:{}", free_port());
    let (code, said) = scene.sync(&["--admin-listen", &nobody, APP]);
    assert!(code == 2 && said.contains("no upstream") && said.contains(&nobody), "{code} {said}");
}

/// Without names everything that the node mirrors, what has come to its folder a moment ago too.
#[test]
fn without_names_the_node_says_what_there_is() {
    let scene = Scene::start();
    Upstream::rich(&scene.git, &scene.sandbox.path().join("upstream/team/new.git"));
    // Something that can't be mirrored is one of several.
    Upstream::in_sha256(&scene.git, &scene.sandbox.path().join("upstream/team/other.git"));
    let (code, said) = scene.sync(&["--admin-listen", &scene.node.admin_address()]);
    assert_eq!(code, 1, "{said}");
    for line in ["team/app.git: current", "team/new.git: current", "team/other.git: "] {
        assert!(said.contains(line), "{line} in {said}");
    }
    assert!(said.contains("sha256"), "{said}");
    // An upstream that can't be listed is said, and what is here is asked about all the same.
    let (upstream, away) = (scene.sandbox.path().join("upstream"), scene.sandbox.path().join("away"));
    std::fs::rename(&upstream, &away).unwrap();
    let (code, said) = scene.sync(&["--admin-listen", &scene.node.admin_address()]);
    assert!(code == 1 && said.contains("could not be listed") && said.contains("team/app.git: "), "{code} {said}");
}

/// The data directory that is named must be the node's own.
#[test]
fn the_node_is_the_one_that_is_meant() {
    let scene = Scene::start();
    let other = Heliostat::start(&scene.sandbox.folder("other"), &scene.upstream(), &[]);
    let (data, others) = (scene.node.data().display().to_string(), other.data().display().to_string());
    let (admin, others_admin) = (scene.node.admin_address(), other.admin_address());
    let fails = |code: i32, arguments: &[&str], all_of: &[&str]| {
        let (ended, said) = scene.sync(arguments);
        assert_eq!(ended, code, "{arguments:?}: {said}");
        for words in all_of {
            assert!(said.contains(words), "{arguments:?}: {words} in {said}");
        }
    };
    let upstream = scene.upstream();
    fails(1, &["--data", &others, "--admin-listen", &admin, "--upstream", &upstream, APP], &[&data, &others, "a node"]);
    fails(1, &["--data", &others, "--admin-listen", &admin, APP], &[&data, &others]);
    let fresh = scene.sandbox.fresh("data");
    fails(2, &["--data", &fresh.display().to_string(), "--admin-listen", &admin, APP], &[&data, "no upstream"]);
    assert!(!fresh.exists());
    // By another name it is the same.
    let link = scene.sandbox.fresh("link");
    std::os::unix::fs::symlink(&others, &link).unwrap();
    fails(0, &["--data", &link.display().to_string(), "--admin-listen", &others_admin, APP], &["current"]);
    // Where nobody holds what is named, the work is done here, whatever node answers.
    fails(
        0,
        &["--data", &fresh.display().to_string(), "--admin-listen", &admin, "--upstream", &upstream, APP],
        &["current, generation 1"],
    );
    assert!(fresh.join("repositories").exists());
}

/// Who holds the lock is told: a node that can't be asked, or another `sync`.
#[test]
fn who_is_in_the_way() {
    let scene = Scene::start();
    let (data, upstream) = (scene.node.data().display().to_string(), scene.upstream());
    let nobody = format!("127.0.0.1:{}", free_port());
    for more in [&["--upstream", &upstream][..], &[]] {
        let (code, said) = scene.sync(&[&["--data", &data, "--admin-listen", &nobody, APP], more].concat());
        let words = format!(
            "a node (process {}) runs on {data}, but its admin API does not answer at {nobody}",
            scene.node.id()
        );
        assert!(code == 1 && said.contains(&words), "{code} {said}");
    }
    // An upstream that says nothing keeps a sync at work.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let data = scene.sandbox.fresh("data").display().to_string();
    let mut first = hermetic(PROGRAM, scene.sandbox.path());
    first.args(["sync", "--upstream", &url, "--data", &data, "--admin-listen", &nobody, APP]);
    let first = Guarded::start(&mut first);
    let lock = Path::new(&data).join("lock");
    wait_until("the first sync has signed", SERVER_TIMEOUT, || {
        std::fs::read_to_string(&lock).is_ok_and(|text| text.starts_with("sync "))
    });
    let (code, said) = scene.sync(&["--upstream", &url, "--data", &data, "--admin-listen", &nobody, APP]);
    let words = format!("another `heliostat sync` (process {}) is at work on {data}", first.id());
    assert!(code == 1 && said.contains(&words) && !said.contains("node"), "{code} {said}");
}

/// The line by which the documentation seeds a repository, on the configuration that it shows, does so.
#[test]
fn the_documented_seeding() {
    let text = include_str!("../../../docs/install.md");
    let config = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let line = text.lines().find(|line| line.contains("heliostat sync") && line.contains("--from")).unwrap();
    let scene = Scene::start();
    let upstream = Upstream { git: scene.git.clone(), folder: scene.sandbox.path().join("upstream").join(APP) };
    let bundle = scene.sandbox.path().join("app.bundle").display().to_string();
    scene.git.text(&upstream.folder, &["bundle", "create", "-q", &bundle, "--all"]);
    let file = scene.sandbox.path().join("heliostat.toml").display().to_string();
    let data = scene.sandbox.path().join("seeded").display().to_string();
    let admin = format!("127.0.0.1:{}", free_port());
    let here = config.replace("/srv/heliostat/data", &data).replace("https://git.example.com", &scene.upstream())
        + &format!("[admin]\nlisten = \"{admin}\"\n");
    std::fs::write(&file, here).unwrap();
    let (_, arguments) = line.split_once("heliostat sync ").unwrap();
    let arguments = arguments.replace("/etc/heliostat/heliostat.toml", &file).replace("/tmp/app.bundle", &bundle);
    let (code, said) = scene.sync(&arguments.split(' ').collect::<Vec<_>>());
    assert!(code == 0 && said.contains("team/app.git: current, generation 1"), "{code} {said}");
}
