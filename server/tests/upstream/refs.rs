//! The references of a real host, against `git ls-remote`.

use super::support::{apache::Apache, git::Git, repositories::Upstream as Repository, sandbox::Sandbox};
use heliostat::upstream::{Context, GitUpstream, Upstream};
use heliostat_core::refs::{Head, RefTable};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

fn ask(url: &str, path: &str) -> Arc<RefTable> {
    let upstream = GitUpstream::new(url, None, Duration::from_secs(10)).unwrap();
    let context = Context { stop: Arc::default(), progress: Arc::default() };
    let asked = upstream.ask(&path.parse().unwrap(), &context).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(asked.advertised().skipped, 0);
    asked.advertised().refs.clone()
}

/// As `git ls-remote --symref` lists them, but for what only a v2 upstream says.
fn listing(table: &RefTable) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    if let Some(id) = table.head_id() {
        lines.insert("HEAD".into(), id.to_string());
    }
    for reference in table.iter() {
        lines.insert(reference.name.to_string(), reference.id.to_string());
        if let Some(peeled) = reference.peeled {
            lines.insert(format!("{}^{{}}", reference.name), peeled.to_string());
        }
    }
    lines
}

#[test]
fn equal_to_ls_remote() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    let rich = Repository::rich(&git, &folder.join("team/ri ch%.git"));
    let empty = Repository::empty(&git, &folder.join("empty.git"));
    let detached = rich.copy_to(&folder.join("detached.git"));
    detached.run(&["update-ref", "--no-deref", "HEAD", "main~5"]);
    let unborn = rich.copy_to(&folder.join("unborn.git"));
    unborn.run(&["symbolic-ref", "HEAD", "refs/heads/not-yet"]);
    let apache = Apache::start(&sandbox.folder("apache"), &folder, &git);
    for (path, repository) in
        [("team/ri ch%.git", &rich), ("empty.git", &empty), ("detached.git", &detached), ("unborn.git", &unborn)]
    {
        let table = ask(&apache.url(), path);
        let remote = repository.run(&["ls-remote", "."]);
        let expected: BTreeMap<String, String> = remote
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(id, name)| (name.to_owned(), id.to_owned()))
            .collect();
        assert_eq!(listing(&table), expected, "{path}");
    }
    let head = |path| ask(&apache.url(), path).head().clone();
    assert!(matches!(head("detached.git"), Head::Detached(_)));
    for (path, name) in
        [("unborn.git", "refs/heads/not-yet"), ("empty.git", "refs/heads/main"), ("team/ri ch%.git", "refs/heads/main")]
    {
        assert!(matches!(head(path), Head::Symbolic(found) if found.as_bstr() == name), "{path}");
    }
    let table = ask(&apache.url(), "team/ri ch%.git");
    let current = table.find(b"refs/heads/current").unwrap();
    assert_eq!(current.symbolic.map(ToString::to_string).as_deref(), Some("refs/heads/release/1.0"));
}
