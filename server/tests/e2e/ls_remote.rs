//! `git ls-remote` in all its forms: the same lines and the same exit status as from the upstream.

use crate::support::compare::Report;
use crate::support::git::{Git, Which};
use crate::support::repositories::Upstream;
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
    });
    let client = Git::client(&site.sandbox, which, version);
    let mut report = Report::default();
    for path in ["team/app.git", "team/empty.git", "team/detached.git"] {
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
