//! One HTTP/1.1 connection, kept between requests as Git's HTTP client keeps it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::address::Address;
use crate::body::{Body, Left};
use crate::failure::Failure;

/// Room for what the kernel has ready: about two frames of the largest size.
const BUFFER_BYTES: usize = 128 << 10;
/// An answer's head is not longer than this.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

pub(crate) struct Connection {
    address: Address,
    patience: Duration,
    stream: Option<BufReader<TcpStream>>,
}

/// What of a head decides how to go on.
struct Head {
    status: u16,
    left: Left,
    close: bool,
    content_type: String,
}

impl Connection {
    /// Not connected yet. Each read and write waits `patience` at most.
    pub(crate) fn new(address: Address, patience: Duration) -> Self {
        Self { address, patience, stream: None }
    }

    /// `GET <repository>/<what>`.
    pub(crate) fn get(&mut self, what: &str, content_type: &str) -> Result<Body<'_>, Failure> {
        let head = format!("GET {}/{what} HTTP/1.1\r\n", self.address.path);
        self.exchange(head, b"", content_type)
    }

    /// `POST <repository>/git-upload-pack`.
    pub(crate) fn post(&mut self, body: &[u8]) -> Result<Body<'_>, Failure> {
        let head = format!(
            "POST {}/git-upload-pack HTTP/1.1\r\nContent-Type: application/x-git-upload-pack-request\r\n\
             Accept: application/x-git-upload-pack-result\r\nContent-Length: {}\r\n",
            self.address.path,
            body.len()
        );
        self.exchange(head, body, "application/x-git-upload-pack-result")
    }

    fn exchange(&mut self, mut head: String, body: &[u8], content_type: &str) -> Result<Body<'_>, Failure> {
        head += &format!(
            "Host: {}\r\nUser-Agent: git/2.47.3 (heliostat-loadtest)\r\nGit-Protocol: version=2\r\n\r\n",
            self.address.authority
        );
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        stream.get_mut().write_all(&request).map_err(Failure::of_io)?;
        let head = read_head(&mut stream)?;
        if head.status != 200 {
            return Err(Failure::Status(head.status));
        }
        if head.content_type != content_type {
            return Err(Failure::Http("another content type than was asked for"));
        }
        Ok(Body::new(stream, head.left, (!head.close).then_some(&mut self.stream)))
    }

    fn connect(&self) -> Result<BufReader<TcpStream>, Failure> {
        let stream = TcpStream::connect(&self.address.authority).map_err(Failure::Connect)?;
        let set = |stream: &TcpStream| {
            stream.set_read_timeout(Some(self.patience))?;
            stream.set_write_timeout(Some(self.patience))?;
            stream.set_nodelay(true)
        };
        set(&stream).map_err(Failure::Connect)?;
        Ok(BufReader::with_capacity(BUFFER_BYTES, stream))
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> Result<Head, Failure> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let ready = stream.fill_buf().map_err(Failure::of_io)?;
        if ready.is_empty() {
            return Err(Failure::Truncated);
        }
        let line = ready.iter().position(|&byte| byte == b'\n').map_or(ready.len(), |at| at + 1);
        bytes.extend_from_slice(&ready[..line]);
        stream.consume(line);
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(Failure::Http("a head without an end"));
        }
    }
    parse_head(&bytes)
}

fn parse_head(bytes: &[u8]) -> Result<Head, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|_| Failure::Http("a head that does not parse"))?;
    let (Some(status), true) = (response.code, parsed.is_complete()) else {
        return Err(Failure::Http("a head that does not parse"));
    };
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let is = |name: &str, word: &str| value(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    let length = value("Content-Length").map(|text| text.parse::<u64>());
    let left = match length {
        _ if is("Transfer-Encoding", "chunked") => Left::NextChunk { first: true },
        Some(Ok(bytes)) => Left::Bytes(bytes),
        Some(Err(_)) => return Err(Failure::Http("a content length that is no number")),
        None => Left::ToEnd,
    };
    let close = is("Connection", "close") || matches!(left, Left::ToEnd) || response.version != Some(1);
    Ok(Head { status, left, close, content_type: value("Content-Type").unwrap_or_default() })
}
