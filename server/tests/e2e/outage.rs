//! The upstream away, silent, or cut in the middle: served meanwhile, healed after, nothing deleted.

use std::path::PathBuf;

use crate::support::compare::{State, fsck, sound_and_same};
use crate::support::cutter::Cutter;
use crate::support::git::{Git, Which};
use crate::support::heliostat::Heliostat;
use crate::support::http::request;
use crate::support::process::{SERVER_TIMEOUT, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;
use crate::support::site::Site;
use heliostat_core::limits::CAPABILITIES_AGE;

const APP: &str = "team/app.git";

fn site() -> Site {
    Site::start(|git, folder| {
        Upstream::rich(git, &folder.join(APP));
        Upstream::rich(git, &folder.join("team/unseen.git"));
    })
}

/// A mirror clone of `url`.
fn clone(site: &Site, url: &str) -> Result<PathBuf, String> {
    let folder = site.sandbox.fresh("clone");
    let target = folder.display().to_string();
    site.git.try_text(site.sandbox.path(), &["clone", "--quiet", "--mirror", url, &target])?;
    Ok(folder)
}

fn mirrored(site: &Site) -> PathBuf {
    clone(site, &site.mirror_url(APP)).unwrap()
}

fn everything_moves(upstream: &Upstream) {
    upstream.commit("main", &[("while-away.txt", "moved\n")]);
    let parent = upstream.id("topic~2");
    upstream.commit_on(&parent, "topic", &[("topic.txt", "forced\n")]);
    upstream.run(&["update-ref", "-d", "refs/heads/unmerged"]);
    upstream.run(&["tag", "v4.0", "main"]);
}

#[test]
fn away_and_back() {
    let mut site = site();
    let before = mirrored(&site);
    site.apache.stop();
    for _ in 0..3 {
        sound_and_same(&site.git, &mirrored(&site), &before).unwrap();
    }
    everything_moves(&site.upstream(APP));
    sound_and_same(&site.git, &mirrored(&site), &before).unwrap();

    site.apache.start_again();
    let upstream = clone(&site, &site.upstream_url(APP)).unwrap();
    sound_and_same(&site.git, &mirrored(&site), &upstream).unwrap();
}

#[test]
fn what_was_never_here_is_unavailable_not_absent() {
    let mut site = site();
    site.apache.stop();
    let answer = site.mirror().get("/team/unseen.git/info/refs?service=git-upload-pack");
    assert_eq!(answer.status, 503, "{answer:?}");
    let seconds: u32 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!(seconds > 0);

    site.apache.start_again();
    let upstream = clone(&site, &site.upstream_url("team/unseen.git")).unwrap();
    let mirror = clone(&site, &site.mirror_url("team/unseen.git")).unwrap();
    sound_and_same(&site.git, &mirror, &upstream).unwrap();
}

/// Connections are accepted and nothing is answered: the wait is bounded, then what is here is served.
#[test]
fn silent() {
    let mut site = site();
    let before = mirrored(&site);
    site.apache.freeze();
    sound_and_same(&site.git, &mirrored(&site), &before).unwrap();
    site.apache.thaw();
    everything_moves(&site.upstream(APP));
    let upstream = clone(&site, &site.upstream_url(APP)).unwrap();
    sound_and_same(&site.git, &mirrored(&site), &upstream).unwrap();
}

#[test]
fn restarted_while_the_upstream_is_away() {
    let mut site = site();
    let before = mirrored(&site);
    site.apache.stop();
    let status = site.mirror().stop();
    assert!(status.success(), "SIGTERM ends it with {status}");
    site.mirror().start_again();
    sound_and_same(&site.git, &mirrored(&site), &before).unwrap();
}

/// A 404 from the upstream is passed on, and deletes nothing: when it ends, no object is fetched again.
#[test]
fn not_found_for_a_while() {
    let mut site = site();
    let before = mirrored(&site);
    let (here, aside) = (site.upstream(APP).folder, site.sandbox.fresh("aside"));
    std::fs::create_dir_all(aside.parent().unwrap()).unwrap();
    std::fs::rename(&here, &aside).unwrap();
    // The last confirmation is too young for the mirror to ask about a version 2 client's first request: somebody asks for
    // references first.
    assert_eq!(site.mirror().get(&format!("/{APP}/info/refs?service=git-upload-pack")).status, 404);
    for version in [0, 1, 2] {
        refused_as_upstream(&site, version);
    }
    assert_eq!(site.mirror().stored().len(), 1, "the store was emptied");

    std::fs::rename(&aside, &here).unwrap();
    let fetches = |site: &Site| {
        site.apache.requests().iter().filter(|line| line.starts_with("POST") && line.contains("upload-pack")).count()
    };
    let asked = fetches(&site);
    sound_and_same(&site.git, &mirrored(&site), &before).unwrap();
    // One POST lists the references for each of the clone's first two requests; a third would be a pack.
    assert!(fetches(&site) <= asked + 2, "{:#?}", site.apache.requests());
}

/// A clone of what is gone ends at the mirror in the very words in which it ends at the upstream.
fn refused_as_upstream(site: &Site, version: u8) {
    let words = |url: String| {
        let client = Git::client(&site.sandbox, Which::Machine, version);
        let target = site.sandbox.fresh("clone").display().to_string();
        let error = client.try_text(site.sandbox.path(), &["clone", "--quiet", "--mirror", &url, &target]).unwrap_err();
        error.replace(&url, "URL").replace(&target, "TARGET").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let theirs = words(site.upstream_url(APP));
    assert!(theirs.iter().any(|line| line == "fatal: repository 'URL/' not found"), "{theirs:?}");
    assert_eq!(words(site.mirror_url(APP)), theirs, "version {version}");
}

/// The statuses of all that can be asked for: both advertisements, `ls-refs`, a fetch of `tip`, `object-info` of it.
fn statuses(site: &mut Site, tip: &str) -> [u16; 5] {
    let port = site.mirror().port();
    let of = |method: &str, path: &str, version: &str, body: &str| {
        let headers = [("Git-Protocol", version), ("Content-Type", "application/x-git-upload-pack-request")];
        request(method, port, &format!("/{APP}/{path}"), &headers, body.as_bytes()).unwrap().status
    };
    let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
    let post = |command: &str, arguments: &[String]| {
        let body = format!("{}0001{}0000", line(&format!("command={command}")), arguments.concat());
        of("POST", "git-upload-pack", "version=2", &body)
    };
    [
        of("GET", "info/refs?service=git-upload-pack", "version=2", ""),
        post("fetch", &[line(&format!("want {tip}")), line("done")]),
        post("object-info", &[line("size"), line(&format!("oid {tip}"))]),
        post("ls-refs", &[]),
        of("GET", "info/refs?service=git-upload-pack", "version=0", ""),
    ]
}

/// What the upstream has refused is refused for every request, while the upstream is away too, until it is shown again.
#[test]
fn refused_means_every_request() {
    let mut site = site();
    let before = mirrored(&site);
    let tip = site.upstream(APP).id("main");
    assert_eq!(statuses(&mut site, &tip), [200; 5]);
    let (here, aside) = (site.upstream(APP).folder, site.sandbox.fresh("aside"));
    std::fs::create_dir_all(aside.parent().unwrap()).unwrap();
    std::fs::rename(&here, &aside).unwrap();
    // Asked about in its turn, without any client.
    assert_eq!(site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/sync")).status, 404);
    assert_eq!(statuses(&mut site, &tip), [404; 5]);
    site.apache.stop();
    assert_eq!(statuses(&mut site, &tip), [404; 5], "silence takes no refusal back");
    std::fs::rename(&aside, &here).unwrap();
    site.apache.start_again();
    sound_and_same(&site.git, &mirrored_in_time(&site), &before).unwrap();
    assert_eq!(statuses(&mut site, &tip), [200; 5]);

    site.apache.forbid(Some(APP));
    let answer = site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/sync"));
    assert!(answer.status >= 400, "{answer:?}");
    assert_eq!(statuses(&mut site, &tip), [403; 5]);
    site.apache.forbid(None);
    assert_eq!(statuses(&mut site, &tip), [200; 5], "a fetch alone finds out that it is back");
    site.apache.stop();
    assert_eq!(statuses(&mut site, &tip), [200; 5], "an outage is no refusal");
}

/// Without any request since it went, a clone in version 2 still ends in the words of the upstream.
#[test]
fn gone_while_nobody_looked() {
    let site = site();
    mirrored(&site);
    std::fs::rename(site.upstream(APP).folder, site.sandbox.path().join("aside.git")).unwrap();
    let confirmed = std::time::Instant::now();
    wait_until("the last confirmation is old", 2 * CAPABILITIES_AGE, || confirmed.elapsed() > CAPABILITIES_AGE);
    refused_as_upstream(&site, 2);
}

/// An unknown repository is answered as the upstream answers it.
#[test]
fn unknown_repository() {
    let site = site();
    let ours = clone(&site, &site.mirror_url("team/no-such.git")).unwrap_err();
    let theirs = clone(&site, &site.upstream_url("team/no-such.git")).unwrap_err();
    let last = |error: &str, url: String| error.replace(&url, "URL").lines().last().map(str::to_owned);
    let expected = Some("fatal: repository 'URL/' not found".to_owned());
    assert_eq!(last(&theirs, site.upstream_url("team/no-such.git")), expected);
    assert_eq!(last(&ours, site.mirror_url("team/no-such.git")), expected);
}

/// The upstream's answer ends at many places: at no time is a part of it published.
#[test]
fn cut_in_the_middle() {
    let site = site();
    let port = site.apache.url().rsplit(':').next().unwrap().parse().unwrap();
    let cutter = Cutter::start(port);
    let mut mirror = Heliostat::start(&site.sandbox.folder("behind-the-cutter"), &cutter.url(), &[]);
    let url = format!("{}/{APP}", mirror.url());
    let upstream = clone(&site, &site.upstream_url(APP)).unwrap();
    let pack = State::of(&site.git, &upstream).unwrap().objects();
    assert!(pack > 500, "{pack} objects are too few to cut");

    // First sync: the head, the references, the pack.
    for bytes in [0, 100, 700, 5_000, 20_000] {
        cutter.cut_after(bytes);
        let outcome = clone(&site, &url);
        assert!(outcome.is_err(), "a clone succeeded though the upstream was cut after {bytes} bytes");
        assert!(mirror.stored().is_empty(), "published after {bytes} bytes");
    }
    cutter.heal();
    sound_and_same(&site.git, &clone_in_time(&site, &url), &upstream).unwrap();

    // Later syncs: the old generation is served until the new one is whole.
    everything_moves(&site.upstream(APP));
    for bytes in [0, 100, 700] {
        cutter.cut_after(bytes);
        sound_and_same(&site.git, &clone(&site, &url).unwrap(), &upstream).unwrap();
    }
    cutter.heal();
    let upstream = clone(&site, &site.upstream_url(APP)).unwrap();
    sound_and_same(&site.git, &clone_in_time(&site, &url), &upstream).unwrap();
    for stored in mirror.stored() {
        fsck(&site.git, &stored).unwrap();
    }
    assert!(mirror.stop().success());
}

/// The upstream has named its references and is slow with their objects: what is here is known to be old, and is not served
/// for what the upstream has. Where a client can be told of it, it is, and its fetch waits; else it comes again.
#[test]
fn moved_and_not_here_yet() {
    let site = site();
    let settings = site.sandbox.path().join("short.toml");
    std::fs::write(&settings, "[[mirror]]\ninclude = [\"*\"]\nwait = \"2s\"\n").unwrap();
    let port = site.apache.url().rsplit(':').next().unwrap().parse().unwrap();
    let cutter = Cutter::start(port);
    let flags = ["--config", &settings.display().to_string()];
    let mirror = Heliostat::start(&site.sandbox.folder("behind-the-cutter"), &cutter.url(), &flags);
    let url = format!("{}/{APP}", mirror.url());
    clone(&site, &url).unwrap();
    // Larger than what is let through, smaller than what the upstream can't be asked for: its references come, its pack does
    // not. Nothing compresses it.
    let mut random = fastrand::Rng::with_seed(1);
    let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(1 << 20).collect();
    site.upstream(APP).commit("main", &[("noise.txt", &noise)]);
    cutter.hold_after(128 << 10);
    for version in [0, 1] {
        let client = Git::client(&site.sandbox, Which::Machine, version);
        let finished = client.run(site.sandbox.path(), &["ls-remote", &url]);
        assert!(!finished.status.success() && finished.stderr.contains("503"), "v{version}: {}", finished.stderr);
        assert_eq!(finished.text(), "", "v{version}: nothing old");
    }
    let client = Git::client(&site.sandbox, Which::Machine, 2);
    let told = client.run(site.sandbox.path(), &["ls-remote", &url, "main"]).text().to_owned();
    assert!(told.contains(&site.upstream(APP).id("main")), "{told}");
    let answer = mirror.get(&format!("/{APP}/info/refs?service=git-upload-pack"));
    assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
}

/// A folder's repository is refused under both of its names, whichever it was asked for by, until the folder shows it again.
#[test]
fn refused_by_a_folder_under_both_names() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    let app = Upstream::rich(&git, &folder.join(APP));
    app.copy_to(&folder.join("other.git"));
    let mirror = Heliostat::start(&sandbox.folder("mirror"), &folder.display().to_string(), &[]);
    let tip = app.id("main");
    let status = |name: &str, what: &str| {
        let headers = [("Git-Protocol", "version=2"), ("Content-Type", "application/x-git-upload-pack-request")];
        let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
        let path = format!("/team/{name}/");
        let answer = match what {
            "refs" => request("GET", mirror.port(), &(path + "info/refs?service=git-upload-pack"), &[], b""),
            _ => {
                let lines = [line("command=fetch"), "0001".into(), line(&format!("want {tip}")), line("done")];
                let body = lines.concat() + "0000";
                request("POST", mirror.port(), &(path + "git-upload-pack"), &headers, body.as_bytes())
            }
        };
        answer.unwrap().status
    };
    let all =
        || [("app", "refs"), ("app.git", "refs"), ("app", "fetch"), ("app.git", "fetch")].map(|(n, w)| status(n, w));
    // After an outage it is asked again with pauses.
    let shown = || wait_until("it is shown", SERVER_TIMEOUT, || all() == [200; 4]);
    for name in ["app", "app.git"] {
        shown();
        let aside = sandbox.fresh("aside");
        std::fs::rename(&app.folder, &aside).unwrap();
        // It lists the folder, so that no listing knows the repository any more.
        assert_eq!(mirror.admin("GET", "/api/v1/repositories").status, 200);
        assert_eq!(status(name, "refs"), 404, "{name}");
        let away = sandbox.fresh("away");
        std::fs::rename(&folder, &away).unwrap();
        assert_eq!(all(), [404; 4], "asked for as {name}; silence takes no refusal back");
        std::fs::rename(&away, &folder).unwrap();
        std::fs::rename(&aside, &app.folder).unwrap();
    }
    shown();
}

/// A change comes here in its turn, without any client and without being told.
#[test]
fn followed_at_the_interval() {
    let site = site();
    let settings = site.sandbox.path().join("often.toml");
    std::fs::write(&settings, "[sync]\ninterval = \"1s\"\n").unwrap();
    let flags = ["--config", &settings.display().to_string()];
    let folder = site.sandbox.path().join("upstream").display().to_string();
    for (kind, upstream) in [("host", site.apache.url()), ("folder", folder)] {
        let mirror = Heliostat::start(&site.sandbox.folder(kind), &upstream, &flags);
        clone(&site, &format!("{}/{APP}", mirror.url())).unwrap();
        for content in ["one\n", "two\n"] {
            let tip = site.upstream(APP).commit("main", &[("in-its-turn.txt", content)]);
            wait_until(kind, SERVER_TIMEOUT, || {
                mirror.stored().iter().any(|stored| {
                    site.git.run(stored, &["rev-parse", "-q", "--verify", "refs/heads/main"]).text() == tip
                })
            });
        }
    }
}

/// After a failure the mirror may back off: a client that comes again, as Retry-After says, is served.
fn clone_in_time(site: &Site, url: &str) -> PathBuf {
    let mut last = String::new();
    for _ in 0..60 {
        match clone(site, url) {
            Ok(folder) => return folder,
            Err(error) => last = error,
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    panic!("not served within 30 s after the upstream healed: {last}");
}

#[test]
fn every_protocol_is_served_while_away() {
    let mut site = site();
    let before = mirrored(&site);
    site.apache.stop();
    for version in [0, 1, 2] {
        let client = Git::client(&site.sandbox, Which::Debian, version);
        let folder = site.sandbox.fresh("clone");
        let (url, target) = (site.mirror_url(APP), folder.display().to_string());
        client.text(site.sandbox.path(), &["clone", "--quiet", "--mirror", &url, &target]);
        sound_and_same(&site.git, &folder, &before).unwrap();
    }
}

/// One reference of the upstream names an object that it does not have, so that what it has now can't be brought as a
/// whole: what is here is served, and says that it is stale, until that reference is mended.
#[test]
fn what_can_not_be_brought_is_not_told() {
    let mut site = site();
    let before = mirrored(&site);
    let upstream = site.upstream(APP);
    upstream.commit("main", &[("more.txt", "moved\n")]);
    let broken = upstream.folder.join("refs/heads/broken");
    std::fs::write(&broken, format!("{}\n", "12345678".repeat(5))).unwrap();
    let clone_by = |site: &Site, version: u8| {
        let client = Git::client(&site.sandbox, Which::Machine, version);
        let folder = site.sandbox.fresh("clone");
        let (url, target) = (site.mirror_url(APP), folder.display().to_string());
        client.try_text(site.sandbox.path(), &["clone", "--quiet", "--mirror", &url, &target]).map(|_| folder)
    };
    // Whoever is first may wait for the fetch that fails.
    let _ = clone_by(&site, 2);
    for version in [2, 0, 2] {
        sound_and_same(&site.git, &clone_by(&site, version).unwrap(), &before).unwrap();
        let freshness = freshness(&mut site);
        assert!(freshness.starts_with("stale"), "{freshness}");
    }
    std::fs::remove_file(&broken).unwrap();
    let upstream = clone(&site, &site.upstream_url(APP)).unwrap();
    sound_and_same(&site.git, &clone_by(&site, 2).unwrap(), &upstream).unwrap();
}

/// What a clone with progress (or with `--quiet`) says on its standard error.
fn said(site: &Site, version: u8, how: &str) -> String {
    let client = Git::client(&site.sandbox, Which::Machine, version);
    let folder = site.sandbox.fresh("clone");
    let (url, target) = (site.mirror_url(APP), folder.display().to_string());
    let finished = client.run(site.sandbox.path(), &["clone", how, "--mirror", &url, &target]);
    assert!(finished.status.success(), "{}", finished.stderr);
    finished.stderr
}

fn freshness(site: &mut Site) -> String {
    let answer = site.mirror().get(&format!("/{APP}/info/refs?service=git-upload-pack"));
    answer.header("heliostat-freshness").expect("the header").to_owned()
}

/// Who is served what may be old hears so: in the header with its age, and as a line of the fetch that wants progress.
#[test]
fn stale_is_said() {
    const WORDS: &str = "remote: This mirror can't tell what its upstream has now: this is what it had ";
    let mut site = site();
    mirrored(&site);
    let before = std::time::Instant::now();
    assert_eq!(freshness(&mut site), "confirmed");
    site.apache.stop();
    for version in [0, 1, 2] {
        let stderr = said(&site, version, "--progress");
        assert!(stderr.contains(WORDS) && stderr.contains(" s ago."), "version {version}: {stderr}");
        assert!(!said(&site, version, "--quiet").contains("upstream"), "version {version}: no progress was wanted");
    }
    let header = freshness(&mut site);
    let age: u64 = header.strip_prefix("stale; age=").expect(&header).parse().expect(&header);
    assert!(age <= before.elapsed().as_secs(), "{header}");
    // An age that this process can't know is not made up.
    assert!(site.mirror().stop().success());
    site.mirror().start_again();
    let stderr = said(&site, 2, "--progress");
    assert!(stderr.contains(&format!("{WORDS}when it answered last.")), "{stderr}");
    assert_eq!(freshness(&mut site), "stale");

    site.apache.start_again();
    moved_and_mirrored(&site);
    assert_eq!(freshness(&mut site), "confirmed");
    for version in [0, 1, 2] {
        let stderr = said(&site, version, "--progress");
        assert!(stderr.contains("remote: Total ") && !stderr.contains("upstream"), "version {version}: {stderr}");
    }
}

/// As [`mirrored`], as soon as the upstream is found to be back.
fn mirrored_in_time(site: &Site) -> PathBuf {
    clone_in_time(site, &site.mirror_url(APP))
}

/// What the upstream has now, once it has been found to be back.
fn moved_and_mirrored(site: &Site) {
    site.upstream(APP).commit("main", &[("back.txt", "back\n")]);
    let tip = site.upstream(APP).id("main");
    wait_until("the mirror finds its upstream", std::time::Duration::from_secs(30), || {
        site.git.text(&mirrored(site), &["rev-parse", "main"]) == tip
    });
}
