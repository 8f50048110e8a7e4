//! A few requests of which the heads matter: what an upstream says of a caller, on a connection of that caller's own.

use super::{address::Origin, connection::Patience, egress::Egress, exchange::Wire, head::Head};
use crate::{
    secret::Secret,
    upstream::{Progress, UpstreamError},
};
use std::sync::Arc;
use zeroize::Zeroizing;

const USER_AGENT: &str = concat!("git/heliostat-", env!("CARGO_PKG_VERSION"));

/// One conversation.
pub struct Question {
    wire: Wire,
    authority: String,
    patience: Patience,
}

/// One request. It is a GET if it has no body.
pub struct Asking<'a> {
    /// Path and query, percent-encoded.
    pub target: &'a str,
    /// Header lines. No line ends in them.
    pub headers: &'a [(&'a str, &'a str)],
    /// What stands behind `Authorization:`.
    pub authorization: Option<&'a Secret>,
    /// What is sent.
    pub body: Option<&'a [u8]>,
    /// How much of the answer's body is read.
    pub answer_bytes_max: usize,
}

/// An answer.
pub struct Told {
    /// Its head.
    pub head: Head,
    /// The beginning of its body.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub is_whole: bool,
}

impl Question {
    /// A conversation that has not connected yet.
    #[must_use]
    pub fn new(origin: &Origin, egress: &Egress, patience: &Patience) -> Self {
        let wire = Wire::new(origin.clone(), egress.clone(), patience.clone(), Arc::new(Progress::default()));
        Self { wire, authority: origin.authority(), patience: patience.clone() }
    }

    /// Sends a request and reads the head of its answer, and of the body what is wanted. A redirection is an answer like any
    /// other: nobody goes there.
    pub fn ask(&mut self, asking: &Asking<'_>) -> Result<Told, UpstreamError> {
        self.wire.allow(asking.answer_bytes_max as u64 + 1, self.patience.clone());
        let head = self.wire.look(&self.assemble(asking))?;
        let mut body = vec![0; asking.answer_bytes_max];
        let mut filled = 0;
        while filled < body.len() && !self.wire.has_ended() {
            match self.wire.read(&mut body[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => return Err(self.wire.failure().unwrap_or(UpstreamError::Unreachable(error.to_string()))),
            }
        }
        body.truncate(filled);
        let is_whole = self.wire.has_ended();
        if !is_whole {
            self.wire.hang_up();
        }
        Ok(Told { head, body, is_whole })
    }

    fn assemble(&self, asking: &Asking<'_>) -> Zeroizing<Vec<u8>> {
        let method = if asking.body.is_some() { "POST" } else { "GET" };
        let mut head =
            format!("{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\n", asking.target, self.authority);
        for (name, value) in asking.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = asking.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let line = asking.authorization.map_or(&b""[..], Secret::expose);
        let body = asking.body.unwrap_or_default();
        // Made with room for all: growing would leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(head.len() + line.len() + body.len() + 64));
        bytes.extend_from_slice(head.as_bytes());
        if asking.authorization.is_some() {
            for part in [b"Authorization: ", line, b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        bytes
    }
}
