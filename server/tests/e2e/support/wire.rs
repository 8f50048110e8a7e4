//! A client of the wire: one request, and everything that comes back with the time at which it came.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::http::Answer;

/// A request that has been sent and whose answer is still coming.
pub struct Call {
    stream: TcpStream,
    pub sent: Instant,
    /// When bytes came, and how many there were then.
    pub times: Vec<(Instant, usize)>,
    pub bytes: Vec<u8>,
    pub is_over: bool,
}

impl Call {
    /// A fetch in version 2.
    pub fn fetch(port: u16, path: &str, lines: &[&str]) -> Self {
        let all = [&["command=fetch", "0001"], lines, &["done", "0000"]].concat();
        let body: String = all.iter().map(|line| super::conversation::packet(line)).collect();
        let head = format!(
            "POST /{path}/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nGit-Protocol: version=2\r\n\
             Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the main port");
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("it is read");
        Self { stream, sent: Instant::now(), times: Vec::new(), bytes: Vec::new(), is_over: false }
    }

    /// Reads until `enough` of what has come, or its end, or for `time`. Whether it was enough.
    pub fn read(&mut self, time: Duration, enough: impl Fn(&str) -> bool) -> bool {
        let deadline = Instant::now() + time;
        let mut buffer = vec![0; 1 << 16];
        loop {
            if enough(&String::from_utf8_lossy(&self.bytes)) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_over {
                return false;
            }
            self.stream.set_read_timeout(Some(left)).expect("a nonzero time");
            match self.stream.read(&mut buffer) {
                Ok(read @ 1..) => {
                    self.bytes.extend_from_slice(&buffer[..read]);
                    self.times.push((Instant::now(), self.bytes.len()));
                }
                Ok(_) => self.is_over = true,
                // Not within the time that is left.
                Err(_) => {}
            }
        }
    }

    /// The whole answer.
    pub fn finish(mut self, time: Duration) -> Answer {
        self.read_to_end(time);
        self.answer()
    }

    /// Reads to the end.
    pub fn read_to_end(&mut self, time: Duration) {
        let mut buffer = vec![0; 1 << 16];
        let deadline = Instant::now() + time;
        while !self.is_over {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no end within {time:?}: {}", String::from_utf8_lossy(&self.bytes));
            self.stream.set_read_timeout(Some(left)).expect("a nonzero time");
            match self.stream.read(&mut buffer) {
                Ok(read @ 1..) => {
                    self.bytes.extend_from_slice(&buffer[..read]);
                    self.times.push((Instant::now(), self.bytes.len()));
                }
                Ok(_) => self.is_over = true,
                // Not within the time that is left.
                Err(_) => {}
            }
        }
    }

    /// What has come, as an answer.
    pub fn answer(&self) -> Answer {
        let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { status, head, body: self.bytes[end + 4..].to_vec() }
    }

    /// The longest time without a byte, from the request to the last.
    pub fn silence(&self) -> Duration {
        let at = std::iter::once(self.sent).chain(self.times.iter().map(|(at, _)| *at));
        at.clone().zip(at.skip(1)).map(|(before, after)| after - before).max().unwrap_or_default()
    }
}

/// The payloads of pkt-lines, as far as they are whole; `None` for flush and the other special ones.
pub fn packets(payload: &[u8]) -> Vec<Option<&[u8]>> {
    let (mut rest, mut packets) = (payload, Vec::new());
    while let Some(length) = rest.get(..4) {
        let length = std::str::from_utf8(length).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.expect("a length in hexadecimal");
        if length < 4 {
            packets.push(None);
            rest = &rest[4..];
            continue;
        }
        let Some(packet) = rest.get(4..length) else { break };
        packets.push(Some(packet));
        rest = &rest[length..];
    }
    packets
}
