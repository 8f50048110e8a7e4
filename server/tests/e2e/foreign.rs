//! Clients that are not Git's own: dulwich, pygit2 (libgit2), isomorphic-git and JGit.
//!
//! Each is a small program in `tests/clients/` that clones, fetches and lists; the same client does the same with the
//! upstream itself, and what it made there is compared.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::compare::{Report, State, fsck, sound_and_same};
use crate::support::process::{Finished, hermetic, run};
use crate::support::repositories::Upstream;
use crate::support::site::Site;

/// JGit and what it stands on, from Debian's libjgit-java.
const JARS: &[&str] = &["org.eclipse.jgit", "slf4j-api", "slf4j-nop", "javaewah", "jsch"];

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Where `./check` installs what PyPI and npm give.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join("clients").join(name);
    assert!(path.exists(), "{} is missing: ./check installs the foreign Git clients", path.display());
    path
}

fn python(script: &str) -> Vec<String> {
    vec![installed("python/bin/python").display().to_string(), format!("{SOURCES}/{script}")]
}

/// A program and its first arguments; verb, URL and folder follow.
fn check(verbs: &[&str], program: impl Fn(&Site) -> Vec<String>, adapt: fn(Command) -> Command) {
    let site = Site::start(|git, folder| {
        Upstream::rich(git, &folder.join("team/app.git"));
    });
    let program = program(&site);
    let client = |verb: &str, url: &str, folder: &Path| -> Result<Finished, String> {
        let mut command = adapt(hermetic(&program[0], site.sandbox.path()));
        command.args(&program[1..]).args([verb, url]).arg(folder);
        let finished = run(&mut command, b"", site.sandbox.path());
        if finished.status.success() {
            return Ok(finished);
        }
        Err(format!("{verb} {url}: {}\n{}", finished.status, finished.stderr))
    };
    let (mirror, upstream) = (site.mirror_url("team/app.git"), site.upstream_url("team/app.git"));

    let mut report = Report::default();
    let mut clones = None;
    for &verb in verbs {
        let outcome = match verb {
            "clone" | "shallow" => {
                let (ours, theirs) = (site.sandbox.fresh(verb), site.sandbox.fresh(verb));
                clones.get_or_insert((ours.clone(), theirs.clone()));
                client(verb, &mirror, &ours)
                    .and_then(|_| client(verb, &upstream, &theirs))
                    .and_then(|_| sound_and_same(&site.git, &ours, &theirs))
            }
            "fetch" => {
                let (ours, theirs) = clones.as_ref().expect("cloned before");
                move_on(&site.upstream("team/app.git"));
                let before = State::of(&site.git, ours);
                client(verb, &mirror, ours).and_then(|_| client(verb, &upstream, theirs)).and_then(|_| {
                    fsck(&site.git, ours)?;
                    let after = State::of(&site.git, ours)?;
                    after.same_as(&State::of(&site.git, theirs)?)?;
                    // Two clients that fetched nothing are the same, too.
                    let moved = before?.same_as(&after).is_err();
                    if moved { Ok(()) } else { Err("the fetch moved no reference".into()) }
                })
            }
            "list" => {
                let folder = site.sandbox.fresh("list");
                client(verb, &mirror, &folder).and_then(|ours| {
                    let theirs = client(verb, &upstream, &folder)?;
                    let same = ours.text() == theirs.text() && !ours.text().is_empty();
                    if same { Ok(()) } else { Err(format!("mirror:\n{}\nupstream:\n{}", ours.text(), theirs.text())) }
                })
            }
            _ => Err(format!("unknown verb {verb}")),
        };
        report.case(verb, outcome);
    }
    report.finish();
}

fn move_on(upstream: &Upstream) {
    upstream.commit("main", &[("src/f1.txt", "moved on\n")]);
    upstream.commit("brand-new", &[("brand.txt", "new\n")]);
    let parent = upstream.id("topic~3");
    upstream.commit_on(&parent, "topic", &[("topic.txt", "forced\n")]);
    upstream.run(&["tag", "-a", "-m", "third", "v3.0", "main"]);
}

#[test]
fn dulwich() {
    check(&["list", "clone", "shallow", "fetch"], |_| python("dulwich_client.py"), |command| command);
}

#[test]
fn pygit2() {
    check(&["list", "clone", "shallow", "fetch"], |_| python("pygit2_client.py"), |command| command);
}

#[test]
fn isomorphic_git() {
    let program = |_: &Site| vec!["node".to_owned(), format!("{SOURCES}/isomorphic_client.cjs")];
    check(&["list", "clone", "shallow", "fetch"], program, |mut command| {
        command.env("NODE_PATH", installed("node_modules"));
        command
    });
}

/// Without `shallow`: the JGit of Debian's libjgit-java (4.11) can't ask for a depth; JGit learnt it in 6.3.
#[test]
fn jgit() {
    check(
        &["list", "clone", "fetch"],
        |site| {
            let jars: Vec<String> = JARS.iter().map(|name| format!("/usr/share/java/{name}.jar")).collect();
            for jar in &jars {
                assert!(Path::new(jar).exists(), "{jar} is missing: install Debian's libjgit-java; ./check does");
            }
            let classes = site.sandbox.folder("classes").display().to_string();
            let class_path = format!("{}:{classes}", jars.join(":"));
            let mut compiler = hermetic("javac", site.sandbox.path());
            compiler.args(["-cp", &class_path, "-d", &classes]).arg(format!("{SOURCES}/JgitClient.java"));
            let compiled = run(&mut compiler, b"", site.sandbox.path());
            assert!(compiled.status.success(), "javac: {}", compiled.stderr);
            let home = format!("-Duser.home={}", site.sandbox.path().display());
            ["java", "-XX:TieredStopAtLevel=1", &home, "-cp", &class_path, "JgitClient"].map(str::to_owned).into()
        },
        |command| command,
    );
}
