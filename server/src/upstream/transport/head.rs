//! The head of an upstream's response, and how its body ends (RFC 9112, sections 4 and 6).
//!
//! Stricter than the RFC where leniency has been a way to smuggle: both lengths at once, two lengths that differ, codings
//! other than a single `chunked`, and folded lines are errors.

use heliostat_core::limits::{UPSTREAM_HEAD_BYTES_MAX, UPSTREAM_HEADERS_MAX};
use std::fmt;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// When the connection ends. Whether it is whole, only its content can tell.
    UntilClose,
}

/// What we need to know of a response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// How the body ends.
    pub framing: Framing,
    /// Whether another request may follow on this connection.
    pub keep_alive: bool,
    /// The media type: lower case, without parameters. Empty if there is none.
    pub content_type: String,
    /// `Location`, as sent.
    pub location: Option<String>,
    /// `WWW-Authenticate`, as sent, each line.
    pub challenges: Vec<String>,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP/1.
    Malformed,
    /// Over [`UPSTREAM_HEAD_BYTES_MAX`] or [`UPSTREAM_HEADERS_MAX`].
    TooLarge,
    /// Contradicting or unknown framing.
    Framing,
    /// A content coding that nobody asked for.
    Coding,
}

impl Head {
    /// Parses the head at the start of `bytes`. Gives it and its length; `None` if it is not complete yet.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; UPSTREAM_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&bytes[..bytes.len().min(UPSTREAM_HEAD_BYTES_MAX)]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() >= UPSTREAM_HEAD_BYTES_MAX => return Err(HeadError::TooLarge),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            Err(_) => return Err(HeadError::Malformed),
        };
        let (Some(status), Some(minor)) = (response.code, response.version) else { return Err(HeadError::Malformed) };
        let mut head = Self {
            status,
            framing: Framing::UntilClose,
            keep_alive: minor == 1,
            content_type: String::new(),
            location: None,
            challenges: Vec::new(),
        };
        head.read_headers(response.headers, minor)?;
        // RFC 9112, 6.3: these never have a body, whatever their headers say.
        if (100..200).contains(&status) || status == 204 || status == 304 {
            head.framing = Framing::Length(0);
        }
        head.keep_alive &= head.framing != Framing::UntilClose;
        Ok(Some((head, length)))
    }

    fn read_headers(&mut self, headers: &[httparse::Header<'_>], minor: u8) -> Result<(), HeadError> {
        let mut length = None;
        let mut chunked = false;
        for header in headers {
            let text = || std::str::from_utf8(header.value).map(str::trim);
            if header.name.eq_ignore_ascii_case("content-length") {
                let value = text().map_err(|_| HeadError::Framing)?;
                if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(HeadError::Framing);
                }
                let value: u64 = value.parse().map_err(|_| HeadError::Framing)?;
                if length.replace(value).is_some_and(|earlier| earlier != value) {
                    return Err(HeadError::Framing);
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                let value = text().map_err(|_| HeadError::Framing)?;
                if chunked || minor == 0 || !value.eq_ignore_ascii_case("chunked") {
                    return Err(HeadError::Framing);
                }
                chunked = true;
            } else if header.name.eq_ignore_ascii_case("content-encoding") {
                if !text().is_ok_and(|value| value.eq_ignore_ascii_case("identity")) {
                    return Err(HeadError::Coding);
                }
            } else if header.name.eq_ignore_ascii_case("connection") {
                let value = text().unwrap_or_default().to_ascii_lowercase();
                for option in value.split(',').map(str::trim) {
                    match option {
                        "close" => self.keep_alive = false,
                        "keep-alive" if minor == 0 => self.keep_alive = true,
                        _ => {}
                    }
                }
            } else if header.name.eq_ignore_ascii_case("content-type") {
                let value = text().unwrap_or_default();
                self.content_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            } else if header.name.eq_ignore_ascii_case("location") {
                self.location = text().ok().map(str::to_owned);
            } else if header.name.eq_ignore_ascii_case("www-authenticate") {
                self.challenges.extend(text().ok().map(str::to_owned));
            }
        }
        self.framing = match (length, chunked) {
            (Some(_), true) => return Err(HeadError::Framing),
            (None, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::UntilClose,
        };
        Ok(())
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the answer is not HTTP/1",
            Self::TooLarge => "the head of the answer is too large",
            Self::Framing => "the length of the answer is given in a contradictory or unknown way",
            Self::Coding => "the answer is compressed although that was not asked for",
        })
    }
}

impl std::error::Error for HeadError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Option<(Head, usize)>, HeadError> {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn heads() {
        let ok = parse("HTTP/1.1 200 OK\r\nContent-Type: Application/X; charset=x\r\ncontent-length: 5\r\n\r\nhello");
        let (head, length) = ok.unwrap().unwrap();
        assert_eq!((head.status, head.framing, head.keep_alive, length), (200, Framing::Length(5), true, 78));
        assert_eq!(head.content_type, "application/x");

        let framing = |headers: &str| parse(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).map(|h| h.unwrap().0.framing);
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(framing(""), Ok(Framing::UntilClose));
        assert_eq!(framing("Content-Length: 3\r\nContent-Length: 3\r\n"), Ok(Framing::Length(3)));
        for bad in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 3,3\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(framing(bad), Err(HeadError::Framing), "{bad}");
        }
        assert_eq!(framing("Content-Encoding: gzip\r\n"), Err(HeadError::Coding));
        assert_eq!(parse("SSH-2.0-OpenSSH\r\n"), Err(HeadError::Malformed));
        assert_eq!(parse("HTTP/1.1 200 OK\r\nContent-"), Ok(None));
    }

    #[test]
    fn connections_that_can_go_on() {
        let keeps = |text: &str| parse(text).unwrap().unwrap().0.keep_alive;
        assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: foo, Close\r\n\r\n"));
        assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\n\r\n"), "a body until close");
        assert!(keeps("HTTP/1.1 304 Not Modified\r\n\r\n"));
    }

    #[test]
    fn endless_heads_end() {
        let mut text = String::from("HTTP/1.1 200 OK\r\n");
        text.extend((0..UPSTREAM_HEADERS_MAX + 1).map(|n| format!("X-{n}: y\r\n")));
        assert_eq!(parse(&(text + "\r\n")), Err(HeadError::TooLarge));
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(UPSTREAM_HEAD_BYTES_MAX));
        assert_eq!(parse(&long), Err(HeadError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Head::parse(&bytes);
            let _ = Head::parse(&[b"HTTP/1.1 200 OK\r\n", bytes.as_slice()].concat());
        }
    }
}
