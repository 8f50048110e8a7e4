//! The upstream has told its references, and their objects take long: who asks for references hears at once, who asks for
//! objects is parked until they are here. The upstream's line is throttled; what clients hear is read off the wire.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::apache::Apache;
use crate::support::compare::sound_and_same;
use crate::support::conversation::{fetch, pack_of, post};
use crate::support::git::{Git, Which};
use crate::support::heliostat::Heliostat;
use crate::support::http::Answer;
use crate::support::process::{SERVER_TIMEOUT, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;
use crate::support::throttle::Throttle;
use crate::support::wire::{Call, packets};

const APP: &str = "team/app.git";
/// What brings [`NOISE`] in a quarter of a minute.
const SLOW: u64 = 20_000;
const NOISE: usize = 400_000;
const LONG: Duration = Duration::from_secs(120);

struct Scene {
    git: Git,
    mirror: Heliostat,
    throttle: Throttle,
    apache: Apache,
    upstream: Upstream,
    sandbox: Sandbox,
}

impl Scene {
    fn start(rule: &str) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let repositories = sandbox.folder("upstream");
        let upstream = Upstream::rich(&git, &repositories.join(APP));
        let apache = Apache::start(&sandbox.folder("apache"), &repositories, &git);
        let throttle = Throttle::start(apache.url().rsplit(':').next().unwrap().parse().unwrap());
        let file = sandbox.path().join("rule.toml");
        std::fs::write(&file, format!("[[mirror]]\ninclude = [\"*\"]\n{rule}\n")).unwrap();
        let file = file.display().to_string();
        let mirror = Heliostat::start(&sandbox.folder("heliostat"), &throttle.url(), &["--config", &file]);
        Self { git, mirror, throttle, apache, upstream, sandbox }
    }

    fn port(&self) -> u16 {
        self.mirror.port()
    }

    /// A commit on `main` that takes long to fetch while the line is slow.
    fn commit(&self) -> String {
        self.upstream.commit("main", &[("noise.txt", &noise())])
    }

    fn ls_refs(&self, path: &str) -> Answer {
        let began = Instant::now();
        let answer = post(self.port(), path, 2, &["command=ls-refs", "0001", "peel", "symrefs", "0000"]);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "references took {:?}", began.elapsed());
        answer
    }

    fn call(&self, want: &str) -> Call {
        Call::fetch(self.port(), APP, &["sideband-all", "ofs-delta", want])
    }

    fn clone(&self, url: &str, version: u8) -> std::path::PathBuf {
        let client = Git::client(&self.sandbox, Which::Machine, version);
        let folder = self.sandbox.fresh("clone");
        let target = folder.display().to_string();
        client.text(self.sandbox.path(), &["clone", "--quiet", "--mirror", &format!("{url}/{APP}"), &target]);
        folder
    }

    fn is_mirrored_truly(&self) {
        let upstream = self.clone(&self.apache.url(), 2);
        for version in [2, 0] {
            sound_and_same(&self.git, &self.clone(&self.mirror.url(), version), &upstream).unwrap();
        }
    }

    /// Whether the pack of `answer` is whole and holds `id`, on top of what the upstream has.
    fn holds(&self, answer: &Answer, id: &str) -> bool {
        let folder = self.sandbox.fresh("pack");
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let target = folder.display().to_string();
        self.git.text(self.sandbox.path(), &["init", "--quiet", "--bare", &target]);
        let pack = pack_of(answer).unwrap_or_else(|| panic!("no pack: {}", answer.text()));
        let indexed = self.git.run_with(&folder, &["index-pack", "--stdin", "--strict"], &pack);
        assert!(indexed.status.success(), "{}", indexed.stderr);
        self.git.run(&folder, &["cat-file", "-e", id]).status.success()
    }
}

fn noise() -> String {
    (0..NOISE).map(|at| if at % 100 == 99 { '\n' } else { fastrand::alphanumeric() }).collect()
}

fn shows(answer: &Answer, id: &str) -> bool {
    answer.text().contains(&format!("{id} refs/heads/main"))
}

/// Whether an answer says what the mirror does before it sends anything else, and nothing that kills Git's client.
fn says_how_far_it_is(answer: &Answer) -> bool {
    let payload = answer.payload();
    let packets = packets(&payload);
    let before: Vec<_> = packets.iter().take_while(|packet| **packet != Some(b"\x01packfile\n")).flatten().collect();
    assert!(before.iter().all(|packet| **packet != b"\x01"), "a keep-alive that kills Git's client");
    before.iter().any(|packet| packet.starts_with(b"\x02This mirror fetches from its upstream: "))
}

/// Many at once, and stock Git among them: one fetch from the upstream serves all, and everybody sees how far it is.
#[test]
fn a_first_clone() {
    let scene = Scene::start("");
    let tip = scene.commit();
    scene.throttle.limit(SLOW);
    let refs = scene.ls_refs(APP);
    assert!(shows(&refs, &tip), "{refs:?}");
    assert_eq!(refs.header("heliostat-generation"), Some("pending"));
    assert_eq!(refs.header("heliostat-freshness"), Some("confirmed"));
    let peeled = scene.upstream.id("v1.0^{}");
    assert!(refs.text().contains(&format!(" refs/tags/v1.0 peeled:{peeled}\n")), "{}", refs.text());

    let want = format!("want {tip}");
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let mut call = scene.call(&want);
                    call.read_to_end(LONG);
                    call
                })
            })
            .collect();
        let stock = scope.spawn(|| {
            let folder = scene.sandbox.fresh("clone").display().to_string();
            let url = format!("{}/{APP}", scene.mirror.url());
            scene.git.run(scene.sandbox.path(), &["clone", "--progress", "--mirror", &url, &folder])
        });
        for client in clients {
            let call = client.join().unwrap();
            let first = call.times.first().expect("an answer").0 - call.sent;
            assert!(first < Duration::from_secs(2), "the first word came after {first:?}");
            assert!(call.silence() < Duration::from_secs(10), "silent for {:?}", call.silence());
            let answer = call.answer();
            assert_eq!(answer.header("heliostat-generation"), Some("pending"));
            assert!(says_how_far_it_is(&answer) && scene.holds(&answer, &tip));
        }
        let stock = stock.join().unwrap();
        assert!(stock.status.success(), "{}", stock.stderr);
        assert!(stock.stderr.contains("remote: This mirror fetches from its upstream: receiving"), "{}", stock.stderr);
    });
    let bytes = scene.throttle.bytes();
    assert!(bytes < 2 * NOISE as u64, "{bytes} bytes are more than one fetch");
    scene.throttle.limit(0);
    scene.is_mirrored_truly();
}

/// The head is held back for `wait`; then the client is asked to come again, and is served when it does.
#[test]
fn without_a_place_to_wait() {
    let scene = Scene::start("wait = \"2s\"");
    let tip = scene.commit();
    scene.throttle.limit(SLOW);
    let advertisement = || scene.mirror.get(&format!("/{APP}/info/refs?service=git-upload-pack"));
    for answer in [advertisement(), fetch(scene.port(), APP, 2, &[&format!("want {tip}")], &[]), advertisement()] {
        assert_eq!(answer.status, 503, "{answer:?}");
        let seconds: u32 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
        assert!(seconds > 0 && answer.text().contains("still fetching"), "{answer:?}");
    }
    assert!(shows(&scene.ls_refs(APP), &tip), "version 2 needs no wait");
    scene.throttle.limit(0);
    wait_until("it has come", SERVER_TIMEOUT, || advertisement().status == 200);
    scene.is_mirrored_truly();
}

/// What moved is told at once, and a reference by its name means what was told.
#[test]
fn what_moved_is_told_before_it_is_here() {
    let scene = Scene::start("");
    scene.is_mirrored_truly();
    scene.throttle.limit(SLOW);
    let tip = scene.commit();
    let old = scene.upstream.id("main~1");
    let refs = scene.ls_refs(APP);
    assert!(shows(&refs, &tip), "{refs:?}");
    let mut parked = scene.call("want-ref refs/heads/main");
    assert!(parked.read(LONG, |said| said.contains("This mirror fetches")));
    let here = scene.call(&format!("want {old}")).finish(LONG);
    assert!(scene.holds(&here, &old), "what is here waits for nothing");
    assert!(!String::from_utf8_lossy(&parked.bytes).contains("packfile"), "the line is not slow enough for this test");
    scene.throttle.limit(0);
    let answer = parked.finish(LONG);
    assert!(answer.text().contains(&format!("\x01{tip} refs/heads/main\n")), "not what was told");
    assert!(says_how_far_it_is(&answer) && scene.holds(&answer, &tip));
    scene.is_mirrored_truly();
}

/// A force-push overtakes what has been told and not yet been fetched: both are brought, the first by its id alone.
#[test]
fn a_force_push_overtakes() {
    let scene = Scene::start("[sync]\nconcurrency = 1");
    scene.is_mirrored_truly();
    let other = Upstream::rich(&scene.git, &scene.sandbox.path().join("upstream/team/slow.git"));
    other.commit("main", &[("noise.txt", &noise())]);
    scene.throttle.limit(SLOW);
    // It holds the one place for fetches.
    scene.ls_refs("team/slow.git");
    let base = scene.upstream.id("main");
    let first = scene.upstream.commit("main", &[("first.txt", "told\n")]);
    assert!(shows(&scene.ls_refs(APP), &first));
    let second = scene.upstream.commit_on(&base, "main", &[("second.txt", "forced\n")]);
    let refs = scene.ls_refs(APP);
    assert!(shows(&refs, &second) && !refs.text().contains(&first), "{refs:?}");
    let calls = [&first, &second].map(|id| scene.call(&format!("want {id}")));
    scene.throttle.limit(0);
    for (call, id) in calls.into_iter().zip([&first, &second]) {
        assert!(scene.holds(&call.finish(LONG), id), "{id}");
    }
    let refs = scene.ls_refs(APP);
    assert!(shows(&refs, &second) && !refs.text().contains(&first), "what was overtaken is advertised");
    assert!(scene.holds(&scene.call(&format!("want {first}")).finish(LONG), &first), "and stays servable");
    scene.is_mirrored_truly();
}

/// The upstream goes away in the midst of a fetch: who is parked hears so, and the next is served when it is back.
#[test]
fn the_upstream_dies() {
    let scene = Scene::start("");
    let tip = scene.commit();
    scene.throttle.limit(SLOW);
    scene.ls_refs(APP);
    let mut call = scene.call(&format!("want {tip}"));
    assert!(call.read(LONG, |said| said.contains(": receiving")));
    scene.throttle.cut();
    let answer = call.finish(LONG);
    let payload = answer.payload();
    let last = packets(&payload).pop().flatten().expect("a packet at the end");
    assert!(last.starts_with(b"ERR "), "{}", answer.text());
    assert!(scene.mirror.stored().is_empty(), "something was published");
    scene.throttle.heal();
    scene.throttle.limit(0);
    wait_until("it is found again", SERVER_TIMEOUT, || {
        scene.mirror.get(&format!("/{APP}/info/refs?service=git-upload-pack")).status == 200
    });
    scene.is_mirrored_truly();
}

fn descriptors(mirror: &Heliostat) -> usize {
    std::fs::read_dir(Path::new("/proc").join(mirror.id().to_string()).join("fd")).expect("it runs").count()
}

/// Clients that go away while they are parked leave nothing behind, and what they wanted comes all the same.
#[test]
fn clients_that_go_away() {
    let scene = Scene::start("");
    let tip = scene.commit();
    scene.throttle.limit(SLOW);
    scene.ls_refs(APP);
    let mut calls: Vec<_> = (0..40).map(|_| scene.call(&format!("want {tip}"))).collect();
    for call in &mut calls {
        assert!(call.read(LONG, |said| said.contains("This mirror")));
    }
    let many = descriptors(&scene.mirror);
    drop(calls);
    wait_until("their connections are gone", SERVER_TIMEOUT, || descriptors(&scene.mirror) + 40 <= many);
    scene.throttle.limit(0);
    scene.is_mirrored_truly();
}

/// A server that shuts down says so to who is parked, when the time for draining is over.
#[test]
fn draining() {
    let mut scene = Scene::start("");
    let tip = scene.commit();
    scene.throttle.limit(SLOW / 4);
    scene.ls_refs(APP);
    let mut call = scene.call(&format!("want {tip}"));
    assert!(call.read(LONG, |said| said.contains("This mirror fetches")));
    let reader = std::thread::spawn(move || call.finish(LONG));
    assert!(scene.mirror.stop().success());
    let text = reader.join().unwrap().text();
    assert!(text.ends_with("ERR the server is shutting down, try again"), "{text}");
}

/// The empty request by which Git finds out whether it may post a large one needs no objects, and has no place to wait.
/// Before a request that is larger than what it posts at once Git asks, in no version of the protocol, whether it may.
#[test]
fn the_probe_before_a_large_request() {
    let scene = Scene::start("wait = \"2s\"");
    let tip = scene.commit();
    for branch in 0..30 {
        scene.upstream.commit_on(&tip, &format!("many/{branch}"), &[("number.txt", &branch.to_string())]);
    }
    scene.throttle.limit(SLOW);
    scene.ls_refs(APP);
    let answer = post(scene.port(), APP, 0, &["0000"]);
    assert_eq!((answer.status, answer.payload().as_slice()), (200, &b""[..]), "{answer:?}");
    assert!(scene.mirror.stored().is_empty(), "its objects are on their way");

    // So small that the wants are too many for it; Git has no use for one smaller than its longest packet.
    let arguments = ["-c", "http.postBuffer=66000", "clone", "--quiet", "--mirror"];
    let (url, folder) = (format!("{}/{APP}", scene.mirror.url()), scene.sandbox.fresh("clone").display().to_string());
    scene.git.text(scene.sandbox.path(), &[&arguments[..], &[&url, &folder]].concat());
    let probes = scene.mirror.log().matches("operation=\"upload-pack\"").count();
    assert_eq!(probes, 2, "one was ours, and one was Git's");
    scene.throttle.limit(0);
    scene.is_mirrored_truly();
}
