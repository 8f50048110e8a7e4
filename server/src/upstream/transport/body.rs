//! Where the body of a response ends: by length, by chunks (RFC 9112, section 7.1), or with the connection.
//!
//! A body that ends early is an error, never a shorter body. After the last byte nothing of it is left on the connection:
//! the closing chunk and its trailers are read with it, so that the next answer begins where it should.

use super::{
    connection::{Connection, Patience, lost},
    head::Framing,
};
use crate::upstream::UpstreamError;
use heliostat_core::limits::{UPSTREAM_CHUNK_LINE_BYTES_MAX, UPSTREAM_TRAILER_BYTES_MAX};

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing: the next answer may begin.
    Done,
    /// This many bytes.
    Length(u64),
    /// The line of a chunk's size comes next.
    ChunkLine,
    /// This many bytes of a chunk, and its line end.
    Chunk(u64),
    /// Until the connection ends.
    UntilClose,
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::ChunkLine,
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Reads into `out`, which is not empty. 0 at the end, and from then on.
    pub(super) fn read(
        &mut self,
        connection: &mut Connection,
        out: &mut [u8],
        patience: &Patience,
    ) -> Result<usize, UpstreamError> {
        loop {
            match *self {
                Self::Done => return Ok(0),
                Self::UntilClose => {
                    let count = connection.read(out, patience)?;
                    if count == 0 {
                        *self = Self::Done;
                    }
                    return Ok(count);
                }
                Self::Length(left) => {
                    let count = read_some(connection, out, left, patience)?;
                    let left = left - count as u64;
                    *self = if left == 0 { Self::Done } else { Self::Length(left) };
                    return Ok(count);
                }
                Self::ChunkLine => {
                    let size = parse_chunk_size(&read_line(connection, UPSTREAM_CHUNK_LINE_BYTES_MAX, patience)?)?;
                    if size > 0 {
                        *self = Self::Chunk(size);
                    } else {
                        read_trailers(connection, patience)?;
                        *self = Self::Done;
                    }
                }
                Self::Chunk(left) => {
                    let count = read_some(connection, out, left, patience)?;
                    let left = left - count as u64;
                    *self = Self::Chunk(left);
                    if left == 0 {
                        if !read_line(connection, 2, patience)?.is_empty() {
                            return Err(broken("a chunk is longer than it says"));
                        }
                        *self = Self::ChunkLine;
                    }
                    return Ok(count);
                }
            }
        }
    }
}

fn read_some(
    connection: &mut Connection,
    out: &mut [u8],
    left: u64,
    patience: &Patience,
) -> Result<usize, UpstreamError> {
    let room = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    match connection.read(&mut out[..room], patience)? {
        0 => Err(lost("the connection ended in the middle of the answer")),
        count => Ok(count),
    }
}

/// A line of at most `max` bytes, without its CR LF.
fn read_line(connection: &mut Connection, max: usize, patience: &Patience) -> Result<Vec<u8>, UpstreamError> {
    loop {
        let ahead = connection.buffered();
        if let Some(end) = ahead.iter().take(max).position(|byte| *byte == b'\n') {
            let line =
                ahead[..end].strip_suffix(b"\r").ok_or_else(|| broken("a line of chunked framing lacks its CR"))?;
            let line = line.to_vec();
            connection.consume(end + 1);
            return Ok(line);
        }
        if ahead.len() >= max {
            return Err(broken("a line of chunked framing is too long"));
        }
        if !connection.fill(patience)? {
            return Err(lost("the connection ended in the middle of the answer"));
        }
    }
}

fn read_trailers(connection: &mut Connection, patience: &Patience) -> Result<(), UpstreamError> {
    let mut bytes = 0;
    loop {
        let line = read_line(connection, UPSTREAM_TRAILER_BYTES_MAX, patience)?;
        if line.is_empty() {
            return Ok(());
        }
        bytes += line.len();
        if bytes > UPSTREAM_TRAILER_BYTES_MAX {
            return Err(broken("the trailers are too long"));
        }
    }
}

/// The size at the start of a chunk's line; extensions are ignored.
fn parse_chunk_size(line: &[u8]) -> Result<u64, UpstreamError> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    if size.is_empty() || size.len() > 15 || !size.iter().all(u8::is_ascii_hexdigit) {
        return Err(broken("the size of a chunk is malformed"));
    }
    let text = std::str::from_utf8(size).map_err(|_| broken("the size of a chunk is malformed"))?;
    u64::from_str_radix(text, 16).map_err(|_| broken("the size of a chunk is malformed"))
}

fn broken(why: &str) -> UpstreamError {
    UpstreamError::Broken(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes() {
        for (line, size) in
            [("0", 0), ("1f", 31), ("1F;name=value", 31), ("00a  ;x", 10), ("fffffffffffffff", (1 << 60) - 1)]
        {
            assert_eq!(parse_chunk_size(line.as_bytes()), Ok(size), "{line}");
        }
        for line in ["", ";x", "-1", "+1", "0x1", " 1", "1 2", "10000000000000000"] {
            assert!(parse_chunk_size(line.as_bytes()).is_err(), "{line}");
        }
    }
}
