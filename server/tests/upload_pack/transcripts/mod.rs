//! `GIT_TRACE_PACKET` of one client against both servers, compared packet by packet.
//!
//! Every scene is played by each Git of this machine, in each protocol version, against `heliostat upload-pack` and the
//! newest stock `git upload-pack`. What differs by nature is made equal: the agent, the session id, progress, the bytes of
//! packs, and the order of lines that have none. Everything else must be the same: every difference that is allowed stands
//! in [`comparable`], [`settled`] or [`Ended`], and in `docs/protocol.md`.
//!
//! Clients here speak full duplex. The stateless form (`--stateless-rpc`, which HTTP uses) is compared with stock Git from
//! raw requests, in `core/tests/protocol` and in `matrix.rs`; so is what no Git client can be made to send: bad depths,
//! malformed lines.

mod boundaries;
mod fetches;
mod filters;
mod listings;
mod refusals;
mod shapes;

use crate::stage::{Side, Stage, copy, gits, run};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// A repository that clients ask.
struct Upstream<'a> {
    stage: &'a Stage,
    path: PathBuf,
    /// `NAME=value`, for its servers.
    environment: &'a str,
}

impl<'a> Upstream<'a> {
    fn new(stage: &'a Stage, path: impl Into<PathBuf>) -> Self {
        Self { stage, path: path.into(), environment: "" }
    }

    /// Stock Git in this repository, which must succeed.
    fn git(&self, arguments: &[&str]) -> String {
        self.stage.git(&[&["-C", self.path.to_str().unwrap()], arguments].concat())
    }

    /// Sets configuration: `section.key=value`.
    fn configure(&self, lines: &[&str]) {
        for line in lines {
            let (key, value) = line.split_once('=').unwrap();
            self.git(&["config", "--replace-all", key, value]);
        }
    }
}

/// Commits on `branch` of the stage's `folder` that no upstream has: haves for several rounds.
fn mine(stage: &Stage, folder: &str, branch: &str) {
    let tree = format!("{branch}^{{tree}}");
    for number in 0..60 {
        let parent = if number == 0 { branch } else { "refs/heads/mine" };
        let message = number.to_string();
        let commit = stage.git(&["-C", folder, "commit-tree", "-p", parent, "-m", &message, &tree]);
        stage.git(&["-C", folder, "update-ref", "refs/heads/mine", &commit]);
    }
    stage.git(&["-C", folder, "repack", "-q", "-a", "-d"]);
    stage.git(&["-C", folder, "pack-refs", "--all"]);
}

/// One client's commands.
#[derive(Debug)]
struct Scene {
    name: String,
    /// The folder of the stage that `TARGET` is a copy of at the beginning; empty: there is none.
    begins_as: String,
    /// Command lines of `git`. `URL` and `TARGET` stand for the upstream and the client's repository.
    steps: Vec<String>,
    /// What must stand in a transcript of v2, so that the scene shows what it is there for.
    shows: Vec<String>,
    /// Steps that fail, by their place, in which versions. All else succeeds.
    fails: Vec<(usize, &'static [u8])>,
}

/// All versions.
const EVERY: &[u8] = &[0, 1, 2];
/// Those in which clients ask for what was advertised, unless they are told that they may ask for more.
const FIRST: &[u8] = &[0, 1];

impl Scene {
    /// The step at `place` fails in these versions.
    fn fails(mut self, place: usize, versions: &'static [u8]) -> Self {
        self.fails.push((place, versions));
        self
    }

    /// Whether the steps ended as they should.
    fn ends_with(&self, codes: &[Option<i32>], protocol: u8) -> bool {
        let fails = |place: usize| self.fails.iter().any(|(at, versions)| *at == place && versions.contains(&protocol));
        let as_told = |(place, code): (usize, &Option<i32>)| (*code != Some(0)) == fails(place);
        codes.len() == self.steps.len() && codes.iter().enumerate().all(as_told)
    }
}

/// A scene that succeeds, its parts in the order of [`Scene`]'s fields.
fn scene(name: &str, begins_as: &str, steps: &[&str], shows: &[&str]) -> Scene {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Scene {
        name: name.into(),
        begins_as: begins_as.into(),
        steps: owned(steps),
        shows: owned(shows),
        fails: Vec::new(),
    }
}

/// A transcript, how each command ended, and what was said on standard error, the server's too.
#[derive(Debug)]
struct Played {
    lines: Vec<String>,
    codes: Vec<Option<i32>>,
    told: String,
}

impl Played {
    /// Our lines, but for errors that stock Git says on its own standard error alone.
    fn without_errors_told_aside(&self, stock: &Played) -> Vec<&String> {
        let told_aside = |line: &String| match line.split_once("< ERR ") {
            Some((_, words)) => !stock.lines.contains(line) && stock.told.contains(&format!("fatal: {words}\n")),
            None => false,
        };
        self.lines.iter().filter(|line| !told_aside(line)).collect()
    }
}

/// Plays `scenes` with every client against both servers; all that differs is told together.
fn check(upstream: &Upstream<'_>, scenes: &[Scene]) {
    let mut differences = Vec::new();
    for (number, git) in gits().iter().enumerate() {
        for protocol in [0, 1, 2] {
            for scene in scenes {
                let player = Player { upstream, scene, git: &git.path, protocol };
                let label = format!("{number}-{protocol}-{}", scene.name.replace([' ', '/', ':', '*'], "-"));
                let [stock, ours] = Side::BOTH.map(|side| player.play(side, &label));
                let what = format!("Git {} v{protocol}: {}", git.version, scene.name);
                for word in scene.shows.iter().filter(|_| protocol == 2) {
                    let shown = stock.lines.iter().any(|line| line.contains(word.as_str()));
                    assert!(shown, "{what}: no {word} in\n  {}", stock.lines.join("\n  "));
                }
                if !scene.ends_with(&stock.codes, protocol) {
                    let (codes, told) = (&stock.codes, &stock.told);
                    differences.push(format!("{what}: stock Git ends with {codes:?}: {told}"));
                }
                differences.extend(difference(&stock, &ours).map(|difference| format!("{what}: {difference}")));
            }
        }
    }
    let shown: Vec<_> = differences.iter().take(6).map(String::as_str).collect();
    assert!(shown.is_empty(), "{} differ, among them\n{}", differences.len(), shown.join("\n"));
}

/// Where two transcripts part, with what stands around it.
fn difference(stock: &Played, ours: &Played) -> Option<String> {
    let (theirs, lines): (Vec<_>, _) = (stock.lines.iter().collect(), ours.without_errors_told_aside(stock));
    let first = theirs.iter().zip(&lines).position(|(theirs, ours)| theirs != ours);
    let shorter = theirs.len().min(lines.len());
    if let Some(at) = first.or((theirs.len() != lines.len()).then_some(shorter)) {
        let around = |lines: &[&String]| {
            lines.iter().skip(at.saturating_sub(3)).take(7).map(|line| line.as_str()).collect::<Vec<_>>().join("\n  ")
        };
        return Some(format!("stock:\n  {}\nours:\n  {}", around(&theirs), around(&lines)));
    }
    (stock.codes != ours.codes).then(|| format!("exit codes: stock: {:?}, ours: {:?}", stock.codes, ours.codes))
}

/// How each command ended, what they said on standard error, and difference 17: the commits that the client was told of as
/// shallow, with `deepen-since` or `deepen-not`, and not sent.
struct Ended {
    codes: Vec<Option<i32>>,
    told: String,
    unsent: BTreeSet<String>,
}

/// One scene with one client.
struct Player<'a> {
    upstream: &'a Upstream<'a>,
    scene: &'a Scene,
    git: &'a Path,
    protocol: u8,
}

impl Player<'_> {
    fn play(&self, side: Side, label: &str) -> Played {
        let stage = self.upstream.stage;
        for attempt in 0..5 {
            let target = format!("t-{label}-{side:?}-{attempt}-{}", fastrand::u32(..));
            let trace = stage.path(&format!("{target}.trace"));
            let Ended { codes, told, unsent } = self.steps(side, &target, &trace);
            let text = std::fs::read_to_string(trace).unwrap_or_default();
            let _ = std::fs::remove_dir_all(stage.path(&target));
            // Stock Git may hang up on a refused client before the client has read why, and then its end is a signal.
            if side == Side::Stock && (told.contains("Broken pipe") || codes.contains(&None)) {
                continue;
            }
            let mut lines = settled(text.lines().filter_map(comparable).collect(), side);
            lines.retain(|line| side == Side::Ours || shallow_of(line).is_none_or(|id| !unsent.contains(id)));
            return Played { lines, codes, told };
        }
        panic!("{}: stock Git never tells why", self.scene.name);
    }

    /// Runs the commands.
    fn steps(&self, side: Side, target: &str, trace: &Path) -> Ended {
        let (mut codes, mut told, mut unsent) = (Vec::new(), String::new(), BTreeSet::new());
        let Upstream { stage, path, .. } = self.upstream;
        let url = format!("file://{}", path.display());
        if !self.scene.begins_as.is_empty() {
            copy(&stage.path(&self.scene.begins_as), &stage.path(target));
        }
        let server = self.server(side);
        for step in &self.scene.steps {
            let mut command = stage.process(self.git);
            command.env("GIT_TRACE_PACKET", trace);
            // The second for what fetches without being told to: a partial clone. The others save time.
            let version = format!("protocol.version={}", self.protocol);
            let partial = format!("remote.origin.uploadpack={server}");
            let quick = ["core.fsync=none", "maintenance.auto=false", "gc.auto=0", "fetch.unpackLimit=1"];
            for setting in [&*version, &partial].into_iter().chain(quick) {
                command.args(["-c", setting]);
            }
            for word in step.split(' ') {
                command.arg(word.replace("TARGET", target).replace("URL", &url));
                if ["ls-remote", "clone", "fetch"].contains(&word) {
                    command.arg(format!("--upload-pack={server}"));
                }
            }
            let outcome = run(&mut command, b"");
            codes.push(outcome.status.code());
            told += &outcome.err;
            if outcome.status.success() && step.contains(" --shallow-") {
                unsent.extend(self.unsent(target, trace));
            }
        }
        Ended { codes, told, unsent }
    }

    /// What the client was told is shallow, and lacks.
    fn unsent(&self, target: &str, trace: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(trace).unwrap();
        let lacks = |id: &&str| {
            let mut command = self.upstream.stage.process(self.git);
            !run(command.args(["-C", target, "cat-file", "-e", id]), b"").status.success()
        };
        text.lines().filter_map(shallow_of).filter(lacks).map(String::from).collect()
    }

    /// A script in place of `git-upload-pack`, without the trace: only the client's view is compared.
    fn server(&self, side: Side) -> String {
        use std::os::unix::fs::PermissionsExt;
        let Upstream { stage, environment, .. } = self.upstream;
        let path = stage.path(&format!("upload-pack-{side:?}-{}", environment.replace('=', "-")));
        if !path.exists() {
            let command = side.command_line();
            let script = format!("#!/bin/sh\nunset GIT_TRACE_PACKET\n{environment} exec {command} \"$@\"\n");
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        path.display().to_string()
    }
}

/// The commit that the server says is shallow.
fn shallow_of(line: &str) -> Option<&str> {
    Some(line.split_once("< shallow ")?.1.trim_end())
}

/// A traced line without what may differ: `None` if all of it may.
fn comparable(line: &str) -> Option<String> {
    let packet = line.split_once("packet: ")?.1.trim_start();
    let content = packet.split_once(['<', '>'])?.1.trim_start();
    // `sideband<` shows bands one by one: progress, and packs in pieces of any size.
    if packet.contains("PACK ...") || content.starts_with("\\2") {
        return None;
    }
    let packet = if packet.starts_with("sideband<") {
        content.starts_with("\\3").then(|| packet.to_owned())?
    } else {
        // With `sideband-all` what would be a packet of its own stands on band 1, and stock Git says on band 3 what we say
        // in an `ERR` packet.
        packet.replacen("< \\1", "< ", 1).replacen("< \\3", "< ERR ", 1)
    };
    let words = packet.split(' ').map(|word| match word.split_once('=') {
        Some((key, _)) if key == "agent" || key == "session-id" => format!("{key}=…"),
        _ => word.to_owned(),
    });
    Some(words.collect::<Vec<_>>().join(" "))
}

/// The lines with those in order that have none of their own, and without what stock Git alone says.
fn settled(mut lines: Vec<String>, side: Side) -> Vec<String> {
    for kind in ["< shallow ", "< unshallow "] {
        lines.chunk_by_mut(|a, b| a.contains(kind) && b.contains(kind)).for_each(<[_]>::sort);
    }
    let sections: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].ends_with("< wanted-refs")).collect();
    for at in sections {
        let section = &mut lines[at + 1..];
        let end = section.iter().position(|line| line.ends_with("< 0001")).unwrap_or(section.len());
        section[..end].sort();
    }
    if side == Side::Stock {
        // A namespace's `HEAD` is listed twice in v2: as `HEAD`, and as a reference of the namespace.
        lines.dedup_by(|a, b| a == b && a.contains(" HEAD"));
        // A `HEAD` that is hidden is still told to be symbolic in v0.
        for line in lines.iter_mut().filter(|line| line.contains(" symref=HEAD:") && !line.contains(" HEAD\\0")) {
            *line = line.split(' ').filter(|word| !word.starts_with("symref=HEAD:")).collect::<Vec<_>>().join(" ");
        }
    }
    lines
}
