//! `GIT_TRACE_PACKET` of one client against both servers, compared packet by packet.
//!
//! What differs by nature is made equal: the agent, the session id, progress, the bytes of packs, and the order in which
//! two processes' lines come. Everything else must be the same: every difference that is allowed stands in
//! [`comparable`].

use crate::stage::{Side, Stage, run};
use heliostat_testrepo::{Change, Spec};
use std::path::Path;

/// One client's commands, each a command line of `git`.
struct Scene<'a> {
    name: &'static str,
    steps: Vec<Vec<&'a str>>,
}

#[test]
fn transcripts_are_those_of_stock() {
    let stage = Stage::new();
    let path = stage.path("upstream.git");
    let mut repository = Spec { pulls: 4, commits: 60, ..Spec::small(31) }.write(&path).unwrap();
    let dir = path.to_str().unwrap().to_owned();
    for (key, value) in [
        ("uploadpack.allowFilter", "true"),
        ("uploadpack.allowSidebandAll", "true"),
        ("uploadpack.allowReachableSHA1InWant", "true"),
        ("transfer.advertiseObjectInfo", "true"),
        ("transfer.hideRefs", "refs/pull"),
    ] {
        stage.git(&["-C", &dir, "config", key, value]);
    }
    let url = format!("file://{dir}");
    stage.git(&["clone", "-q", "--mirror", &dir, "old.git"]);
    let ancestor = stage.git(&["-C", &dir, "rev-parse", "HEAD~5"]);
    let when = stage.git(&["-C", &dir, "log", "-1", "--format=%ct", &ancestor]);
    let since = format!("--shallow-since={when}");
    repository.advance(&[Change::AddCommits { branch: "main".into(), count: 9 }]).unwrap();
    let scenes = [
        Scene { name: "ls-remote", steps: vec![vec!["ls-remote", &url], vec!["ls-remote", "--heads", &url, "m*"]] },
        Scene { name: "clone", steps: vec![vec!["clone", &url, "TARGET"]] },
        Scene { name: "clone --mirror", steps: vec![vec!["clone", "--mirror", &url, "TARGET"]] },
        Scene {
            name: "clone --depth",
            steps: vec![
                vec!["clone", "--bare", "--depth=2", &url, "TARGET"],
                vec!["-C", "TARGET", "fetch", "--deepen=3", &url, "HEAD"],
                vec!["-C", "TARGET", "fetch", "--unshallow", &url, "HEAD"],
            ],
        },
        Scene { name: "clone --shallow-since", steps: vec![vec!["clone", "--bare", &since, &url, "TARGET"]] },
        Scene {
            name: "clone --filter",
            steps: vec![vec!["clone", "--filter=blob:none", "--no-checkout", &url, "TARGET"]],
        },
        Scene {
            name: "fetch",
            steps: vec![
                vec!["clone", "-q", "--bare", "old.git", "TARGET"],
                vec!["-C", "TARGET", "fetch", &url, "refs/heads/*:refs/heads/*"],
                vec!["-C", "TARGET", "fetch", &url, "refs/heads/*:refs/heads/*"],
            ],
        },
        Scene {
            name: "fetch by id",
            steps: vec![vec!["init", "-q", "TARGET"], vec!["-C", "TARGET", "fetch", &url, &ancestor]],
        },
        Scene {
            name: "not our ref",
            steps: vec![
                vec!["init", "-q", "TARGET"],
                vec!["-C", "TARGET", "fetch", &url, "1111111111111111111111111111111111111111"],
            ],
        },
    ];
    for (scene, ref_in_want) in scenes.iter().flat_map(|scene| [(scene, "false"), (scene, "true")]) {
        stage.git(&["-C", &dir, "config", "uploadpack.allowRefInWant", ref_in_want]);
        // Stock Git sends `wanted-refs` before `shallow-info`, and its own client dies of it.
        if ref_in_want == "true"
            && scene.steps.iter().flatten().any(|word| word.starts_with("--depth") || word.starts_with("--shallow"))
        {
            continue;
        }
        for protocol in if ref_in_want == "true" { &[2][..] } else { &[0, 1, 2] } {
            let [stock, ours] = Side::BOTH.map(|side| transcript(&stage, scene, *protocol, side, ref_in_want));
            assert!(stock.len() > 3, "{}: nothing was traced", scene.name);
            let first = stock.iter().zip(&ours).position(|(stock, ours)| stock != ours);
            let shorter = stock.len().min(ours.len());
            if let Some(at) = first.or((stock.len() != ours.len()).then_some(shorter)) {
                let around = |lines: &[String]| {
                    lines.iter().skip(at.saturating_sub(3)).take(7).cloned().collect::<Vec<_>>().join("\n  ")
                };
                panic!("{} v{protocol}: stock:\n  {}\nours:\n  {}", scene.name, around(&stock), around(&ours));
            }
        }
    }
}

/// The packets that the client saw and sent.
fn transcript(stage: &Stage, scene: &Scene<'_>, protocol: u8, side: Side, mark: &str) -> Vec<String> {
    for attempt in 0..5 {
        let target = format!("t-{}-{protocol}-{side:?}-{mark}-{attempt}", scene.name.replace(' ', "-"));
        let told = play(stage, scene, protocol, side, &target);
        // Stock Git may hang up on a refused client before the client has read why.
        if side == Side::Stock && told.contains("Broken pipe") {
            continue;
        }
        let text = std::fs::read_to_string(stage.path(&format!("{target}.trace"))).unwrap_or_default();
        return text.lines().filter_map(comparable).collect();
    }
    panic!("{}: stock Git never tells why", scene.name);
}

/// Runs the scene's commands; what they say on standard error.
fn play(stage: &Stage, scene: &Scene<'_>, protocol: u8, side: Side, target: &str) -> String {
    let mut told = String::new();
    for step in &scene.steps {
        let mut command = stage.process("git");
        command.env("GIT_TRACE_PACKET", stage.path(&format!("{target}.trace")));
        command.args(["-c", &format!("protocol.version={protocol}")]);
        let asks = |word: &str| ["ls-remote", "clone", "fetch"].contains(&word);
        for word in step.iter().map(|word| if *word == "TARGET" { target } else { word }) {
            command.arg(word);
            if asks(word) {
                command.arg(format!("--upload-pack={}", wrapper(stage, side)));
            }
        }
        told += &run(&mut command, b"").err;
    }
    told
}

/// A script in place of `git-upload-pack`, without the trace: only the client's view is compared.
fn wrapper(stage: &Stage, side: Side) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = stage.path(&format!("upload-pack-{side:?}"));
    if !Path::new(&path).exists() {
        let script = format!("#!/bin/sh\nunset GIT_TRACE_PACKET\nexec {} \"$@\"\n", side.command_line());
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    path.display().to_string()
}

/// A traced line without what may differ: `None` if all of it may.
fn comparable(line: &str) -> Option<String> {
    let packet = line.split_once("packet: ")?.1.trim_start();
    // `sideband<` shows bands one by one: progress, and packs in pieces of any size.
    if packet.starts_with("sideband<") || packet.contains("PACK ...") {
        return None;
    }
    let content = packet.split_once(['<', '>'])?.1.trim_start();
    if content.starts_with("\\2") || content.starts_with("\\1") {
        return None;
    }
    // With `sideband-all` stock Git says on band 3 what we say in an `ERR` packet.
    let packet = packet.replacen("< \\3", "< ERR ", 1);
    let words = packet.split(' ').map(|word| match word.split_once('=') {
        Some((key, _)) if key == "agent" || key == "session-id" => format!("{key}=…"),
        _ => word.to_owned(),
    });
    Some(words.collect::<Vec<_>>().join(" "))
}
