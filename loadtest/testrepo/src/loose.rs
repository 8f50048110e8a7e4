//! Loose objects: one zlib stream a file, `objects/ab/cdef…` (gitrepository-layout).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix_hash::ObjectId;

use crate::deflate::Deflater;
use crate::object::{Kind, id_of, loose_header};

/// Where a loose object stands in the repository at `git_dir`.
pub fn path_of(git_dir: &Path, id: &ObjectId) -> PathBuf {
    let hex = id.to_string();
    git_dir.join("objects").join(&hex[..2]).join(&hex[2..])
}

/// Writes one loose object into the bare repository at `git_dir`, by a rename, so that a reader sees it whole or not at
/// all; returns its id. One that is there already stays.
pub fn write_loose(git_dir: &Path, kind: Kind, content: &[u8]) -> io::Result<ObjectId> {
    let id = id_of(kind, content);
    write_with(&mut Deflater::new(6), git_dir, id, kind, content)?;
    Ok(id)
}

pub(crate) fn write_with(
    deflater: &mut Deflater,
    git_dir: &Path,
    id: ObjectId,
    kind: Kind,
    content: &[u8],
) -> io::Result<()> {
    let path = path_of(git_dir, &id);
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let tmp = path.with_file_name(format!("tmp_obj_{id}"));
    let stream = deflater.deflate(&[&loose_header(kind, content.len()), content])?;
    fs::write(&tmp, stream)?;
    fs::rename(tmp, path)
}
