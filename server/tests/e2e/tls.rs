//! The upstream over TLS: mirrored where its certificate can be trusted; where not, refused in words, and what is here
//! goes on being served.

use std::path::{Path, PathBuf};

use crate::support::apache::Apache;
use crate::support::authority::{Authority, Identity, Valid, self_signed};
use crate::support::compare::{fsck, sound_and_same};
use crate::support::git::Git;
use crate::support::heliostat::{Heliostat, PROGRAM};
use crate::support::process::{hermetic, run, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const APP: &str = "team/app.git";
const HERE: &[&str] = &["127.0.0.1", "localhost"];

struct Site {
    git: Git,
    apache: Apache,
    upstream: Upstream,
    sandbox: Sandbox,
}

impl Site {
    fn start(identity: &Identity) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let repositories = sandbox.folder("upstream");
        let upstream = Upstream::rich(&git, &repositories.join(APP));
        let apache = Apache::start_as(&sandbox.folder("apache"), &repositories, &git, Some(identity));
        Self { git, apache, upstream, sandbox }
    }

    /// A new mirror of `url` that trusts the authorities in `ca`, if there is one.
    fn mirror(&self, name: &str, url: &str, ca: Option<&str>) -> Heliostat {
        let folder = self.sandbox.folder(name);
        let Some(ca) = ca else { return Heliostat::start(&folder, url, &[]) };
        let config = configuration(&folder, ca);
        Heliostat::start(&folder, url, &["--config", &config.display().to_string()])
    }

    fn clone(&self, url: &str, settings: &[&str]) -> Result<PathBuf, String> {
        let folder = self.sandbox.fresh("clone");
        let target = folder.display().to_string();
        let arguments = [settings, &["clone", "--quiet", "--mirror", url, &target]].concat();
        self.git.try_text(self.sandbox.path(), &arguments)?;
        Ok(folder)
    }

    /// A clone from the upstream itself.
    fn theirs(&self) -> PathBuf {
        self.clone(&format!("file://{}", self.upstream.folder.display()), &[]).unwrap()
    }
}

/// A configuration that names `ca`, written as PEM beside it.
fn configuration(folder: &Path, ca: &str) -> PathBuf {
    let (pem, config) = (folder.join("ca.pem"), folder.join("heliostat.toml"));
    std::fs::write(&pem, ca).unwrap();
    std::fs::write(&config, format!("[upstream]\nca = {:?}\n", pem.display().to_string())).unwrap();
    config
}

/// The same certificates satisfy Git's own client and ours: by address and by name, of one authority among several, or
/// of the server's own making.
#[test]
fn mirrored() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let bundle = format!("{}{}", other.certificate, authority.certificate);
    let certified = authority.certify(HERE, Valid::Now);
    let lonely = self_signed(HERE, false);
    let mut site = Site::start(&certified);
    let url = site.apache.url();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let by_name = url.replace("127.0.0.1", "localhost");
    for (case, identity, url, ca) in [
        ("by-address", &certified, &url, &bundle),
        ("by-name", &certified, &by_name, &authority.certificate),
        ("self-signed", &lonely, &url, &lonely.certificate),
    ] {
        site.apache.become_another(Some(identity));
        let mirror = site.mirror(case, url, Some(ca));
        let through = format!("{}/{APP}", mirror.url());
        let ours = site.clone(&through, &[]).unwrap_or_else(|error| panic!("{case}: {error}"));
        let pem = site.sandbox.folder(case).join("ca.pem");
        let trusting = format!("http.sslCAInfo={}", pem.display());
        let theirs = site.clone(&format!("{url}/{APP}"), &["-c", &trusting]).unwrap();
        sound_and_same(&site.git, &ours, &theirs).unwrap_or_else(|error| panic!("{case}: {error}"));

        site.upstream.commit("main", &[("later.txt", case)]);
        site.git.text(&ours, &["fetch", "--quiet", "--prune"]);
        fsck(&site.git, &ours).unwrap();
        assert_eq!(site.git.text(&ours, &["rev-parse", "main"]), site.upstream.id("main"), "{case}");
    }
}

/// Its name, what the upstream presents (nothing: it speaks plain HTTP), what is trusted, and words of the refusal.
type Case<'a> = (&'a str, Option<&'a Identity>, Option<&'a str>, &'a [&'a str]);

/// Whose fault it is, and what to do, is in the log and in the answer to `heliostat sync`; the client hears that there
/// is no secure connection and when to come again.
#[test]
fn refused_in_words() {
    let authority = Authority::new("ours");
    let good = authority.certify(HERE, Valid::Now);
    let expired = authority.certify(HERE, Valid::Past);
    let early = authority.certify(HERE, Valid::Future);
    let elsewhere = authority.certify(&["git.example.com"], Valid::Now);
    let selfish = self_signed(HERE, true);
    let mut site = Site::start(&good);
    let url = site.apache.url();
    let known = Some(authority.certificate.as_str());
    let (stranger, renewed) = (Authority::new("another").certificate, Authority::new("ours").certificate);
    let cases: [Case<'_>; 8] = [
        ("unknown", Some(&good), None, &["authority that is not known here", "`ca` in [upstream]"]),
        ("another", Some(&good), Some(&stranger), &["authority that is not known here", "`ca` in [upstream]"]),
        ("renewed", Some(&good), Some(&renewed), &["not signed with the key", "`ca` in [upstream] has to be renewed"]),
        ("expired", Some(&expired), known, &["expired on Thu, 02 Jan 2020", "renewed there"]),
        ("early", Some(&early), known, &["not valid before Tue, 02 Jan 2120", "clock"]),
        ("elsewhere", Some(&elsewhere), known, &["127.0.0.1", "git.example.com", "`url` in [upstream]"]),
        ("selfish", Some(&selfish), Some(&selfish.certificate), &["CA:TRUE", "CA:FALSE"]),
        ("plain", None, known, &["does not speak tls", "`url` in [upstream]", "http://"]),
    ];
    for (case, identity, ca, words) in cases {
        site.apache.become_another(identity);
        let mut mirror = site.mirror(case, &url, ca);
        let answer = mirror.get(&format!("/{APP}/info/refs?service=git-upload-pack"));
        assert_eq!(answer.status, 503, "{case}: {answer:?}");
        assert!(answer.header("retry-after").is_some(), "{case}: {answer:?}");
        assert_eq!(answer.text(), "this mirror has no secure connection to the upstream; its log says why\n", "{case}");
        assert!(mirror.stored().is_empty(), "{case}: something was published");
        // Its end is when all that it logged is written.
        assert!(mirror.stop().success(), "{case}");
        let log = mirror.log();
        let line =
            log.lines().find(|line| line.contains("not said who may read")).unwrap_or_else(|| panic!("{case}: {log}"));
        for word in words {
            assert!(line.contains(word), "{case}: {word:?} is not in {line}");
        }
    }
}

#[test]
fn the_command_line_hears_the_same_words() {
    let authority = Authority::new("ours");
    let site = Site::start(&authority.certify(HERE, Valid::Now));
    let data = site.sandbox.folder("data").display().to_string();
    let mut command = hermetic(PROGRAM, site.sandbox.path());
    command.args(["sync", "--upstream", &site.apache.url(), "--data", &data, APP]);
    let finished = run(&mut command, b"", site.sandbox.path());
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    for word in [APP, "no secure connection", "authority that is not known here", "`ca` in [upstream]"] {
        assert!(finished.stderr.contains(word), "{word:?} is not in {}", finished.stderr);
    }
}

/// A certificate that expires takes nothing away from what is here; one that is renewed brings the rest.
#[test]
fn served_meanwhile_and_healed_after() {
    let authority = Authority::new("ours");
    let (good, expired) = (authority.certify(HERE, Valid::Now), authority.certify(HERE, Valid::Past));
    let mut site = Site::start(&good);
    let mut mirror = site.mirror("mirror", &site.apache.url(), Some(&authority.certificate));
    let through = format!("{}/{APP}", mirror.url());
    let before = site.theirs();
    sound_and_same(&site.git, &site.clone(&through, &[]).unwrap(), &before).unwrap();
    for identity in [Some(&expired), None] {
        site.apache.become_another(identity);
        site.upstream.commit("main", &[("meanwhile.txt", if identity.is_some() { "tls\n" } else { "plain\n" })]);
        sound_and_same(&site.git, &site.clone(&through, &[]).unwrap(), &before).unwrap();
        let answer = mirror.get(&format!("/{APP}/info/refs?service=git-upload-pack"));
        let freshness = answer.header("heliostat-freshness").unwrap_or_default();
        assert!(answer.status == 200 && freshness.starts_with("stale"), "{answer:?}");
    }
    site.apache.become_another(Some(&good));
    let after = site.theirs();
    wait_until("the mirror has healed", std::time::Duration::from_secs(30), || {
        let ours = site.clone(&through, &[]).unwrap();
        sound_and_same(&site.git, &ours, &after).is_ok()
    });
    assert!(mirror.stop().success());
}

/// A `ca` that is no file of certificates is a mistake to be told at the start, not an upstream that can't be reached.
#[test]
fn what_is_no_ca_is_told_at_the_start() {
    let sandbox = Sandbox::new();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (case, content) in
        [("missing", None), ("empty", Some("")), ("no-pem", Some("what?\n")), ("broken", Some(broken))]
    {
        let folder = sandbox.folder(case);
        let config = configuration(&folder, content.unwrap_or_default());
        if content.is_none() {
            std::fs::remove_file(folder.join("ca.pem")).unwrap();
        }
        let mut command = hermetic(PROGRAM, &folder);
        command.args(["serve", "--upstream", "https://localhost:9", "--mirror", "team/*", "--config"]).arg(&config);
        command.arg("--data").arg(folder.join("data"));
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let finished = run(&mut command, b"", &folder);
        assert_eq!(finished.status.code(), Some(2), "{case}: {}", finished.stderr);
        for word in ["`ca`", "ca.pem"] {
            assert!(finished.stderr.contains(word), "{case}: {word:?} is not in {}", finished.stderr);
        }
    }
}
