//! Requests and answers on one connection at a time.
//!
//! An exchange is sent when its answer is first looked at, because gix writes a request's body after it has been given
//! the readers of the answer. A request may be repeated once, on a new connection, if it went out on one that had been
//! used before and that ended without a byte of an answer: then the peer had closed it meanwhile, and ours only read.

use super::{
    address::Origin,
    body::Body,
    connection::{Connection, Patience, lost},
    egress::Egress,
    head::{Framing, Head, HeadError},
};
use crate::{
    secret::Secret,
    upstream::{Progress, UpstreamError, error::escaped},
};
use heliostat_core::limits::{UPSTREAM_GZIP_ABOVE_BYTES, UPSTREAM_INTERIM_RESPONSES_MAX};
use std::{
    io::{self, Write as _},
    sync::Arc,
};
use zeroize::Zeroizing;

/// A request, complete.
pub(super) struct Request {
    /// Method, target and header lines, each ended by CR LF; without the empty line.
    pub(super) head: String,
    /// `None`: a GET.
    pub(super) body: Option<Vec<u8>>,
    /// The only media type that the answer may have.
    pub(super) expect: &'static str,
}

/// One conversation's state. After an error nothing more is sent.
pub(super) struct Wire {
    origin: Origin,
    egress: Egress,
    /// Goes with each request.
    authorization: Option<Secret>,
    patience: Patience,
    progress: Arc<Progress>,
    connection: Option<Connection>,
    request: Option<Request>,
    body: Body,
    keep_alive: bool,
    /// Bytes that the bodies may still have.
    budget: u64,
    fresh: bool,
    refusal: Option<String>,
    failure: Option<UpstreamError>,
}

impl Wire {
    pub(super) fn new(origin: Origin, egress: Egress, patience: Patience, progress: Arc<Progress>) -> Self {
        Self {
            origin,
            egress,
            authorization: None,
            patience,
            progress,
            connection: None,
            request: None,
            body: Body::Done,
            keep_alive: false,
            budget: 0,
            fresh: false,
            refusal: None,
            failure: None,
        }
    }

    /// From now on `line` stands behind `Authorization:` in each request.
    pub(super) fn authorize(&mut self, line: Option<&Secret>) {
        self.authorization = line.cloned();
    }

    /// From now on: bodies of at most `bytes` together, within `patience`.
    pub(super) fn allow(&mut self, bytes: u64, patience: Patience) {
        self.budget = bytes;
        self.patience = patience;
    }

    /// The first failure of this conversation; where there is none, what the upstream said in an `ERR` packet.
    pub(super) fn failure(&self) -> Option<UpstreamError> {
        self.failure.clone().or_else(|| self.refusal.clone().map(UpstreamError::Refused))
    }

    /// Lays a request ready.
    pub(super) fn prepare(&mut self, request: Request) {
        self.request = Some(request);
    }

    /// Sends the request that lies ready, if there is one, and reads the head of its answer.
    pub(super) fn answer(&mut self) -> io::Result<String> {
        let Some(request) = self.request.take() else { return Ok(String::new()) };
        let result = self.exchange(&request);
        match result {
            // The media type is passed on without its parameters: gix compares it byte by byte.
            Ok(head) => Ok(format!("content-type: {}\n", head.content_type)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Reads the body. 0 at its end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(as_io(failure));
        }
        let Some(connection) = self.connection.as_mut().filter(|_| !out.is_empty()) else { return Ok(0) };
        let count = match self.body.read(connection, out, &self.patience) {
            Ok(count) => count,
            Err(error) => return Err(self.fail(error)),
        };
        match self.budget.checked_sub(count as u64) {
            Some(rest) => self.budget = rest,
            None => return Err(self.fail(UpstreamError::TooLarge("bytes of the upstream's answer"))),
        }
        self.progress.add_bytes(count as u64);
        if std::mem::take(&mut self.fresh) {
            self.refusal = err_packet(&out[..count]);
        }
        if self.body == Body::Done && !self.keep_alive {
            self.connection = None;
        }
        Ok(count)
    }

    fn exchange(&mut self, request: &Request) -> Result<Head, UpstreamError> {
        let head = self.look(&assemble(request, self.authorization.as_ref()))?;
        self.accept(&head, request)?;
        Ok(head)
    }

    /// Sends a request, complete, and reads the head of its answer, whatever that says. The body can be read then.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<Head, UpstreamError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.body != Body::Done {
            return Err(UpstreamError::Ours("a request before the answer to the one before was read".into()));
        }
        let head = match self.attempt(bytes) {
            Err(UpstreamError::Unreachable(_)) if self.connection.as_ref().is_some_and(may_have_been_closed) => {
                self.connection = None;
                self.attempt(bytes)?
            }
            other => other?,
        };
        self.body = Body::new(head.framing);
        self.keep_alive = head.keep_alive;
        self.fresh = true;
        self.refusal = None;
        Ok(head)
    }

    /// Whether the body has been read to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.body == Body::Done
    }

    /// Gives up what is left of a body, and the connection with it.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
        self.body = Body::Done;
    }

    fn attempt(&mut self, request: &[u8]) -> Result<Head, UpstreamError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => empty.insert(Connection::open(&self.origin, &self.egress, &self.patience)?),
        };
        if !connection.buffered().is_empty() {
            return Err(UpstreamError::Broken("bytes after the end of an answer".into()));
        }
        self.progress.add_request();
        match connection.forwarder.clone() {
            Some(proxy) => connection.send(&proxy.forwarded(&self.origin, request), &self.patience)?,
            None => connection.send(request, &self.patience)?,
        }
        for _ in 0..UPSTREAM_INTERIM_RESPONSES_MAX {
            let head = read_head(connection, &self.patience)?;
            if !(100..200).contains(&head.status) {
                connection.used = true;
                if head.status == 407
                    && let Some(proxy) = &connection.forwarder
                {
                    return Err(proxy.refuses(head.status));
                }
                return Ok(head);
            }
            if head.status == 101 {
                break;
            }
        }
        Err(UpstreamError::NotGit("interim answers without end".into()))
    }

    /// Whether this is the answer to a Git request.
    fn accept(&self, head: &Head, request: &Request) -> Result<(), UpstreamError> {
        if (300..400).contains(&head.status) {
            return Err(UpstreamError::Redirected { status: head.status, to: host_of(head.location.as_deref()) });
        }
        if head.status != 200 {
            return Err(UpstreamError::of_status(head.status));
        }
        if head.content_type != request.expect {
            let found = if head.content_type.is_empty() { "nothing" } else { &head.content_type };
            let text = format!("media type {} where {} belongs", escaped(found.as_bytes()), request.expect);
            return Err(UpstreamError::NotGit(text));
        }
        if head.framing == Framing::Length(0) {
            return Err(UpstreamError::Broken("the answer is empty".into()));
        }
        Ok(())
    }

    fn fail(&mut self, error: UpstreamError) -> io::Error {
        self.connection = None;
        self.body = Body::Done;
        let io = as_io(&error);
        self.failure.get_or_insert(error);
        io
    }
}

/// Whether a failure may mean only that the peer closed an idle connection.
fn may_have_been_closed(connection: &Connection) -> bool {
    connection.used && connection.buffered().is_empty()
}

fn read_head(connection: &mut Connection, patience: &Patience) -> Result<Head, UpstreamError> {
    loop {
        match Head::parse(connection.buffered()) {
            Ok(Some((head, length))) => {
                connection.consume(length);
                return Ok(head);
            }
            Ok(None) => {}
            Err(HeadError::Malformed) => return Err(UpstreamError::NotGit(HeadError::Malformed.to_string())),
            Err(error) => return Err(UpstreamError::Broken(error.to_string())),
        }
        if !connection.fill(patience)? {
            return Err(lost("the connection ended before an answer"));
        }
    }
}

fn assemble(request: &Request, authorization: Option<&Secret>) -> Zeroizing<Vec<u8>> {
    let line = authorization.map_or(&b""[..], Secret::expose);
    // Made with room for all of the head: growing would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(request.head.len() + line.len() + 256));
    bytes.extend_from_slice(request.head.as_bytes());
    if authorization.is_some() {
        for part in [b"Authorization: ", line, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    let Some(body) = &request.body else {
        bytes.extend_from_slice(b"\r\n");
        return bytes;
    };
    let packed = (body.len() > UPSTREAM_GZIP_ABOVE_BYTES).then(|| gzip(body)).flatten();
    let sent = packed.as_deref().unwrap_or(body);
    if packed.is_some() {
        bytes.extend_from_slice(b"Content-Encoding: gzip\r\n");
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", sent.len()).as_bytes());
    bytes.extend_from_slice(sent);
    bytes
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// The host that a `Location` names, fit for a log.
pub fn host_of(location: Option<&str>) -> String {
    let Some(location) = location else { return "nowhere".into() };
    let after_scheme = location.split_once("//").map_or("", |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit('@').next() {
        Some(host) if !host.is_empty() => escaped(host.as_bytes()),
        _ => "another path".into(),
    }
}

/// The text of an `ERR` packet at the start of an answer (`gitprotocol-pack`).
fn err_packet(body: &[u8]) -> Option<String> {
    let length = usize::from_str_radix(std::str::from_utf8(body.get(..4)?).ok()?, 16).ok()?;
    let text = body.get(4..length.min(body.len()))?.strip_prefix(b"ERR ")?;
    Some(escaped(text))
}

fn as_io(error: &UpstreamError) -> io::Error {
    let kind = match error {
        UpstreamError::Unreachable(_) => io::ErrorKind::UnexpectedEof,
        UpstreamError::Timeout(_) => io::ErrorKind::TimedOut,
        // Never `Interrupted`: readers would simply try again.
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_redirections() {
        assert_eq!(host_of(Some("https://evil.example/x?y")), "evil.example");
        assert_eq!(host_of(Some("https://user:secret@evil.example:8443/x")), "evil.example:8443");
        assert_eq!(host_of(Some("//evil.example")), "evil.example");
        assert_eq!(host_of(Some("/login")), "another path");
        assert_eq!(host_of(None), "nowhere");
        assert_eq!(host_of(Some("http://a\u{1b}[2J/")), "a\\u{1b}[2J");
    }

    #[test]
    fn err_packets() {
        assert_eq!(err_packet(b"0016ERR access denied\n!!"), Some("access denied".into()));
        assert_eq!(err_packet(b"ffffERR cut"), Some("cut".into()));
        for other in [&b"0000"[..], b"", b"00", b"000eversion 2\n", b"0004", b"zzzzERR x", "ü00ERR".as_bytes()] {
            assert_eq!(err_packet(other), None, "{other:?}");
        }
    }
}
