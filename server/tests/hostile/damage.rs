//! A disk that loses what it held, while it is being sent.

use crate::support::{Server, noise, post, repository_with};
use std::{
    fs::{self, File, Permissions},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};
use tempfile::TempDir;

const BYTES: usize = 64 << 20;

/// The packs of the mirrored repositories.
fn packs(server: &Server) -> Vec<PathBuf> {
    let entries = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let repositories = entries(server.folder.path().join("data/repositories"));
    let files = repositories.flat_map(|repository| entries(repository.join("objects/pack")));
    files.filter(|file| file.extension().is_some_and(|extension| extension == "pack")).collect()
}

/// Neither an answer under way nor a later one looks whole, although every page that is gone reads as zeros.
#[test]
fn a_pack_that_is_cut_while_it_is_sent() {
    let folder = TempDir::new().unwrap();
    repository_with(&folder.path().join("upstream/team/app.git"), &noise(3, BYTES));
    let server = Server::on(folder, &[], &[]);
    assert!(server.clone("first").status().unwrap().success());
    let tip = fs::read_to_string(server.folder.path().join("upstream/team/app.git/refs/heads/main")).unwrap();
    let want = format!("0012command=fetch\n0001000dofs-delta0032want {}\n0009done\n0000", tip.trim());
    let request = post(&format!("Content-Length: {}\r\n", want.len()), want.as_bytes());

    let mut peer = server.peer();
    peer.send(&request);
    peer.stream.read_exact(&mut [0; 1 << 10]).unwrap();
    let packs = packs(&server);
    assert_eq!(packs.len(), 1);
    fs::set_permissions(&packs[0], Permissions::from_mode(0o600)).unwrap();
    // Behind what the sockets hold by now, before the end.
    File::options().write(true).open(&packs[0]).unwrap().set_len(BYTES as u64 / 2).unwrap();

    let mut answer = Vec::new();
    let _ = peer.stream.read_to_end(&mut answer);
    let mut later = server.peer();
    later.send(&request);
    let mut second = Vec::new();
    let _ = later.stream.read_to_end(&mut second);
    for answer in [answer, second] {
        assert!(answer.len() < BYTES, "{} bytes", answer.len());
        assert!(!answer.ends_with(b"0\r\n\r\n"), "it looks whole");
        let words = b"\x03the repository is damaged on this server";
        assert!(answer.windows(words.len()).any(|window| window == words), "no word on band 3");
    }
    server.logs("the disk has lost pages of");
    server.lives_on();
}
