//! Behind a load balancer: limits and the log are about the client, whom the balancer names, and about nobody whom the
//! client names.

use std::path::{Path, PathBuf};

use crate::support::balancer::{Balancer, Caller, Way};
use crate::support::compare::fsck;
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::process::{SERVER_TIMEOUT, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const APP: &str = "team/app.git";
/// Connections, or requests under way, of one address.
const PLACES: usize = 4;

struct Site {
    git: Git,
    mirror: Heliostat,
    balancer: Balancer,
    sandbox: Sandbox,
}

impl Site {
    fn start(way: Way, http: &str) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let upstream = sandbox.folder("upstream");
        Upstream::rich(&git, &upstream.join(APP));
        let folder = sandbox.folder("heliostat");
        let config = configuration(&folder, http);
        let flags = ["--config", &config.display().to_string()];
        let mirror = Heliostat::start(&folder, &upstream.display().to_string(), &flags);
        let balancer = Balancer::start(&sandbox.folder("balancer"), way, mirror.port());
        let site = Self { git, mirror, balancer, sandbox };
        // haproxy sends nobody there before its first check.
        wait_until("the balancer passes requests on", SERVER_TIMEOUT, || {
            site.caller("127.0.0.9").get_status("") == Some(200)
        });
        site
    }

    fn caller(&self, from: &str) -> Caller {
        Caller::connect(from, self.balancer.port)
    }

    fn clones(&self) {
        let (clone, url) = (self.sandbox.fresh("clone"), format!("{}/{APP}", self.balancer.url()));
        self.git.text(self.sandbox.path(), &["clone", "-q", "--mirror", &url, &clone.display().to_string()]);
        fsck(&self.git, &clone).unwrap();
    }
}

fn configuration(folder: &Path, http: &str) -> PathBuf {
    let file = folder.join("heliostat.toml");
    let text = format!("[http]\n{http}\n[limits]\nconnections_per_address = {PLACES}\n");
    std::fs::write(&file, text).unwrap();
    file
}

/// One client's connections through a balancer are bounded; another's are not touched, though all come from the balancer.
fn connections(way: Way, http: &str) {
    let site = Site::start(way, http);
    site.clones();
    let mut held: Vec<Caller> = (0..PLACES)
        .map(|_| {
            let mut caller = site.caller("127.0.0.2");
            assert_eq!(caller.get_status(""), Some(200));
            caller
        })
        .collect();
    for _ in 0..3 {
        // Whatever it says of itself.
        let lines = "X-Forwarded-For: 127.0.0.8\r\nForwarded: for=127.0.0.8\r\n";
        assert_eq!(site.caller("127.0.0.2").get_status(lines), Some(503), "{way:?}");
        assert_eq!(site.caller("127.0.0.3").get_status("X-Forwarded-For: 127.0.0.2\r\n"), Some(200), "{way:?}");
    }
    assert_eq!(held[0].get_status(""), Some(200));
    held.pop();
    wait_until("a place is free again", SERVER_TIMEOUT, || site.caller("127.0.0.2").get_status("") == Some(200));
    let log = site.mirror.log();
    for client in ["127.0.0.2:", "127.0.0.3:", "127.0.0.9:"] {
        assert!(log.contains(&format!(" peer={client}")), "{client}\n{log}");
    }
    assert!(!log.contains("127.0.0.8") && !log.contains("panicked"), "{log}");
    // Who does not come through the balancer is not served: it is demanded.
    assert_eq!(Caller::connect("127.0.0.4", site.mirror.port()).get_status(""), Some(400));
    // A check by the balancer itself counts for the balancer.
    if way == Way::HaproxyV2 {
        wait_until("a check", SERVER_TIMEOUT, || site.mirror.log().contains(" peer=127.0.0.1:"));
    }
}

#[test]
fn connections_by_haproxy_version_1() {
    connections(Way::HaproxyV1, "proxy_protocol = true");
}

#[test]
fn connections_by_haproxy_version_2() {
    connections(Way::HaproxyV2, "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]");
}

#[test]
fn connections_by_nginx() {
    connections(Way::NginxStream, "proxy_protocol = true");
}

/// Requests under way of one client are bounded, on whatever connections its balancer has; what a client says of others
/// counts neither for it nor against them, through the balancer and past it.
fn requests(way: Way) {
    let site = Site::start(way, "trusted_proxies = [\"127.0.0.1\", \"::1\"]");
    site.clones();
    // Requests whose bodies are long in coming.
    let begun = |from: &str| {
        let mut caller = site.caller(from);
        caller.send(format!(
            "POST /{APP}/git-upload-pack HTTP/1.1\r\nHost: mirror\r\nGit-Protocol: version=2\r\n\
             Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 70000\r\n\r\n0014"
        ));
        caller
    };
    let mut held: Vec<Caller> = (0..PLACES).map(|_| begun("127.0.0.2")).collect();
    let ask = |from: &str, lines: &str| site.caller(from).get_status(lines);
    wait_until("all of them are under way", SERVER_TIMEOUT, || ask("127.0.0.2", "") == Some(503));
    for spoofed in ["127.0.0.8", "127.0.0.1", "127.0.0.8, 127.0.0.1", "::1", "unknown", ""] {
        let lines = format!("X-Forwarded-For: {spoofed}\r\n");
        assert_eq!(ask("127.0.0.2", &lines), Some(503), "{way:?} {spoofed:?}");
        // Twice is one list.
        assert_eq!(ask("127.0.0.2", &lines.repeat(2)), Some(503), "{way:?} {spoofed:?}");
    }
    assert_eq!(ask("127.0.0.3", "X-Forwarded-For: 127.0.0.2\r\n"), Some(200));
    // Past the balancer nobody is believed: this is who it is, whatever it says.
    let direct = |from: &str, lines: &str| Caller::connect(from, site.mirror.port()).get_status(lines);
    assert_eq!(direct("127.0.0.2", "X-Forwarded-For: 127.0.0.7\r\n"), Some(503));
    assert_eq!(direct("127.0.0.4", "X-Forwarded-For: 127.0.0.2\r\n"), Some(200));
    // The balancer has one connection for all that it likes, and goes on being served.
    let mut balancer = Caller::connect("127.0.0.1", site.mirror.port());
    for (client, expected) in
        [("127.0.0.2", 503), ("127.0.0.3", 200), ("127.0.0.2", 503), ("127.0.0.6, 127.0.0.1", 200)]
    {
        assert_eq!(balancer.get_status(&format!("X-Forwarded-For: {client}\r\n")), Some(expected), "{client}");
    }
    held.clear();
    wait_until("its places are free again", SERVER_TIMEOUT, || ask("127.0.0.2", "") == Some(200));
    let log = site.mirror.log();
    for client in ["127.0.0.2", "127.0.0.3", "127.0.0.6"] {
        assert!(log.contains(&format!(" client={client} ")), "{client}\n{log}");
    }
    assert!(
        !["127.0.0.7", "127.0.0.8"].iter().any(|client| log.contains(client)) && !log.contains("panicked"),
        "{log}"
    );
}

#[test]
fn requests_by_haproxy() {
    requests(Way::HaproxyForwarded);
}

#[test]
fn requests_by_nginx() {
    requests(Way::NginxForwarded);
}
