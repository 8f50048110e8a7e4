//! Pushes and fetches by several clients at once, through the mirror's URL, with passwords and without a webhook: no fetch
//! misses a push that had ended before it began.

use std::os::unix::fs::PermissionsExt;

use heliostat_loadtest::{Interleaved, Violation};

use crate::pushes::writable;
use crate::support::apache::Apache;
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::sandbox::Sandbox;
use crate::support::users::{self, ALICE, BOB};

const APP: &str = "team/app.git";

/// What was seen of so many pushes and fetches that should not be, in this mode.
fn violations(freshness: &str, pushes: u32, fetches: u32) -> Vec<Violation> {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let repositories = sandbox.folder("upstream");
    let upstream = writable(&git, &repositories.join(APP));
    let folder = sandbox.folder("apache");
    let apache = Apache::start_with(&folder, &repositories, &git, &users::everywhere(&folder));

    let credentials = sandbox.path().join("credentials");
    std::fs::write(&credentials, format!("{}:{}", BOB.name, BOB.password)).unwrap();
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = sandbox.path().join("heliostat.toml");
    let settings = format!(
        "[upstream]\ncredentials = {credentials:?}\n[[mirror]]\ninclude = [\"team/*\"]\nfreshness = \"{freshness}\"\n"
    );
    std::fs::write(&file, settings).unwrap();
    // Git takes another name for another host.
    let url = apache.url().replace("127.0.0.1", "localhost");
    let mirror = Heliostat::start(&sandbox.folder("heliostat"), &url, &["--config", &file.display().to_string()]);

    let answer = format!("!f() {{ echo 'username={}'; echo 'password={}'; }}; f", ALICE.name, ALICE.password);
    git.text(sandbox.path(), &["config", "--global", "credential.helper", &answer]);
    let run = Interleaved {
        git: &|folder, arguments| git.try_text(folder, arguments).map_err(std::io::Error::other),
        url: &format!("{}/{APP}", mirror.url()),
        clients: 8,
        pushes,
        fetches,
    };
    let history = run.run(&sandbox.path().join("clients")).unwrap();
    assert_eq!((history.pushes.len(), history.fetches.len()), (pushes as usize, fetches as usize));
    let landed = upstream.run(&["for-each-ref", "--format=%(objectname)", "refs/heads/interleaved"]);
    assert!(landed.lines().all(|id| history.pushes.iter().any(|push| push.id == id)), "{landed}");
    assert_eq!(landed.lines().count(), 8);
    let log = mirror.log();
    assert_eq!(log.lines().filter(|line| line.contains("status=307")).count(), pushes as usize, "{log}");
    history.violations()
}

#[test]
fn no_fetch_misses_a_push() {
    let found = violations("strict", 48, 192);
    let words: Vec<String> = found.iter().map(Violation::to_string).collect();
    assert!(words.is_empty(), "{words:#?}");
}

/// In another mode they are missed, and that is noticed.
#[test]
fn eventual_misses_pushes() {
    let found = violations("eventual", 16, 16);
    assert!(found.iter().any(|violation| matches!(violation, Violation::Missed { .. })), "{found:?}");
}
