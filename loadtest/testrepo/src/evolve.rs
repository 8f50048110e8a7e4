//! The life of a generated repository after it was made: what pushes to an upstream do to it.
//!
//! Each call stores its new objects first, then replaces `packed-refs` by one rename, then loose refs and HEAD; a
//! server may serve the repository all the while. What comes out is decided by the seed, the refs as they were and
//! the changes, so two equal repositories evolve equally, in one process or in two.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;

use gix_hash::ObjectId;
use sha1::{Digest, Sha1};

use crate::change::Change;
use crate::files::Files;
use crate::object::Kind;
use crate::objects::Objects;
use crate::pack::Lane;
use crate::read::Reader;
use crate::refs::{self, Head};
use crate::repository::Repository;
use crate::rng::Rng;
use crate::scribe::Scribe;
use crate::spec::Spec;
use crate::tree::Dir;

/// How far a forced push goes back at most.
const FORCED_BACK_MAX: usize = 3;

/// How new objects are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// In one new pack.
    #[default]
    Pack,
    /// Each in a file of its own.
    Loose,
}

/// What `advance` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Refs that changed, with their value before and after.
    pub moved: BTreeMap<String, (Option<ObjectId>, Option<ObjectId>)>,
    /// New commits in the order of making.
    pub commits: Vec<ObjectId>,
    /// How many objects are new.
    pub objects: u64,
}

impl Repository {
    /// Lets all `changes` happen, in their order, as one push: new objects in one pack. On an error (a ref that is not
    /// there, a name that Git refuses) no ref has changed.
    pub fn advance(&mut self, changes: &[Change]) -> io::Result<Outcome> {
        self.advance_stored(changes, Store::Pack)
    }

    /// As `advance`, with a say in how new objects are stored.
    pub fn advance_stored(&mut self, changes: &[Change], store: Store) -> io::Result<Outcome> {
        let mut after = Evolution::new(self, store)?;
        for change in changes {
            after.apply(change)?;
        }
        after.objects.finish()?;
        let outcome = Outcome {
            moved: difference(&self.refs, &after.now.refs),
            objects: after.objects.made(),
            commits: after.new_commits,
        };
        self.publish(&after.now, &outcome)?;
        let mut now = after.now;
        now.objects += outcome.objects;
        now.commits.extend_from_slice(&outcome.commits);
        *self = now;
        Ok(outcome)
    }

    /// Writes down the refs of `now` where they differ from what is on disk.
    fn publish(&self, now: &Repository, outcome: &Outcome) -> io::Result<()> {
        let is_loose = |name: &str| self.path.join(name).is_file();
        let gone = |name: &&String| !now.refs.contains_key(*name) && !now.symbolic.contains_key(*name);
        if !outcome.moved.is_empty() {
            refs::write_packed(&self.path, now.refs.iter(), &now.peeled)?;
        }
        for (name, (_, id)) in &outcome.moved {
            match id {
                Some(id) if is_loose(name) => refs::write_loose(&self.path, name, id)?,
                _ => {}
            }
        }
        for name in self.refs.keys().chain(self.symbolic.keys()).filter(gone) {
            refs::remove_loose(&self.path, name)?;
        }
        for (name, target) in &now.symbolic {
            if self.symbolic.get(name) != Some(target) {
                refs::write_symbolic(&self.path, name, target)?;
            }
        }
        if now.head != self.head {
            refs::write_head(&self.path, &now.head)?;
        }
        Ok(())
    }
}

fn difference(
    before: &BTreeMap<String, ObjectId>,
    after: &BTreeMap<String, ObjectId>,
) -> BTreeMap<String, (Option<ObjectId>, Option<ObjectId>)> {
    before
        .keys()
        .chain(after.keys())
        .map(|name| (name, (before.get(name).copied(), after.get(name).copied())))
        .filter(|(_, (old, new))| old != new)
        .map(|(name, values)| (name.clone(), values))
        .collect()
}

/// A commit as far as it matters for what comes on top of it.
#[derive(Clone)]
struct Tip {
    root: Rc<Dir>,
    parents: Vec<ObjectId>,
    seconds: u64,
}

/// A repository in the middle of its changes.
struct Evolution {
    now: Repository,
    objects: Objects,
    rng: Rng,
    files: Files,
    /// Commits that were just made: what is not on disk yet can't be read from there.
    tips: HashMap<ObjectId, Tip>,
    new_commits: Vec<ObjectId>,
}

fn no_such(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no ref {name}"))
}

fn full_name(name: &str) -> String {
    if name.starts_with("refs/") { name.to_owned() } else { format!("refs/heads/{name}") }
}

impl Evolution {
    fn new(before: &Repository, store: Store) -> io::Result<Self> {
        let spec = Spec { files: 0, ..Spec::small(before.seed) };
        let mut rng = Rng::new(before.fingerprint());
        let files = Files::new(&spec, Rng::new(rng.draw()));
        let reader = Reader::open(&before.path)?;
        let mut objects = Objects::new(&before.path, spec.pack_form(), Some(reader));
        match store {
            Store::Pack => objects.start_pack()?,
            Store::Loose => objects.start_loose()?,
        }
        Ok(Evolution { now: before.clone(), objects, rng, files, tips: HashMap::new(), new_commits: Vec::new() })
    }

    fn apply(&mut self, change: &Change) -> io::Result<()> {
        match change {
            Change::AddCommits { branch, count } => {
                let name = full_name(branch);
                let from = self.now.refs.get(&name).copied();
                self.grow(name, from, *count)
            }
            Change::ForcePush { branch, count } => self.force_push(&full_name(branch), *count),
            Change::Merge { branch, from } => self.merge(&full_name(branch), &full_name(from)),
            Change::CreateBranch { branch, from } => {
                let id = self.resolve_peeled(&full_name(from))?;
                self.create(full_name(branch), id)
            }
            Change::RenameBranch { from, to } => {
                let from = full_name(from);
                let id = self.now.refs.remove(&from).ok_or_else(|| no_such(&from))?;
                self.now.peeled.remove(&from);
                self.create(full_name(to), id)
            }
            Change::DeleteRef { name } => self.delete(&full_name(name)),
            Change::AddTag { name, target, annotated } => self.tag(name, &full_name(target), *annotated),
            Change::Pull { number } => {
                let from = self.head_commit();
                self.grow(format!("refs/pull/{number}/head"), from, 1)
            }
            Change::SetRef { name, id } => {
                if !self.objects.has(id) {
                    return Err(io::Error::new(io::ErrorKind::NotFound, format!("no object {id}")));
                }
                self.set(full_name(name), *id)?;
                let peeled = self.objects.peel(id)?;
                self.now.peeled.extend(peeled.map(|peeled| (full_name(name), peeled)));
                Ok(())
            }
            Change::MoveHead { branch } => {
                self.now.head = Head::Branch(full_name(branch));
                Ok(())
            }
            Change::DetachHead => {
                let id = self.head_commit().ok_or_else(|| no_such("HEAD"))?;
                self.now.head = Head::Detached(id);
                Ok(())
            }
            Change::SetSymbolic { name, target } => self.set_symbolic(name, full_name(target)),
        }
    }

    fn head_commit(&self) -> Option<ObjectId> {
        match &self.now.head {
            Head::Branch(name) => self.resolve(name).ok(),
            Head::Detached(id) => Some(*id),
        }
    }

    fn resolve(&self, name: &str) -> io::Result<ObjectId> {
        let name = self.now.symbolic.get(name).map_or(name, String::as_str);
        self.now.refs.get(name).copied().ok_or_else(|| no_such(name))
    }

    /// What a ref leads to, through annotated tags.
    fn resolve_peeled(&self, name: &str) -> io::Result<ObjectId> {
        match self.now.peeled.get(name) {
            Some(peeled) => Ok(*peeled),
            None => self.resolve(name),
        }
    }

    /// Refuses names that Git refuses: malformed ones, and those where another name needs a directory.
    fn check_new(&self, name: &str) -> io::Result<()> {
        let invalid = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {what}")));
        if !refs::is_valid_name(name) {
            return invalid("not a name for a ref");
        }
        let taken = |name: &str| self.now.refs.contains_key(name) || self.now.symbolic.contains_key(name);
        let below = format!("{name}/");
        let first_below = |found: Option<&String>| found.is_some_and(|found| found.starts_with(&below));
        let above = name.match_indices('/').any(|(at, _)| taken(&name[..at]));
        if above
            || first_below(self.now.refs.range(below.clone()..).next().map(|(name, _)| name))
            || first_below(self.now.symbolic.range(below.clone()..).next().map(|(name, _)| name))
        {
            return invalid("in conflict with a ref above or below it");
        }
        Ok(())
    }

    fn create(&mut self, name: String, id: ObjectId) -> io::Result<()> {
        if self.now.refs.contains_key(&name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} is there already")));
        }
        self.set(name, id)
    }

    fn set(&mut self, name: String, id: ObjectId) -> io::Result<()> {
        if self.now.symbolic.contains_key(&name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is a symbolic ref")));
        }
        if !self.now.refs.contains_key(&name) {
            self.check_new(&name)?;
        }
        self.now.peeled.remove(&name);
        self.now.refs.insert(name, id);
        Ok(())
    }

    fn set_symbolic(&mut self, name: &str, target: String) -> io::Result<()> {
        if self.now.refs.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} is there already")));
        }
        self.check_new(name)?;
        self.now.symbolic.insert(name.to_owned(), target);
        Ok(())
    }

    fn delete(&mut self, name: &str) -> io::Result<()> {
        self.now.peeled.remove(name);
        let was_direct = self.now.refs.remove(name).is_some();
        let was_symbolic = self.now.symbolic.remove(name).is_some();
        if was_direct || was_symbolic { Ok(()) } else { Err(no_such(name)) }
    }

    fn tip(&self, commit: &ObjectId) -> io::Result<Tip> {
        if let Some(tip) = self.tips.get(commit) {
            return Ok(tip.clone());
        }
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{commit} is not a commit of ours"));
        let (kind, content) = self.objects.read(commit)?;
        if kind != Kind::Commit {
            return Err(damaged());
        }
        let text = String::from_utf8_lossy(&content);
        let head = text.split("\n\n").next().unwrap_or_default();
        let field = |name: &str| {
            head.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(' ')).collect::<Vec<_>>()
        };
        let tree = refs::parse_id(field("tree").first().ok_or_else(damaged)?)?;
        let committer = field("committer");
        let seconds = committer.first().and_then(|line| line.rsplit(' ').nth(1)?.parse().ok());
        Ok(Tip {
            root: Dir::read(&self.objects, &tree)?,
            parents: field("parent").into_iter().map(refs::parse_id).collect::<io::Result<_>>()?,
            seconds: seconds.ok_or_else(damaged)?,
        })
    }

    fn commit(&mut self, mut root: Rc<Dir>, parents: Vec<ObjectId>, after_seconds: u64) -> io::Result<ObjectId> {
        let tree = root.write(&mut self.objects, Lane::Main)?;
        let mut scribe = Scribe::going_on(Rng::new(self.rng.draw()), after_seconds);
        let commit = scribe.commit(&mut self.objects, tree, &parents)?;
        let seconds = scribe.seconds();
        self.tips.insert(commit, Tip { root, parents, seconds });
        self.new_commits.push(commit);
        Ok(commit)
    }

    /// `count` commits on top of `from`, or of nothing, as the ref `name`.
    fn grow(&mut self, name: String, from: Option<ObjectId>, count: u32) -> io::Result<()> {
        let mut last = from;
        for _ in 0..count {
            let (mut root, seconds) = match last {
                Some(commit) => {
                    let tip = self.tip(&commit)?;
                    (tip.root, tip.seconds)
                }
                None => (Rc::default(), Scribe::BEGINNING_SECONDS),
            };
            self.files.change(&mut self.objects, &mut root, Lane::Main)?;
            last = Some(self.commit(root, last.into_iter().collect(), seconds)?);
        }
        match last {
            Some(commit) => self.set(name, commit),
            None => Ok(()),
        }
    }

    fn force_push(&mut self, name: &str, count: u32) -> io::Result<()> {
        let mut back_to = self.resolve(name)?;
        let mut parent = self.tip(&back_to)?.parents.first().copied();
        for _ in 0..self.rng.between(1, FORCED_BACK_MAX) {
            let Some(commit) = parent else { break };
            back_to = commit;
            parent = self.tip(&commit)?.parents.first().copied();
        }
        // A branch of one commit can only be replaced by another root.
        let from = if back_to == self.resolve(name)? { None } else { Some(back_to) };
        self.grow(name.to_owned(), from, count.max(1))
    }

    fn merge(&mut self, name: &str, from: &str) -> io::Result<()> {
        let (ours, theirs) = (self.resolve(name)?, self.resolve_peeled(from)?);
        let (tip, other) = (self.tip(&ours)?, self.tip(&theirs)?);
        let mut root = tip.root;
        self.files.change(&mut self.objects, &mut root, Lane::Main)?;
        let commit = self.commit(root, vec![ours, theirs], tip.seconds.max(other.seconds))?;
        self.set(name.to_owned(), commit)
    }

    fn tag(&mut self, name: &str, target_name: &str, annotated: bool) -> io::Result<()> {
        let target = self.resolve(target_name)?;
        let full = format!("refs/tags/{name}");
        let peeled = self.now.peeled.get(target_name).copied();
        if !annotated {
            self.create(full.clone(), target)?;
            self.now.peeled.extend(peeled.map(|peeled| (full, peeled)));
            return Ok(());
        }
        let (kind, seconds) = match (peeled, self.tips.get(&target)) {
            (Some(_), _) => (Kind::Tag, Scribe::BEGINNING_SECONDS),
            (None, Some(tip)) => (Kind::Commit, tip.seconds),
            (None, None) => match self.objects.read(&target)?.0 {
                Kind::Commit => (Kind::Commit, self.tip(&target)?.seconds),
                kind => (kind, Scribe::BEGINNING_SECONDS),
            },
        };
        let mut scribe = Scribe::going_on(Rng::new(self.rng.draw()), seconds);
        let id = scribe.tag(&mut self.objects, name, target, kind)?;
        self.create(full.clone(), id)?;
        self.now.peeled.insert(full, peeled.unwrap_or(target));
        Ok(())
    }
}

impl Repository {
    /// What the next evolution is drawn from: the seed and all refs.
    fn fingerprint(&self) -> u64 {
        let mut hasher = Sha1::new();
        hasher.update(self.seed.to_le_bytes());
        hasher.update(self.head.to_string());
        for (name, id) in &self.refs {
            hasher.update(name);
            hasher.update(id.as_slice());
        }
        let digest: [u8; 20] = hasher.finalize().into();
        digest[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}
