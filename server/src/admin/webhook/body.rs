//! Which repository a webhook's body speaks of, whichever host sent it. Pure.
//!
//! Told are Bitbucket's `repo:refs_changed` and `mirror:repo_synchronized`, the pushes, creations and deletions of GitHub
//! and Gitea, GitLab's pushes and tag pushes. Anything else in JSON is none of them and names nothing.
//!
//! Only a few fields at a fixed depth are read; what lies between is skipped without being kept, however deep it is.

use crate::{config::Upstream, http::target::repo_path};
use heliostat_core::RepositoryPath;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// Clone addresses of one repository that are looked at; hosts send two or three.
const ADDRESSES_MAX: usize = 8;

/// What a body calls the repository whose references have changed; nothing, if it speaks of something else.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Its clone addresses.
    addresses: Vec<String>,
    /// Its path at the host, without `.git`.
    full: Vec<String>,
}

/// Reads a body; what is wrong with it, in words.
pub fn names(body: &[u8]) -> Result<Names, String> {
    // As a list the fields would be taken in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err("not the JSON of a webhook: it is no object".into());
    }
    let body: Body =
        serde_json::from_slice(body).map_err(|error| format!("not the JSON of a webhook, in line {}", error.line()))?;
    if !body.tells_of_references() {
        return Ok(Names::default());
    }
    let mut names = Names::default();
    for place in [body.repository, body.project].into_iter().flatten() {
        let links = place.links.map(|links| links.clone).unwrap_or_default();
        let links = links.into_iter().take(ADDRESSES_MAX).filter_map(|link| link.href.0);
        let addresses = [place.clone_url.0, place.git_http_url.0].into_iter().flatten();
        names.addresses.extend(addresses.chain(links));
        names.full.extend([place.full_name.0, place.path_with_namespace.0].into_iter().flatten());
    }
    if names == Names::default() {
        return Err("the body names no repository".into());
    }
    Ok(names)
}

impl Names {
    /// What it may be called at `upstream`: what its addresses say behind the upstream's own, or behind the host; or its
    /// full name.
    pub fn paths(&self, upstream: &Upstream) -> Vec<RepositoryPath> {
        let base = match upstream {
            Upstream::Git { url, .. } => behind_host(url).unwrap_or_default().trim_matches('/'),
            Upstream::Directory(_) => "",
        };
        let of_addresses = self.addresses.iter().filter_map(|address| behind_host(address)).flat_map(|path| {
            let path = path.trim_start_matches('/');
            let below = path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
            [below.filter(|_| !base.is_empty()), Some(path)]
        });
        let of_addresses = of_addresses.flatten().filter_map(repo_path);
        let of_names = self.full.iter().filter_map(|name| RepositoryPath::new(name.as_bytes()).ok());
        let mut paths: Vec<RepositoryPath> = of_addresses.chain(of_names).collect();
        paths.sort();
        paths.dedup();
        paths
    }
}

/// The path of an address, without query.
fn behind_host(address: &str) -> Option<&str> {
    let rest = address.split_once("://")?.1;
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split(['?', '#']).next()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    /// Bitbucket.
    #[serde(rename = "eventKey")]
    event_key: Text,
    changes: Option<IgnoredAny>,
    /// GitLab; its system hooks have the second one only.
    object_kind: Text,
    event_name: Text,
    /// GitHub and Gitea, of pushes, creations and deletions alike.
    #[serde(rename = "ref")]
    reference: Text,
    repository: Option<Repository>,
    project: Option<Repository>,
}

impl Body {
    fn tells_of_references(&self) -> bool {
        let is_one_of = |text: &Text, words: &[&str]| text.0.as_deref().is_some_and(|text| words.contains(&text));
        match &self.object_kind.0 {
            Some(kind) => ["push", "tag_push"].contains(&kind.as_str()),
            None => {
                is_one_of(&self.event_key, &["repo:refs_changed", "mirror:repo_synchronized"])
                    || is_one_of(&self.event_name, &["push", "tag_push", "repository_update"])
                    || (self.event_key.0.is_none() && self.changes.is_some())
                    || self.reference.0.is_some()
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Repository {
    /// GitHub, Gitea.
    clone_url: Text,
    full_name: Text,
    /// GitLab.
    git_http_url: Text,
    path_with_namespace: Text,
    /// Bitbucket.
    links: Option<Links>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Links {
    clone: Vec<Link>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Link {
    href: Text,
}

/// A text, or nothing if something else stands there.
#[derive(Debug, Default)]
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl<'de> Visitor<'de> for AnyText {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Some(text.to_owned())))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
                Ok(Text(None))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
                Ok(Text(None))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
                Ok(Text(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
                Ok(Text(None))
            }
            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }
        }
        deserializer.deserialize_any(AnyText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn git(url: &str) -> Upstream {
        Upstream::Git { url: url.into(), ca: None, client: None, proxies: Default::default(), credentials: None }
    }

    fn paths(body: &str, upstream: &Upstream) -> Vec<String> {
        let names = names(body.as_bytes()).unwrap_or_else(|words| panic!("{words}: {body}"));
        names.paths(upstream).iter().map(|path| path.as_str().to_owned()).collect()
    }

    #[test]
    fn addresses_are_read_below_the_upstreams_own() {
        let body = |address: &str| format!(r#"{{"ref":"refs/heads/main","repository":{{"clone_url":"{address}"}}}}"#);
        for (upstream, address, expected) in [
            ("https://git.example.com", "https://git.example.com/team/app.git", &["team/app.git"][..]),
            // Another name of the same host, another port, a user.
            ("https://git.example.com", "http://ci@git.internal:3000/team/app.git?x#y", &["team/app.git"]),
            (
                "https://bb.example.com/scm",
                "https://bb.example.com/scm/team/app.git",
                &["scm/team/app.git", "team/app.git"],
            ),
            ("https://bb.example.com/scm", "ssh://git@bb.example.com:7999/team/app.git", &["team/app.git"]),
            ("https://git.example.com", "https://git.example.com/a%20b/c.git", &["a b/c.git"]),
            ("https://git.example.com", "https://git.example.com/../secret.git", &[]),
            ("https://git.example.com", "https://git.example.com", &[]),
            ("https://git.example.com", "git@git.example.com:team/app.git", &[]),
        ] {
            assert_eq!(paths(&body(address), &git(upstream)), expected, "{upstream} {address}");
        }
    }

    #[test]
    fn what_is_no_change_of_references_names_nothing() {
        for body in [
            r#"{"test":true}"#,
            r#"{"zen":"Design for failure.","hook_id":1,"repository":{"full_name":"team/app"}}"#,
            r#"{"action":"opened","issue":{},"repository":{"full_name":"team/app"}}"#,
            r#"{"object_kind":"issue","ref":"x","project":{"path_with_namespace":"team/app"}}"#,
            r#"{"eventKey":"repo:forked","changes":[],"repository":{"slug":"app"}}"#,
            r#"{"ref":7,"repository":{"full_name":"team/app"}}"#,
        ] {
            assert_eq!(paths(body, &git("https://h")), [""; 0], "{body}");
        }
    }

    #[test]
    fn what_is_no_webhook_is_refused_in_words() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for body in
            ["", "x", "[1]", "{", "7", "payload=%7B%7D", r#"{"ref":"a","ref":"b"}"#, r#"{"repository":7}"#, &deep]
        {
            assert!(names(body.as_bytes()).unwrap_err().starts_with("not the JSON of a webhook"), "{body:.20}");
        }
        assert!(names(b"{\"ref\":\"refs/heads/main\"}").unwrap_err().contains("names no repository"));
        // Depth where nothing is read costs nothing.
        let inside = format!(r#"{{"ref":"x","a":{deep},"repository":{{"full_name":"team/app","b":{deep}}}}}"#);
        assert_eq!(paths(&inside, &git("https://h")), ["team/app"]);
    }

    proptest! {
        #[test]
        fn no_body_panics(text in "(\\{|\\}|\\[|\\]|\"ref\"|\"repository\"|\"clone_url\"|\"links\"|\"clone\"|:|,|\"[a-z:/.%]{0,9}\"|[0-9]|null){0,40}") {
            if let Ok(names) = names(text.as_bytes()) {
                let _ = names.paths(&git("https://h/x"));
            }
        }
    }
}
