//! Answers: status, headers, and a body that is there already or comes in pieces.

use std::{borrow::Cow, fmt::Write as _, time::SystemTime};

/// What a connection beyond all limits hears, without anything being parsed or allocated.
pub const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 31\r\n\
Retry-After: 5\r\nConnection: close\r\n\r\nthe server is full, try again\r\n";

/// A body's length, told or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// `Content-Length`.
    Known(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Ends with the connection (HTTP/1.0).
    UntilClose,
}

/// An answer that is small and complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header lines beside those that every answer has.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Cow<'static, [u8]>,
}

impl Response {
    /// One line of plain text for a human; a line feed is added.
    pub fn text(status: u16, text: impl std::fmt::Display) -> Self {
        Self::of_type(status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes())
    }

    /// A JSON document.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::of_type(status, "application/json", format!("{value}\n").into_bytes())
    }

    /// A body of any media type.
    pub fn of_type(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("Content-Type", content_type.into())], body: body.into() }
    }

    /// Of this media type instead.
    pub fn with_content_type(mut self, content_type: &'static str) -> Self {
        self.headers.retain(|(name, _)| *name != "Content-Type");
        self.with("Content-Type", content_type)
    }

    /// With one more header line. `value` must hold no control characters.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// 404: the same bytes for a repository that does not exist, one that must not be seen, and a path that is none. Without
    /// words, since Git has its own for it and would show ours beside them.
    pub fn not_found() -> Self {
        Self { status: 404, headers: Vec::new(), body: Cow::Borrowed(b"") }
    }

    /// 405 for a route that only takes `allow`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::text(405, format_args!("only {allow} here")).with("Allow", allow)
    }

    /// 503: try again in `seconds`.
    pub fn unavailable(seconds: u32, text: impl std::fmt::Display) -> Self {
        Self::text(503, text).with("Retry-After", seconds.to_string())
    }
}

/// The head of an answer, ready for the socket.
pub fn head(status: u16, headers: &[(&'static str, Cow<'static, str>)], length: Length, close: bool) -> Vec<u8> {
    let mut head = String::with_capacity(512);
    // Writing to a String does not fail.
    let _ = write!(head, "HTTP/1.1 {status} {}\r\n", reason(status));
    let _ = write!(head, "Date: {}\r\n", httpdate::HttpDate::from(SystemTime::now()));
    head.push_str(concat!("Server: heliostat/", env!("CARGO_PKG_VERSION"), "\r\n"));
    // Nothing that is served here may be kept by a cache, as in git-http-backend: refs move, and rights change.
    head.push_str("Expires: Fri, 01 Jan 1980 00:00:00 GMT\r\nPragma: no-cache\r\n");
    head.push_str("Cache-Control: no-cache, max-age=0, must-revalidate\r\n");
    for (name, value) in headers {
        debug_assert!(!value.contains(['\r', '\n']), "a header value holds a line end");
        let _ = write!(head, "{name}: {value}\r\n");
    }
    match length {
        Length::Known(bytes) => {
            let _ = write!(head, "Content-Length: {bytes}\r\n");
        }
        Length::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Length::UntilClose => {}
    }
    head.push_str(if close { "Connection: close\r\n\r\n" } else { "Connection: keep-alive\r\n\r\n" });
    head.into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_complete() {
        let response = Response::unavailable(5, "later");
        let head = head(503, &response.headers, Length::Known(response.body.len()), true);
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\nDate: "), "{head}");
        for line in ["Retry-After: 5", "Content-Length: 6", "Connection: close", "Pragma: no-cache"] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
        }
        assert!(head.ends_with("\r\n\r\n") && head.matches("\r\n\r\n").count() == 1);
    }

    #[test]
    fn the_answer_of_a_full_server_is_well_formed() {
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut response = httparse::Response::new(&mut headers);
        let head = response.parse(FULL).unwrap().unwrap();
        let length = response.headers.iter().find(|h| h.name == "Content-Length").unwrap();
        assert_eq!(length.value, (FULL.len() - head).to_string().as_bytes());
    }
}
