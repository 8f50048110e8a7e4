//! A purge beside a synchronisation that has been handed to a thread already: what is purged stays away.

use crate::support::{Peer, Server, commit_blob, git, repository, run};
use crate::threads::Stopped;
use std::{
    fs,
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const APP: &str = "team/app.git";
const OTHER: &str = "team/other.git";
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    upstream: Server,
    mirror: Server,
}

impl Scene {
    /// Both are mirrored, and compared every second.
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        for path in [APP, OTHER] {
            repository(&folder.path().join("upstream").join(path));
        }
        let upstream = Server::on(folder, &[], &[]);
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("host"), format!("http://{}", upstream.main)).unwrap();
        let config = folder.path().join("heliostat.toml");
        fs::write(&config, "[sync]\ninterval = \"1s\"\n").unwrap();
        let mirror = Server::on(folder, &[], &["--config", &config.display().to_string()]);
        for path in [APP, OTHER] {
            let url = format!("http://{}/{path}", mirror.main);
            run(git(mirror.folder.path()).args(["clone", "-q", "--bare", &url, path]));
        }
        assert_eq!(stored(&mirror), 2);
        Self { upstream, mirror }
    }

    fn push(&self) {
        let path = self.upstream.folder.path().join("upstream").join(APP);
        fs::write(path.join("content"), b"more\n").unwrap();
        let blob = run(git(&path).args(["hash-object", "-w", "content"]));
        commit_blob(&path, &blob);
    }

    /// Whether the mirror knows that the repository has moved, by what it tells at once.
    fn tells_the_push(&self) -> bool {
        let url = format!("http://{}/{APP}", self.mirror.main);
        let told = run(git(self.mirror.folder.path()).args(["ls-remote", &url, "refs/heads/main"]));
        let path = self.upstream.folder.path().join("upstream").join(APP);
        told.starts_with(&run(git(&path).args(["rev-parse", "refs/heads/main"])))
    }

    fn purge(&self) -> JoinHandle<(u16, String)> {
        let admin = self.mirror.admin;
        spawn(move || {
            let mut peer = Peer::connect(admin);
            peer.send(format!(
                "POST /api/v1/repositories/{APP}/purge HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n"
            ));
            peer.answer()
        })
    }

    fn figure(&self, name: &str) -> u64 {
        let mut peer = Peer::connect(self.mirror.admin);
        peer.send(format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.mirror.admin));
        let text = peer.read_to_end();
        let values = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// What was under way has ended, and the interval has come by a few times: the other one was compared.
    fn stays_away(&self) {
        let questions = || self.figure("heliostat_upstream_questions_total");
        let before = questions();
        wait("the interval comes by", || questions() >= before + 4);
        assert_eq!(stored(&self.mirror), 1, "{}", self.mirror.log());
        self.mirror.lives_on();
    }
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not so: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Repositories on the disk of a mirror.
fn stored(server: &Server) -> usize {
    let entries = fs::read_dir(server.folder.path().join("data/repositories")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

/// Handed over before the purge and begun after it, a fetch makes no new repository.
#[test]
fn a_fetch_that_has_been_handed_over() {
    let scene = Scene::start();
    let fetchers = Stopped::named(&scene.mirror, "sync-fetch-");
    scene.push();
    wait("it has moved", || scene.tells_the_push());
    assert_eq!(scene.purge().join().unwrap().0, 200);
    assert_eq!(stored(&scene.mirror), 1);
    drop(fetchers);
    scene.stays_away();
    // It comes back when it is asked for.
    wait("it is back", || scene.tells_the_push() && stored(&scene.mirror) == 2);
}

/// Published between the word that it is to go and its going, it is not remembered as mirrored.
#[test]
fn a_fetch_that_ends_in_the_middle() {
    let scene = Scene::start();
    let fetchers = Stopped::named(&scene.mirror, "sync-fetch-");
    scene.push();
    wait("it has moved", || scene.tells_the_push());
    let driver = Stopped::named(&scene.mirror, "sync\n");
    let purge = scene.purge();
    wait("it waits for the driver", || has_thread(&scene.mirror, "admin-apart"));
    // Its next step is to wait for the driver's word.
    sleep(Duration::from_millis(200));
    let purging = Stopped::named(&scene.mirror, "admin-apart");
    drop(driver);
    drop(fetchers);
    wait("it is published", || scene.mirror.log().matches("synchronised").count() >= 3);
    // The driver has heard of it.
    let questions = || scene.figure("heliostat_upstream_questions_total");
    let before = questions();
    wait("the driver goes on", || questions() > before + 2);
    drop(purging);
    assert_eq!(purge.join().unwrap().0, 200);
    scene.stays_away();
}

fn has_thread(server: &Server, name: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    tasks.flatten().any(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with(name)))
}
