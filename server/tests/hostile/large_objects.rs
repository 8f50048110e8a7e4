//! Loose objects that can be given as long as they fit the limit; one that does not is named, with the limit.

use crate::support::{PROGRAM, Server, commit_blob, git, repository, run};
use heliostat_core::limits::OBJECT_BYTES_MAX;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

fn loose(repository: &Path, id: &str) -> PathBuf {
    repository.join("objects").join(&id[..2]).join(&id[2..])
}

/// Cloned with the command in the place of `git upload-pack`: whether that went well, and what it said.
fn clone(folder: &Path, from: &Path, to: &str) -> (bool, String) {
    let mut git = git(folder);
    let output = git
        .args(["clone", "-q", "--bare", "--no-local", "-u", &format!("{PROGRAM} upload-pack")])
        .arg(from)
        .arg(to)
        .output();
    let output = output.unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Above the size from which stock Git makes no loose objects by itself (`core.bigFileThreshold`, 512 MiB).
#[test]
fn larger_than_git_keeps_in_memory() {
    const BYTES: u64 = (512 << 20) + 1;
    let folder = TempDir::new().unwrap();
    let here = repository(&folder.path().join("upstream/team/app.git"));
    let file = here.join("content");
    File::create(&file).unwrap().set_len(BYTES).unwrap();
    let id = run(git(&here).args(["-c", "core.bigFileThreshold=2g", "hash-object", "-w", "content"]));
    fs::remove_file(&file).unwrap();
    assert!(loose(&here, &id).is_file(), "{id} is not loose");
    commit_blob(&here, &id);

    let (went_well, said) = clone(folder.path(), &here, "by-command");
    assert!(went_well, "{said}");
    let by_command = folder.path().join("by-command");
    assert_eq!(run(git(&by_command).args(["cat-file", "-s", "main:file"])), BYTES.to_string());
    let mut server = Server::on(folder, &[], &[]);
    server.until("it is mirrored", |server| server.log().contains("synchronised"));
    assert!(server.clone("by-mirror").status().unwrap().success(), "{}", server.log());
    let by_mirror = server.folder.path().join("by-mirror");
    assert_eq!(run(git(&by_mirror).args(["cat-file", "-s", "main:file"])), BYTES.to_string());
}

/// Its header is enough to refuse it: no more of the file is read.
#[test]
fn larger_than_the_limit() {
    let folder = TempDir::new().unwrap();
    let here = repository(&folder.path().join("upstream/team/app.git"));
    let (id, bytes) = ("0123456789abcdef0123456789abcdef01234567", OBJECT_BYTES_MAX + 1);
    let path = loose(&here, id);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
    write!(zlib, "blob {bytes}\0").unwrap();
    zlib.finish().unwrap();
    commit_blob(&here, id);

    let words = [id.to_owned(), bytes.to_string(), OBJECT_BYTES_MAX.to_string()];
    let (went_well, said) = clone(folder.path(), &here, "by-command");
    assert!(!went_well && words.iter().all(|word| said.contains(word)), "{said}");
    let mut server = Server::on(folder, &[], &[]);
    server.until("why it is not mirrored", |server| {
        server.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
    });
    let answer = server.exchange("GET /team/app.git/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n");
    assert!(answer.contains(" 503 ") && answer.contains("exceeds a limit of this mirror"), "{answer}");
    server.lives_on();
}
