//! The judge that an operator brings: an HTTP service that speaks the body of Bitbucket's `authenticate`.
//!
//! It is asked `{"credentials": {"username", "password"} or {"token"}, "repository": path, "action": "read"}`. Only 200 with
//! `active` true and `REPO_READ`, `REPO_WRITE` or `REPO_ADMIN` in `effectivePermissions` is a grant. Nobody has written down
//! the inner shape of Bitbucket's, in which a right may as well be named to say that it is denied, or is on something else.
//! So two shapes are read, each of which can say one thing alone, and any other grants nothing: a list of names, and an
//! object with true or false for each name. 200 without a grant is 403, as are a service's own 403 and 404; 401 is wrong
//! credentials. What it does not decide is an outage, never a grant.
//!
//! Who comes without credentials is not asked about here: at a `git` upstream that is the upstream's to say, in a folder
//! there is nobody else, and the answer is 401.

use super::{
    credential::{Credential, Parts},
    judge::{Judge, of_error},
    own::OwnCredential,
    replay::Replay,
};
use crate::{
    metrics::counter::Counter,
    secret::Secret,
    upstream::{
        UpstreamError,
        transport::{Asking, BaseUrl, Egress, Patience, Proxies, Question},
    },
};
use heliostat_core::{
    RepositoryPath,
    rights::{Challenges, Refusal, Verdict},
};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use zeroize::Zeroizing;

/// Bytes of an answer that are read. Larger: it decides nothing.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What lets a caller read.
const RIGHTS_TO_READ: [&str; 3] = ["REPO_READ", "REPO_WRITE", "REPO_ADMIN"];

/// The service.
pub(super) struct Hook {
    url: BaseUrl,
    egress: Egress,
    requests: Arc<Counter>,
    /// Shown to the service where it lies at the upstream's own origin.
    own: Option<OwnCredential>,
    /// Who judges those without credentials.
    anonymous: Option<Replay>,
}

/// Whether `url` can be a hook's address.
pub fn check_url(url: &str) -> Result<(), String> {
    match BaseUrl::parse(url) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string().replace("the upstream's address", "the hook's address")),
    }
}

impl Hook {
    /// The service at `url`. `upstream` is the upstream's own address, if it has one, the way there, and the mirror's
    /// credential there. At that very address the service is reached the same way, elsewhere directly: a proxy on the way to
    /// the upstream need not know, and must not hear, what callers bring to a service of one's own.
    pub(super) fn new(
        url: &str,
        ca: Option<&Path>,
        upstream: Option<(&str, Egress, Option<OwnCredential>)>,
        requests: &Arc<Counter>,
    ) -> Result<Self, String> {
        let url = BaseUrl::parse(url).map_err(|error| error.to_string())?;
        let (mut anonymous, mut own) = (None, None);
        let mut egress = Egress::new(ca, None, Proxies::default())?;
        if let Some((upstream, there, credential)) = upstream {
            anonymous = Some(Replay::new(upstream, there.clone(), requests.clone())?);
            if BaseUrl::parse(upstream).map_err(|error| error.to_string())?.origin == url.origin {
                (egress, own) = (there, credential);
            }
        }
        Ok(Self { url, egress, requests: requests.clone(), own, anonymous })
    }

    fn ask(
        &self,
        credential: &Credential,
        path: &RepositoryPath,
        patience: &Patience,
    ) -> Result<Verdict, UpstreamError> {
        let Some(body) = body(credential, path) else { return Ok(Verdict::Refused(wrong_credentials())) };
        self.requests.one();
        let told = Question::new(&self.url.origin, &self.egress, patience).ask(&Asking {
            target: if self.url.path.is_empty() { "/" } else { &self.url.path },
            headers: &[("Content-Type", "application/json"), ("Accept", "application/json")],
            authorization: self.own.as_ref().map(OwnCredential::line),
            body: Some(body.expose()),
            answer_bytes_max: ANSWER_BYTES_MAX,
        })?;
        match told.head.status {
            200 if told.is_whole => Ok(judgement(&told.body)?),
            200 => Err(UpstreamError::TooLarge("bytes of the hook's answer")),
            401 => Ok(Verdict::Refused(wrong_credentials())),
            403 | 404 => Ok(Verdict::Refused(Refusal::Forbidden)),
            status @ 300..=399 => Err(UpstreamError::NotGit(format!("the hook redirects ({status}), not followed"))),
            status => Err(UpstreamError::Failing(status)),
        }
    }
}

impl Judge for Hook {
    fn may(&self, credential: Option<&Credential>, path: &RepositoryPath, patience: &Patience) -> Verdict {
        let Some(credential) = credential else {
            return match &self.anonymous {
                Some(upstream) => upstream.may(None, path, patience),
                None => Verdict::Refused(wrong_credentials()),
            };
        };
        self.ask(credential, path, patience).unwrap_or_else(|error| of_error("the hook", path, &error))
    }
}

/// What the service is asked. `None` if JSON can't hold it: then nobody has such a password.
fn body(credential: &Credential, path: &RepositoryPath) -> Option<Secret> {
    // The values are copied once more inside; what is sent is overwritten.
    let text = |bytes: &Zeroizing<Vec<u8>>| std::str::from_utf8(bytes).map(str::to_owned).ok();
    let credentials = match credential.parts().ok()? {
        Parts::Password(user, password) => json!({ "username": text(&user)?, "password": text(&password)? }),
        Parts::Token(token) => json!({ "token": text(&token)? }),
    };
    let question = json!({ "credentials": credentials, "repository": path.as_str(), "action": "read" });
    serde_json::to_vec(&question).ok().map(Secret::new)
}

fn judgement(answer: &[u8]) -> Result<Verdict, UpstreamError> {
    let answer: Value =
        serde_json::from_slice(answer).map_err(|_| UpstreamError::Broken("the hook's answer is not JSON".into()))?;
    let is_active = answer.get("active") == Some(&Value::Bool(true));
    let may_read = answer.get("effectivePermissions").is_some_and(holds_a_right);
    Ok(if is_active && may_read { Verdict::Granted } else { Verdict::Refused(Refusal::Forbidden) })
}

/// Whether it is one of the two shapes, whole, and one of the rights is held by it.
fn holds_a_right(permissions: &Value) -> bool {
    let is_one = |text: &str| RIGHTS_TO_READ.contains(&text);
    match permissions {
        Value::Array(names) => names.iter().all(Value::is_string) && names.iter().filter_map(Value::as_str).any(is_one),
        Value::Object(names) => {
            names.values().all(Value::is_boolean)
                && names.iter().any(|(name, held)| is_one(name) && *held == Value::Bool(true))
        }
        _ => false,
    }
}

fn wrong_credentials() -> Refusal {
    let challenges: Challenges =
        ["Basic realm=\"Git\", charset=\"UTF-8\"".to_owned(), "Bearer realm=\"Git\"".to_owned()].into();
    Refusal::NeedCredentials(challenges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::transport::Proxy;

    #[test]
    fn only_a_right_that_is_held_is_a_grant() {
        for (answer, granted) in [
            (r#"{"active":true,"effectivePermissions":["LICENSED_USER","REPO_READ"],"name":"alice"}"#, true),
            (r#"{"active":true,"effectivePermissions":["REPO_ADMIN"]}"#, true),
            (r#"{"active":true,"effectivePermissions":{"REPO_WRITE":true,"REPO_ADMIN":false}}"#, true),
            (r#"{"effectivePermissions":["REPO_READ"]}"#, false),
            (r#"{"active":false,"effectivePermissions":["REPO_READ"]}"#, false),
            (r#"{"active":"no","effectivePermissions":["REPO_READ"]}"#, false),
            (r#"{"active":true,"effectivePermissions":["LICENSED_USER"]}"#, false),
            (r#"{"active":true,"effectivePermissions":{"REPO_READ":false}}"#, false),
            (r#"{"active":true,"effectivePermissions":{"REPO_READ":true,"denied":["REPO_READ"]}}"#, false),
            (r#"{"active":true,"effectivePermissions":[{"permission":"REPO_READ","granted":false}]}"#, false),
            (r#"{"active":true,"effectivePermissions":["REPO_READ",{"denied":"REPO_READ"}]}"#, false),
            (
                r#"{"active":true,"effectivePermissions":{"REPO_READ":{"repositories":["team/other.git"]},"denied":["REPO_READ"]}}"#,
                false,
            ),
            (r#"{"active":true,"effectivePermissions":{"global":"REPO_READ"}}"#, false),
            (r#"{"active":true,"effectivePermissions":"REPO_READ"}"#, false),
            (r#"{"active":true,"effectivePermissions":[]}"#, false),
            (r#"{"active":true,"name":"REPO_READ"}"#, false),
            ("{}", false),
            ("[]", false),
        ] {
            let verdict = judgement(answer.as_bytes()).unwrap();
            assert_eq!(matches!(verdict, Verdict::Granted), granted, "{answer}");
        }
        assert!(judgement(b"<html>").is_err() && judgement(b"").is_err());
    }

    #[test]
    fn the_upstreams_own_service_is_reached_as_the_upstream_is() {
        for (url, is_the_upstreams) in [
            ("http://git.example/rest/authenticate", true),
            ("http://git.example:81/rest/authenticate", false),
            ("http://judge.example/", false),
        ] {
            let proxy = Proxy::parse("http://proxy.example:3128", "`proxy` in [upstream]").unwrap();
            let there = Egress::new(None, None, Proxies::only(proxy)).unwrap();
            let hook = Hook::new(url, None, Some(("http://git.example/scm", there, None)), &Arc::default()).unwrap();
            assert_eq!(hook.egress.proxy(&hook.url.origin).is_some(), is_the_upstreams, "{url}");
        }
    }

    #[test]
    fn what_is_asked() {
        let ask = |line: &str| {
            let credential = Credential::parse(&Secret::new(line.as_bytes().to_vec())).unwrap().unwrap();
            body(&credential, &"team/app.git".parse().unwrap())
                .map(|body| serde_json::from_slice::<Value>(body.expose()).unwrap())
        };
        let asked = |credentials: Value| {
            Some(json!({ "credentials": credentials, "repository": "team/app.git", "action": "read" }))
        };
        assert_eq!(ask("Basic YWxpY2U6czoic2NyZXQ="), asked(json!({ "username": "alice", "password": "s:\"scret" })));
        assert_eq!(ask("Bearer tok"), asked(json!({ "token": "tok" })));
        assert_eq!(ask("Basic /zr/"), None, "not UTF-8");
    }
}
