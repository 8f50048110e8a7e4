//! Who may read: a real Apache with users and passwords, with tokens, or a service that judges, and what its mirror lets
//! whom have.
//!
//! Which attack on access is shown to be answered where is in docs/threats.md.

mod abuse;
mod bearer;
mod canary;
mod existence;
mod hook;
mod one_connection;
mod outage;
mod passwords;
mod references;
mod revocation;
mod secure;

use std::path::{Path, PathBuf};

use crate::support::apache::Apache;
use crate::support::authority::Identity;
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::http::{Answer, request};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const PUBLIC: &str = "team/public.git";
/// For everybody with a password.
const PRIVATE: &str = "team/private.git";
/// For alice and the mirror.
const ALICES: &str = "team/alices.git";
/// For everybody with a password, who is asked for it only when posting.
const POSTED: &str = "post/posted.git";
/// For alice alone: the mirror may not.
const HERS: &str = "hers/diary.git";

/// User and password, as they are given to `-u` of curl.
const ALICE: &str = "alice:alices-CANARY-pass-1";
const BOB: &str = "bob:bobs-CANARY-pass-2";
const MIRROR: &str = "mirror:mirrors-CANARY-pass-3";
/// As Apache keeps them.
const USERS: [&str; 3] = [
    "alice:{SHA}e/4B2tNcz7WMK4fQ8ZPL+WzSEE0=\n",
    "bob:{SHA}SJDMG+ZbgKbHR4pYJ3DBOcU1Lr8=\n",
    "mirror:{SHA}6FUX0IdhzM8apwhsZpwEz4hYqs4=\n",
];
const MODULES: &[&str] = &["auth_basic", "authn_core", "authn_file", "authz_user"];

/// An upstream whose repositories are not for everybody, and its mirror.
struct House {
    git: Git,
    apache: Apache,
    mirror: Heliostat,
    sandbox: Sandbox,
}

impl House {
    /// `config` is added to the mirror's configuration; `own` is whether it has a credential.
    fn start(own: bool, config: &str) -> Self {
        Self::start_with(own, config, "info", |_| String::new())
    }

    /// `upstream` adds to that section of the configuration; `log` says which lines are logged.
    fn start_with(own: bool, config: &str, log: &str, upstream: impl FnOnce(&Path) -> String) -> Self {
        Self::start_as(None, own, config, log, upstream)
    }

    /// The same where the upstream speaks TLS, if it has an identity.
    fn start_as(
        identity: Option<&Identity>,
        own: bool,
        config: &str,
        log: &str,
        upstream: impl FnOnce(&Path) -> String,
    ) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let repositories = sandbox.folder("upstream");
        let first = Upstream::rich(&git, &repositories.join("first.git"));
        for path in [PUBLIC, PRIVATE, ALICES, POSTED, HERS] {
            std::fs::create_dir_all(repositories.join(path).parent().unwrap()).unwrap();
            first.copy_to(&repositories.join(path)).commit("main", &[("name.txt", path)]);
        }
        std::fs::remove_dir_all(&first.folder).unwrap();
        let folder = sandbox.folder("apache");
        let mut apache = Apache::start_as(&folder, &repositories, &git, identity);
        let users = folder.join("users");
        std::fs::write(&users, USERS.concat()).unwrap();
        apache.configure(MODULES, &protection(&users));
        let mut settings = format!("[upstream]\nurl = \"{}\"\n", apache.url());
        settings += &upstream(sandbox.path());
        if own {
            let file = secret_file(&sandbox, "credentials", MIRROR);
            settings += &format!("credentials = {file:?}\n");
        }
        settings += config;
        if !config.contains("[[mirror]]") {
            settings += "[[mirror]]\ninclude = [\"*\"]\n";
        }
        let file = sandbox.path().join("heliostat.toml");
        std::fs::write(&file, settings).unwrap();
        let flags = ["--cores", "3", "--log", log, "--config", &file.display().to_string()];
        let mirror = Heliostat::start(&sandbox.folder("heliostat"), &apache.url(), &flags);
        Self { git, apache, mirror, sandbox }
    }

    fn upstream(&self, path: &str) -> Upstream {
        Upstream { git: self.git.clone(), folder: self.sandbox.path().join("upstream").join(path) }
    }

    /// Who has a password from now on.
    fn users(&self, lines: &[&str]) {
        // Read anew at each request; a reader must not see half of it.
        let folder = self.sandbox.folder("apache");
        std::fs::write(folder.join("users.new"), lines.concat()).unwrap();
        std::fs::rename(folder.join("users.new"), folder.join("users")).unwrap();
    }

    /// The first request of a clone in version 2.
    fn get(&self, path: &str, user: Option<&str>) -> Answer {
        self.ask("GET", &format!("/{path}/info/refs?service=git-upload-pack"), 2, user.map(basic).as_deref(), "")
    }

    fn ask(&self, method: &str, target: &str, version: u8, authorization: Option<&str>, body: &str) -> Answer {
        let protocol = format!("version={version}");
        let mut headers = vec![("Git-Protocol", &*protocol), ("Content-Type", "application/x-git-upload-pack-request")];
        headers.extend(authorization.map(|line| ("Authorization", line)));
        request(method, self.mirror.port(), target, &headers, body.as_bytes()).unwrap()
    }

    /// The statuses of all that reads: both advertisements, `ls-refs`, a fetch and `object-info` of the tip of `main`.
    fn statuses(&self, path: &str, user: Option<&str>) -> [u16; 5] {
        let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
        let tip = self.upstream(&format!("{}.git", path.trim_end_matches(".git"))).id("main");
        let authorization = user.map(basic);
        let get = |version| {
            let target = format!("/{path}/info/refs?service=git-upload-pack");
            self.ask("GET", &target, version, authorization.as_deref(), "").status
        };
        let post = |command: &str, arguments: &[String]| {
            let body = format!("{}0001{}0000", line(&format!("command={command}")), arguments.concat());
            self.ask("POST", &format!("/{path}/git-upload-pack"), 2, authorization.as_deref(), &body).status
        };
        [
            get(2),
            get(0),
            post("ls-refs", &[]),
            post("fetch", &[line(&format!("want {tip}")), line("done")]),
            post("object-info", &[line("size"), line(&format!("oid {tip}"))]),
        ]
    }

    /// The mirror's URL of a repository, with a user in it if there is one.
    fn url(&self, path: &str, user: Option<&str>) -> String {
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("{}/{path}", self.mirror.url().replace("://", &format!("://{user}")))
    }

    /// A mirror clone by the machine's git with more of `-c`.
    fn clone(&self, url: &str, settings: &[&str]) -> Result<PathBuf, String> {
        let folder = self.sandbox.fresh("clone");
        let target = folder.display().to_string();
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-c", setting]).collect();
        let arguments = [&settings[..], &["clone", "--quiet", "--mirror", url, &target]].concat();
        self.git.try_text(self.sandbox.path(), &arguments)?;
        Ok(folder)
    }

    fn forget_rights(&self, path: Option<&str>) {
        let target = match path {
            Some(path) => format!("/api/v1/repositories/{path}/forget-rights"),
            None => "/api/v1/forget-rights".to_owned(),
        };
        let answer = self.mirror.admin("POST", &target);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// How many requests the upstream has answered, of those that `counts` does.
    fn requests(&self, counts: impl Fn(&str) -> bool) -> usize {
        self.apache.requests().iter().filter(|line| counts(line)).count()
    }
}

/// What Apache asks of whom.
fn protection(users: &Path) -> String {
    let with_password = |location: &str, who: &str| {
        format!(
            "<LocationMatch \"{location}\">\n AuthType Basic\n AuthName \"Git at the upstream\"\n AuthUserFile {}\n \
             AuthzSendForbiddenOnFailure On\n Require {who}\n</LocationMatch>\n",
            users.display()
        )
    };
    with_password("^/team/private(\\.git)?/", "valid-user")
        + &with_password("^/team/alices(\\.git)?/", "user alice mirror")
        + &with_password("^/hers/", "user alice")
        + &with_password("^/post/.*/git-upload-pack$", "valid-user")
}

/// A file that only its owner may read.
fn secret_file(sandbox: &Sandbox, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = sandbox.folder("secrets").join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// `Basic …` of `user:password`.
fn basic(user: &str) -> String {
    format!("Basic {}", base64(user.as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |chunk: &[u8], place: usize| {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        if place > chunk.len() { '=' } else { char::from(ALPHABET[(word >> (18 - 6 * place)) as usize & 63]) }
    };
    bytes.chunks(3).flat_map(|chunk| (0..4).map(move |place| digit(chunk, place))).collect()
}

/// Many connections to all shards, kept open; each asks in turn.
struct Crowd(Vec<std::net::TcpStream>);

impl Crowd {
    fn gather(house: &House, count: usize) -> Self {
        let connect = |_| {
            let stream = std::net::TcpStream::connect(("127.0.0.1", house.mirror.port())).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
            stream
        };
        Self((0..count).map(connect).collect())
    }

    /// What each hears to the first request of a clone.
    fn statuses(&mut self, path: &str, user: &str) -> Vec<u16> {
        use std::io::{Read, Write};
        let head = format!(
            "GET /{path}/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: h\r\nGit-Protocol: version=2\r\n\
             Authorization: {}\r\n\r\n",
            basic(user)
        );
        let ask = |stream: &mut std::net::TcpStream| {
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let ends = |answer: &[u8]| {
                let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
                match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
                    Some(length) => body.len() >= length.parse().unwrap(),
                    None => body.ends_with("\r\n0\r\n\r\n"),
                }
            };
            while !ends(&answer) {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).unwrap();
                assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&piece[..count]);
            }
            String::from_utf8_lossy(&answer)[9..12].parse().unwrap()
        };
        self.0.iter_mut().map(ask).collect()
    }
}
