//! Commits whose dates lie.

use crate::{
    conversation::{Answer, Question, Request, compare},
    stage::{Side, Stage, run},
    subject::STATELESS,
};
use std::collections::BTreeSet;

/// Makes commits of given dates and parents, all with the same tree, in a new `dates.git`.
pub fn dated(stage: &Stage) -> impl Fn(u64, &[&String]) -> String + use<'_> {
    stage.git(&["init", "-q", "--bare", "dates.git"]);
    let tree = stage.git(&["-C", "dates.git", "write-tree"]);
    move |date, parents| {
        let mut command = stage.process("git");
        command.env("GIT_COMMITTER_DATE", format!("{date} +0000")).args(["-C", "dates.git", "commit-tree", "-m", "x"]);
        for parent in parents {
            command.args(["-p", parent]);
        }
        run(command.arg(&tree), b"").expect("commit-tree")
    }
}

/// A line of commits on a root, in `dates.git` and its branch main: the root and the first of the line are dated later than
/// the ten that stand on them.
pub fn late_below_older(stage: &Stage) -> (String, Vec<String>) {
    let commit = dated(stage);
    let root = commit(1_800_000_000, &[]);
    let mut line = vec![commit(1_800_000_001, &[&root])];
    for step in 1..=10 {
        line.push(commit(1_700_000_000 + step, &[line.last().expect("the first")]));
    }
    stage.git(&["-C", "dates.git", "update-ref", "refs/heads/main", line.last().expect("the first")]);
    (root, line)
}

#[test]
fn an_old_date_above_newer_history_hides_none_of_it() {
    let stage = Stage::new();
    let commit = dated(&stage);
    let root = commit(1_000_000_000, &[]);
    let newer = commit(1_700_000_000, &[&root]);
    let newest = commit(1_700_000_100, &[&newer]);
    let lying = commit(1_000_000_500, &[&newer]);
    let tip = commit(1_700_000_200, &[&newest, &lying]);
    stage.git(&["-C", "dates.git", "update-ref", "refs/heads/main", &tip]);
    let request = ["command=fetch", "0001", &format!("want {tip}"), "deepen-since 1600000000", "done", "0000"];
    let question = Question {
        repository: stage.path("dates.git"),
        options: STATELESS.to_vec(),
        environment: vec![("GIT_PROTOCOL".into(), "version=2".into())],
        request: Request::of(&request),
        ..Question::default()
    };
    compare(&stage, &question, "a lying date");
}

/// Difference 13: stock Git loses sight of an ancestor that is dated later than what stands on it.
#[test]
fn a_late_date_below_older_ones_is_still_reachable() {
    let stage = Stage::new();
    let (root, line) = late_below_older(&stage);
    stage.git(&["-C", "dates.git", "config", "uploadpack.allowReachableSHA1InWant", "true"]);
    let commits: BTreeSet<&String> = [&root, &line[0]].into();
    // Five commits above it stock Git has not given up yet.
    for (wanted, lost) in [(&line[0], true), (&line[5], false)] {
        for (version, options) in [("version=0", STATELESS), ("version=1", STATELESS), ("version=0", &[])] {
            let what = format!("{version} {options:?} lost: {lost}");
            let want = format!("want {wanted} side-band-64k ofs-delta no-progress");
            let [stock, ours] = Side::BOTH.map(|side| {
                let mut command = stage.server(side);
                command.env("GIT_PROTOCOL", version).args(options).arg("dates.git");
                Answer::of(&run(&mut command, &Request::of(&[&want, "0000", "done"]).0))
            });
            assert_eq!(ours.code, 0, "{what}: {}", ours.err);
            let sent = stage.objects_of_pack(&ours.pack, &stage.path("dates.git"));
            assert!(commits.iter().all(|id| sent.contains(*id)), "{what}: {sent:?}");
            let refused = format!("error: git upload-pack: not our ref {wanted}\n");
            assert_eq!(
                (stock.code, stock.err.contains(&refused)),
                if lost { (128, true) } else { (0, false) },
                "{what}"
            );
        }
    }
}
