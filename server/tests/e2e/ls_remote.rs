//! `git ls-remote` in all its forms: the same lines and the same exit status as from the upstream.

use crate::support::apache::Apache;
use crate::support::compare::Report;
use crate::support::git::{Git, Which};
use crate::support::heliostat::Heliostat;
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;
use crate::support::site::Site;

/// Arguments around the URL, which stands where `URL` is.
const FORMS: &[&[&str]] = &[
    &["URL"],
    &["--heads", "URL"],
    &["--tags", "URL"],
    &["--heads", "--tags", "URL"],
    &["--refs", "URL"],
    &["--refs", "--tags", "URL"],
    &["--symref", "URL"],
    &["--symref", "URL", "HEAD"],
    &["--symref", "URL", "current"],
    &["--quiet", "URL"],
    &["--sort=-version:refname", "--tags", "URL"],
    &["URL", "HEAD"],
    &["URL", "main"],
    &["URL", "v1.0"],
    &["URL", "v1*"],
    &["URL", "refs/pull/*"],
    &["URL", "refs/heads/release/*", "refs/notes/commits"],
    &["--exit-code", "URL", "no-such-reference"],
    &["--exit-code", "URL", "main"],
    &["-o", "an-option", "URL"],
];

fn check(which: Which, version: u8) {
    let site = Site::start(|git, folder| {
        Upstream::rich(git, &folder.join("team/app.git"));
        Upstream::empty(git, &folder.join("team/empty.git"));
        let detached = Upstream::rich(git, &folder.join("team/detached.git"));
        detached.run(&["update-ref", "--no-deref", "HEAD", "main~2"]);
        at_a_tag(&Upstream::rich(git, &folder.join("team/at-a-tag.git")));
    });
    let client = Git::client(&site.sandbox, which, version);
    let mut report = Report::default();
    for path in ["team/app.git", "team/empty.git", "team/detached.git", "team/at-a-tag.git"] {
        for form in FORMS {
            report.case(&format!("{path}: {form:?}"), case(&site, &client, path, form));
        }
    }
    report.finish();
}

fn case(site: &Site, client: &Git, path: &str, form: &[&str]) -> Result<(), String> {
    let ask = |url: String| {
        let arguments: Vec<&str> = form.iter().map(|&word| if word == "URL" { url.as_str() } else { word }).collect();
        let finished = client.run(site.sandbox.path(), &[&["ls-remote"], &arguments[..]].concat());
        // `From URL` names the one that was asked.
        let stderr = finished.stderr.replace(&url, "URL");
        (finished.status.code(), finished.text(), stderr)
    };
    let (mirror, upstream) = (ask(site.mirror_url(path)), ask(site.upstream_url(path)));
    if mirror == upstream { Ok(()) } else { Err(format!("mirror:   {mirror:?}\nupstream: {upstream:?}")) }
}

each_client!(check);

/// Detaches `HEAD` at a tag of a tag, which `update-ref` won't do.
fn at_a_tag(upstream: &Upstream) {
    std::fs::write(upstream.folder.join("HEAD"), upstream.id("v1.0-nested") + "\n").unwrap();
}

/// What `HEAD` peels to stands in no file of a generation: it is told after a restart too.
#[test]
fn head_at_a_tag() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    at_a_tag(&Upstream::rich(&git, &folder.join("app.git")));
    let apache = Apache::start(&sandbox.folder("apache"), &folder, &git);
    let list = |version: u8, url: &str| {
        Git::client(&sandbox, Which::Machine, version).text(sandbox.path(), &["ls-remote", "--symref", url])
    };
    let upstream = [0, 1, 2].map(|version| list(version, &format!("{}/app.git", apache.url())));
    assert!(upstream.iter().all(|lines| lines.contains("\tHEAD^{}\n")), "{upstream:?}");
    for (kind, upstream_url) in [("host", apache.url()), ("folder", folder.display().to_string())] {
        let mut mirror = Heliostat::start(&sandbox.folder(kind), &upstream_url, &[]);
        for when in ["mirrored", "restarted"] {
            for version in [0, 1, 2] {
                let mirrored = list(version, &format!("{}/app.git", mirror.url()));
                assert_eq!(mirrored, upstream[usize::from(version)], "{kind} {when} v{version}");
            }
            mirror.stop();
            mirror.start_again();
        }
    }
}
