//! What is served by the upstream alone: pushes, and large files (LFS). Clients are sent there.
//!
//! Promises: the address is made of the configuration and of the path, never of what the request says of hosts; nobody is
//! asked, so that the answer is the same for every path that the rules admit, whether there is such a repository or not;
//! what no rule admits is as unknown as anything else. A folder has no address that a client could be sent to: it is
//! refused, in words.
//!
//! 307, so that the method and the body go there as they are. Git follows a redirect of its first request only, and takes
//! the address before `/info/refs` for the repository's from then on; so the query goes along to the byte.

use crate::{
    config::{Config, Upstream},
    http::response::Response,
};
use heliostat_core::RepositoryPath;
use std::fmt::Write as _;

/// `GET {path}/info/refs?service=git-receive-pack`: the first request of a push. `query` is the request's.
pub fn push(config: &Config, path: &RepositoryPath, query: &str) -> Response {
    send(config, path, "/info/refs", query, "this is a mirror: pushes go to")
}

/// `POST {path}/git-receive-pack`: a push itself, by a client that was told where to go or has not asked.
pub fn pushed_here(config: &Config, path: &RepositoryPath) -> Response {
    match address(config, path) {
        Target::At(url) => Response::text(403, format_args!("this is a mirror: push to {url}")),
        Target::Nowhere => folder(),
        Target::Unruled => Response::not_found(),
    }
}

/// Any request below `{path}/info/lfs`; `rest` is what follows that, as it stands in the request.
pub fn lfs(config: &Config, path: &RepositoryPath, rest: &str, query: &str) -> Response {
    match address(config, path) {
        // What its client shows to its user.
        Target::Nowhere => {
            Response::json(501, &serde_json::json!({ "message": "this is a mirror of a folder: it has no LFS server" }))
                .with_content_type("application/vnd.git-lfs+json")
        }
        _ => send(config, path, &format!("/info/lfs{rest}"), query, "this is a mirror: large files are at"),
    }
}

enum Target {
    /// The repository's address there.
    At(String),
    /// The upstream has no addresses.
    Nowhere,
    /// No rule admits the path.
    Unruled,
}

fn address(config: &Config, path: &RepositoryPath) -> Target {
    match &config.upstream {
        _ if config.rule(path.as_str()).is_none() => Target::Unruled,
        Upstream::Git { url, .. } => Target::At(format!("{url}/{}", path.to_url_path())),
        Upstream::Directory(_) => Target::Nowhere,
    }
}

fn send(config: &Config, path: &RepositoryPath, below: &str, query: &str, words: &str) -> Response {
    match address(config, path) {
        Target::At(repository) => {
            let mut location = format!("{repository}{below}");
            if !query.is_empty() {
                location.push('?');
                push_graphic(&mut location, query);
            }
            Response::text(307, format_args!("{words} {repository}")).with("Location", location)
        }
        Target::Nowhere => folder(),
        Target::Unruled => Response::not_found(),
    }
}

fn folder() -> Response {
    Response::text(403, "this is a mirror of a folder: push to the repository in that folder")
}

/// What a header may hold; any other byte is percent-encoded.
fn push_graphic(location: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            location.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(location, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn config(upstream: &str) -> Config {
        let flags =
            Overrides { upstream: Some(upstream.into()), mirrors: vec!["team/*".into()], ..Overrides::default() };
        Config::load("", &flags).unwrap()
    }

    fn location(response: &Response) -> Option<&str> {
        response.headers.iter().find(|(name, _)| *name == "Location").map(|(_, value)| value.as_ref())
    }

    #[test]
    fn addresses_are_made_of_the_configuration() {
        let config = config("https://git.example.com/base/");
        let at = |path: &str, query: &str| push(&config, &path.parse().unwrap(), query);
        for (path, query, expected) in [
            (
                "team/app.git",
                "service=git-receive-pack",
                "https://git.example.com/base/team/app.git/info/refs?service=git-receive-pack",
            ),
            ("team/a b", "x=é&y", "https://git.example.com/base/team/a%20b/info/refs?x=%C3%A9&y"),
        ] {
            let response = at(path, query);
            assert_eq!((response.status, location(&response)), (307, Some(expected)));
        }
        let response = at("else/app.git", "service=git-receive-pack");
        assert_eq!(response, Response::not_found());
        let response = lfs(&config, &"team/app.git".parse().unwrap(), "/objects/batch", "");
        let expected = "https://git.example.com/base/team/app.git/info/lfs/objects/batch";
        assert_eq!((response.status, location(&response)), (307, Some(expected)));
        let response = pushed_here(&config, &"team/app".parse().unwrap());
        assert_eq!(response.status, 403);
        assert!(response.body.ends_with(b"push to https://git.example.com/base/team/app\n"));
    }

    #[test]
    fn a_folder_has_no_address() {
        let config = config("/srv/git");
        let path = "team/app.git".parse().unwrap();
        for response in [push(&config, &path, ""), pushed_here(&config, &path)] {
            assert_eq!((response.status, location(&response)), (403, None));
        }
        let response = lfs(&config, &path, "/objects/batch", "");
        assert_eq!((response.status, location(&response)), (501, None));
        assert_eq!(lfs(&config, &"else/app".parse().unwrap(), "", ""), Response::not_found());
    }
}
