//! The way to the upstream: through a real proxy, and with a certificate of ours where a real upstream demands one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::apache::Apache;
use crate::support::authority::{Authority, Identity, Valid};
use crate::support::compare::sound_and_same;
use crate::support::git::Git;
use crate::support::heliostat::{Heliostat, PROGRAM};
use crate::support::process::{Finished, free_port, hermetic, run, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;
use crate::support::tinyproxy::Tinyproxy;

const APP: &str = "team/app.git";
const HERE: &[&str] = &["127.0.0.1", "localhost"];
/// What a proxy asks for, and how it stands in an address.
const CREDENTIALS: (&str, &str) = ("robot", "p4ss-w0rd");
const IN_ADDRESS: &str = "robot:p4ss%2Dw0rd";
/// The same in `Proxy-Authorization`.
const IN_HEADER: &str = "cm9ib3Q6cDRzcy13MHJk";

struct Site {
    git: Git,
    apache: Apache,
    upstream: Upstream,
    authority: Authority,
    sandbox: Sandbox,
}

impl Site {
    fn start(is_secure: bool) -> Self {
        let (sandbox, authority) = (Sandbox::new(), Authority::new("ours"));
        let git = Git::new(&sandbox);
        let repositories = sandbox.folder("upstream");
        let upstream = Upstream::rich(&git, &repositories.join(APP));
        let identity = is_secure.then(|| authority.certify(HERE, Valid::Now));
        let apache = Apache::start_as(&sandbox.folder("apache"), &repositories, &git, identity.as_ref());
        Self { git, apache, upstream, authority, sandbox }
    }

    /// A configuration with these lines in `[upstream]`, which trusts the authority.
    fn configuration(&self, name: &str, lines: &str) -> PathBuf {
        let folder = self.sandbox.folder(name);
        let (pem, file) = (folder.join("ca.pem"), folder.join("heliostat.toml"));
        std::fs::write(&pem, &self.authority.certificate).unwrap();
        std::fs::write(&file, format!("[upstream]\nca = {:?}\n{lines}\n", pem.display().to_string())).unwrap();
        file
    }

    fn mirror(&self, name: &str, lines: &str) -> Heliostat {
        let config = self.configuration(name, lines).display().to_string();
        Heliostat::start(&self.sandbox.folder(name), &self.apache.url(), &["--config", &config])
    }

    /// A `heliostat sync` into a new folder.
    fn sync(&self, name: &str, lines: &str, variables: &[(&str, &str)]) -> Finished {
        let config = self.configuration(name, lines);
        let mut command = hermetic(PROGRAM, self.sandbox.path());
        command.args(["sync", "--upstream", &self.apache.url(), "--config"]).arg(config);
        command.args(["--admin-listen", &format!("127.0.0.1:{}", free_port())]);
        command.arg("--data").arg(self.sandbox.folder(name).join("data")).args(["--mirror", "*", APP]);
        run(command.envs(variables.iter().copied()), b"", self.sandbox.path())
    }

    fn clone_of(&self, url: &str) -> PathBuf {
        let folder = self.sandbox.fresh("clone");
        self.git.text(self.sandbox.path(), &["clone", "-q", "--mirror", url, &folder.display().to_string()]);
        folder
    }

    fn is_mirrored(&self, mirror: &Heliostat) {
        let theirs = self.clone_of(&format!("file://{}", self.upstream.folder.display()));
        sound_and_same(&self.git, &self.clone_of(&format!("{}/{APP}", mirror.url())), &theirs).unwrap();
    }

    /// `HOST:PORT` of the upstream.
    fn authority_of_upstream(&self) -> String {
        self.apache.url().split("//").nth(1).unwrap().to_owned()
    }
}

/// The log's line about a question in vain, after what it answers to a client.
fn refused(mirror: &mut Heliostat, answer: &str) -> String {
    let heard = mirror.get(&format!("/{APP}/info/refs?service=git-upload-pack"));
    assert_eq!((heard.status, heard.text()), (503, format!("{answer}\n")));
    assert!(heard.header("retry-after").is_some(), "{heard:?}");
    assert!(mirror.stop().success());
    let log = mirror.log();
    let line = log.lines().find(|line| line.contains("has not said who may read"));
    line.unwrap_or_else(|| panic!("no word in {log}")).to_owned()
}

/// To an `https` upstream a tunnel, to an `http` one each request with its whole address; the password is nowhere.
#[test]
fn through_a_proxy() {
    for is_secure in [true, false] {
        let site = Site::start(is_secure);
        let proxy = Tinyproxy::start(&site.sandbox.folder("proxy"), Some(CREDENTIALS));
        let lines = format!("proxy = \"{}\"", proxy.url(IN_ADDRESS));
        let mut mirror = site.mirror("mirror", &lines);
        site.is_mirrored(&mirror);
        site.upstream.commit("main", &[("later.txt", "later\n")]);
        site.is_mirrored(&mirror);
        let target = site.authority_of_upstream();
        let begin =
            if is_secure { format!("CONNECT {target} HTTP/1.1") } else { format!("GET http://{target}/{APP}/") };
        assert!(proxy.requests(&begin) >= 2, "{begin}");
        assert!(mirror.stop().success());
        let log = mirror.log();
        for secret in [CREDENTIALS.1, IN_ADDRESS, IN_HEADER] {
            assert!(!log.contains(secret), "{log}");
            let grep = Command::new("grep").args(["-rqF", secret]).arg(mirror.data()).status().unwrap();
            assert!(!grep.success(), "{secret} is on the disk");
        }
        let requests = site.apache.requests();
        assert!(requests.iter().all(|request| !request.contains("://")), "{requests:?}");
    }
}

/// Whose fault it is: the proxy's, which does not take us or can't reach the upstream; or that of what is behind it.
#[test]
fn a_proxy_that_leads_nowhere() {
    const ANSWER: &str = "this mirror's proxy does not lead to the upstream; its log says why";
    let mut site = Site::start(true);
    let proxy = Tinyproxy::start(&site.sandbox.folder("proxy"), Some(CREDENTIALS));
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for (case, address, words) in [
        ("wrong", proxy.url("robot:hunter2"), "does not take our user name and password (401)"),
        ("none", proxy.url(""), "wants a user name and a password (407)"),
        ("nobody", nobody, "Connection refused"),
    ] {
        let mut mirror = site.mirror(case, &format!("proxy = \"{address}\""));
        let line = refused(&mut mirror, ANSWER);
        assert!(
            line.contains("no way to the upstream: the proxy 127.0.0.1:") && line.contains(words),
            "{case}: {line}"
        );
        assert!(line.contains("`proxy` in [upstream]") && !line.contains("hunter2"), "{case}: {line}");
    }
    let plain = Site::start(false);
    let mut mirror = plain.mirror("plain", &format!("proxy = \"{}\"", proxy.url("")));
    assert!(refused(&mut mirror, ANSWER).contains("(407)"));

    // What is behind it is the upstream's own.
    let lines = format!("proxy = \"{}\"", proxy.url(IN_ADDRESS));
    site.apache.become_another(Some(&Authority::new("another").certify(HERE, Valid::Now)));
    let mut mirror = site.mirror("stranger", &lines);
    let line = refused(&mut mirror, "this mirror has no secure connection to the upstream; its log says why");
    assert!(line.contains("authority"), "{line}");
    site.apache.stop();
    let mut mirror = site.mirror("down", &lines);
    let line = refused(&mut mirror, ANSWER);
    assert!(line.contains("it can't reach the upstream (50"), "{line}");
}

/// The environment decides as it does for curl, unless `proxy` is written, empty or not.
#[test]
fn as_the_environment_says() {
    let site = Site::start(true);
    let proxy = Tinyproxy::start(&site.sandbox.folder("proxy"), None);
    let (url, nobody) = (proxy.url(""), format!("http://127.0.0.1:{}", free_port()));
    let written = format!("proxy = \"{url}\"");
    let mut before = 0;
    for (at, (lines, variables, goes_through)) in [
        ("", &[][..], false),
        ("", &[("HTTPS_PROXY", url.as_str())][..], true),
        ("", &[("https_proxy", &url), ("HTTPS_PROXY", &nobody)], true),
        ("", &[("ALL_PROXY", &url)], true),
        ("", &[("http_proxy", &nobody), ("HTTP_PROXY", &nobody)], false),
        ("", &[("HTTPS_PROXY", &nobody), ("NO_PROXY", "example.com,127.0.0.1")], false),
        ("", &[("HTTPS_PROXY", &nobody), ("no_proxy", "127.0.0.0/8")], false),
        ("proxy = \"\"", &[("HTTPS_PROXY", &nobody)], false),
        (&written, &[("HTTPS_PROXY", &nobody), ("NO_PROXY", "*")], true),
    ]
    .into_iter()
    .enumerate()
    {
        let case = format!("{lines} {variables:?}");
        let finished = site.sync(&format!("case-{at}"), lines, variables);
        assert!(finished.status.success(), "{case}: {}", finished.stderr);
        let now = proxy.requests("CONNECT ");
        assert_eq!(now > before, goes_through, "{case}");
        before = now;
    }
    let refused = site.sync("socks", "", &[("ALL_PROXY", "socks5h://user:hunter2@127.0.0.1:1")]);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("ALL_PROXY: only http:// proxies are built"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
}

fn show(folder: &Path, identity: &Identity) {
    std::fs::write(folder.join("own.crt"), &identity.certificate).unwrap();
    std::fs::write(folder.join("own.key"), &identity.key).unwrap();
}

/// Lines that name the certificate in `folder`.
fn own(folder: &Path) -> String {
    let folder = folder.display();
    format!("client_certificate = \"{folder}/own.crt\"\nclient_key = \"{folder}/own.key\"")
}

/// An upstream that demands a certificate is shown it, also through a proxy; without one, or with another authority's, the
/// log says what is missing. A new one is used as soon as it is there.
#[test]
fn a_certificate_of_ours() {
    const ANSWER: &str = "this mirror has no secure connection to the upstream; its log says why";
    let mut site = Site::start(true);
    let (clients, strangers) = (Authority::new("clients"), Authority::new("strangers"));
    site.apache.demand_clients_of(Some(&clients.certificate));
    let mut mirror = site.mirror("without", "");
    let line = refused(&mut mirror, ANSWER);
    assert!(line.contains("it wants a certificate of ours: `client_certificate` and `client_key`"), "{line}");
    let strange = site.sandbox.folder("strange");
    show(&strange, &strangers.certify(&["mirror"], Valid::Now));
    let mut mirror = site.mirror("strange", &own(&strange));
    let line = refused(&mut mirror, ANSWER);
    assert!(line.contains("it does not know the authority of `client_certificate`"), "{line}");

    let proxy = Tinyproxy::start(&site.sandbox.folder("proxy"), None);
    let folder = site.sandbox.folder("mirror");
    show(&folder, &clients.certify(&["mirror"], Valid::Now));
    let mirror = site.mirror("mirror", &format!("{}\nproxy = \"{}\"", own(&folder), proxy.url("")));
    site.is_mirrored(&mirror);
    assert!(proxy.requests("CONNECT ") > 0);

    // The upstream takes the clients of another authority from now on; so the old certificate is of no use.
    site.apache.demand_clients_of(Some(&strangers.certificate));
    site.upstream.commit("main", &[("renewed.txt", "renewed\n")]);
    let asked = || mirror.get(&format!("/{APP}/info/refs?service=git-upload-pack"));
    assert!(asked().header("heliostat-freshness").unwrap().starts_with("stale"));
    show(&folder, &strangers.certify(&["mirror"], Valid::Now));
    wait_until("the new certificate is used", Duration::from_secs(60), || {
        asked().header("heliostat-freshness") == Some("confirmed")
    });
    site.is_mirrored(&mirror);
}
