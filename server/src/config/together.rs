//! Settings that are sound each by itself and can't hold together.

use super::{Config, Upstream};
use crate::{holder::canonical, upstream::transport::BaseUrl};
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

/// Why the upstream is this mirror itself, or holds it: it would mirror its own copies without end.
pub(super) fn upstream_is_apart(config: &Config) -> Option<String> {
    match &config.upstream {
        Upstream::Directory(folder) => {
            let (folder, data) = (place(folder), place(&config.node.data));
            (data.starts_with(&folder) || folder.starts_with(&data)).then(|| {
                format!(
                    "the upstream folder {} and the data directory {} must lie apart: the mirror would mirror itself; give \
                     another one (--data, or `data` in [node])",
                    folder.display(),
                    data.display()
                )
            })
        }
        Upstream::Git { url, .. } => {
            let origin = BaseUrl::parse(url).ok()?.origin;
            let ip = if origin.host == "localhost" { Some(config.http.listen.ip()) } else { origin.host.parse().ok() };
            let is_here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
            let listen = config.http.listen;
            let is_own = |ip: IpAddr| is_one_port(SocketAddr::new(ip, origin.port), listen) && is_here(listen.ip());
            ip.is_some_and(|ip| (ip == listen.ip() || is_here(ip)) && is_own(ip))
                .then(|| format!("the upstream is the address where this mirror listens, {listen}"))
        }
    }
}

/// Whether two sockets can't be bound side by side: a port on all addresses takes it on each of them.
pub(super) fn is_one_port(a: SocketAddr, b: SocketAddr) -> bool {
    let takes = |all: IpAddr, one: IpAddr| match all {
        // Bound for both families.
        IpAddr::V6(all) => all.is_unspecified(),
        IpAddr::V4(all) => all.is_unspecified() && one.is_ipv4(),
    };
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || takes(a.ip(), b.ip()) || takes(b.ip(), a.ip()))
}

/// Whether who wrote this meant a host: `git.example.com`, `git@host:team`. A folder that is not there yet is written as a
/// path, with a slash.
pub(super) fn looks_like_a_host(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let is_path = first.is_empty() || first == "." || first == ".." || first == "~";
    !is_path && (first.contains(':') || first.contains('.') || !text.contains('/')) && !Path::new(text).exists()
}

/// Where `path` lies, or will: without links as far as there is something.
fn place(path: &Path) -> PathBuf {
    let mut above = path;
    let mut below = Vec::new();
    while !above.exists() {
        let (Some(parent), Some(name)) = (above.parent(), above.file_name()) else { break };
        below.push(name);
        above = parent;
    }
    let start = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    below.into_iter().rev().fold(canonical(start), |place, name| place.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port() {
        for (a, b, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(is_one_port(a.parse().unwrap(), b.parse().unwrap()), expected, "{a} {b}");
        }
    }

    #[test]
    fn hosts_and_paths() {
        for host in ["git.example.com", "git@host:team", "host:22/x", "example.com/git", "repositories"] {
            assert!(looks_like_a_host(host), "{host}");
        }
        for path in ["/srv/git", "./git", "../git", "mnt/git", "."] {
            assert!(!looks_like_a_host(path), "{path}");
        }
    }
}
