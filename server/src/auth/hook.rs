//! The judge that an operator brings: an HTTP service that speaks the body of Bitbucket's `authenticate`.
//!
//! It is asked `{"credentials": {"username", "password"} or {"token"}, "repository": path, "action": "read"}`. Only an answer
//! that names a right on repositories is a grant: 200, `active` not false, and `REPO_READ`, `REPO_WRITE` or `REPO_ADMIN`
//! somewhere in `effectivePermissions`, whose inner shape nobody has written down. 200 without is 403, as are a service's
//! own 403 and 404; 401 is wrong credentials. What it does not decide is an outage, never a grant.
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
    /// The service at `url`, reached directly. `upstream` is the upstream's own address, if it has one, the way there, and the
    /// mirror's credential there.
    pub(super) fn new(
        url: &str,
        ca: Option<&Path>,
        upstream: Option<(&str, Egress, Option<OwnCredential>)>,
        requests: &Arc<Counter>,
    ) -> Result<Self, String> {
        let url = BaseUrl::parse(url).map_err(|error| error.to_string())?;
        let (anonymous, own) = match upstream {
            Some((upstream, egress, own)) => {
                let base = BaseUrl::parse(upstream).map_err(|error| error.to_string())?;
                (Some(Replay::new(upstream, egress, requests.clone())?), own.filter(|_| base.origin == url.origin))
            }
            None => (None, None),
        };
        let egress = Egress::new(ca, None, Proxies::default())?;
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
    let is_active = answer.get("active").is_none_or(|active| active.as_bool() == Some(true));
    let may_read = answer.get("effectivePermissions").is_some_and(names_a_right);
    Ok(if is_active && may_read { Verdict::Granted } else { Verdict::Refused(Refusal::Forbidden) })
}

/// Whether one of the rights stands anywhere in there as a text, or as the name of something that is not false.
fn names_a_right(value: &Value) -> bool {
    let is_one = |text: &str| RIGHTS_TO_READ.contains(&text);
    match value {
        Value::String(text) => is_one(text),
        Value::Array(values) => values.iter().any(names_a_right),
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| (is_one(name) && *value == Value::Bool(true)) || names_a_right(value))
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

    #[test]
    fn only_a_named_right_is_a_grant() {
        for (answer, granted) in [
            (r#"{"active":true,"effectivePermissions":["REPO_READ"]}"#, true),
            (r#"{"effectivePermissions":[{"permission":"REPO_ADMIN","id":3}],"unknown":{}}"#, true),
            (r#"{"active":true,"effectivePermissions":{"repositories":{"REPO_WRITE":true}}}"#, true),
            (r#"{"active":false,"effectivePermissions":["REPO_READ"]}"#, false),
            (r#"{"active":"no","effectivePermissions":["REPO_READ"]}"#, false),
            (r#"{"active":true,"effectivePermissions":["LICENSED_USER"]}"#, false),
            (r#"{"active":true,"effectivePermissions":{"REPO_READ":false}}"#, false),
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
