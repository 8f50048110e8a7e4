//! A folder as the upstream that is partly unreadable, away, empty, or holds what is not mirrored: what can be served is
//! served, and what is not is said.

use crate::support::{Server, repository, status};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};
use tempfile::TempDir;

/// Whom permissions bind: root is bound by none unless it gives these up.
fn bound_by_permissions() -> &'static [&'static str] {
    let root = rustix::process::geteuid().is_root();
    if root { &["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] } else { &[] }
}

/// A configuration that has the folder listed often.
fn often(folder: &Path) -> String {
    let file = folder.join("often.toml");
    fs::write(&file, "[sync]\ninterval = \"1s\"\n").unwrap();
    file.display().to_string()
}

/// The answer to the question for a repository's references.
fn references(server: &Server, path: &str) -> String {
    server.exchange(format!("GET /{path}/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n"))
}

fn is_stale(answer: &str) -> bool {
    status(answer) == 200 && answer.to_lowercase().contains("heliostat-freshness: stale")
}

fn is_confirmed(answer: &str) -> bool {
    status(answer) == 200 && answer.to_lowercase().contains("heliostat-freshness: confirmed")
}

/// How many repositories `/status` counts.
fn repositories(server: &Server) -> u64 {
    let answer = server.exchange("GET /status HTTP/1.0\r\n\r\n");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    serde_json::from_str::<serde_json::Value>(body).unwrap()["repositories"].as_u64().unwrap_or_default()
}

/// Somebody else's folder below the upstream's (`lost+found`) hides what is in it, and nothing else.
#[test]
fn a_subfolder_that_may_not_be_read() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    repository(&path("upstream/team/app.git"));
    repository(&path("upstream/lost+found/found.git"));
    let closed = path("upstream/lost+found");
    fs::set_permissions(&closed, Permissions::from_mode(0o0)).unwrap();
    let config = often(folder.path());
    let mut server = Server::on(folder, bound_by_permissions(), &["--config", &config]);
    assert!(server.clone("clone").status().unwrap().success(), "{}", server.log());
    let log = server.log();
    let line = log.lines().find(|line| line.contains("can't read")).unwrap_or_else(|| panic!("{log}"));
    let place = closed.display().to_string();
    assert!(line.contains("count=1") && line.contains(&place) && line.contains("Permission denied"), "{line}");
    // What can't be read is unknown, not missing.
    assert_eq!(status(&references(&server, "lost+found/found.git")), 503);
    assert_eq!(status(&references(&server, "team/other.git")), 404);

    // Each listing tries again; nobody has to ask.
    server.until("the first is mirrored", |server| repositories(server) == 1);
    fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
    server.until("the other is mirrored too", |server| repositories(server) == 2);
    // What was mirrored and may not be read any more is served as it was.
    fs::set_permissions(&closed, Permissions::from_mode(0o0)).unwrap();
    server.until("it is stale", |server| is_stale(&references(server, "lost+found/found.git")));
    assert!(is_confirmed(&references(&server, "team/app.git")));
    fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
    server.lives_on();
}

/// It is not there at the start, or nothing is in it, as where its file system is not mounted yet: what is on disk is
/// served, nothing is missing, and it heals.
#[test]
fn the_folder_is_away() {
    let folder = TempDir::new().unwrap();
    let (there, aside) = (folder.path().join("upstream"), folder.path().join("aside"));
    repository(&aside.join("team/app.git"));
    repository(&aside.join("team/lib"));
    let config = often(folder.path());
    let flags = ["--config", config.as_str()];

    // Nothing is here yet: it starts, is not ready, and comes to it.
    let mut server = Server::listening(folder, &[], &flags);
    server.until("that is said", |server| server.log().contains("could not be listed"));
    assert!(server.log().contains("the upstream folder can't be read"), "{}", server.log());
    assert_eq!((server.status(), status(&references(&server, "team/app.git"))), (Some(503), 503));
    // Quoted where the request is logged, and no more than that.
    server.logs("error=\"the upstream's folder can't be read now");
    assert!(!server.log().contains('\\'), "{}", server.log());
    fs::rename(&aside, &there).unwrap();
    server.until("all is mirrored", |server| server.status() == Some(200) && repositories(server) == 2);
    assert!(is_confirmed(&references(&server, "team/app.git")));

    // Away while it runs, away when it starts, and nothing but the mount point there.
    let spellings = ["team/app.git", "team/app", "team/lib", "team/lib.git"];
    let stale = |server: &mut Server, when: &str| {
        for path in spellings {
            server.until(&format!("{path} is served {when}"), |server| is_stale(&references(server, path)));
        }
        assert_eq!(status(&references(server, "team/unknown.git")), 503, "{when}");
        assert_eq!(server.status(), Some(200), "{when}");
    };
    fs::rename(&there, &aside).unwrap();
    stale(&mut server, "while it is away");
    server.start_again(&[], &flags);
    server.until("it is ready", |server| server.status() == Some(200));
    stale(&mut server, "after a start without it");
    assert!(server.clone("clone-away").status().unwrap().success(), "{}", server.log());
    fs::create_dir(&there).unwrap();
    stale(&mut server, "from an empty mount point");
    server.start_again(&[], &flags);
    server.until("it is ready", |server| server.status() == Some(200));
    stale(&mut server, "after a start on an empty mount point");

    fs::remove_dir(&there).unwrap();
    fs::rename(&aside, &there).unwrap();
    for path in spellings {
        server.until(&format!("{path} is confirmed"), |server| is_confirmed(&references(server, path)));
    }
    assert_eq!(status(&references(&server, "team/unknown.git")), 404);
    server.lives_on();
}

/// No repository is left out in silence.
#[test]
fn what_is_not_mirrored_is_said() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    repository(&path("upstream/team/app.git"));
    repository(&path("elsewhere/outside.git"));
    symlink(path("elsewhere/outside.git"), path("upstream/outside.git")).unwrap();
    symlink(path("elsewhere"), path("upstream/linked")).unwrap();
    repository(&path("upstream").join(["deep"; 14].join("/")));
    let tables = repository(&path("upstream/tables.git"));
    let mut config = fs::read_to_string(tables.join("config")).unwrap().replace("version = 0", "version = 1");
    config.push_str("[extensions]\n\trefStorage = reftable\n");
    fs::write(tables.join("config"), config).unwrap();

    let mut server = Server::on(folder, &[], &[]);
    for (place, words) in [
        ("upstream/outside.git", "links to repositories outside"),
        ("upstream/linked", "directories behind links"),
        ("deep/deep", "deeper than it is searched"),
    ] {
        let said = server.log();
        let said = said.lines().any(|line| line.contains(words) && line.contains(place) && line.contains("count=1"));
        assert!(said, "{words}: {}", server.log());
    }
    server.until("why reftable is not mirrored", |server| {
        server.log().lines().any(|line| line.contains("tables.git") && line.contains("stored as reftable"))
    });
    assert_eq!(status(&references(&server, "tables.git")), 501);
    assert_eq!(status(&references(&server, "outside.git")), 404);
    server.lives_on();
}
