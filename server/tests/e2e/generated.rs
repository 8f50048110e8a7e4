//! Generated repositories: every preset of the generator, an upstream that never rests, a fleet of clients at once.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use heliostat_testrepo::{Change, Repository, Rng, Spec, Store};

use crate::support::compare::{Report, fsck, sound_and_same};
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::process::Guarded;
use crate::support::sandbox::Sandbox;
use crate::support::site::Site;

/// What each preset is cloned with.
const FORMS: &[&[&str]] = &[
    &["--mirror"],
    &["--bare"],
    &["--bare", "--depth", "3", "--no-single-branch"],
    &["--bare", "--filter=blob:none"],
    &["--bare", "--filter=tree:2", "--single-branch"],
];

fn clone(git: &Git, sandbox: &Sandbox, url: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    let folder = sandbox.fresh("clone");
    let target = folder.display().to_string();
    git.try_text(sandbox.path(), &[&["clone", "--quiet"], arguments, &[url, &target]].concat())?;
    Ok(folder)
}

#[test]
fn every_preset() {
    let presets = Spec::presets(11);
    let site = Site::start(|_, folder| {
        for (name, spec) in &presets {
            spec.write(&folder.join(format!("{name}.git"))).unwrap();
        }
    });
    let mut report = Report::default();
    for (name, _) in &presets {
        for arguments in FORMS {
            let path = format!("{name}.git");
            let pair = clone(&site.git, &site.sandbox, &site.mirror_url(&path), arguments)
                .and_then(|ours| Ok((ours, clone(&site.git, &site.sandbox, &site.upstream_url(&path), arguments)?)));
            let outcome = pair.and_then(|(ours, theirs)| {
                sound_and_same(&site.git, &ours, &theirs)?;
                [ours, theirs]
                    .iter()
                    .try_for_each(|folder| std::fs::remove_dir_all(folder).map_err(|error| error.to_string()))
            });
            report.case(&format!("{name} {arguments:?}"), outcome);
        }
    }
    report.finish();
}

/// One to four things that happen at once.
fn happenings(random: &mut Rng, round: u32) -> Vec<Change> {
    (0..random.between(1, 4))
        .map(|_| match random.below(9) {
            0 | 1 => Change::AddCommits { branch: "main".into(), count: 3 },
            2 => Change::ForcePush { branch: "main".into(), count: 2 },
            3 => {
                Change::CreateBranch { branch: format!("new/{round}-{}", random.below(1_000_000)), from: "main".into() }
            }
            4 => Change::AddTag {
                name: format!("t{round}-{}", random.below(1_000_000)),
                target: "main".into(),
                annotated: true,
            },
            5 => Change::AddTag {
                name: format!("l{round}-{}", random.below(1_000_000)),
                target: "main".into(),
                annotated: false,
            },
            6 => Change::Pull { number: 1_000 + round },
            7 => Change::SetSymbolic { name: "refs/heads/latest".into(), target: "main".into() },
            _ => Change::AddCommits { branch: "steady".into(), count: 1 },
        })
        .collect()
}

/// Round after round the upstream changes; one clone follows through the mirror, a fresh one comes from the upstream.
#[test]
fn an_upstream_that_never_rests() {
    let seed = fastrand::u64(..);
    let site = Site::start(|_, folder| {
        Spec::braided(3).write(&folder.join("app.git")).unwrap();
    });
    let mut upstream = Repository::open(&site.upstream("app.git").folder).unwrap();
    let mut random = Rng::new(seed);
    let follower = clone(&site.git, &site.sandbox, &site.mirror_url("app.git"), &["--mirror"]).unwrap();
    for round in 0..15 {
        let changes = happenings(&mut random, round);
        let store = if random.percent(30) { Store::Loose } else { Store::Pack };
        upstream.advance_stored(&changes, store).unwrap();
        if round % 5 == 4 {
            // Only some of the happenings make it.
            let steady = "refs/heads/steady";
            let there = upstream.refs.contains_key(steady);
            let deleted = upstream.advance(&[Change::DeleteRef { name: steady.into() }]).is_ok();
            assert_eq!(deleted, there, "round {round}");
            site.upstream("app.git").run(&["repack", "-a", "-d", "-q"]);
            upstream = Repository::open(&site.upstream("app.git").folder).unwrap();
        }
        let context = |error: String| format!("seed {seed}, round {round}, {changes:?}: {error}");
        let fresh = |url: String| clone(&site.git, &site.sandbox, &url, &["--mirror"]);
        let ours = fresh(site.mirror_url("app.git")).map_err(context).unwrap();
        let theirs = fresh(site.upstream_url("app.git")).map_err(context).unwrap();
        sound_and_same(&site.git, &ours, &theirs).map_err(context).unwrap();
        // The follower keeps objects of what was forced away, so only references and soundness are compared.
        site.git.try_text(&follower, &["fetch", "--quiet", "--prune"]).map_err(context).unwrap();
        fsck(&site.git, &follower).map_err(context).unwrap();
        let refs = |folder: &Path| site.git.text(folder, &["for-each-ref", "--format=%(objectname) %(refname)"]);
        assert_eq!(refs(&follower), refs(&theirs), "seed {seed}, round {round}, {changes:?}");
        for folder in [ours, theirs] {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

/// Sixteen clients clone the same large repository at once: each is complete, and the server's memory is bounded.
#[test]
fn a_fleet_at_once() {
    const CLIENTS: usize = 16;
    const MEMORY_BYTES_MAX: u64 = 300_000_000;
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    let spec = Spec { commits: 2_000, pulls: 10_000, large_blobs: 4, ..Spec::medium(5) };
    spec.write(&folder.join("large.git")).unwrap();
    let mut server = Heliostat::start(&sandbox.folder("heliostat"), &folder.display().to_string(), &[]);
    let url = format!("{}/large.git", server.url());

    let mut clients: Vec<(PathBuf, Guarded)> = (0..CLIENTS)
        .map(|_| {
            let clone = sandbox.fresh("clone");
            let target = clone.display().to_string();
            let mut command = git.command(sandbox.path(), &["clone", "--quiet", "--mirror", &url, &target]);
            (clone, Guarded::start(command.stdout(Stdio::null()).stderr(Stdio::null())))
        })
        .collect();
    let mut peak = 0;
    let deadline = std::time::Instant::now() + Duration::from_secs(240);
    while clients.iter_mut().any(|(_, client)| client.ended().is_none()) {
        assert!(std::time::Instant::now() < deadline, "the fleet takes too long:\n{}", server.log());
        peak = peak.max(server.memory_bytes());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB of memory at the peak", peak >> 20);

    let theirs = clone(&git, &sandbox, &format!("file://{}/large.git", folder.display()), &["--mirror"]).unwrap();
    let mut report = Report::default();
    for (number, (ours, client)) in clients.iter_mut().enumerate() {
        let status = client.ended().expect("ended");
        let outcome = if status.success() { sound_and_same(&git, ours, &theirs) } else { Err(status.to_string()) };
        report.case(&format!("client {number}"), outcome);
    }
    report.finish();
    assert!(server.stop().success());
}

/// A mirror clone wants each distinct tip, in a request larger than `git http-backend` takes with its defaults.
#[test]
fn a_mirror_clone_of_220_000_tips() {
    const TIPS: usize = 220_000;
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream").join("tips.git");
    git.text(sandbox.path(), &["init", "-q", "--bare", &folder.display().to_string()]);
    let mut stream: String = (1..=TIPS).map(|n| format!("blob\nmark :{n}\ndata 7\n{n:07}\n")).collect();
    stream += "commit refs/heads/main\ncommitter A <a@example.com> 1600000000 +0000\ndata 0\n\n";
    let marks = sandbox.path().join("marks");
    let export = format!("--export-marks={}", marks.display());
    let finished = git.run_with(&folder, &["fast-import", "--quiet", &export], stream.as_bytes());
    assert!(finished.status.success(), "{}", finished.stderr);
    let main = git.text(&folder, &["rev-parse", "main"]);
    let mut packed = format!("# pack-refs with: peeled fully-peeled sorted \n{main} refs/heads/main\n");
    for line in std::fs::read_to_string(marks).unwrap().lines() {
        let (mark, id) = line.split_once(' ').unwrap();
        packed += &format!("{id} refs/tips/{:0>7}\n", &mark[1..]);
    }
    let (head, mut lines) =
        packed.split_once('\n').map(|(head, rest)| (head, rest.lines().collect::<Vec<_>>())).unwrap();
    lines.sort_unstable_by_key(|line| &line[41..]);
    std::fs::write(folder.join("packed-refs"), format!("{head}\n{}\n", lines.join("\n"))).unwrap();
    std::fs::remove_file(folder.join("refs/heads/main")).unwrap();

    let upstream = folder.parent().unwrap().display().to_string();
    let mut server = Heliostat::start(&sandbox.folder("heliostat"), &upstream, &[]);
    let ours = clone(&git, &sandbox, &format!("{}/tips.git", server.url()), &["--mirror"]).unwrap();
    let theirs = clone(&git, &sandbox, &format!("file://{}", folder.display()), &["--mirror"]).unwrap();
    sound_and_same(&git, &ours, &theirs).unwrap();
    assert!(server.stop().success());
}
