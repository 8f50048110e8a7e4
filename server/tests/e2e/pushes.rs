//! Pushes through the mirror's URL: Git is sent to the upstream, lands there as its user, and brings no secret there that
//! was meant for the mirror, as far as Git itself goes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::apache::Apache;
use crate::support::git::{Git, Which};
use crate::support::heliostat::Heliostat;
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;
use crate::support::users::{self, ALICE, BOB, User};

const APP: &str = "team/app.git";

/// An upstream that wants a user for each push, and a mirror under another name of the same machine: hosts differ, as they
/// do where it matters.
struct Site {
    git: Git,
    apache: Apache,
    upstream: Upstream,
    mirror: Heliostat,
    sandbox: Sandbox,
}

impl Site {
    fn start(which: Which, version: u8) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::client(&sandbox, which, version);
        let repositories = sandbox.folder("upstream");
        let upstream = writable(&git, &repositories.join(APP));
        let folder = sandbox.folder("apache");
        let apache = Apache::start_with(&folder, &repositories, &git, &users::directives(&folder));
        // Git takes another name for another host.
        let url = apache.url().replace("127.0.0.1", "localhost");
        let mirror = Heliostat::start(&sandbox.folder("heliostat"), &url, &["--mirror", "team/*"]);
        Self { git, apache, upstream, mirror, sandbox }
    }

    fn mirror_url(&self) -> String {
        format!("{}/{APP}", self.mirror.url())
    }

    fn upstream_url(&self) -> String {
        format!("{}/{APP}", self.apache.url().replace("127.0.0.1", "localhost"))
    }

    /// A clone through the mirror with a commit of its own, whose id comes back.
    fn clone_and_commit(&self, content: &[u8]) -> (PathBuf, String) {
        let clone = self.sandbox.fresh("clone");
        self.git.text(self.sandbox.path(), &["clone", "-q", &self.mirror_url(), &clone.display().to_string()]);
        (clone.clone(), self.commit(&clone, content))
    }

    fn commit(&self, clone: &Path, content: &[u8]) -> String {
        std::fs::write(clone.join(format!("{:08x}", fastrand::u32(..))), content).unwrap();
        self.git.text(clone, &["add", "."]);
        self.git.text(clone, &["commit", "-q", "-m", "pushed"]);
        self.git.text(clone, &["rev-parse", "HEAD"])
    }

    /// Who moved `main` last, by the upstream's own account.
    fn last_pusher(&self) -> String {
        let log = std::fs::read_to_string(self.upstream.folder.join("logs/refs/heads/main")).unwrap();
        let line = log.lines().last().unwrap().to_owned();
        line.split(' ').nth(2).unwrap().to_owned()
    }

    /// Git's setting for a helper that answers with `user` if it is asked about `host`, and writes down each question.
    fn credentials(&self, host: &str, user: User) -> String {
        let (script, asked) = (self.sandbox.path().join("helper"), self.sandbox.path().join("asked"));
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = get ] || exit 0\nasked=$(cat)\necho \"$asked\" >>{asked}\ncase \"$asked\" in\n\
             *host={host}*) echo 'username={}'; echo 'password={}';;\nesac\n",
            user.name,
            user.password,
            asked = asked.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&asked, "").unwrap();
        format!("credential.helper={}", script.display())
    }

    /// The hosts that the helper has been asked about.
    fn hosts_asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.sandbox.path().join("asked")).unwrap();
        asked.lines().filter_map(|line| line.strip_prefix("host=")).map(str::to_owned).collect()
    }

    fn host_of(url: &str) -> &str {
        url.split("://").nth(1).unwrap().split('/').next().unwrap()
    }

    /// What the upstream was brought as `Authorization` by pushes, each once.
    fn authorizations(&self) -> Vec<String> {
        let lines = users::authorizations(&self.sandbox.folder("apache"));
        let pushes = lines.iter().filter(|line| line.contains("git-receive-pack"));
        let mut brought: Vec<String> = pushes.map(|line| line.splitn(3, ' ').nth(2).unwrap().to_owned()).collect();
        brought.sort();
        brought.dedup();
        brought
    }
}

/// A repository that Apache's user may write to, with a log of who moved its references.
pub fn writable(git: &Git, folder: &Path) -> Upstream {
    let upstream = Upstream::rich(git, folder);
    upstream.run(&["config", "core.sharedRepository", "0777"]);
    upstream.run(&["config", "core.logAllRefUpdates", "always"]);
    let all = std::process::Command::new("chmod").args(["-R", "a+rwX"]).arg(folder).status();
    assert!(all.unwrap().success());
    upstream
}

/// A small push, one that is sent in chunks, and another user's: each lands upstream as that user, and a fetch through the
/// mirror right after sees it.
fn lands_upstream(which: Which, version: u8) {
    let site = Site::start(which, version);
    let upstream_url = site.upstream_url();
    let host = Site::host_of(&upstream_url);
    let (clone, _) = site.clone_and_commit(b"small\n");
    for (user, bytes, settings) in [
        (ALICE, 10, vec![]),
        // Beyond `http.postBuffer`: asked about with an empty request first, then sent in chunks.
        (BOB, 3 << 20, vec!["-c", "http.postBuffer=65536"]),
        (ALICE, 20, vec!["-c", "push.negotiate=true"]),
    ] {
        let mut content = vec![0; bytes];
        fastrand::fill(&mut content);
        let commit = site.commit(&clone, &content);
        let credentials = site.credentials(host, user);
        let arguments = [&["-c", &credentials][..], &settings, &["push", "origin", "main"]].concat();
        site.git.text(&clone, &arguments);
        assert_eq!(site.upstream.id("main"), commit);
        assert_eq!(site.last_pusher(), user.name);
        assert!(site.hosts_asked().iter().all(|asked| asked == host), "{:?}", site.hosts_asked());
        let seen = site.git.text(&clone, &["ls-remote", "origin", "refs/heads/main"]);
        assert!(seen.starts_with(&commit), "{seen}");
    }
    let again = site.sandbox.fresh("again");
    site.git.text(site.sandbox.path(), &["clone", "-q", &site.mirror_url(), &again.display().to_string()]);
    assert_eq!(site.git.text(&again, &["rev-parse", "HEAD"]), site.upstream.id("main"));
    site.git.text(&again, &["fsck", "--strict"]);
    // What went to the mirror of each push is the question where to.
    let log = site.mirror.log();
    let posted = log.lines().filter(|line| line.contains("receive-pack")).count();
    assert_eq!(posted, 0, "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("status=307")).count(), 3, "{log}");
}

mod git_push {
    use super::lands_upstream;
    each_client!(lands_upstream);
}

/// Nothing lands that the upstream refuses, and Git's user reads why; what no rule admits is unknown.
#[test]
fn refused_upstream_is_refused() {
    let site = Site::start(Which::Machine, 2);
    let upstream_url = site.upstream_url();
    let before = site.upstream.id("main");
    let (clone, _) = site.clone_and_commit(b"refused\n");
    let wrong = User { password: "wrong", ..ALICE };
    let credentials = site.credentials(Site::host_of(&upstream_url), wrong);
    let push = |settings: &[&str], url: &str| site.git.run(&clone, &[settings, &["push", url, "main"]].concat());
    for (settings, url, words) in [
        (&["-c", &credentials][..], site.mirror_url(), "Authentication failed"),
        // Nobody can answer.
        (&[], site.mirror_url(), "could not read Username"),
        (&["-c", "http.followRedirects=false"], site.mirror_url(), "unable to access"),
        (&[], format!("{}/else/app.git", site.mirror.url()), "not found"),
    ] {
        let ended = push(settings, &url);
        assert!(!ended.status.success() && ended.stderr.contains(words), "{settings:?} {url}: {}", ended.stderr);
    }
    // There is no such repository, and it is the upstream that says so.
    let credentials = site.credentials(Site::host_of(&upstream_url), ALICE);
    let ended = push(&["-c", &credentials], &format!("{}/team/absent.git", site.mirror.url()));
    assert!(!ended.status.success() && ended.stderr.contains("not found"), "{}", ended.stderr);
    assert!(ended.stderr.contains(&upstream_url.replace(APP, "team/absent.git")), "{}", ended.stderr);
    assert_eq!(site.upstream.id("main"), before);
}

/// `pushInsteadOf` on the client: the mirror has no part in it.
#[test]
fn instead_of() {
    let site = Site::start(Which::Machine, 2);
    let (clone, commit) = site.clone_and_commit(b"past the mirror\n");
    let upstream = ALICE.at(&site.upstream_url());
    let rule = format!("url.{}.pushInsteadOf={}", upstream.replace(APP, ""), site.mirror_url().replace(APP, ""));
    site.git.text(&clone, &["-c", &rule, "push", "origin", "main"]);
    assert_eq!((site.upstream.id("main"), site.last_pusher()), (commit, ALICE.name.to_owned()));
    assert!(!site.mirror.log().contains("receive-pack") && !site.mirror.log().contains("status=307"));
}

/// What Git does with credentials when the host changes, as it is documented in docs/operating.md. What was given for the
/// mirror's host is not sent to the upstream, but for a header that the user has set.
#[test]
fn credentials_and_the_change_of_host() {
    let site = Site::start(Which::Machine, 2);
    let (upstream_url, mirror_url) = (site.upstream_url(), site.mirror_url());
    let (upstream_host, mirror_host) = (Site::host_of(&upstream_url), Site::host_of(&mirror_url));
    let (clone, _) = site.clone_and_commit(b"credentials\n");
    // In the mirror's URL: not sent to the upstream, whose refusal Git takes for one of theirs, and does not ask for others.
    let credentials = site.credentials(upstream_host, BOB);
    let ended = site.git.run(&clone, &["-c", &credentials, "push", &ALICE.at(&mirror_url), "main"]);
    assert!(!ended.status.success() && ended.stderr.contains("Authentication failed"), "{}", ended.stderr);
    assert_eq!((site.authorizations(), site.hosts_asked()), (vec!["-".to_owned()], vec![]));
    // A name alone is forgotten.
    let with_name = mirror_url.replace("://", "://alice@");
    site.git.text(&clone, &["-c", &credentials, "push", &with_name, "main"]);
    assert_eq!(site.last_pusher(), BOB.name);
    let brought = vec!["-".to_owned(), BOB.authorization()];
    assert_eq!(site.authorizations(), brought);
    let commit = site.commit(&clone, b"more\n");

    // In a helper, for the mirror: it is not even asked about that.
    let credentials = site.credentials(mirror_host, ALICE);
    let ended = site.git.run(&clone, &["-c", &credentials, "push", "origin", "main"]);
    assert!(!ended.status.success(), "{}", ended.stderr);
    assert_eq!((site.hosts_asked(), site.authorizations()), (vec![upstream_host.to_owned()], brought.clone()));
    assert_ne!(site.upstream.id("main"), commit);

    // In a file for curl, which knows hosts by name.
    let netrc = site.sandbox.path().join("home-v2/.netrc");
    for (machine, lands) in [("127.0.0.1", false), ("localhost", true)] {
        let line = format!("machine {machine} login {} password \"{}\"\n", BOB.name, BOB.password);
        std::fs::write(&netrc, line).unwrap();
        let ended = site.git.run(&clone, &["push", "origin", "main"]);
        assert_eq!(ended.status.success(), lands, "{machine}: {}", ended.stderr);
        assert_eq!(site.authorizations(), brought, "{machine}");
    }
    std::fs::remove_file(&netrc).unwrap();
    assert_eq!(site.last_pusher(), BOB.name);

    // As a header, for all hosts or for the mirror's only: the redirected question goes without it, so that the upstream
    // refuses. But where Git finds credentials for the upstream, the header goes there beside them, and before them.
    for setting in ["http.extraHeader".to_owned(), format!("http.{}/.extraHeader", site.mirror.url())] {
        let commit = site.commit(&clone, setting.as_bytes());
        let header = format!("{setting}=Authorization: {}", ALICE.authorization());
        let ended = site.git.run(&clone, &["-c", &header, "push", "origin", "main"]);
        assert!(!ended.status.success() && ended.stderr.contains("could not read Username"), "{}", ended.stderr);
        assert_ne!(site.upstream.id("main"), commit);
        let credentials = site.credentials(upstream_host, BOB);
        site.git.text(&clone, &["-c", &credentials, "-c", &header, "push", "origin", "main"]);
        assert_eq!((site.upstream.id("main"), site.last_pusher()), (commit, ALICE.name.to_owned()), "{setting}");
    }
}
