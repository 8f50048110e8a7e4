//! Refs on disk: `packed-refs` with its peeled lines, loose refs, symbolic refs and HEAD (gitrepository-layout).
//!
//! Every file is replaced by a rename, so that a server may read while an upstream is being evolved.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use gix_hash::ObjectId;

/// The branch that histories grow on.
pub const MAIN: &str = "refs/heads/main";

/// What HEAD says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// The full name of a branch, which need not exist.
    Branch(String),
    /// A commit.
    Detached(ObjectId),
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Head::Branch(name) => write!(f, "ref: {name}"),
            Head::Detached(id) => write!(f, "{id}"),
        }
    }
}

/// All refs of a repository but HEAD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refs {
    pub(crate) direct: BTreeMap<String, ObjectId>,
    /// Of annotated tags: what they lead to in the end.
    pub(crate) peeled: BTreeMap<String, ObjectId>,
    /// Symbolic refs and their targets.
    pub(crate) symbolic: BTreeMap<String, String>,
}

/// Whether Git takes this for the full name of a ref (git-check-ref-format).
pub(crate) fn is_valid_name(name: &str) -> bool {
    let bad_byte = |byte: u8| byte <= b' ' || b"~^:?*[\\\x7f".contains(&byte);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    name.starts_with("refs/")
        && !name.bytes().any(bad_byte)
        && !name.split('/').any(bad_part)
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut tmp = path.as_os_str().to_owned();
    // Git takes no name that ends so for a ref, and passes it over.
    tmp.push(".lock");
    fs::write(&tmp, content)?;
    fs::rename(tmp, path)
}

pub(crate) fn write_head(git_dir: &Path, head: &Head) -> io::Result<()> {
    replace(&git_dir.join("HEAD"), format!("{head}\n").as_bytes())
}

pub(crate) fn write_symbolic(git_dir: &Path, name: &str, target: &str) -> io::Result<()> {
    replace(&git_dir.join(name), format!("ref: {target}\n").as_bytes())
}

pub(crate) fn write_loose(git_dir: &Path, name: &str, id: &ObjectId) -> io::Result<()> {
    replace(&git_dir.join(name), format!("{id}\n").as_bytes())
}

/// Removes the file of a ref, and the directories that it leaves empty: another name may need their place.
pub(crate) fn remove_loose(git_dir: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(git_dir.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for parent in Path::new(name).ancestors().skip(1) {
        // `refs/heads` and `refs/tags` make a repository; they stay.
        if parent.components().count() <= 2 || fs::remove_dir(git_dir.join(parent)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes `packed-refs` whole.
pub(crate) fn write_packed<'a>(
    git_dir: &Path,
    refs: impl Iterator<Item = (&'a String, &'a ObjectId)>,
    peeled: &BTreeMap<String, ObjectId>,
) -> io::Result<()> {
    let tmp = git_dir.join("packed-refs.new");
    let mut out = BufWriter::with_capacity(1 << 16, fs::File::create(&tmp)?);
    out.write_all(b"# pack-refs with: peeled fully-peeled sorted \n")?;
    for (name, id) in refs {
        writeln!(out, "{id} {name}")?;
        if let Some(peeled) = peeled.get(name) {
            writeln!(out, "^{peeled}")?;
        }
    }
    out.flush()?;
    fs::rename(tmp, git_dir.join("packed-refs"))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

pub(crate) fn parse_id(text: &str) -> io::Result<ObjectId> {
    ObjectId::from_hex(text.as_bytes()).map_err(|_| damaged("object id"))
}

pub(crate) fn read_head(git_dir: &Path) -> io::Result<Head> {
    let text = fs::read_to_string(git_dir.join("HEAD"))?;
    match text.trim_end().strip_prefix("ref: ") {
        Some(name) => Ok(Head::Branch(name.to_owned())),
        None => parse_id(text.trim_end()).map(Head::Detached),
    }
}

/// Reads all refs, and the names of those that are loose: their peeled values are not known.
pub(crate) fn read_all(git_dir: &Path) -> io::Result<(Refs, Vec<String>)> {
    let mut refs = Refs::default();
    let packed = match fs::read_to_string(git_dir.join("packed-refs")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let mut last = "";
    for line in packed.lines().filter(|line| !line.starts_with('#')) {
        if let Some(peeled) = line.strip_prefix('^') {
            refs.peeled.insert(last.to_owned(), parse_id(peeled)?);
            continue;
        }
        let (id, name) = line.split_once(' ').ok_or_else(|| damaged("packed-refs"))?;
        refs.direct.insert(name.to_owned(), parse_id(id)?);
        last = name;
    }
    let mut loose = Vec::new();
    read_loose(git_dir, "refs", &mut refs, &mut loose)?;
    Ok((refs, loose))
}

fn read_loose(git_dir: &Path, under: &str, refs: &mut Refs, loose: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(git_dir.join(under))? {
        let entry = entry?;
        let Ok(file_name) = entry.file_name().into_string() else {
            continue;
        };
        let name = format!("{under}/{file_name}");
        if entry.file_type()?.is_dir() {
            read_loose(git_dir, &name, refs, loose)?;
            continue;
        }
        if file_name.ends_with(".lock") {
            continue;
        }
        let text = fs::read_to_string(entry.path())?;
        refs.peeled.remove(&name);
        match text.trim_end().strip_prefix("ref: ") {
            Some(target) => {
                refs.direct.remove(&name);
                refs.symbolic.insert(name, target.to_owned());
            }
            None => {
                refs.direct.insert(name.clone(), parse_id(text.trim_end())?);
                loose.push(name);
            }
        }
    }
    Ok(())
}
