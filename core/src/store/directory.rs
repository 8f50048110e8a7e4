//! The directory of one generation: a bare Git repository that shares the objects of all generations.
//!
//! `HEAD`, `config`, `packed-refs` with every reference, loose files under `refs/` for symbolic references (Git has no
//! other form for them), `objects` as a link, and our `generation` file, from which the table is read back. Nothing
//! in it changes once it is written.

use super::{
    disk::Disk,
    record::{DirectoryName, Record},
};
use crate::{
    ObjectId,
    limits::{GENERATION_FILE_BYTES_MAX, PACKED_REFS_BYTES_MAX, SYMREF_DEPTH_MAX},
    refs::{Head, PackedRefs, RefName, RefTable},
};
use bstr::ByteSlice;
use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// No reflogs, and nothing that would make a stock `git` tidy up in here by itself.
const CONFIG: &[u8] =
    b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\tlogAllRefUpdates = false\n\
    [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[receive]\n\tautogc = false\n";
/// What `HEAD` says to a stock `git` when the upstream did not say anything: a branch that nobody has.
const UNKNOWN_HEAD: &[u8] = b"ref: refs/heads/unknown-upstream-head\n";
/// Longest file name of Linux' file systems, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;
/// Longest loose reference path that is tried: Linux' PATH_MAX less room for the directory before it.
const LOOSE_PATH_BYTES_MAX: usize = 2_048;

/// A generation as read back.
pub(super) struct Loaded {
    pub record: Record,
    pub refs: RefTable,
}

/// Writes the directory `generations/NAME` whole and makes it durable, its name in `generations` included.
pub(super) fn write(
    disk: &dyn Disk,
    generations: &Path,
    name: DirectoryName,
    refs: &RefTable,
    packs: Vec<String>,
) -> io::Result<PathBuf> {
    let directory = generations.join(name.to_string());
    disk.create_dir(&directory)?;
    let packed = refs.to_packed();
    let record = Record {
        name,
        digest: *refs.digest(),
        packed_refs_crc32: crc32fast::hash(&packed),
        head_absent: *refs.head() == Head::Absent,
        symbolic: symbolic(refs),
        packs,
    };
    disk.write_file(&directory.join("HEAD"), &head_file(refs.head()))?;
    disk.write_file(&directory.join("config"), CONFIG)?;
    disk.write_file(&directory.join("packed-refs"), &packed)?;
    disk.write_file(&directory.join("generation"), &record.encode())?;
    disk.symlink(Path::new("../../objects"), &directory.join("objects"))?;
    disk.create_dir(&directory.join("refs"))?;
    let mut directories = BTreeSet::from([directory.join("refs")]);
    for (name, target) in loose_symbolic(refs) {
        let path = directory.join(OsStr::from_bytes(name.as_bstr()));
        let mut missing: Vec<_> = path.ancestors().skip(1).take_while(|above| !directories.contains(*above)).collect();
        while let Some(above) = missing.pop() {
            disk.create_dir(above)?;
            directories.insert(above.to_owned());
        }
        disk.write_file(&path, &[b"ref: ", target.as_bstr().as_bytes(), b"\n"].concat())?;
    }
    for directory in directories.iter().rev() {
        disk.sync_dir(directory)?;
    }
    disk.sync_dir(&directory)?;
    disk.sync_dir(generations)?;
    Ok(directory)
}

/// Reads a directory back. The error says what is wrong with it.
pub(super) fn load(disk: &dyn Disk, directory: &Path) -> Result<Loaded, String> {
    let read = |file: &str, bytes_max: u64| {
        disk.read_file(&directory.join(file), bytes_max).map_err(|error| format!("{file}: {error}"))
    };
    let record = Record::decode(&read("generation", GENERATION_FILE_BYTES_MAX)?).ok_or("generation: damaged")?;
    let named = directory.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
    if named != Some(record.name) {
        return Err("generation: belongs to another directory".into());
    }
    let packed = read("packed-refs", PACKED_REFS_BYTES_MAX)?;
    if crc32fast::hash(&packed) != record.packed_refs_crc32 {
        return Err("packed-refs: damaged".into());
    }
    let mut refs = PackedRefs::parse(packed).map_err(|error| error.to_string())?.refs();
    let targets: HashMap<_, _> = record.symbolic.iter().map(|(name, target)| (name, target)).collect();
    if !targets.is_empty() {
        for reference in &mut refs {
            reference.symbolic = targets.get(&reference.name).map(|target| (*target).clone());
        }
    }
    let head = if record.head_absent {
        Head::Absent
    } else {
        parse_head(&read("HEAD", GENERATION_FILE_BYTES_MAX)?).ok_or("HEAD: damaged")?
    };
    let refs = RefTable::new(refs, head);
    if *refs.digest() != record.digest {
        return Err("references: not those that were published".into());
    }
    Ok(Loaded { record, refs })
}

fn head_file(head: &Head) -> Vec<u8> {
    match head {
        Head::Symbolic(name) => [b"ref: ", name.as_bstr().as_bytes(), b"\n"].concat(),
        Head::Detached(id) => format!("{}\n", id.to_hex()).into_bytes(),
        Head::Absent => UNKNOWN_HEAD.to_vec(),
    }
}

fn parse_head(content: &[u8]) -> Option<Head> {
    let line = content.strip_suffix(b"\n")?;
    match line.strip_prefix(b"ref: ") {
        Some(name) => RefName::new(name).ok().map(Head::Symbolic),
        None => ObjectId::from_hex(line).ok().map(Head::Detached),
    }
}

fn symbolic(refs: &RefTable) -> Vec<(RefName, RefName)> {
    let symbolic = refs.to_refs().into_iter();
    symbolic.filter_map(|reference| Some((reference.name, reference.symbolic?))).collect()
}

/// The symbolic references that a stock `git` shall see as such. The others it sees as plain ones, from `packed-refs`:
/// those that lead nowhere (a hidden target), in circles, to another object than the upstream said, or whose files
/// could not lie beside each other.
fn loose_symbolic(refs: &RefTable) -> Vec<(RefName, RefName)> {
    let all = symbolic(refs);
    let mut sound: Vec<(RefName, RefName)> = Vec::new();
    for (name, target) in all {
        let path = name.as_bstr();
        let fits = path.len() <= LOOSE_PATH_BYTES_MAX
            && path.split(|&byte| byte == b'/').all(|part| part.len() <= FILE_NAME_BYTES_MAX);
        let id = refs.find(path).map(|reference| reference.id);
        // A file and a directory of one name: the names are sorted, but `a-b` may stand between `a` and `a/b`.
        let above =
            |upper: &RefName| path.starts_with(upper.as_bstr()) && path.get(upper.as_bstr().len()) == Some(&b'/');
        if fits && resolves_to(refs, &target) == id && !sound.iter().any(|(upper, _)| above(upper)) {
            sound.push((name, target));
        }
    }
    sound
}

/// The object that following symbolic references from `name` ends at.
fn resolves_to(refs: &RefTable, name: &RefName) -> Option<ObjectId> {
    let mut at = refs.find(name.as_bstr())?;
    for _ in 1..SYMREF_DEPTH_MAX {
        match at.symbolic {
            None => return Some(at.id),
            Some(target) => at = refs.find(target)?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        refs::Ref,
        store::{Generation, disk::LocalDisk},
    };

    fn table(refs: &[(&str, u8, Option<&str>)], head: Head) -> RefTable {
        let name = |name: &str| RefName::new(name.as_bytes()).unwrap();
        let refs = refs.iter().map(|&(own, byte, target)| Ref {
            name: name(own),
            id: ObjectId::from_bytes_or_panic(&[byte; 20]),
            peeled: None,
            symbolic: target.map(name),
        });
        RefTable::new(refs.collect(), head)
    }

    fn written(refs: &RefTable) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let name = DirectoryName { generation: Generation { epoch: 1, n: 1 }, layout: 1 };
        let directory = write(&LocalDisk, root.path(), name, refs, Vec::new()).unwrap();
        (root, directory)
    }

    #[test]
    fn a_generation_is_read_back_equal() {
        for head in [
            Head::Absent,
            Head::Symbolic(RefName::new(b"refs/heads/unborn").unwrap()),
            Head::Detached(ObjectId::from_bytes_or_panic(&[7; 20])),
        ] {
            let refs = table(&[("refs/heads/a", 1, None), ("refs/heads/s", 1, Some("refs/heads/a"))], head);
            let (_root, directory) = written(&refs);
            let loaded = load(&LocalDisk, &directory).unwrap();
            assert_eq!(loaded.refs.digest(), refs.digest());
            assert_eq!(loaded.refs.head(), refs.head());
            assert_eq!(loaded.refs.to_refs(), refs.to_refs());
        }
    }

    #[test]
    fn only_sound_symbolic_references_become_files() {
        let refs = table(
            &[
                ("refs/heads/main", 1, None),
                ("refs/s/good", 1, Some("refs/heads/main")),
                ("refs/s/chain", 1, Some("refs/s/good")),
                ("refs/s/hidden", 1, Some("refs/internal")),
                ("refs/s/moved", 2, Some("refs/heads/main")),
                ("refs/s/round", 1, Some("refs/s/about")),
                ("refs/s/about", 1, Some("refs/s/round")),
                ("refs/s/df", 1, Some("refs/heads/main")),
                ("refs/s/df-x", 1, Some("refs/heads/main")),
                ("refs/s/df/x", 1, Some("refs/heads/main")),
                (&format!("refs/s/{}", "x".repeat(300)), 1, Some("refs/heads/main")),
            ],
            Head::Absent,
        );
        let names: Vec<_> = loose_symbolic(&refs).iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["refs/s/chain", "refs/s/df", "refs/s/df-x", "refs/s/good"]);
        let (_root, directory) = written(&refs);
        assert_eq!(load(&LocalDisk, &directory).unwrap().refs.to_refs(), refs.to_refs());
    }

    #[test]
    fn damage_in_any_file_is_noticed() {
        let head = Head::Symbolic(RefName::new(b"refs/heads/a").unwrap());
        let refs = table(&[("refs/heads/a", 1, None), ("refs/heads/b", 2, None)], head);
        for file in ["HEAD", "packed-refs", "generation"] {
            let (_root, directory) = written(&refs);
            let path = directory.join(file);
            let mut content = std::fs::read(&path).unwrap();
            let middle = content.len() - 2;
            content[middle] ^= 1;
            std::fs::write(&path, &content).unwrap();
            assert!(load(&LocalDisk, &directory).is_err(), "{file} flipped");
            std::fs::remove_file(&path).unwrap();
            assert!(load(&LocalDisk, &directory).is_err(), "{file} missing");
        }
    }
}
