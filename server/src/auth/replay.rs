//! The judge of any smart-HTTP upstream: what the caller brought is shown to the upstream, at the repository's own address.
//!
//! Two requests, of which the heads are read: for the capabilities, and, since some hosts ask for credentials only there,
//! a POST that lists the references below a prefix that none has. Both on one connection, which is of this question alone:
//! no answer can be taken for another caller's. A redirection is not followed, nor is a credential ever sent but to the
//! configured origin.

use super::{
    challenge,
    credential::Credential,
    judge::{Judge, of_error, of_status},
};
use crate::{
    metrics::counter::Counter,
    upstream::{
        UpstreamError,
        error::escaped,
        transport::{Asking, BaseUrl, Egress, Head, Patience, Question, host_of},
    },
};
use bstr::ByteSlice as _;
use heliostat_core::{
    RepositoryPath,
    rights::{Refusal, Verdict},
    wire::pktline,
};
use std::sync::Arc;

/// Bytes of the capabilities that are read: v2's are a few hundred.
const CAPABILITIES_BYTES_MAX: usize = 16 << 10;
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const REQUEST: &str = "application/x-git-upload-pack-request";
const RESULT: &str = "application/x-git-upload-pack-result";
/// A request of v0 and v1 that wants nothing.
const NOTHING: &[u8] = b"0000";

/// A smart-HTTP host that judges.
pub(super) struct Replay {
    base: BaseUrl,
    egress: Egress,
    requests: Arc<Counter>,
}

impl Replay {
    /// The host at `url`; each request to it is counted.
    pub(super) fn new(url: &str, egress: Egress, requests: Arc<Counter>) -> Result<Self, String> {
        Ok(Self { base: BaseUrl::parse(url).map_err(|error| error.to_string())?, egress, requests })
    }

    fn ask(
        &self,
        credential: Option<&Credential>,
        path: &RepositoryPath,
        patience: &Patience,
    ) -> Result<Verdict, UpstreamError> {
        let repository = format!("{}/{}", self.base.path, path.to_url_path());
        let authorization = credential.map(Credential::line);
        let mut question = Question::new(&self.base.origin, &self.egress, patience);
        self.requests.one();
        let told = question.ask(&Asking {
            target: &format!("{repository}/info/refs?service=git-upload-pack"),
            headers: &[("Git-Protocol", "version=2"), ("Accept", "*/*"), ("Cache-Control", "no-cache")],
            authorization,
            body: None,
            answer_bytes_max: CAPABILITIES_BYTES_MAX,
        })?;
        match told.head.status {
            200 => {}
            // It takes the request for none, and nothing else in it is new to it.
            400 | 431 if credential.is_some() => return Ok(Verdict::Refused(Refusal::Forbidden)),
            _ => return refusal(&told.head),
        }
        expect(&told.head, ADVERTISEMENT)?;
        if let Some(at) = told.body.find(b"ERR ").filter(|at| *at < 64) {
            return Err(UpstreamError::Refused(escaped(&told.body[at..])));
        }
        let speaks_v2 = told.body.contains_str("version 2");
        let listing = list_nothing(&told.body);
        self.requests.one();
        let told = question.ask(&Asking {
            target: &format!("{repository}/git-upload-pack"),
            headers: &[("Git-Protocol", "version=2"), ("Content-Type", REQUEST), ("Accept", RESULT)],
            authorization,
            body: Some(if speaks_v2 { &listing } else { NOTHING }),
            answer_bytes_max: 0,
        })?;
        match told.head.status {
            200 => expect(&told.head, RESULT).map(|()| Verdict::Granted),
            // An old host that does not like to be asked for nothing: what it has said of the caller, it has said above.
            400 | 415 | 422 if !speaks_v2 => Ok(Verdict::Granted),
            _ => refusal(&told.head),
        }
    }
}

impl Judge for Replay {
    fn may(&self, credential: Option<&Credential>, path: &RepositoryPath, patience: &Patience) -> Verdict {
        self.ask(credential, path, patience).unwrap_or_else(|error| of_error("the upstream", path, &error))
    }
}

/// `ls-refs` of a prefix that no reference has, to a host with these capabilities (`gitprotocol-v2`).
fn list_nothing(capabilities: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    pktline::line(&mut request, format_args!("command=ls-refs\n"));
    for format in ["object-format=sha1", "object-format=sha256"] {
        if capabilities.lines().any(|line| line.ends_with(format.as_bytes())) {
            pktline::line(&mut request, format_args!("{format}\n"));
        }
    }
    request.extend_from_slice(b"0001");
    pktline::line(&mut request, format_args!("ref-prefix refs/heliostat/no-such-reference/\n"));
    request.extend_from_slice(b"0000");
    request
}

/// What an answer that is none says of the caller.
fn refusal(head: &Head) -> Result<Verdict, UpstreamError> {
    if (300..400).contains(&head.status) {
        return Err(UpstreamError::Redirected { status: head.status, to: host_of(head.location.as_deref()) });
    }
    let challenges = || challenge::passed_on(head.challenges.iter().map(String::as_str));
    match of_status(head.status, challenges) {
        Some(refusal) => Ok(Verdict::Refused(refusal)),
        None => Err(UpstreamError::of_status(head.status)),
    }
}

fn expect(head: &Head, content_type: &str) -> Result<(), UpstreamError> {
    if head.content_type == content_type {
        return Ok(());
    }
    let found = escaped(head.content_type.as_bytes());
    Err(UpstreamError::NotGit(format!("media type {found:?} where {content_type} belongs")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_listed_in_the_hosts_own_format() {
        let ask = |capabilities: &[u8]| String::from_utf8(list_nothing(capabilities)).unwrap();
        let prefix = "0031ref-prefix refs/heliostat/no-such-reference/\n0000";
        let sha1 = ask(b"000eversion 2\n0017object-format=sha1\n0000");
        assert_eq!(sha1, format!("0014command=ls-refs\n0017object-format=sha1\n0001{prefix}"));
        assert!(ask(b"0019object-format=sha256\n0000").contains("0019object-format=sha256\n0001"));
        assert_eq!(ask(b"000eversion 2\n0000"), format!("0014command=ls-refs\n0001{prefix}"));
    }
}
