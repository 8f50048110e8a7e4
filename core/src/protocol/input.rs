//! What has been received and not yet been read, as packets and lines.

use super::refusal::{Refused, quoted, refused};
use crate::{
    fault::Fault,
    limits::REQUEST_BYTES_MAX,
    wire::pktline::{Decoded, Packet, decode},
};

/// Bytes of a connection, counted per request.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: Vec<u8>,
    /// What is before it has been read.
    position: usize,
    /// Bytes of the present request so far, read or not.
    request_bytes: usize,
    /// More than a request may have has arrived, and was dropped.
    overflowing: bool,
    finished: bool,
    /// What was read has been given up.
    is_cut: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A packet; a pkt-line without its newline.
    Packet(Packet<'a>),
    /// Nothing whole yet.
    Wait,
    /// Nothing whole any more.
    End,
}

impl Input {
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.overflowing || self.request_bytes + bytes.len() > REQUEST_BYTES_MAX {
            self.overflowing = true;
            return;
        }
        self.is_cut |= self.position > 0;
        self.buffer.drain(..self.position);
        self.position = 0;
        self.buffer.extend_from_slice(bytes);
        self.request_bytes += bytes.len();
    }

    pub fn finish(&mut self) {
        self.finished = true;
    }

    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// What is not read yet belongs to another request than what was.
    pub fn begin_request(&mut self) {
        self.request_bytes = self.buffer.len() - self.position;
    }

    /// Gives back the memory of what has been read: a request of many wants is megabytes, and its answer may take hours.
    pub fn release(&mut self) {
        self.buffer.drain(..self.position);
        self.buffer.shrink_to_fit();
        self.position = 0;
    }

    /// Whether the request is here from its beginning to its end, read or not.
    pub fn is_whole(&self) -> bool {
        self.finished && !self.is_cut
    }

    /// Nothing has been read: of a request that is whole.
    pub fn rewind(&mut self) {
        self.position = 0;
    }

    /// What is here, read or not.
    pub fn whole(&self) -> &[u8] {
        &self.buffer
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.position..]
    }

    /// The next packet.
    pub fn next(&mut self) -> Refused<Next<'_>> {
        match decode(&self.buffer[self.position..]).map_err(|error| Fault::client(error.to_string()))? {
            Decoded::Complete { packet, consumed } => {
                self.position += consumed;
                match packet {
                    Packet::Data(payload) => line_of(payload).map(|line| Next::Packet(Packet::Data(line))),
                    special => Ok(Next::Packet(special)),
                }
            }
            Decoded::Incomplete { .. } if self.overflowing => refused("upload-pack: request too large"),
            Decoded::Incomplete { .. } if self.finished => Ok(Next::End),
            Decoded::Incomplete { .. } => Ok(Next::Wait),
        }
    }

    /// The next packet; the end is a fault.
    pub fn expect(&mut self) -> Refused<Option<Packet<'_>>> {
        match self.next()? {
            Next::Packet(packet) => Ok(Some(packet)),
            Next::Wait => Ok(None),
            Next::End => refused("the remote end hung up unexpectedly"),
        }
    }
}

/// The line of a pkt-line as Git reads it: without a newline at its end, and no further than a NUL.
pub(super) fn line_of(payload: &[u8]) -> Refused<&[u8]> {
    let line = payload.strip_suffix(b"\n").unwrap_or(payload);
    let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
    match line.strip_prefix(b"ERR ") {
        Some(text) => refused(format!("remote error: {}", quoted(text))),
        None => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_newline_and_what_follows_a_nul() {
        for (payload, line) in [(&b"want\n"[..], &b"want"[..]), (b"a\n\n", b"a\n"), (b"a\0b\n", b"a"), (b"", b"")] {
            assert_eq!(line_of(payload).unwrap(), line);
        }
        assert_eq!(line_of(b"ERR no\x1b[m\n").unwrap_err().public, "remote error: no?[m");
    }

    #[test]
    fn a_request_is_refused_when_it_grows_too_large() {
        let mut input = Input::default();
        let packet = [b"fff0", vec![b'x'; 65_516].as_slice()].concat();
        for _ in 0..REQUEST_BYTES_MAX / packet.len() {
            input.receive(&packet);
        }
        input.receive(&packet);
        for _ in 0..REQUEST_BYTES_MAX / packet.len() {
            assert!(matches!(input.next().unwrap(), Next::Packet(Packet::Data(_))));
        }
        assert_eq!(input.next().unwrap_err().public, "upload-pack: request too large");
    }

    #[test]
    fn requests_on_one_connection_are_counted_apart() {
        let mut input = Input::default();
        let packet = [b"fff0", vec![b'x'; 65_516].as_slice()].concat();
        for _ in 0..2 * REQUEST_BYTES_MAX / packet.len() {
            input.receive(&packet);
            assert!(matches!(input.next().unwrap(), Next::Packet(Packet::Data(_))));
            input.begin_request();
        }
    }
}
