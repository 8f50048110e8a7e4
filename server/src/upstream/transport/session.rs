//! One conversation with an upstream, as gix-transport asks for it: requests are laid ready, reading an answer sends them.

use super::{
    Patience,
    address::Origin,
    egress::Egress,
    exchange::{Request, Wire},
};
use crate::{
    auth::own::OwnCredential,
    upstream::{Progress, UpstreamError},
};
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use std::{
    any::Any,
    io::{self, BufRead, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const USER_AGENT: &str = concat!("User-Agent: git/heliostat-", env!("CARGO_PKG_VERSION"));

/// The hand that stays outside when gix owns the [`Session`].
#[derive(Clone)]
pub struct Control(Arc<Mutex<Wire>>);

/// One conversation with one repository of the upstream.
pub struct Session {
    control: Control,
    authority: String,
    /// The repository's path in the URL, percent-encoded, with its leading slash.
    path: String,
}

impl Session {
    /// A session that has not connected yet. `path` is percent-encoded and begins with a slash. With a credential of its own
    /// the mirror shows it with each request.
    #[must_use]
    pub fn new(
        origin: Origin,
        path: String,
        egress: Egress,
        patience: Patience,
        progress: Arc<Progress>,
        own: Option<&OwnCredential>,
    ) -> (Self, Control) {
        let authority = origin.authority();
        let mut wire = Wire::new(origin, egress, patience, progress);
        wire.authorize(own.map(OwnCredential::line));
        let control = Control(Arc::new(Mutex::new(wire)));
        (Self { control: control.clone(), authority, path }, control)
    }

    fn request_head(
        &self,
        method: &str,
        (url, base_url): (&str, &str),
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> String {
        // What gix made of the URL is not used but for what it added: it decodes and encodes paths by rules of its own.
        let suffix = url.strip_prefix(base_url).unwrap_or_default().trim_start_matches('/');
        let (path, authority) = (&self.path, &self.authority);
        let mut head = format!("{method} {path}/{suffix} HTTP/1.1\r\nHost: {authority}\r\n");
        for header in headers {
            let header = header.as_ref();
            let agent = header.len() > 11 && header.as_bytes()[..11].eq_ignore_ascii_case(b"user-agent:");
            head.push_str(if agent { USER_AGENT } else { header });
            head.push_str("\r\n");
        }
        head
    }
}

impl Control {
    /// From now on: answers of at most `bytes` together, within `patience`.
    pub fn allow(&self, bytes: u64, patience: Patience) {
        self.wire().allow(bytes, patience);
    }

    /// What went wrong, if something did. Asked after an error of gix, which knows less.
    #[must_use]
    pub fn failure(&self) -> Option<UpstreamError> {
        self.wire().failure()
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        // One thread at a time works on a session; a panic in it ends the session.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Http for Session {
    type Headers = Headers;
    type ResponseBody = Answer;
    type PostBody = PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix_error::Result<GetResponse<Headers, Answer>> {
        let mut head = self.request_head("GET", (url, base_url), headers);
        // An HTTP cache on the way must not answer what only the upstream knows.
        head.push_str("Accept: */*\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n");
        let expect = "application/x-git-upload-pack-advertisement";
        self.control.wire().prepare(Request { head, body: None, expect });
        Ok(GetResponse { headers: Headers::new(&self.control), body: Answer::new(&self.control) })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix_error::Result<PostResponse<Headers, Answer, PostBody>> {
        let head = self.request_head("POST", (url, base_url), headers);
        Ok(PostResponse {
            post_body: PostBody { control: self.control.clone(), head, body: Vec::new() },
            headers: Headers::new(&self.control),
            body: Answer::new(&self.control),
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix_error::Result {
        Ok(())
    }
}

/// Collects a request's body; lays the request ready when it is dropped.
pub struct PostBody {
    control: Control,
    head: String,
    body: Vec<u8>,
}

impl Write for PostBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PostBody {
    fn drop(&mut self) {
        let (head, body) = (std::mem::take(&mut self.head), std::mem::take(&mut self.body));
        let expect = "application/x-git-upload-pack-result";
        self.control.wire().prepare(Request { head, body: Some(body), expect });
    }
}

/// The header lines of an answer, for gix. Reading them sends the request.
pub struct Headers {
    control: Control,
    lines: Option<io::Cursor<String>>,
}

impl Headers {
    fn new(control: &Control) -> Self {
        Self { control: control.clone(), lines: None }
    }
}

impl Read for Headers {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.lines {
            Some(lines) => lines.fill_buf(),
            empty => {
                let lines = self.control.wire().answer()?;
                empty.insert(io::Cursor::new(lines)).fill_buf()
            }
        }
    }

    fn consume(&mut self, count: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(count);
        }
    }
}

/// The body of an answer.
pub struct Answer {
    control: Control,
    buffer: Vec<u8>,
    start: usize,
}

impl Answer {
    const BUFFER_BYTES: usize = 64 << 10;

    fn new(control: &Control) -> Self {
        Self { control: control.clone(), buffer: Vec::new(), start: 0 }
    }
}

impl Read for Answer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Answer {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.buffer.len() {
            self.start = 0;
            self.buffer.resize(Self::BUFFER_BYTES, 0);
            let read = self.control.wire().read(&mut self.buffer);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        Ok(&self.buffer[self.start..])
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
    }
}
