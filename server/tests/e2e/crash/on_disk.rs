//! What lies in a data directory when no process works on it: the published generation, and what is left of the work that
//! a kill cut short. It is read by names alone, as `core/src/store/layout.rs` lays them out.

use heliostat_core::store::worth_consolidating;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The one repository of a data directory. Empty when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// The repository's own directory.
    pub root: Option<PathBuf>,
    /// What the link `current` names: `EPOCH-N-LAYOUT`.
    pub link: Option<String>,
    /// The directories of generations.
    pub generations: BTreeSet<String>,
    /// The sealed packs that lie there.
    pub packs: BTreeSet<String>,
    /// The sealed packs of the published layout.
    pub listed: BTreeSet<String>,
    /// Those that the record of any generation names, the published one among them.
    pub named: BTreeSet<String>,
    /// Files and directories in quarantine, as paths from there.
    pub quarantine: BTreeSet<String>,
    /// Names that only a change that is under way leaves: in `repositories` and beside `current`.
    pub aside: BTreeSet<String>,
}

/// What was under way when the process was killed, by what it left; in the order in which it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing is left of any work: before it, or after it.
    Idle,
    /// A place in quarantine, and nothing in it yet: the upstream is counting.
    Begun,
    /// A pack is coming in, or is being indexed.
    Filling,
    /// A pack lies in quarantine with its index: every object of it is being checked.
    Checking,
    /// The pack is sealed, and no generation knows of it.
    Sealing,
    /// The next generation's directory is there; the link still names the old one.
    Writing,
    /// The link names the new generation; what led to it is not cleared away.
    Clearing,
    /// A consolidation writes its packs.
    Rewriting,
    /// Its packs are sealed, or the new layout's directory is there; the link still names the old layout.
    Replacing,
    /// The link names the new layout; what led to it is not cleared away.
    Superseding,
}

impl Phase {
    pub fn is_consolidation(self) -> bool {
        matches!(self, Self::Rewriting | Self::Replacing | Self::Superseding)
    }
}

impl OnDisk {
    pub fn read(data: &Path) -> Self {
        let mut found = Self::default();
        for name in names(&data.join("repositories")) {
            if name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                assert!(found.root.is_none(), "a second repository: {name}");
                found.root = Some(data.join("repositories").join(name));
            } else {
                found.aside.insert(name);
            }
        }
        let Some(root) = found.root.clone() else { return found };
        found.aside.extend(names(&root).into_iter().filter(|name| name == "current.new"));
        let target = std::fs::read_link(root.join("current")).ok();
        found.link = target.and_then(|target| Some(target.file_name()?.to_str()?.to_owned()));
        found.generations = names(&root.join("generations"));
        let packs = names(&root.join("objects/pack")).into_iter();
        found.packs = packs.filter_map(|name| name.strip_suffix(".pack").map(str::to_owned)).collect();
        let packs_of = |folder: &Path| -> BTreeSet<String> {
            let record = std::fs::read_to_string(folder.join("generation")).unwrap_or_default();
            record.lines().filter_map(|line| line.strip_prefix("pack ").map(str::to_owned)).collect()
        };
        found.listed = packs_of(&root.join("current"));
        let folders = found.generations.iter().map(|name| root.join("generations").join(name));
        found.named = folders.flat_map(|folder| packs_of(&folder)).collect();
        let mut open = vec![String::new()];
        while let Some(folder) = open.pop() {
            for name in names(&root.join("quarantine").join(&folder)) {
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                open.push(path.clone());
                found.quarantine.insert(path);
            }
        }
        found
    }

    /// The bare repository that is published.
    pub fn current(&self) -> Option<PathBuf> {
        Some(self.root.as_ref().filter(|_| self.link.is_some())?.join("current"))
    }

    /// `EPOCH-N`: what consolidations do not move.
    pub fn generation(&self) -> Option<&str> {
        self.link.as_deref()?.rsplit_once('-').map(|(generation, _)| generation)
    }

    /// What was under way, where `before` is how it lay when it began.
    pub fn phase(&self, before: &Self) -> Phase {
        let switched = self.link != before.link;
        let consolidation = self.quarantine.iter().any(|path| path.contains("/consolidated-"))
            || (switched && self.generation() == before.generation());
        let sealed = self.packs.iter().any(|pack| !before.packs.contains(pack));
        let written = self.generations.iter().any(|name| !before.generations.contains(name));
        let busy = !self.quarantine.is_empty();
        match (consolidation, switched) {
            (true, false) if sealed || written => Phase::Replacing,
            (true, false) => Phase::Rewriting,
            (true, true) if busy => Phase::Superseding,
            (false, true) if busy => Phase::Clearing,
            (_, true) => Phase::Idle,
            (false, false) if written => Phase::Writing,
            (false, false) if sealed => Phase::Sealing,
            (false, false) if self.quarantine.iter().any(|path| path.contains("/pack-")) => Phase::Checking,
            (false, false) if self.quarantine.iter().any(|path| path.ends_with("/incoming.pack")) => Phase::Filling,
            (false, false) if busy => Phase::Begun,
            (false, false) => Phase::Idle,
        }
    }

    /// Whether the published layout has many packs.
    pub fn is_worth_consolidating(&self) -> bool {
        let root = self.root.as_ref().expect("there is a repository");
        let bytes = |pack: &String| std::fs::metadata(root.join(format!("objects/pack/{pack}.pack"))).unwrap().len();
        worth_consolidating(&self.listed.iter().map(bytes).collect::<Vec<_>>())
    }

    /// What has no business here when nothing is under way.
    pub fn left_behind(&self) -> Vec<String> {
        let layout = |name: &str| name.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
        let published = self.link.as_deref().and_then(layout);
        let above = self.generations.iter().filter(|name| layout(name) > published);
        let unnamed = self.packs.difference(&self.named);
        above.chain(unnamed).chain(&self.quarantine).chain(&self.aside).cloned().collect()
    }
}

/// The names in a folder; none if it is not there.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
