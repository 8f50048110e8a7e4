//! A folder of bare repositories as the upstream: all of it is mirrored, with and without `.git`.

use std::path::PathBuf;

use crate::support::compare::{Report, sound_and_same};
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

fn clone(git: &Git, sandbox: &Sandbox, url: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    let folder = sandbox.fresh("clone");
    let target = folder.display().to_string();
    git.try_text(sandbox.path(), &[&["clone", "--quiet"], arguments, &[url, &target]].concat())?;
    Ok(folder)
}

#[test]
fn served_and_followed() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    let app = Upstream::rich(&git, &folder.join("team/app.git"));
    Upstream::rich(&git, &folder.join("deep/er/lib.git"));
    Upstream::empty(&git, &folder.join("empty.git"));
    let mut server = Heliostat::start(&sandbox.folder("heliostat"), &folder.display().to_string(), &[]);

    let mut report = Report::default();
    let check = |served: &str, stored: &str, arguments: &[&str]| -> Result<(), String> {
        let ours = clone(&git, &sandbox, &format!("{}/{served}", server.url()), arguments)?;
        let theirs = clone(&git, &sandbox, &format!("file://{}/{stored}", folder.display()), arguments)?;
        sound_and_same(&git, &ours, &theirs)
    };
    for arguments in [&["--mirror"][..], &[], &["--depth", "2"]] {
        for (served, stored) in [
            ("team/app.git", "team/app.git"),
            ("team/app", "team/app.git"),
            ("deep/er/lib.git", "deep/er/lib.git"),
            ("deep/er/lib", "deep/er/lib.git"),
            ("empty.git", "empty.git"),
        ] {
            report.case(&format!("{served} {arguments:?}"), check(served, stored, arguments));
        }
    }
    app.commit("main", &[("later.txt", "later\n")]);
    report.case("after a commit", check("team/app.git", "team/app.git", &["--mirror"]));
    Upstream::rich(&git, &folder.join("new.git"));
    report.case("a repository that came later", check("new.git", "new.git", &["--mirror"]));
    // The last is nobody's other spelling.
    for path in ["absent.git", "team/app.git.git"] {
        let absent = clone(&git, &sandbox, &format!("{}/{path}", server.url()), &[]);
        let says = |error: String| if error.contains("not found") { Ok(()) } else { Err(error) };
        report.case(path, absent.map_or_else(says, |_| Err("cloned from nowhere".into())));
    }
    report.finish();
    assert!(server.stop().success());
}
