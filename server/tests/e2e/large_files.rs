//! Large files through the mirror's URL: `git-lfs` is sent to the upstream's LFS server, with what it asks, and downloads
//! and uploads there.

use crate::support::apache::Apache;
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::lfs;
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;
use crate::support::users::{self, ALICE, BOB};
use std::path::Path;

const APP: &str = "team/app.git";

/// A file goes up by a push to the mirror, and comes down in a clone from it; so do locks.
#[test]
fn up_and_down() {
    lfs::demand_client();
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let repositories = sandbox.folder("upstream");
    let upstream = Upstream::rich(&git, &repositories.join(APP));
    upstream.run(&["config", "core.sharedRepository", "0777"]);
    let all = std::process::Command::new("chmod").args(["-R", "a+rwX"]).arg(&upstream.folder).status();
    assert!(all.unwrap().success());
    let folder = sandbox.folder("apache");
    let more = users::directives(&folder) + &lfs::directives(&sandbox.folder("lfs"));
    let apache = Apache::start_with(&folder, &repositories, &git, &more);
    let upstream_url = apache.url().replace("127.0.0.1", "localhost");
    let mirror = Heliostat::start(&sandbox.folder("heliostat"), &upstream_url, &[]);
    let home = sandbox.folder("home-v2");
    git.text(&home, &["lfs", "install", "--skip-repo"]);
    // It asks for credentials for the mirror's host too, and shows them to the mirror alone.
    let both = format!("{}\n{}\n", ALICE.at(&upstream_url), BOB.at(&mirror.url()));
    std::fs::write(home.join("stored"), both).unwrap();
    let store = format!("store --file={}", home.join("stored").display());
    git.text(&home, &["config", "--global", "credential.helper", &store]);

    let clone = |name: &str| {
        let clone = sandbox.fresh(name);
        let url = format!("{}/{APP}", mirror.url());
        git.text(sandbox.path(), &["clone", "-q", &url, &clone.display().to_string()]);
        clone
    };
    let first = clone("first");
    let mut content = vec![0; 3 << 20];
    fastrand::fill(&mut content);
    git.text(&first, &["lfs", "track", "*.bin"]);
    std::fs::write(first.join("large.bin"), &content).unwrap();
    git.text(&first, &["add", "."]);
    git.text(&first, &["commit", "-q", "-m", "a large file"]);
    git.text(&first, &["push", "origin", "main"]);
    let pointer = upstream.run(&["show", "main:large.bin"]);
    assert!(pointer.starts_with("version https://git-lfs.github.com/spec/v1\n"), "{pointer}");
    let id = pointer.lines().find_map(|line| line.strip_prefix("oid sha256:")).unwrap();
    assert!(stored(&sandbox.folder("lfs"), id), "it is not at the upstream");

    let second = clone("second");
    assert_eq!(std::fs::read(second.join("large.bin")).unwrap(), content);

    git.text(&first, &["lfs", "lock", "large.bin"]);
    for arguments in [&["lfs", "locks"][..], &["lfs", "locks", "--path", "large.bin"]] {
        let locks = git.text(&second, arguments);
        assert!(locks.contains("large.bin") && locks.contains(ALICE.name), "{locks}");
    }
    assert_eq!(git.text(&second, &["lfs", "locks", "--path", "small.bin"]), "");
    // All of it has been asked for here, and none of it is answered here.
    let asked: Vec<String> =
        mirror.log().lines().filter(|line| line.contains("operation=\"lfs\"")).map(str::to_owned).collect();
    assert!(asked.len() >= 5 && asked.iter().all(|line| line.contains("status=307")), "{asked:#?}");
    let brought = users::authorizations(&folder);
    assert!(brought.iter().any(|line| line.contains("/info/lfs/") && line.ends_with(&ALICE.authorization())));
    assert!(!brought.iter().any(|line| line.contains(&BOB.authorization())), "{brought:#?}");
    let requests = apache.requests();
    assert!(requests.iter().any(|line| line.contains("/info/lfs/locks?path=large.bin&")), "{requests:#?}");
}

/// A folder has no LFS server to send anybody to, and git-lfs shows its user so.
#[test]
fn a_folder_has_none() {
    lfs::demand_client();
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    Upstream::rich(&git, &folder.join(APP));
    let mirror = Heliostat::start(&sandbox.folder("heliostat"), &folder.display().to_string(), &[]);
    let clone = sandbox.fresh("clone");
    let url = format!("{}/{APP}", mirror.url());
    git.text(sandbox.path(), &["clone", "-q", &url, &clone.display().to_string()]);
    let locks = git.run(&clone, &["lfs", "locks"]);
    assert!(!locks.status.success() && locks.stderr.contains("this is a mirror of a folder"), "{}", locks.stderr);
    let push = git.run(&clone, &["push", "origin", "main:new"]);
    assert!(!push.status.success() && push.stderr.contains("403"), "{}", push.stderr);
}

fn stored(folder: &Path, id: &str) -> bool {
    std::fs::read_dir(folder.join("store")).unwrap().any(|entry| entry.unwrap().path().join(id).exists())
}
