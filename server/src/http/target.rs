//! What a request target names: pure, from bytes to one of a closed list of routes.
//!
//! Percent-decoding happens once and here. A path that is not a [`RepositoryPath`] is [`Route::Unknown`], answered with
//! the very bytes of a repository that does not exist. Which repository-internal files there are at the other end is not
//! looked up: those names are refused whatever stands before them, as `git http-backend` does without `http.getanyfile`.

use heliostat_core::RepositoryPath;

/// A service that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `git-upload-pack`: clone and fetch.
    UploadPack,
    /// `git-receive-pack`: push.
    ReceivePack,
    /// None named: the dumb protocol.
    Dumb,
    /// Any other.
    Other,
}

/// What is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// The repository.
    All,
    /// What none of its references reaches.
    Unreachable,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /status`.
    Status,
    /// `GET {path}/info/refs?service=…`.
    InfoRefs(RepositoryPath, Service),
    /// `POST {path}/git-upload-pack`.
    UploadPack(RepositoryPath),
    /// `POST {path}/git-receive-pack`.
    ReceivePack(RepositoryPath),
    /// Whatever is below `{path}/info/lfs`: what follows that, as it was sent.
    Lfs(RepositoryPath, String),
    /// A file of a repository: the dumb protocol, or something that is nobody's business.
    File,
    /// Admin port: `GET /metrics`.
    Metrics,
    /// Admin port: `POST /hooks/refs-changed`.
    RefsChanged,
    /// Admin port: `POST /api/v1/repositories/{path}/sync`.
    Sync(RepositoryPath),
    /// Admin port: `POST /api/v1/repositories/{path}/purge` and `…/purge-unreachable`.
    Purge(RepositoryPath, Purge),
    /// Admin port: `POST /api/v1/repositories/{path}/forget-rights`, or `POST /api/v1/forget-rights`.
    ForgetRights(Option<RepositoryPath>),
    /// Admin port: `GET /api/v1/node`.
    Node,
    /// Admin port: `GET /api/v1/repositories`.
    Repositories,
    /// Admin port: `GET /api/v1/repositories/{path}`.
    Repository(RepositoryPath),
    /// Admin port: `GET /api/v1/syncs`.
    Syncs,
    /// Nothing that exists here.
    Unknown,
}

/// The main port's route for `target` (origin form).
pub fn route(target: &str) -> Route {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path == "/status" {
        return Route::Status;
    }
    if let Some(route) = lfs(path) {
        return route;
    }
    let Some(path) = percent_decode(path) else {
        return Route::Unknown;
    };
    // The repository's path lies between the first slash and the service's.
    let below = |suffix: &str| {
        path.strip_prefix(b"/")
            .and_then(|path| path.strip_suffix(suffix.as_bytes()))
            .and_then(|path| RepositoryPath::new(path).ok())
    };
    if path.ends_with(b"/info/refs") {
        below("/info/refs").map_or(Route::Unknown, |path| Route::InfoRefs(path, service(query)))
    } else if path.ends_with(b"/git-upload-pack") {
        below("/git-upload-pack").map_or(Route::Unknown, Route::UploadPack)
    } else if path.ends_with(b"/git-receive-pack") {
        below("/git-receive-pack").map_or(Route::Unknown, Route::ReceivePack)
    } else if below("").is_some_and(|path| is_file_of_a_repository(path.as_str())) {
        Route::File
    } else {
        Route::Unknown
    }
}

/// The route of a path that has `/info/lfs` in it. Nobody here knows what may follow, so that it is kept as it stands; what
/// leads out of it again, or could be taken to, is unknown.
fn lfs(path: &str) -> Option<Route> {
    const MARK: &str = "/info/lfs";
    let (repository, rest) = path.match_indices(MARK).find_map(|(at, _)| {
        let rest = &path[at + MARK.len()..];
        (rest.is_empty() || rest.starts_with('/')).then(|| (&path[..at], rest))
    })?;
    let repository = repository.strip_prefix('/').and_then(repo_path);
    let stays = rest.bytes().all(|byte| byte.is_ascii_graphic())
        && percent_decode(rest).is_some_and(|rest| {
            let control = rest.iter().any(|&byte| byte.is_ascii_control() || byte == b'\\');
            !control && !rest.split(|&byte| byte == b'/').any(|component| matches!(component, b"." | b".."))
        });
    Some(repository.filter(|_| stays).map_or(Route::Unknown, |path| Route::Lfs(path, rest.to_owned())))
}

/// The admin port's route for `target`.
pub fn admin_route(target: &str) -> Route {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    match path {
        "/status" => return Route::Status,
        "/metrics" => return Route::Metrics,
        "/hooks/refs-changed" => return Route::RefsChanged,
        "/api/v1/node" => return Route::Node,
        "/api/v1/repositories" => return Route::Repositories,
        "/api/v1/syncs" => return Route::Syncs,
        "/api/v1/forget-rights" => return Route::ForgetRights(None),
        _ => {}
    }
    let Some(rest) = path.strip_prefix("/api/v1/repositories/") else { return Route::Unknown };
    let below = |suffix: &str| rest.strip_suffix(suffix).and_then(repo_path);
    // One that is itself called `team/sync` is had as `team/sync.git`.
    if let Some(path) = below("/sync") {
        return Route::Sync(path);
    }
    for (suffix, what) in [("/purge", Purge::All), ("/purge-unreachable", Purge::Unreachable)] {
        if let Some(path) = below(suffix) {
            return Route::Purge(path, what);
        }
    }
    if let Some(path) = below("/forget-rights") {
        return Route::ForgetRights(Some(path));
    }
    repo_path(rest).map_or(Route::Unknown, Route::Repository)
}

/// A repository path as it stands in a request target, without its leading slash: decoded once and checked.
pub fn repo_path(encoded: &str) -> Option<RepositoryPath> {
    percent_decode(encoded).and_then(|path| RepositoryPath::new(&path).ok())
}

/// Decodes `%XX` once. An encoded slash or backslash is refused: proxies and servers read it differently, so that a
/// rule of the one may not hold at the other. So is a `%` that begins no pair of digits.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                match u8::try_from(high << 4 | low).ok()? {
                    b'/' | b'\\' => return None,
                    byte => byte,
                }
            }
            b'#' => return None,
            byte => byte,
        });
    }
    Some(decoded)
}

fn service(query: &str) -> Service {
    let mut services = query.split('&').filter_map(|parameter| parameter.strip_prefix("service="));
    match (services.next(), services.next()) {
        (None, _) => Service::Dumb,
        (Some("git-upload-pack"), None) => Service::UploadPack,
        (Some("git-receive-pack"), None) => Service::ReceivePack,
        _ => Service::Other,
    }
}

fn is_file_of_a_repository(path: &str) -> bool {
    const FILES: [&str; 9] = [
        "HEAD",
        "FETCH_HEAD",
        "ORIG_HEAD",
        "config",
        "config.worktree",
        "description",
        "packed-refs",
        "index",
        "shallow",
    ];
    const FOLDERS: [&str; 6] = ["objects", "refs", "hooks", "info", "logs", "modules"];
    let mut components = path.split('/').skip(1);
    let last = path.rsplit('/').next().unwrap_or_default();
    components.any(|component| FOLDERS.contains(&component)) || (path.contains('/') && FILES.contains(&last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> RepositoryPath {
        text.parse().unwrap()
    }

    #[test]
    fn routes() {
        use Service::{Dumb, Other, ReceivePack, UploadPack};
        let cases = [
            ("/status", Route::Status),
            ("/status?verbose", Route::Status),
            ("/team/app.git/info/refs?service=git-upload-pack", Route::InfoRefs(path("team/app.git"), UploadPack)),
            ("/team/app/info/refs?x=y&service=git-receive-pack", Route::InfoRefs(path("team/app"), ReceivePack)),
            ("/app/info/refs", Route::InfoRefs(path("app"), Dumb)),
            ("/app/info/refs?service=git-upload-archive", Route::InfoRefs(path("app"), Other)),
            ("/app/info/refs?service=git-upload-pack&service=git-receive-pack", Route::InfoRefs(path("app"), Other)),
            ("/a%20b/git-upload-pack", Route::UploadPack(path("a b"))),
            ("/app%252egit/git-upload-pack", Route::UploadPack(path("app%2egit"))),
            ("/app/git-receive-pack", Route::ReceivePack(path("app"))),
            (
                "/objects/app.git/info/refs?service=git-upload-pack",
                Route::InfoRefs(path("objects/app.git"), UploadPack),
            ),
            ("/app.git/HEAD", Route::File),
            ("/app.git/config", Route::File),
            ("/app.git/objects/info/packs", Route::File),
            ("/app.git/objects/info/alternates", Route::File),
            ("/app.git/objects/pack/pack-0123456789012345678901234567890123456789.pack", Route::File),
            ("/app.git/refs/heads/main", Route::File),
            ("/", Route::Unknown),
            ("/app.git", Route::Unknown),
            ("/config", Route::Unknown),
            ("/team/app.git/info/lfs", Route::Lfs(path("team/app.git"), String::new())),
            ("/app.git/info/lfs/objects/batch", Route::Lfs(path("app.git"), "/objects/batch".into())),
            ("/app/info/lfs/locks?path=a/../b", Route::Lfs(path("app"), "/locks".into())),
            ("/a%20b/info/lfs/locks/-%41%25/", Route::Lfs(path("a b"), "/locks/-%41%25/".into())),
            ("/app/info/lfs/info/refs?service=git-upload-pack", Route::Lfs(path("app"), "/info/refs".into())),
            ("/app/info/lfsx/HEAD", Route::File),
            ("/info/lfs/locks", Route::Unknown),
            ("/app/info/lfs/../../other", Route::Unknown),
            ("/app/info/lfs/%2e%2E/other", Route::Unknown),
            ("/app/info/lfs/..%2fother", Route::Unknown),
            ("/app/info/lfs/a%0d%0ab", Route::Unknown),
            ("/app/info/lfs/é", Route::Unknown),
            ("/../app/info/lfs/locks", Route::Unknown),
            ("/info/refs?service=git-upload-pack", Route::Unknown),
            ("//info/refs?service=git-upload-pack", Route::Unknown),
        ];
        for (target, expected) in cases {
            assert_eq!(route(target), expected, "{target}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_unknown() {
        for encoded in [
            "../app",
            "a/../b",
            "a/..",
            "%2e%2e/app",
            "a/%2E%2E/b",
            ".",
            "a/./b",
            "a//b",
            "/app",
            "~root/app",
            "a%00b",
            "a%0ab",
            "a%5cb",
            "a\\b",
            "a%2fb",
            "a%",
            "a%2",
            "a%zz",
            "a%1b[2J",
            "-a",
            "%ff",
            "a#b",
        ] {
            assert_eq!(repo_path(encoded), None, "{encoded}");
            for suffix in [
                "/info/refs?service=git-upload-pack",
                "/git-upload-pack",
                "/HEAD",
                "/objects/info/packs",
                "/info/lfs/locks",
            ] {
                assert_eq!(route(&format!("/{encoded}{suffix}")), Route::Unknown, "{encoded}{suffix}");
            }
        }
        let long = "a/".repeat(600);
        assert_eq!(route(&format!("/{long}b/git-upload-pack")), Route::Unknown);
    }

    #[test]
    fn admin_routes() {
        assert_eq!(admin_route("/status"), Route::Status);
        assert_eq!(admin_route("/metrics"), Route::Metrics);
        assert_eq!(admin_route("/hooks/refs-changed"), Route::RefsChanged);
        assert_eq!(admin_route("/api/v1/node"), Route::Node);
        assert_eq!(admin_route("/api/v1/repositories"), Route::Repositories);
        assert_eq!(admin_route("/api/v1/syncs"), Route::Syncs);
        assert_eq!(admin_route("/api/v1/repositories/team/a%20b.git/sync"), Route::Sync(path("team/a b.git")));
        assert_eq!(admin_route("/api/v1/repositories/a"), Route::Repository(path("a")));
        for (action, what) in [("purge", Purge::All), ("purge-unreachable", Purge::Unreachable)] {
            let target = format!("/api/v1/repositories/team/a.git/{action}");
            assert_eq!(admin_route(&target), Route::Purge(path("team/a.git"), what));
        }
        assert_eq!(admin_route("/api/v1/forget-rights"), Route::ForgetRights(None));
        let one = Route::ForgetRights(Some(path("team/a.git")));
        assert_eq!(admin_route("/api/v1/repositories/team/a.git/forget-rights"), one);
        for unknown in [
            "/api/v1/repositories//forget-rights",
            "/api/v1/forget-rights/",
            "/api/v1/repositories//sync",
            "/api/v1/repositories/../sync",
            "/api/v1/repositories/",
            "/api/v1/repositories/..",
            "/a/git-upload-pack",
        ] {
            assert_eq!(admin_route(unknown), Route::Unknown, "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn any_spelling_of_a_path_is_that_path(name in "[a-z]{1,5}(/[a-z. ü]{1,5}x){0,3}", mask in any::<u64>()) {
            let mut encoded = String::new();
            for (at, byte) in name.bytes().enumerate() {
                if byte != b'/' && (!byte.is_ascii() || byte == b' ' || mask >> (at % 64) & 1 == 1) {
                    encoded.push_str(&format!("%{byte:02x}"));
                } else {
                    encoded.push(char::from(byte));
                }
            }
            prop_assert_eq!(repo_path(&encoded).map(|path| path.as_str().to_owned()), Some(name));
        }

        #[test]
        fn no_target_panics(target in "[ -~]{0,40}") {
            let _ = route(&target);
            let _ = admin_route(&target);
        }
    }
}
