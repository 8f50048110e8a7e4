//! The least of an HTTP client: one request, one connection, the whole answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer, complete.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The head, as sent.
    pub head: String,
    /// The body as sent: chunk framing, if any, is still there.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body without chunk framing; what is there of it when it was cut.
    pub fn payload(&self) -> Vec<u8> {
        if !self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.body.clone();
        }
        let (mut rest, mut payload) = (&self.body[..], Vec::new());
        while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            let Some(size @ 1..) = size else { break };
            let start = end + 2;
            payload.extend_from_slice(&rest[start..rest.len().min(start + size)]);
            rest = rest.get(start + size + 2..).unwrap_or_default();
        }
        payload
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload()).into_owned()
    }
}

/// `METHOD path` on a loopback port; an error when nobody answers.
pub fn request(method: &str, port: u16, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Answer> {
    raw(port, &message(method, path, headers, body))
}

/// The same from another loopback address.
pub fn request_from(
    address: [u8; 4],
    method: &str,
    port: u16,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    exchange(socket.into(), &message(method, path, headers, body))
}

fn message(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Sends these very bytes and reads until the other side closes.
pub fn raw(port: u16, bytes: &[u8]) -> std::io::Result<Answer> {
    exchange(TcpStream::connect(("127.0.0.1", port))?, bytes)
}

fn exchange(mut stream: TcpStream, bytes: &[u8]) -> std::io::Result<Answer> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // The other side may answer and close before it has read everything.
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        sent.and(read.map(|_| ()))?;
        return Err(std::io::Error::other(format!("no HTTP head in {} bytes", answer.len())));
    };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status in {head:?}")))?;
    Ok(Answer { status, head, body: answer.split_off(end + 4) })
}
