//! The repository that the tables ask about.

use crate::{
    conversation::{Question, Request},
    stage::Stage,
};
use heliostat_testrepo::{Repository, Spec};
use std::path::PathBuf;

/// A small repository with everything that references can be, and ids to ask for.
pub struct Subject {
    pub stage: Stage,
    pub path: PathBuf,
    pub main: String,
    pub parent: String,
    pub first: String,
    pub branch: String,
    /// Reached by a hidden reference alone.
    pub hidden: String,
    /// Reached by no reference.
    pub lost: String,
    pub blob: String,
    pub tree: String,
    pub tag: String,
    pub tag_name: String,
}

impl Subject {
    pub fn new() -> Self {
        let stage = Stage::new();
        let path = stage.path("subject.git");
        let repository: Repository = Spec { pulls: 3, ..Spec::small(11) }.write(&path).unwrap();
        assert!(repository.commits.len() > 20);
        let dir = path.to_str().unwrap();
        let git = |arguments: &[&str]| stage.git(&[&["-C", dir], arguments].concat());
        let main = git(&["rev-parse", "HEAD"]);
        let tree = git(&["rev-parse", "HEAD^{tree}"]);
        let commit = |message: &str| git(&["commit-tree", "-p", &main, "-m", message, &tree]);
        let (hidden, lost) = (commit("hidden"), commit("lost"));
        git(&["update-ref", "refs/secret/one", &hidden]);
        let main_branch = git(&["symbolic-ref", "HEAD"]);
        let branch = git(&["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads"])
            .lines()
            .find(|line| !line.ends_with(&main_branch))
            .map(|line| line[..40].to_owned())
            .unwrap();
        let tags = git(&["for-each-ref", "--format=%(objecttype) %(objectname) %(refname)", "refs/tags"]);
        let (tag, tag_name) =
            tags.lines().find_map(|line| line.strip_prefix("tag ")?.split_once(' ')).expect("an annotated tag");
        let (tag, tag_name) = (tag.to_owned(), tag_name.to_owned());
        let blob = git(&["ls-tree", "-r", "HEAD"])
            .lines()
            .find_map(|line| line.split_whitespace().nth(2).filter(|_| line.contains(" blob ")).map(String::from))
            .unwrap();
        let parent = git(&["rev-parse", "HEAD~3"]);
        let first = git(&["rev-list", "--max-parents=0", "HEAD"]).lines().next().unwrap().to_owned();
        Self { path, main, parent, first, branch, hidden, lost, blob, tree, tag, tag_name, stage }
    }

    /// Sets the repository's configuration to `lines` (`section.key=value`), after its own.
    pub fn configure(&self, lines: &[&str]) {
        let text = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";
        std::fs::write(self.path.join("config"), text).unwrap();
        for line in lines {
            let (key, value) = line.split_once('=').unwrap();
            self.stage.git(&["-C", self.path.to_str().unwrap(), "config", "--add", key, value]);
        }
    }

    /// It, asked this.
    pub fn question(&self, version: u8, options: &[&'static str], request: &[&str]) -> Question {
        Question {
            repository: self.path.clone(),
            options: options.to_vec(),
            environment: vec![("GIT_PROTOCOL".into(), format!("version={version}"))],
            request: Request::of(request),
            ..Question::default()
        }
    }
}

/// Options of a server that answers one request.
pub const STATELESS: &[&str] = &["--stateless-rpc"];
/// Options of one that tells of its references.
pub const ADVERTISE: &[&str] = &["--stateless-rpc", "--advertise-refs"];
