//! `git fetch` after the upstream moved, into clones of every kind, in protocol 0, 1 and 2.

use std::path::{Path, PathBuf};

use crate::support::compare::{Report, sound_and_same};
use crate::support::git::{Git, Which};
use crate::support::repositories::Upstream;
use crate::support::site::Site;

/// A clone, what the upstream does meanwhile, what the client does meanwhile, and the fetch.
struct Case {
    name: &'static str,
    clone: &'static [&'static str],
    /// What happens at the upstream between clone and fetch.
    moves: fn(&Upstream),
    /// What the user does in the clone before fetching.
    works: fn(&Git, &Path),
    /// Arguments of Git from the subcommand on; `{revision}` stands for its id at the upstream.
    fetch: &'static [&'static str],
}

const PLAIN: Case = Case { name: "", clone: &[], moves: grow, works: |_, _| {}, fetch: &["fetch", "--quiet"] };

const CASES: &[Case] = &[
    Case { name: "incremental", ..PLAIN },
    Case { name: "nothing new", moves: |_| {}, ..PLAIN },
    Case { name: "forced", moves: force, ..PLAIN },
    Case { name: "forced, single branch", clone: &["--single-branch"], moves: force, ..PLAIN },
    Case { name: "not pruned", moves: delete, ..PLAIN },
    Case { name: "pruned", moves: delete, fetch: &["fetch", "--quiet", "--prune"], ..PLAIN },
    Case { name: "tags pruned", moves: delete, fetch: &["fetch", "--quiet", "--prune", "--prune-tags"], ..PLAIN },
    Case { name: "branch becomes folder", moves: become_folder, fetch: &["fetch", "--quiet", "--prune"], ..PLAIN },
    Case { name: "tags follow", moves: tag, ..PLAIN },
    Case { name: "all tags", clone: &["--no-tags"], fetch: &["fetch", "--quiet", "--tags"], moves: tag, ..PLAIN },
    Case { name: "no tags", moves: tag, fetch: &["fetch", "--quiet", "--no-tags"], ..PLAIN },
    Case { name: "moved tag", moves: move_tag, fetch: &["fetch", "--quiet", "--tags", "--force"], ..PLAIN },
    Case { name: "HEAD moved", moves: move_head, fetch: &["remote", "set-head", "origin", "--auto"], ..PLAIN },
    Case { name: "mirror", clone: &["--mirror"], moves: everything, fetch: &["remote", "update", "--prune"], ..PLAIN },
    Case { name: "deepen", clone: &["--depth", "5"], fetch: &["fetch", "--quiet", "--deepen", "10"], ..PLAIN },
    Case {
        name: "deepen all branches",
        clone: &["--depth", "2", "--no-single-branch"],
        fetch: &["fetch", "--quiet", "--deepen", "3"],
        ..PLAIN
    },
    Case { name: "depth", clone: &["--depth", "5"], fetch: &["fetch", "--quiet", "--depth", "20"], ..PLAIN },
    Case { name: "less depth", clone: &["--depth", "20"], fetch: &["fetch", "--quiet", "--depth", "3"], ..PLAIN },
    Case { name: "depth of a full clone", fetch: &["fetch", "--quiet", "--depth", "3"], ..PLAIN },
    Case { name: "shallow, incremental", clone: &["--depth", "1"], ..PLAIN },
    Case { name: "shallow, forced", clone: &["--depth", "3"], moves: force, ..PLAIN },
    Case { name: "unshallow", clone: &["--depth", "3"], fetch: &["fetch", "--quiet", "--unshallow"], ..PLAIN },
    Case {
        name: "shallow since",
        clone: &["--depth", "1"],
        fetch: &["fetch", "--quiet", "--shallow-since", "2024-02-20T00:00:00Z"],
        ..PLAIN
    },
    Case {
        name: "shallow exclude",
        clone: &["--depth", "1"],
        fetch: &["fetch", "--quiet", "--shallow-exclude", "v1.0"],
        ..PLAIN
    },
    Case {
        name: "exact id of a tip",
        clone: &["--single-branch"],
        fetch: &["fetch", "--quiet", "origin", "{refs/pull/1/head}:refs/heads/pull"],
        ..PLAIN
    },
    Case {
        name: "exact id inside history",
        clone: &["--depth", "1"],
        fetch: &["fetch", "--quiet", "--depth", "1", "origin", "{main~30}:refs/heads/old"],
        ..PLAIN
    },
    Case {
        name: "exact id of a tag object",
        clone: &["--no-tags", "--single-branch"],
        fetch: &["fetch", "--quiet", "--no-tags", "origin", "{v1.0-nested}:refs/tags/nested"],
        ..PLAIN
    },
    Case { name: "pull requests", fetch: &["fetch", "--quiet", "origin", "+refs/pull/*:refs/pull/*"], ..PLAIN },
    Case { name: "one branch by name", fetch: &["fetch", "--quiet", "origin", "unmerged"], ..PLAIN },
    Case { name: "refetch", fetch: &["fetch", "--quiet", "--refetch"], ..PLAIN },
    Case {
        name: "no blobs, incremental",
        clone: &["--filter=blob:none", "--no-checkout"],
        fetch: &["fetch", "--quiet"],
        ..PLAIN
    },
    Case {
        name: "no blobs, refetched with small ones",
        clone: &["--filter=blob:none", "--no-checkout"],
        fetch: &["fetch", "--quiet", "--refetch", "--filter=blob:limit=1k"],
        ..PLAIN
    },
    Case {
        name: "no trees, deepened",
        clone: &["--filter=tree:0", "--depth", "2", "--no-checkout"],
        fetch: &["fetch", "--quiet", "--deepen", "2"],
        ..PLAIN
    },
    Case { name: "skipping", works: diverge, fetch: &["-c", "fetch.negotiationAlgorithm=skipping", "fetch"], ..PLAIN },
    Case { name: "noop", works: diverge, fetch: &["-c", "fetch.negotiationAlgorithm=noop", "fetch"], ..PLAIN },
    Case {
        name: "consecutive",
        works: diverge,
        fetch: &["-c", "fetch.negotiationAlgorithm=consecutive", "fetch"],
        ..PLAIN
    },
    Case { name: "far apart", works: diverge_far, moves: force, ..PLAIN },
    Case { name: "no common history", works: unrelated, ..PLAIN },
    Case { name: "pull", fetch: &["pull", "--quiet", "--ff-only"], ..PLAIN },
    Case { name: "one tip negotiates", works: diverge, fetch: &["fetch", "--negotiation-tip=v1.0"], ..PLAIN },
    Case { name: "keep the pack", fetch: &["fetch", "--quiet", "--keep"], ..PLAIN },
];

fn grow(upstream: &Upstream) {
    for round in 0..3 {
        upstream.commit("main", &[("src/f3.txt", &format!("round {round}\n")), ("new/file.txt", "new\n")]);
        upstream.commit("unmerged", &[("un.txt", &format!("round {round}\n"))]);
    }
    upstream.commit("brand-new", &[("brand.txt", "new\n")]);
}

fn force(upstream: &Upstream) {
    let parent = upstream.id("main~9");
    upstream.commit_on(&parent, "main", &[("forced.txt", "forced\n")]);
}

fn delete(upstream: &Upstream) {
    upstream.run(&["update-ref", "-d", "refs/heads/unmerged"]);
    upstream.run(&["update-ref", "-d", "refs/tags/v0.1"]);
}

fn become_folder(upstream: &Upstream) {
    let id = upstream.id("unmerged");
    upstream.run(&["update-ref", "-d", "refs/heads/unmerged"]);
    upstream.run(&["update-ref", "refs/heads/unmerged/inside", &id]);
}

fn tag(upstream: &Upstream) {
    grow(upstream);
    upstream.run(&["tag", "-a", "-m", "third", "v3.0", "main~1"]);
    upstream.run(&["tag", "light", "main"]);
    upstream.run(&["tag", "-a", "-m", "outside every branch", "v9.9", "refs/pull/1/head"]);
}

fn move_tag(upstream: &Upstream) {
    upstream.run(&["tag", "-f", "-a", "-m", "moved", "v1.0", "main~2"]);
}

fn move_head(upstream: &Upstream) {
    upstream.run(&["symbolic-ref", "HEAD", "refs/heads/unmerged"]);
}

fn everything(upstream: &Upstream) {
    for change in [grow, force, delete, tag, move_tag, move_head] {
        // `delete` before `move_head`: it then points at a branch that is not there.
        change(upstream);
    }
    upstream.run(&["update-ref", "refs/pull/2/head", "main~4"]);
    upstream.run(&["update-ref", "refs/odd/place", "main~5"]);
}

fn local_commit(git: &Git, clone: &Path) {
    git.text(clone, &["commit", "--quiet", "--allow-empty", "-m", "local"]);
}

fn diverge(git: &Git, clone: &Path) {
    (0..5).for_each(|_| local_commit(git, clone));
}

fn diverge_far(git: &Git, clone: &Path) {
    git.text(clone, &["reset", "--quiet", "--hard", "v0.1"]);
    (0..40).for_each(|_| local_commit(git, clone));
}

fn unrelated(git: &Git, clone: &Path) {
    let tree = git.text(clone, &["rev-parse", "HEAD^{tree}"]);
    let commit = git.text(clone, &["commit-tree", "-m", "unrelated", &tree]);
    for reference in git.text(clone, &["for-each-ref", "--format=%(refname)"]).lines() {
        git.text(clone, &["update-ref", "--no-deref", reference, &commit]);
    }
}

fn check(which: Which, version: u8) {
    let mut site = Site::start(|git, folder| {
        Upstream::rich(git, &folder.join("template.git"));
    });
    let client = Git::client(&site.sandbox, which, version);
    let mut report = Report::default();
    for (number, case) in CASES.iter().enumerate() {
        let path = format!("case-{number}.git");
        site.upstream("template.git").copy_to(&site.upstream(&path).folder);
        report.case(case.name, run(&mut site, &client, &path, case));
    }
    report.finish();
}

fn run(site: &mut Site, client: &Git, path: &str, case: &Case) -> Result<(), String> {
    let upstream = site.upstream(path);
    let clone = |url: &str| -> Result<PathBuf, String> {
        let folder = site.sandbox.fresh("clone");
        let target = folder.display().to_string();
        client.try_text(site.sandbox.path(), &[&["clone", "--quiet"], case.clone, &[url, &target]].concat())?;
        (case.works)(client, &folder);
        Ok(folder)
    };
    let ours = clone(&site.mirror_url(path))?;
    let theirs = clone(&site.upstream_url(path))?;
    (case.moves)(&upstream);
    let fetch: Vec<String> = case.fetch.iter().map(|word| with_ids(&upstream, word)).collect();
    let fetch: Vec<&str> = fetch.iter().map(String::as_str).collect();
    client.try_text(&ours, &fetch)?;
    client.try_text(&theirs, &fetch)?;
    sound_and_same(client, &ours, &theirs)?;
    for folder in [ours, theirs] {
        std::fs::remove_dir_all(folder).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// `{revision}` becomes its id.
fn with_ids(upstream: &Upstream, word: &str) -> String {
    match word.split_once('{').zip(word.split_once('}')) {
        Some(((before, rest), (_, after))) => {
            let revision = &rest[..rest.len() - after.len() - 1];
            format!("{before}{}{after}", upstream.id(revision))
        }
        None => word.into(),
    }
}

each_client!(check);

/// What `fetch --negotiate-only` finds to be common (protocol 2 only: `wait-for-done`).
#[test]
fn negotiate_only() {
    let site = Site::start(|git, folder| {
        Upstream::rich(git, &folder.join("app.git"));
    });
    let mut report = Report::default();
    for which in [Which::Machine, Which::Debian] {
        let client = Git::client(&site.sandbox, which, 2);
        let ask = |url: &str| -> Result<String, String> {
            let folder = site.sandbox.fresh("clone");
            client.try_text(site.sandbox.path(), &["clone", "-q", url, &folder.display().to_string()])?;
            diverge(&client, &folder);
            client.try_text(&folder, &["fetch", "--negotiate-only", "--negotiation-tip=HEAD", "origin"])
        };
        let pair = ask(&site.mirror_url("app.git")).and_then(|ours| Ok((ours, ask(&site.upstream_url("app.git"))?)));
        let outcome = pair.and_then(|(ours, theirs)| match ours == theirs && !ours.is_empty() {
            true => Ok(()),
            false => Err(format!("mirror: {ours}\nupstream: {theirs}")),
        });
        report.case(&format!("{which:?}"), outcome);
    }
    report.finish();
}
