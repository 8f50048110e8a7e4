//! Histories made to hurt whoever walks them: each is mirrored and served as any other, within bounds of time and memory,
//! and what clients get of it is what stock Git gives.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::support::compare::{Report, sound_and_same};
use crate::support::conversation;
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::process::{SERVER_TIMEOUT, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

/// What the server may hold beyond mapped files.
const MEMORY_BYTES_MAX: u64 = 300_000_000;
/// Longest time that any one answer may take the server. Each takes less than one second on a machine that is not busy.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// A `git` command that lists all objects of a repository.
const LISTING: [&str; 3] = ["cat-file", "--batch-all-objects", "--batch-check"];

/// A stream for `git fast-import`, commit by commit, each with its mark.
#[derive(Default)]
struct History {
    stream: String,
    marks: usize,
}

impl History {
    /// A commit without files, with these parents.
    fn commit(&mut self, parents: &[usize]) -> usize {
        self.commit_with(1_600_000_000 + self.marks, parents, &[])
    }

    fn commit_with(&mut self, date: usize, parents: &[usize], files: &[(&str, &str)]) -> usize {
        self.marks += 1;
        let _ = write!(
            self.stream,
            "reset refs/heads/main\ncommit refs/heads/main\nmark :{}\ncommitter C <c@example.com> {date} +0000\ndata 0\n",
            self.marks
        );
        for (at, parent) in parents.iter().enumerate() {
            let _ = writeln!(self.stream, "{} :{parent}", if at == 0 { "from" } else { "merge" });
        }
        for (path, content) in files {
            let _ = write!(self.stream, "M 100644 inline {path}\ndata {}\n{content}\n", content.len());
        }
        self.marks
    }
}

/// 100,000 commits in a line.
fn linear(history: &mut History) {
    let mut last = history.commit(&[]);
    for _ in 1..100_000 {
        last = history.commit(&[last]);
    }
}

/// A long line, with as many ways into it, and who goes depth first finds the longest first: each shorter one is news for the
/// whole line.
fn ladder(history: &mut History) {
    let mut line = history.commit(&[]);
    for _ in 1..20_000 {
        line = history.commit(&[line]);
    }
    let mut rung = history.commit(&[line]);
    for _ in 0..20_000 {
        let way = history.commit(&[line]);
        rung = history.commit(&[way, rung]);
    }
}

/// Two commits at each step, both merging both of the step before: 2 to the 3,000th ways, all at the same second.
fn grid(history: &mut History) {
    let mut step =
        [history.commit_with(1_600_000_000, &[], &[("a", "a")]), history.commit_with(1_600_000_000, &[], &[])];
    for _ in 0..3_000 {
        step = [step, [step[1], step[0]]].map(|parents| history.commit_with(1_600_000_000, &parents, &[]));
    }
    history.commit_with(1_600_000_000, &step, &[]);
}

/// Commits with 500 parents each, which share them.
fn octopus(history: &mut History) {
    let root = history.commit_with(1_600_000_000, &[], &[("root", "root\n")]);
    let arms: Vec<usize> = (0..500)
        .map(|n| history.commit_with(1_600_000_100 + n, &[root], &[(&format!("arm/{n}"), &format!("{n}\n"))]))
        .collect();
    let mut last = history.commit_with(1_600_001_000, &arms, &[]);
    for n in 0..50 {
        let parents = [&[last], &arms[..499]].concat();
        last = history.commit_with(1_600_001_001 + n, &parents, &[]);
    }
}

/// One commit with 1,000 plain tags, 1,000 annotated ones, and a tag of a tag of a tag, 2,000 deep, each with a name.
fn tags(history: &mut History) {
    let commit = history.commit_with(1_600_000_000, &[], &[("file", "content\n")]);
    let tagger = "tagger C <c@example.com> 1600000000 +0000\ndata 0\n";
    for n in 0..2_000 {
        if n % 2 == 0 {
            let _ = write!(history.stream, "reset refs/tags/light-{n:04}\nfrom :{commit}\n\n");
            let _ = write!(history.stream, "tag wide-{n:04}\nfrom :{commit}\n{tagger}");
        }
        let (target, mark) = (commit + n, commit + n + 1);
        let _ = write!(history.stream, "tag deep-{n:04}\nmark :{mark}\nfrom :{target}\n{tagger}");
    }
}

/// Folders in folders, `depth` of them, in two commits that differ in the innermost file.
fn nested(history: &mut History, depth: usize) {
    let path = format!("{}file", "d/".repeat(depth));
    let first = history.commit_with(1_600_000_000, &[], &[(&path, "first\n")]);
    history.commit_with(1_600_000_001, &[first], &[(&path, "second\n")]);
}

/// 1,800 trees, each with the next one and the one after that in it: the one in place `n` is reached at every depth from
/// `n / 2` to `n`. The next one comes first in one half of them and last in the other: who goes depth first is led astray.
fn lattice(upstream: &Upstream) {
    let finished = upstream.git.run_with(&upstream.folder, &["hash-object", "-w", "--stdin"], b"the last\n");
    let mut entries = format!("100644 blob {}\tfile\n", finished.text());
    let mut mktree = upstream.git.command(&upstream.folder, &["mktree", "--batch"]);
    let mut mktree = mktree.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut ids) = (mktree.stdin.take().unwrap(), BufReader::new(mktree.stdout.take().unwrap()).lines());
    let mut tree = String::new();
    for place in (0..1_800).rev() {
        writeln!(input, "{entries}").unwrap();
        let after = std::mem::replace(&mut tree, ids.next().unwrap().unwrap());
        let names = if place > 900 { ["b", "a"] } else { ["a", "b"] };
        entries = format!("040000 tree {tree}\t{}\n", names[0]);
        if !after.is_empty() {
            entries += &format!("040000 tree {after}\t{}\n", names[1]);
        }
    }
    drop(input);
    assert!(mktree.wait().unwrap().success());
    let commit = upstream.run(&["commit-tree", "-m", "a lattice", &tree]);
    upstream.run(&["update-ref", "refs/heads/main", &commit]);
    upstream.run(&["repack", "-q", "-a", "-d"]);
}

/// A mirror of a folder with one repository.
struct Target {
    git: Git,
    upstream: Upstream,
    server: Heliostat,
    sandbox: Sandbox,
}

impl Target {
    fn start(make: impl FnOnce(&mut History)) -> Self {
        Self::filled(|upstream| {
            let mut history = History::default();
            make(&mut history);
            let import = ["-c", "fastimport.unpackLimit=1", "fast-import", "--quiet", "--force"];
            let finished = upstream.git.run_with(&upstream.folder, &import, history.stream.as_bytes());
            assert!(finished.status.success(), "fast-import: {}", finished.stderr);
            upstream.run(&["pack-refs", "--all"]);
        })
    }

    fn filled(fill: impl FnOnce(&Upstream)) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let folder = sandbox.folder("upstream");
        let upstream = Upstream::empty(&git, &folder.join("app.git"));
        fill(&upstream);
        let server = Heliostat::start(&sandbox.folder("heliostat"), &folder.display().to_string(), &[]);
        git.text(sandbox.path(), &["ls-remote", &format!("{}/app.git", server.url()), "HEAD"]);
        // How long a client waits for it is not on trial.
        wait_until("the first copy is here", 5 * SERVER_TIMEOUT, || !server.stored().is_empty());
        Self { git, upstream, server, sandbox }
    }

    /// A repository that these commands make, from the mirror and from the upstream; `{url}` is where they fetch.
    fn both(&self, name: &str, commands: &[&[&str]], report: &mut Report) {
        let make = |url: &str| -> Result<PathBuf, String> {
            let folder = self.sandbox.folder(&format!("clones/{:016x}", fastrand::u64(..)));
            self.git.text(&folder, &["init", "--quiet", "--bare", "."]);
            for command in commands {
                let arguments: Vec<&str> =
                    command.iter().map(|word| if *word == "{url}" { url } else { word }).collect();
                self.git.try_text(&folder, &arguments)?;
            }
            Ok(folder)
        };
        let outcome = make(&format!("{}/app.git", self.server.url()))
            .and_then(|ours| Ok((ours, make(&format!("file://{}", self.upstream.folder.display()))?)))
            .and_then(|(ours, theirs)| sound_and_same(&self.git, &ours, &theirs));
        report.case(name, outcome);
    }

    /// The pack that a request for `wants` with these arguments brings, indexed in an empty repository, which is shallow where
    /// the answer says so. Stock Git's client takes its time over tens of thousands of commits or names; it is not on trial.
    fn pack(&self, wants: &[String], arguments: &[&str]) -> Result<PathBuf, String> {
        let wants: Vec<String> = wants.iter().map(|id| format!("want {id}")).collect();
        let wants: Vec<&str> = wants.iter().map(String::as_str).collect();
        let answer = conversation::fetch(self.server.port(), "app.git", 2, &wants, arguments);
        let pack = conversation::pack_of(&answer).ok_or_else(|| format!("no pack: {:.300}", answer.text()))?;
        let folder = self.sandbox.fresh("pack");
        self.git.text(self.sandbox.path(), &["init", "--quiet", "--bare", &folder.display().to_string()]);
        let payload = answer.payload();
        let sections = payload.windows(8).position(|bytes| bytes == b"packfile").unwrap_or(0);
        let sections = String::from_utf8_lossy(&payload[..sections]);
        let shallow: Vec<&str> = sections.split("0034shallow ").skip(1).filter_map(|rest| rest.get(..40)).collect();
        if !shallow.is_empty() {
            std::fs::write(folder.join("shallow"), shallow.join("\n") + "\n").expect("the sandbox is writable");
        }
        let indexed = self.git.run_with(&folder, &["index-pack", "--stdin"], &pack);
        if indexed.status.success() { Ok(folder) } else { Err(indexed.stderr) }
    }

    /// These arguments bring so many commits of `main`, and no files.
    fn brings(&self, commits: usize, arguments: &[&str], report: &mut Report) {
        let main = self.upstream.id("main");
        let outcome = self
            .pack(std::slice::from_ref(&main), arguments)
            .and_then(|folder| self.git.try_text(&folder, &["rev-list", "--count", &main]))
            .and_then(|count| if count == commits.to_string() { Ok(()) } else { Err(format!("{count} commits")) });
        report.case(&format!("{arguments:?}"), outcome);
    }

    /// The end: no answer took long, and there is little memory in use.
    fn lives_on(&self, report: Report) {
        report.finish();
        let log = self.server.log();
        assert!(!log.contains("panicked"), "{log}");
        let durations = log.lines().filter_map(|line| {
            let duration = line.split(" duration_ms=").nth(1)?;
            duration.split(' ').next()?.parse().ok()
        });
        let longest = Duration::from_millis(durations.max().expect("answers are logged"));
        assert!(longest < ANSWER_TIME_MAX, "an answer took {longest:?}:\n{log}");
        let memory = self.server.memory_bytes();
        eprintln!("longest {longest:?} memory {} MiB", memory >> 20);
        assert!(memory < MEMORY_BYTES_MAX, "{} MiB of memory", memory >> 20);
    }
}

/// Everything; the newest part of it, more, and the rest; from a middle on.
fn cloned_and_fetched(target: &Target, depth: &str, middle: &str) -> Report {
    let mut report = Report::default();
    let all = "+refs/*:refs/*";
    let (depth, more) = (format!("--depth={depth}"), format!("--deepen={depth}"));
    let shallow: &[&str] = &["fetch", "-q", &depth, "{url}", all];
    target.both("all", &[&["fetch", "-q", "{url}", all]], &mut report);
    target.both("deepened", &[shallow, &["fetch", "-q", &more, "{url}", all]], &mut report);
    target.both("unshallowed", &[shallow, &["fetch", "-q", "--unshallow", "{url}", all]], &mut report);
    target.upstream.run(&["update-ref", "refs/heads/middle", middle]);
    cut_off(target, "--shallow-exclude=refs/heads/middle", &mut report);
    let middle = format!("{}:refs/middle", target.upstream.id(middle));
    target.both("the rest", &[&["fetch", "-q", "{url}", &middle], &["fetch", "-q", "{url}", all]], &mut report);
    report
}

/// What lies within a boundary, more of it, and the rest. Stock Git names as shallow what it does not send, and dies of it
/// (docs/protocol.md, difference 17), until it has been pruned.
fn cut_off(target: &Target, boundary: &str, report: &mut Report) {
    let cut: &[&str] = &["fetch", "-q", boundary, "{url}", "refs/heads/main:refs/heads/main"];
    let prune: &[&str] = &["prune"];
    target.both(boundary, &[cut, prune], report);
    let more: &[&str] = &["fetch", "-q", "--deepen=3", "{url}", "refs/heads/main"];
    target.both(&format!("{boundary}, deepened"), &[cut, prune, more, prune], report);
    let rest: &[&str] = &["fetch", "-q", "--unshallow", "{url}", "+refs/*:refs/*"];
    target.both(&format!("{boundary}, unshallowed"), &[cut, prune, rest], report);
}

#[test]
fn a_long_line() {
    let target = Target::start(linear);
    let mut report = Report::default();
    target.brings(100_000, &[], &mut report);
    target.brings(75_000, &["deepen 75000"], &mut report);
    target.brings(50_000, &["deepen-since 1600050000"], &mut report);
    target.upstream.run(&["update-ref", "refs/tags/half", "main~50000"]);
    target.git.text(target.sandbox.path(), &["ls-remote", &format!("{}/app.git", target.server.url()), "half"]);
    target.brings(50_000, &["deepen-not half"], &mut report);
    target.lives_on(report);
}

/// Stock Git takes minutes for the last.
#[test]
fn a_ladder() {
    let target = Target::start(ladder);
    let mut report = Report::default();
    target.brings(3 * 10_000 - 3, &["deepen 10000"], &mut report);
    target.brings(60_001, &["deepen 2147483646"], &mut report);
    target.lives_on(report);
}

#[test]
fn a_grid() {
    let target = Target::start(grid);
    let report = cloned_and_fetched(&target, "1000", "main~1500");
    target.lives_on(report);
}

#[test]
fn an_octopus() {
    let target = Target::start(octopus);
    let mut report = cloned_and_fetched(&target, "20", "main~25");
    cut_off(&target, "--shallow-since=1600001025", &mut report);
    target.lives_on(report);
}

#[test]
fn tags_of_tags() {
    let target = Target::start(tags);
    let mut report = Report::default();
    let lines = ["command=ls-refs", "0001", "peel", "0000"];
    let told = conversation::post(target.server.port(), "app.git", 2, &lines).text();
    let format = "--format=%(objectname) %(refname)%(if)%(*objectname)%(then) peeled:%(*objectname)%(end)";
    let names = target.upstream.run(&["for-each-ref", format]);
    let unknown: Vec<&str> = names.lines().filter(|line| !told.contains(&format!("{line}\n"))).collect();
    assert!(unknown.is_empty() && names.lines().count() == 4_001, "{unknown:?}");
    let tips: BTreeSet<String> = names.lines().map(|line| line[..40].to_owned()).collect();
    let all = target.upstream.run(&LISTING);
    let same =
        |folder: PathBuf| if target.git.text(&folder, &LISTING) == all { Ok(()) } else { Err("other objects".into()) };
    report.case("all", target.pack(&tips.into_iter().collect::<Vec<_>>(), &[]).and_then(same));
    // The tags follow their commit.
    report.case("by themselves", target.pack(&[target.upstream.id("main")], &["include-tag"]).and_then(same));
    target.lives_on(report);
}

/// As deep as stock Git walks by default (`core.maxTreeDepth`).
#[test]
fn folders_in_folders() {
    let target = Target::start(|history| nested(history, 2_000));
    let report = cloned_and_fetched(&target, "1", "main~1");
    target.lives_on(report);
}

/// Deeper: stock Git refuses to send it, as its client refuses to have it. Here it is sent (what is there is there), and
/// whoever raised the limit gets what is at the upstream.
#[test]
fn folders_deeper_than_git_walks() {
    let target = Target::start(|history| nested(history, 20_000));
    let mut report = Report::default();
    let fetch = ["fetch", "-q", "{url}", "+refs/*:refs/*"];
    let raised = ["-c", "core.maxTreeDepth=100000"];
    let folder = target.sandbox.folder("clones/deep");
    target.git.text(&folder, &["init", "--quiet", "--bare", "."]);
    let url = format!("{}/app.git", target.server.url());
    let fetch = fetch.map(|word| if word == "{url}" { &url } else { word });
    let refused = target.git.try_text(&folder, &fetch);
    let says = refused.as_ref().is_err_and(|words| words.contains("exceeded maximum allowed tree depth"));
    report.case("the client's own limit", if says { Ok(()) } else { Err(format!("{refused:?}")) });
    let objects = |folder: &std::path::Path| target.git.text(folder, &LISTING);
    let got = target.git.try_text(&folder, &[&raised[..], &fetch].concat());
    let same = got.map(|_| objects(&folder) == objects(&target.upstream.folder));
    report.case("without it", same.and_then(|same| if same { Ok(()) } else { Err("other objects".into()) }));
    target.lives_on(report);
}

/// What a filter costs does not depend on how many ways and depths a tree is reached at. Of many parts the narrowest tells,
/// wherever it stands; stock Git's time grows with their number, so it is asked for that part alone.
#[test]
fn filters_on_trees_at_many_depths() {
    let target = Target::filled(lattice);
    let main = target.upstream.id("main");
    let mut report = Report::default();
    let parts = |depths: std::ops::Range<usize>| depths.map(|depth| format!("tree:{depth}")).collect::<Vec<_>>();
    for (depth, filter, trees) in [
        (1, "tree:1".to_owned(), 1),
        (100, "tree:100".to_owned(), 199),
        (500, "tree:500".to_owned(), 999),
        (2_000, "tree:2000".to_owned(), 1_800),
        (500, format!("combine:{}", parts(500..563).join("+")), 999),
        (500, format!("combine:blob:limit=1k+combine:{}+tree:600", parts(500..558).join("%2b")), 999),
    ] {
        let stock = ["rev-list", "--objects", "--no-object-names", &format!("--filter=tree:{depth}"), "main"];
        let stock = target.upstream.run(&stock);
        let stock: BTreeSet<&str> = stock.lines().collect();
        let outcome = target.pack(std::slice::from_ref(&main), &[&format!("filter {filter}")]).and_then(|folder| {
            let listing = target.git.text(&folder, &LISTING);
            let ours: BTreeSet<&str> = listing.lines().map(|line| &line[..40]).collect();
            let found = listing.lines().filter(|line| line.contains(" tree ")).count();
            if ours == stock && found == trees {
                Ok(())
            } else {
                Err(format!("{} objects, {found} of them trees; stock Git has {}", ours.len(), stock.len()))
            }
        });
        report.case(&format!("{filter:.60}"), outcome);
    }
    target.lives_on(report);
}
