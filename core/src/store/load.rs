//! Opening one repository's directory: the newest whole generation is taken, what a crash left is swept.
//!
//! Only names of our own making are swept, and only when the generation that `current` names is whole: when
//! something is damaged, everything stays for whoever has to look at it.

use super::{
    EntryCache, Snapshot,
    directory::{self, Loaded},
    disk::{Disk, EntryKind},
    fsck,
    layout::Paths,
    record::{DirectoryName, is_pack_stem},
    writer::{Leaving, Retired, Writer},
};
use crate::{
    ObjectId,
    objects::{Database, Kind, Reader},
    pack::SealedPack,
    refs::Head,
};
use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

/// What lies in a repository's directory.
pub(super) struct Found {
    /// `recent` and `entries` are still empty.
    pub current: Option<Snapshot>,
    pub writer: Writer,
    pub damage: Option<String>,
}

/// Reads the directory. An error is one of reading the disk; damage is an answer.
pub(super) fn load(disk: &dyn Disk, paths: &Paths) -> io::Result<Found> {
    for entry in disk.list(&paths.quarantine)? {
        disk.remove_tree(&paths.quarantine.join(&entry.name))?;
    }
    let mut names: Vec<DirectoryName> = Vec::new();
    for entry in disk.list(&paths.generations)? {
        match (entry.kind, entry.name.parse::<DirectoryName>()) {
            (EntryKind::Directory, Ok(name)) => names.push(name),
            _ => continue,
        }
    }
    names.sort_by_key(|name| std::cmp::Reverse(name.layout));
    let pointed = match disk.read_link(&paths.current) {
        Ok(target) => target.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let layout_last = names.first().map_or(0, |name: &DirectoryName| name.layout);
    let mut writer = Writer { layout_last, ..Writer::default() };
    // Directories above the published one never became current; without a published one, none did.
    let published = |name: &&DirectoryName| pointed.is_some_and(|pointed: DirectoryName| name.layout <= pointed.layout);
    // A first publication that was cut short leaves one directory and no link. More of them had a link that was lost.
    let mut damage = (pointed.is_none() && names.len() > 1).then(|| "the link `current` is missing".to_owned());
    let mut current: Option<Snapshot> = None;
    // Packs of earlier layouts: a stock `git` that was at work in one when this process began may open them yet.
    let mut earlier: BTreeSet<PathBuf> = BTreeSet::new();
    for name in names.iter().filter(published) {
        let path = paths.generations.join(name.to_string());
        let loaded = directory::load(disk, &path);
        match (loaded, &current) {
            (Ok(loaded), None) => match open_packs(paths, &loaded) {
                Ok(packs) => {
                    writer.current = Some((*name, path));
                    let objects = Database::new(packs);
                    let head_peeled = match loaded.refs.head() {
                        Head::Detached(id) => peeled(&objects, *id),
                        _ => None,
                    };
                    current = Some(Snapshot {
                        generation: name.generation,
                        refs: Arc::new(loaded.refs.with_head_peeled(head_peeled)),
                        recent: Vec::new(),
                        objects: Arc::new(objects),
                        entries: Arc::new(EntryCache::none()),
                    });
                }
                Err(reason) => {
                    damage.get_or_insert(format!("{name}: {reason}"));
                }
            },
            (Ok(loaded), Some(current)) => {
                // Another epoch's objects need not be in this layout.
                let known = name.generation == current.generation
                    || name.generation.epoch != current.generation.epoch
                    || writer.retired.iter().any(|retired| retired.name.generation == name.generation);
                earlier.extend(loaded.record.packs.iter().map(|stem| paths.packs.join(format!("{stem}.pack"))));
                let table = (!known).then(|| Arc::new(loaded.refs));
                writer.retired.push(Retired { name: *name, directory: path, since: None, table });
            }
            (Err(reason), None) => {
                damage.get_or_insert(format!("{name}: {reason}"));
            }
            // An earlier one that is half removed, or rotten: not servable, and nobody will miss it.
            (Err(_), Some(_)) => {
                writer.retired.push(Retired { name: *name, directory: path, since: None, table: None });
            }
        }
    }
    if let Some(pointed) = pointed
        && !names.contains(&pointed)
    {
        damage.get_or_insert(format!("{pointed}: the published directory is missing"));
    }
    if let Some(snapshot) = &current {
        let epoch = snapshot.generation.epoch;
        let of_epoch = names.iter().filter(|name| name.generation.epoch == epoch).map(|name| name.generation.n);
        writer.n_last = of_epoch.max().unwrap_or(snapshot.generation.n);
    }
    if damage.is_none() {
        let layout = current.iter().flat_map(|current| current.objects.packs());
        let mut kept: HashSet<_> = layout.map(|pack| pack.path().to_owned()).collect();
        for path in earlier.into_iter().filter(|path| !kept.contains(path)) {
            if let Ok(metadata) = std::fs::metadata(&path) {
                writer.leaving.push(Leaving { path, bytes: metadata.len(), pack: Weak::new(), unread_since: None });
            }
        }
        kept.extend(writer.leaving.iter().map(|leaving| leaving.path.clone()));
        sweep(disk, paths, &writer, &kept)?;
    }
    Ok(Found { current, writer, damage })
}

fn open_packs(paths: &Paths, loaded: &Loaded) -> Result<Vec<Arc<SealedPack>>, String> {
    let open = |stem: &String| {
        let path = paths.packs.join(format!("{stem}.pack"));
        SealedPack::open(&path).map(Arc::new).map_err(|error| format!("{stem}: {error}"))
    };
    loaded.record.packs.iter().map(open).collect()
}

/// What the annotated tag finally leads to at which `HEAD` is detached: the one peeled value that no file of a generation
/// holds. Nothing, where it is no tag or can't be read.
fn peeled(objects: &Database, head: ObjectId) -> Option<ObjectId> {
    let (mut at, mut reader) = (head, Reader::new());
    // Only on a disk that changed can tags name each other.
    for _ in 0..objects.numbers_end() {
        let number = objects.number(&at)?;
        if objects.header(number, &mut reader).ok()?.0 != Kind::Tag {
            return (at != head).then_some(at);
        }
        let tag = objects.read(number, &mut reader).ok()?;
        let mut target = None;
        fsck::check(Kind::Tag, tag.data, &mut |id, _| target = Some(id), &mut |_| {}).ok()?;
        at = target?;
    }
    None
}

/// Removes directories that never became current and packs of no layout.
fn sweep(disk: &dyn Disk, paths: &Paths, writer: &Writer, packs: &HashSet<PathBuf>) -> io::Result<()> {
    let kept = |path: &Path| {
        writer.current.iter().any(|(_, current)| current == path)
            || writer.retired.iter().any(|retired| retired.directory == path)
    };
    for entry in disk.list(&paths.generations)? {
        let path = paths.generations.join(&entry.name);
        if entry.name.parse::<DirectoryName>().is_ok() && !kept(&path) {
            disk.remove_tree(&path)?;
        }
    }
    for entry in disk.list(&paths.packs)? {
        let path = paths.packs.join(&entry.name);
        // What a crash has cut short while a table was written.
        let is_half = entry.name.ends_with(".commits.new");
        let ours = matches!(path.extension().and_then(|e| e.to_str()), Some("pack" | "idx" | "commits"))
            && path.file_stem().and_then(|stem| stem.to_str()).is_some_and(is_pack_stem);
        if is_half || (ours && !packs.contains(&path.with_extension("pack"))) {
            disk.remove_file(&path)?;
        }
    }
    super::disk::gone_is_fine(disk.remove_file(&paths.root.join("current.new")))
}
