//! The making of a whole repository: a main line that moves on step by step, and what grows beside it as it does.
//!
//! ```text
//!            o---o topic        a1--a2 criss-cross       r1--r2 another root
//!           /     \            /  \/  \                        \
//!   o--o---o---o---M----------o   /\   M-----------------------M--> main
//!                   \          \ /  \ /
//!                    b branch   b1--b2
//! ```
//!
//! What is asked for by count is spread evenly over the main line; what is asked for by chance is drawn at each step.
//! Only the last few states of the main line can be grown from, so memory stays bounded however long the history is.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use gix_hash::ObjectId;

use crate::files::{Files, PathChange};
use crate::object::Kind;
use crate::objects::Objects;
use crate::pack::Lane;
use crate::refs::{Head, MAIN, Refs};
use crate::rng::Rng;
use crate::scribe::Scribe;
use crate::spec::{HeadForm, Spec};
use crate::text;
use crate::tree::Dir;

/// How many states of the main line a side line may fork from.
const FORKS_KEPT: usize = 6;
const TOPIC_COMMITS_MAX: usize = 5;
/// More parents than this make Git's own merge code refuse.
pub(crate) const OCTOPUS_PARENTS_MAX: u32 = 60;
/// What a criss-cross adds to the main branch: two lines of two commits, and their merge.
const CRISS_CROSS_COMMITS: u32 = 5;
/// What a second root adds to the main branch: one commit, and its merge.
const ROOT_COMMITS: u32 = 2;

/// A commit with its tree.
#[derive(Clone)]
struct State {
    commit: ObjectId,
    root: Rc<Dir>,
}

/// What was made, before it is written down as refs.
pub(crate) struct Made {
    pub(crate) refs: Refs,
    pub(crate) head: Head,
    /// All commits in the order of making.
    pub(crate) commits: Vec<ObjectId>,
}

/// What has been made of the things asked for by count.
#[derive(Default)]
struct Done {
    octopuses: u32,
    criss_crosses: u32,
    roots: u32,
    lost_commits: u32,
    branches: u32,
    pulls: u32,
    light_tags: u32,
    annotated_tags: u32,
}

pub(crate) struct History<'a> {
    spec: &'a Spec,
    objects: Objects,
    rng: Rng,
    files: Files,
    scribe: Scribe,
    forks: VecDeque<State>,
    refs: Refs,
    commits: Vec<ObjectId>,
    /// Commits that the main branch reaches, for refs to stand on.
    merged: Vec<ObjectId>,
    /// Those of them that were the tip of a topic.
    topics: Vec<ObjectId>,
    last_annotated: Option<ObjectId>,
    done: Done,
}

impl<'a> History<'a> {
    pub(crate) fn new(spec: &'a Spec, objects: Objects) -> Self {
        History {
            spec,
            objects,
            rng: Rng::for_purpose(spec.seed, "history"),
            files: Files::new(spec, Rng::for_purpose(spec.seed, "files")),
            scribe: Scribe::for_history(spec),
            forks: VecDeque::new(),
            refs: Refs::default(),
            commits: Vec::new(),
            merged: Vec::new(),
            topics: Vec::new(),
            last_annotated: None,
            done: Done::default(),
        }
    }

    /// Makes everything; returns it with the number of objects.
    pub(crate) fn make(mut self) -> io::Result<(Made, u64)> {
        if self.spec.commits > 0 {
            let mut storage = Storage::new(self.spec);
            storage.advance(&mut self.objects, 0)?;
            let mut main = self.begin()?;
            self.grow_beside()?;
            while self.made() < self.spec.commits {
                let made = self.made();
                storage.advance(&mut self.objects, made)?;
                main = self.step(main)?;
                self.keep_fork(&main);
                self.grow_beside()?;
            }
            self.refs.direct.insert(MAIN.to_owned(), main.commit);
            self.last_tags(&main)?;
            self.last_refs();
            self.objects.finish()?;
        }
        let head = match self.spec.head {
            HeadForm::Unborn => Head::Branch("refs/heads/not-yet".to_owned()),
            HeadForm::Detached if !self.merged.is_empty() => Head::Detached(self.merged[self.merged.len() / 2]),
            HeadForm::Main | HeadForm::Detached => Head::Branch(MAIN.to_owned()),
        };
        let made = Made { refs: self.refs, head, commits: self.commits };
        Ok((made, self.objects.made()))
    }

    /// Commits that the main branch reaches so far.
    fn made(&self) -> u32 {
        self.merged.len() as u32
    }

    fn left(&self) -> u32 {
        self.spec.commits - self.made()
    }

    /// How many of `total` are due by now, when they are spread evenly and the first comes first.
    fn due(&self, total: u32) -> u32 {
        let share = u64::from(total) * u64::from(self.made());
        share.div_ceil(u64::from(self.spec.commits)) as u32
    }

    fn keep_fork(&mut self, state: &State) {
        if self.forks.len() == FORKS_KEPT {
            self.forks.pop_front();
        }
        self.forks.push_back(state.clone());
    }

    fn fork(&mut self) -> State {
        let at = self.rng.below(self.forks.len());
        self.forks[at].clone()
    }

    fn commit(&mut self, mut root: Rc<Dir>, parents: &[ObjectId], lane: Lane) -> io::Result<State> {
        let tree = root.write(&mut self.objects, lane)?;
        let commit = self.scribe.commit(&mut self.objects, tree, parents)?;
        self.commits.push(commit);
        Ok(State { commit, root })
    }

    fn begin(&mut self) -> io::Result<State> {
        let root = self.files.import(&mut self.objects)?;
        let state = self.commit(root, &[], Lane::Main)?;
        self.merged.push(state.commit);
        self.keep_fork(&state);
        Ok(state)
    }

    /// The main branch's next commit, with what it merges.
    fn step(&mut self, main: State) -> io::Result<State> {
        let spec = self.spec;
        let octopus_parents = spec.octopus_parents;
        if self.done.octopuses < self.due(spec.octopuses) && self.left() >= octopus_parents {
            self.done.octopuses += 1;
            return self.merge_topics(main, octopus_parents as usize - 1, 1);
        }
        if self.done.criss_crosses < self.due(spec.criss_crosses) && self.left() >= CRISS_CROSS_COMMITS {
            self.done.criss_crosses += 1;
            return self.criss_cross(main);
        }
        if self.done.roots < self.due(spec.roots.saturating_sub(1)) && self.left() >= ROOT_COMMITS {
            self.done.roots += 1;
            let number = self.done.roots;
            if number % 2 == 1 {
                return self.merge_root(main, number);
            }
            self.orphan(number)?;
        }
        if self.left() >= 2 && self.rng.percent(spec.merge_percent) {
            let commits = self.rng.between(1, TOPIC_COMMITS_MAX.min(self.left() as usize - 1));
            return self.merge_topics(main, 1, commits);
        }
        let mut root = Rc::clone(&main.root);
        self.files.change(&mut self.objects, &mut root, Lane::Main)?;
        let next = self.commit(root, &[main.commit], Lane::Main)?;
        self.merged.push(next.commit);
        Ok(next)
    }

    /// A line of `commits` commits that grows from `from`; also all that it changed.
    fn line(&mut self, from: State, commits: usize) -> io::Result<(State, Vec<PathChange>)> {
        let mut state = from;
        let mut changes = Vec::new();
        for _ in 0..commits {
            let mut root = Rc::clone(&state.root);
            changes.extend(self.files.change(&mut self.objects, &mut root, Lane::Side)?);
            state = self.commit(root, &[state.commit], Lane::Side)?;
        }
        Ok((state, changes))
    }

    fn apply(&self, root: &mut Rc<Dir>, changes: &[PathChange]) -> io::Result<()> {
        for (path, leaf) in changes {
            root.set(&self.objects, path, leaf.clone())?;
        }
        Ok(())
    }

    /// Grows `topics` lines of `commits` commits each, and merges them all at once.
    fn merge_topics(&mut self, main: State, topics: usize, commits: usize) -> io::Result<State> {
        let mut root = Rc::clone(&main.root);
        let mut parents = vec![main.commit];
        for _ in 0..topics {
            let from = self.fork();
            let made_before = self.commits.len();
            let (tip, changes) = self.line(from, commits)?;
            self.merged.extend_from_slice(&self.commits[made_before..]);
            self.apply(&mut root, &changes)?;
            parents.push(tip.commit);
            self.topics.push(tip.commit);
        }
        let merge = self.commit(root, &parents, Lane::Main)?;
        self.merged.push(merge.commit);
        Ok(merge)
    }

    /// Two lines that merge each other and are merged then.
    fn criss_cross(&mut self, main: State) -> io::Result<State> {
        let made_before = self.commits.len();
        let (a1, a_changes) = self.line(main.clone(), 1)?;
        let (b1, b_changes) = self.line(main.clone(), 1)?;
        let mut root = Rc::clone(&a1.root);
        self.apply(&mut root, &b_changes)?;
        let a2 = self.commit(root, &[a1.commit, b1.commit], Lane::Side)?;
        let mut root = Rc::clone(&b1.root);
        self.apply(&mut root, &a_changes)?;
        let b2 = self.commit(root, &[b1.commit, a1.commit], Lane::Side)?;
        let mut root = Rc::clone(&main.root);
        self.apply(&mut root, &a_changes)?;
        self.apply(&mut root, &b_changes)?;
        let merge = self.commit(root, &[a2.commit, b2.commit], Lane::Main)?;
        self.merged.extend_from_slice(&self.commits[made_before..]);
        Ok(merge)
    }

    /// A history with another root, of one or two files.
    fn unrelated(&mut self, number: u32) -> io::Result<(State, Vec<PathChange>)> {
        let mut root = Rc::default();
        let mut changes = self.files.change(&mut self.objects, &mut root, Lane::Side)?;
        for (path, _) in &mut changes {
            *path = format!("imported-{number}/{path}");
        }
        let mut root = Rc::default();
        self.apply(&mut root, &changes)?;
        Ok((self.commit(root, &[], Lane::Side)?, changes))
    }

    fn merge_root(&mut self, main: State, number: u32) -> io::Result<State> {
        let (other, changes) = self.unrelated(number)?;
        let mut root = Rc::clone(&main.root);
        self.apply(&mut root, &changes)?;
        let merge = self.commit(root, &[main.commit, other.commit], Lane::Main)?;
        self.merged.extend([other.commit, merge.commit]);
        Ok(merge)
    }

    fn orphan(&mut self, number: u32) -> io::Result<()> {
        let (first, _) = self.unrelated(number)?;
        let (tip, _) = self.line(first, 2)?;
        self.refs.direct.insert(format!("refs/heads/orphan/{number}"), tip.commit);
        Ok(())
    }

    /// Branches, pull requests, lost commits and tags that are due at this point of the main line.
    fn grow_beside(&mut self) -> io::Result<()> {
        while self.done.branches < self.due(self.spec.branches) {
            self.done.branches += 1;
            let name = self.branch_name(self.done.branches);
            let tip = match self.spec.branch_commits {
                0 => *self.rng.pick(&self.merged),
                commits => {
                    let from = self.fork();
                    self.line(from, commits as usize)?.0.commit
                }
            };
            self.refs.direct.insert(name, tip);
        }
        while self.done.pulls < self.due(self.spec.pulls) {
            self.done.pulls += 1;
            let tip = self.pull_tip()?;
            self.refs.direct.insert(format!("refs/pull/{}/head", self.done.pulls), tip);
        }
        while self.done.lost_commits < self.due(self.spec.lost_commits) {
            self.done.lost_commits += 1;
            let from = self.fork();
            self.line(from, 1)?;
        }
        self.tags_due()
    }

    fn branch_name(&mut self, number: u32) -> String {
        let word = text::word(&mut self.rng);
        match number % 4 {
            0 => format!("refs/heads/release/{}.{}", number / 40, number),
            1 => format!("refs/heads/user/{word}/{}-{number}", text::word(&mut self.rng)),
            2 => format!("refs/heads/feature/{word}-{number}"),
            _ => format!("refs/heads/{word}-{number}"),
        }
    }

    fn pull_tip(&mut self) -> io::Result<ObjectId> {
        if self.rng.percent(self.spec.pull_own_percent) {
            let from = self.fork();
            return Ok(self.line(from, 1)?.0.commit);
        }
        // Merged pull requests come in the order of merging; where there are more of them, on any commit.
        match self.topics.get(self.done.pulls as usize) {
            Some(topic) => Ok(*topic),
            None => Ok(*self.rng.pick(&self.merged)),
        }
    }

    fn tags_due(&mut self) -> io::Result<()> {
        while self.done.light_tags < self.due(self.spec.light_tags) {
            self.done.light_tags += 1;
            let target = self.merged[self.merged.len() - 1];
            self.refs.direct.insert(format!("refs/tags/build-{}", self.done.light_tags), target);
        }
        while self.done.annotated_tags < self.due(self.spec.annotated_tags) {
            let number = self.done.annotated_tags;
            self.done.annotated_tags += 1;
            let name = format!("v{}.{}.{}", number / 100, number / 10 % 10, number % 10);
            let target = self.merged[self.merged.len() - 1];
            self.annotate(&name, target, Kind::Commit, target)?;
        }
        Ok(())
    }

    /// Makes an annotated tag of `target`, which peels to `peeled`.
    fn annotate(&mut self, name: &str, target: ObjectId, kind: Kind, peeled: ObjectId) -> io::Result<()> {
        let id = self.scribe.tag(&mut self.objects, name, target, kind)?;
        let name = format!("refs/tags/{name}");
        self.refs.direct.insert(name.clone(), id);
        self.refs.peeled.insert(name, peeled);
        self.last_annotated = Some(id);
        Ok(())
    }

    fn last_tags(&mut self, main: &State) -> io::Result<()> {
        for number in 0..self.spec.nested_tags {
            // A chain begins with a tag that no ref names; the next two tag what is there.
            let target = match self.last_annotated {
                Some(id) if number % 3 != 0 => id,
                _ => {
                    let name = format!("inner-{number}");
                    self.scribe.tag(&mut self.objects, &name, main.commit, Kind::Commit)?
                }
            };
            self.annotate(&format!("nested/{number}"), target, Kind::Tag, main.commit)?;
        }
        for number in 0..self.spec.tree_tags {
            let tree = main.root.clone().write(&mut self.objects, Lane::Side)?;
            self.annotate(&format!("tree-{number}"), tree, Kind::Tree, tree)?;
        }
        for number in 0..self.spec.blob_tags {
            let content = text::lines(&mut self.rng, 500);
            let blob = self.objects.put_whole(Kind::Blob, &content)?;
            self.annotate(&format!("key-{number}"), blob, Kind::Blob, blob)?;
        }
        Ok(())
    }

    fn last_refs(&mut self) {
        for number in 1..=self.spec.other_refs {
            let target = *self.rng.pick(&self.merged);
            let name = match number % 2 {
                0 => format!("refs/keep-around/{target}"),
                _ => format!("refs/changes/{:02}/{number}/1", number % 100),
            };
            self.refs.direct.insert(name, target);
        }
        for number in 1..=self.spec.symbolic_refs {
            let name = match number {
                1 => "refs/remotes/origin/HEAD".to_owned(),
                _ => format!("refs/heads/alias-{number}"),
            };
            self.refs.symbolic.insert(name, MAIN.to_owned());
        }
    }
}

/// Which pack the history goes into, as it grows: equal parts for each, the last part loose.
struct Storage {
    /// At how many commits the next part begins, the last one first.
    starts: Vec<(u32, bool)>,
}

impl Storage {
    fn new(spec: &Spec) -> Self {
        let share = |percent: u32| (u64::from(spec.commits) * u64::from(percent) / 100) as u32;
        let loose_percent = u32::from(spec.loose_percent);
        let packed = spec.commits - share(loose_percent);
        let mut starts = Vec::new();
        if loose_percent > 0 {
            starts.push((packed, true));
        }
        if packed > 0 {
            let packs = spec.packs.min(packed);
            let start = |n: u32| (u64::from(packed) * u64::from(n) / u64::from(packs)) as u32;
            starts.extend((0..packs).rev().map(|n| (start(n), false)));
        }
        Storage { starts }
    }

    fn advance(&mut self, objects: &mut Objects, commits: u32) -> io::Result<()> {
        let mut reached = None;
        while let Some((_, is_loose)) = self.starts.pop_if(|(start, _)| *start <= commits) {
            reached = Some(is_loose);
        }
        match reached {
            Some(true) => objects.start_loose(),
            Some(false) => objects.start_pack(),
            None => Ok(()),
        }
    }
}
