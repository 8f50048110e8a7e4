//! The head of an HTTP/1 request: bytes in, a typed head out.
//!
//! Promises: a head that two readers could take for different requests is refused (RFC 9112, sections 5, 6 and 11.2):
//! `Content-Length` with `Transfer-Encoding`, several of either, any coding but `chunked`, a coding on HTTP/1.0, bare
//! line feeds, folded lines, NUL. Does not: look at the target's meaning (see [`super::target`]) or read a body.

use super::signature::{SIGNATURES_MAX, Signature};
use crate::secret::Secret;
use heliostat_core::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};

/// What a request wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`: as `GET`, without a body in the answer.
    Head,
    /// `POST`.
    Post,
    /// Any other.
    Other,
}

/// How the request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// How the request's body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// `gzip` or `x-gzip`.
    Gzip,
    /// In a way that is not known here: 415.
    Unknown,
}

/// A complete request head.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The request target in origin form, as sent: `/team/app.git/info/refs?service=git-upload-pack`.
    pub target: String,
    /// Whether the request is HTTP/1.0: no chunks in the answer, and the connection closes unless asked otherwise.
    pub http_1_0: bool,
    /// How the body is delimited.
    pub framing: Framing,
    /// How the body is compressed.
    pub coding: Coding,
    /// Whether the peer wants to keep the connection.
    pub keep_alive: bool,
    /// Whether the peer waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// `Host`, as sent.
    pub host: Option<String>,
    /// `Origin`, as sent: a browser's word for the page that asks. Several are joined by commas, and equal nothing.
    pub origin: Option<String>,
    /// `Sec-Fetch-Site`, likewise.
    pub fetch_site: Option<String>,
    /// `Content-Type`, without parameters, in lower case.
    pub content_type: Option<String>,
    /// `Git-Protocol`.
    pub git_protocol: Option<String>,
    /// `X-Forwarded-For`: whom those that passed the request on took for its client. Several lines are one list.
    pub forwarded_for: Option<String>,
    /// What proves that a webhook is its host's own. Never logged: one of them is a secret.
    pub signatures: Vec<(Signature, Vec<u8>)>,
    /// `Authorization`, as sent.
    pub authorization: Option<Secret>,
}

/// Why a head is refused. The connection closes after the answer: where the next request begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// 400, and why.
    Malformed(&'static str),
    /// 431: longer than [`HTTP_HEAD_BYTES_MAX`], or more lines than [`HTTP_HEADERS_MAX`].
    TooLarge,
    /// 505: not HTTP/1.0 or HTTP/1.1.
    Version,
    /// 417: an `Expect` other than `100-continue`.
    Expectation,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

/// Parses the head at the beginning of `bytes`: the head and its length in bytes, or `None` if it is not complete yet.
pub fn http_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    // An empty line before the request line is skipped (RFC 9112, section 2.2).
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let Some(len) = head_len(&bytes[skipped..])? else {
        return Ok(None);
    };
    let end = skipped + len;
    let mut lines = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(&bytes[skipped..end]) {
        Ok(httparse::Status::Complete(parsed)) if parsed == len => {}
        Ok(_) => return Err(HeadError::Malformed("the head does not end where it should")),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(httparse::Error::Version) => return Err(HeadError::Version),
        Err(_) => return Err(HeadError::Malformed("the head does not parse")),
    }
    typed(&request).map(|head| Some((head, end)))
}

/// Bytes up to and including the empty line. Line ends are judged here, since a lenient reader would take a bare line
/// feed for one.
fn head_len(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    let looked_at = &bytes[..bytes.len().min(HTTP_HEAD_BYTES_MAX)];
    let mut previous = 0;
    for (at, &byte) in looked_at.iter().enumerate() {
        match byte {
            b'\n' if previous != b'\r' => return Err(HeadError::Malformed("a line ends without carriage return")),
            b'\n' if looked_at[..at + 1].ends_with(b"\r\n\r\n") => return Ok(Some(at + 1)),
            b'\n' => {}
            _ if previous == b'\r' => return Err(HeadError::Malformed("a carriage return stands alone")),
            0 => return Err(HeadError::Malformed("the head holds a NUL")),
            _ => {}
        }
        previous = byte;
    }
    if bytes.len() >= HTTP_HEAD_BYTES_MAX { Err(HeadError::TooLarge) } else { Ok(None) }
}

fn typed(request: &httparse::Request<'_, '_>) -> Result<Head, HeadError> {
    let http_1_0 = match request.version {
        Some(0) => true,
        Some(1) => false,
        _ => return Err(HeadError::Version),
    };
    let mut lines = Lines::default();
    for header in request.headers.iter() {
        lines.take(header)?;
    }
    if !http_1_0 && lines.hosts != 1 {
        return Err(HeadError::Malformed("a request names one Host"));
    }
    let framing = match (lines.length, lines.chunked) {
        (Some(_), true) => return Err(HeadError::Malformed("both Content-Length and Transfer-Encoding")),
        (None, true) if http_1_0 => return Err(HeadError::Malformed("Transfer-Encoding on HTTP/1.0")),
        (None, true) => Framing::Chunked,
        (Some(0) | None, false) => Framing::None,
        (Some(length), false) => Framing::Length(length),
    };
    Ok(Head {
        method: match request.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("POST") => Method::Post,
            _ => Method::Other,
        },
        target: origin_form(request.path.unwrap_or_default())?,
        http_1_0,
        framing,
        coding: lines.coding,
        keep_alive: !lines.close && (!http_1_0 || lines.keep_alive),
        // Without a body there is nothing to go on with, and HTTP/1.0 does not know the word.
        expects_continue: lines.expects_continue && !http_1_0 && framing != Framing::None,
        host: lines.host,
        origin: lines.origin,
        fetch_site: lines.fetch_site,
        content_type: lines.content_type,
        git_protocol: lines.git_protocol,
        forwarded_for: lines.forwarded_for,
        signatures: lines.signatures,
        authorization: lines.authorization,
    })
}

/// What the header lines said so far.
struct Lines {
    hosts: u32,
    host: Option<String>,
    origin: Option<String>,
    fetch_site: Option<String>,
    length: Option<u64>,
    chunked: bool,
    coding: Coding,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    content_type: Option<String>,
    git_protocol: Option<String>,
    forwarded_for: Option<String>,
    signatures: Vec<(Signature, Vec<u8>)>,
    authorization: Option<Secret>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            hosts: 0,
            host: None,
            origin: None,
            fetch_site: None,
            length: None,
            chunked: false,
            coding: Coding::Identity,
            close: false,
            keep_alive: false,
            expects_continue: false,
            content_type: None,
            git_protocol: None,
            forwarded_for: None,
            signatures: Vec::new(),
            authorization: None,
        }
    }
}

impl Lines {
    fn take(&mut self, header: &httparse::Header<'_>) -> Result<(), HeadError> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            self.hosts += 1;
            join(&mut self.host, header.value);
        } else if is("content-length") {
            if self.length.is_some() {
                return Err(HeadError::Malformed("several Content-Length"));
            }
            self.length = Some(length(header.value)?);
        } else if is("transfer-encoding") {
            if self.chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::Malformed("a Transfer-Encoding other than chunked"));
            }
            self.chunked = true;
        } else if is("connection") {
            for token in header.value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                self.close |= token.eq_ignore_ascii_case(b"close");
                self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("expect") {
            if !header.value.eq_ignore_ascii_case(b"100-continue") {
                return Err(HeadError::Expectation);
            }
            self.expects_continue = true;
        } else if is("content-encoding") {
            let gzip = [&b"gzip"[..], b"x-gzip"].iter().any(|name| header.value.eq_ignore_ascii_case(name));
            self.coding = match self.coding {
                Coding::Identity if gzip => Coding::Gzip,
                coding if header.value.eq_ignore_ascii_case(b"identity") => coding,
                _ => Coding::Unknown,
            };
        } else if is("content-type") {
            let value = header.value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
            self.content_type = Some(String::from_utf8_lossy(value).to_ascii_lowercase());
        } else if is("git-protocol") {
            self.git_protocol = Some(String::from_utf8_lossy(header.value).into_owned());
        } else if is("authorization") {
            if self.authorization.is_some() {
                return Err(HeadError::Malformed("several Authorization"));
            }
            self.authorization = Some(Secret::new(header.value.to_vec()));
        } else if is("x-forwarded-for") {
            join(&mut self.forwarded_for, header.value);
        } else if is("origin") {
            join(&mut self.origin, header.value);
        } else if is("sec-fetch-site") {
            join(&mut self.fetch_site, header.value);
        } else if let Some(signature) = Signature::of(header.name).filter(|_| self.signatures.len() < SIGNATURES_MAX) {
            self.signatures.push((signature, header.value.to_vec()));
        }
        Ok(())
    }
}

/// Several lines of one name are one list (RFC 9110, section 5.3).
fn join(list: &mut Option<String>, value: &[u8]) {
    let value = String::from_utf8_lossy(value);
    match list {
        Some(list) => *list += &format!(", {value}"),
        None => *list = Some(value.into_owned()),
    }
}

/// `1*DIGIT`: no sign, no list, nothing that overflows.
fn length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::Malformed("Content-Length is not a number"));
    }
    value
        .iter()
        .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(HeadError::Malformed("Content-Length is too large a number"))
}

/// The path and query of an origin-form or absolute-form target.
fn origin_form(target: &str) -> Result<String, HeadError> {
    if target.starts_with('/') {
        return Ok(target.to_owned());
    }
    let authority = ["http://", "https://"]
        .iter()
        .find_map(|scheme| {
            target.get(..scheme.len()).filter(|t| t.eq_ignore_ascii_case(scheme)).map(|s| &target[s.len()..])
        })
        .ok_or(HeadError::Malformed("the target is neither a path nor a URL"))?;
    Ok(match authority.find(['/', '?']) {
        Some(at) if authority[at..].starts_with('/') => authority[at..].to_owned(),
        Some(at) => format!("/{}", &authority[at..]),
        None => "/".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(head: &str) -> Result<Head, HeadError> {
        http_head(head.as_bytes()).map(|parsed| parsed.expect("complete").0)
    }

    fn with(lines: &str) -> Result<Head, HeadError> {
        parse(&format!("POST /a/git-upload-pack HTTP/1.1\r\nHost: h\r\n{lines}\r\n"))
    }

    #[test]
    fn what_git_sends() {
        let head = parse(
            "POST /team/app.git/git-upload-pack HTTP/1.1\r\nHost: mirror:8080\r\nUser-Agent: git/2.47.3\r\n\
             Accept-Encoding: deflate, gzip, br, zstd\r\nContent-Type: application/x-git-upload-pack-request\r\n\
             Accept: application/x-git-upload-pack-result\r\nGit-Protocol: version=2\r\nContent-Encoding: gzip\r\n\
             Content-Length: 412\r\n\r\nrest",
        )
        .unwrap();
        assert_eq!(head.method, Method::Post);
        assert_eq!(head.target, "/team/app.git/git-upload-pack");
        assert_eq!((head.framing, head.coding), (Framing::Length(412), Coding::Gzip));
        assert_eq!(head.content_type.as_deref(), Some("application/x-git-upload-pack-request"));
        assert_eq!(head.git_protocol.as_deref(), Some("version=2"));
        assert!(head.keep_alive && !head.expects_continue && !head.http_1_0);
    }

    #[test]
    fn connections_end_as_agreed() {
        for (head, keep_alive) in [
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
            ("\r\nGET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", true),
        ] {
            assert_eq!(parse(head).unwrap().keep_alive, keep_alive, "{head}");
        }
    }

    #[test]
    fn targets_in_origin_form() {
        for (target, expected) in [("/a?b", "/a?b"), ("http://h/a", "/a"), ("HTTPS://h:1", "/"), ("http://h?x", "/?x")]
        {
            assert_eq!(parse(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap().target, expected);
        }
        for target in ["*", "h:443", "ftp://h/"] {
            assert!(matches!(
                parse(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")),
                Err(HeadError::Malformed(_))
            ));
        }
    }

    #[test]
    fn two_readers_never_differ() {
        for lines in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x10\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding:\x0bchunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            " Transfer-Encoding: chunked\r\n",
            "X: a\r\n folded\r\n",
            "X: a\nTransfer-Encoding: chunked\r\n",
            "X: a\rTransfer-Encoding: chunked\r\n",
            "X: a\0b\r\n",
            "Host: other\r\n",
            "Authorization: Basic YTph\r\nAuthorization: Basic YjpI\r\n",
        ] {
            assert!(matches!(with(lines), Err(HeadError::Malformed(_))), "{lines:?}");
        }
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\nHost: h\n\n",
            "GET /\r\n\r\n",
        ] {
            assert!(parse(head).is_err(), "{head:?}");
        }
        assert_eq!(parse("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), Err(HeadError::Version));
        assert_eq!(with("Expect: 200-maybe\r\n"), Err(HeadError::Expectation));
    }

    #[test]
    fn sizes_are_bounded() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HTTP_HEAD_BYTES_MAX));
        assert_eq!(http_head(long.as_bytes()), Err(HeadError::TooLarge));
        assert_eq!(with(&"A: b\r\n".repeat(HTTP_HEADERS_MAX)), Err(HeadError::TooLarge));
    }

    #[test]
    fn lists_in_several_lines() {
        let head = with("X-Forwarded-For: a, b\r\nHost2: x\r\nx-forwarded-for:c\r\n").unwrap();
        assert_eq!(head.forwarded_for.as_deref(), Some("a, b, c"));
    }

    #[test]
    fn codings() {
        for (lines, coding) in [
            ("Content-Encoding: X-GZIP\r\n", Coding::Gzip),
            ("Content-Encoding: identity\r\n", Coding::Identity),
            ("Content-Encoding: br\r\n", Coding::Unknown),
            ("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", Coding::Unknown),
            ("Content-Encoding: gzip, gzip\r\n", Coding::Unknown),
        ] {
            assert_eq!(with(lines).unwrap().coding, coding, "{lines}");
        }
    }

    proptest! {
        /// What is decided about a whole head is not decided otherwise about the same head arriving in pieces.
        #[test]
        fn pieces_do_not_change_the_answer(bytes in "(GET|POST) /[a-z%/?]{0,8} HTTP/1\\.[01]\r\n(Host: h\r\n)?([A-Z]: [a-z\n\r]{0,3}\r\n){0,3}\r\n", cut in 0usize..64) {
            let bytes = bytes.as_bytes();
            let whole = http_head(bytes);
            let part = http_head(&bytes[..cut.min(bytes.len())]);
            match part {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => prop_assert_eq!(part.is_err(), whole.is_err()),
            }
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = http_head(&bytes);
        }
    }
}
