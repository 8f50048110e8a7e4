//! Users of the upstream, with passwords that Apache knows. They are asked for where something is written, and for LFS.

use std::path::{Path, PathBuf};

/// A user, and how Apache's password file has the password: SHA-1 in base64.
#[derive(Clone, Copy, Debug)]
pub struct User {
    pub name: &'static str,
    pub password: &'static str,
    pub hash: &'static str,
}

pub const ALICE: User = User { name: "alice", password: "rabbit hole", hash: "Po1uUrlbvVMvd9QBPeJ6+gUeST0=" };
pub const BOB: User = User { name: "bob", password: "builder", hash: "9SMYoF5RilWWASry7TjeaKwmpGg=" };

impl User {
    /// What `Authorization` says of this user.
    pub fn authorization(self) -> String {
        format!("Basic {}", base64(format!("{}:{}", self.name, self.password).as_bytes()))
    }

    /// The user in front of a URL's host.
    pub fn at(self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        format!("{scheme}://{}:{}@{rest}", self.name, self.password.replace(' ', "%20"))
    }
}

/// Lines of Apache's configuration: pushes and LFS need a user, reading does not. `folder` is Apache's. What each request
/// brought as `Authorization` is written to `authorization.log` in it.
pub fn directives(folder: &Path) -> String {
    let reading = "  Require expr \"%{REQUEST_URI} !~ m#(/git-receive-pack$|/info/lfs)# && \
                   %{QUERY_STRING} !~ /service=git-receive-pack/\"\n";
    requiring(folder, reading)
}

/// The same, and whoever reads needs to be a user too.
pub fn everywhere(folder: &Path) -> String {
    requiring(folder, "")
}

fn requiring(folder: &Path, otherwise: &str) -> String {
    let passwords = folder.join("passwords");
    let lines: String = [ALICE, BOB].iter().map(|user| format!("{}:{{SHA}}{}\n", user.name, user.hash)).collect();
    std::fs::write(&passwords, lines).expect("the sandbox is writable");
    let modules: String = ["authn_core", "authn_file", "auth_basic", "authz_user"]
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    format!(
        "{modules}<Location \"/\">\n AuthType Basic\n AuthName upstream\n AuthUserFile {passwords}\n <RequireAny>\n  \
         Require valid-user\n{otherwise} </RequireAny>\n</Location>\n\
         LogFormat \"%m %U%q %{{Authorization}}i\" authorization\nCustomLog {log} authorization\n",
        passwords = passwords.display(),
        log = log(folder).display(),
    )
}

/// The requests that Apache has answered: `METHOD path?query authorization`, `-` where there was none.
pub fn authorizations(folder: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(log(folder)).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

fn log(folder: &Path) -> PathBuf {
    folder.join("authorization.log")
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = if at <= group.len() { DIGITS[bits >> (18 - 6 * at) & 63] } else { b'=' };
            text.push(char::from(digit));
        }
    }
    text
}
