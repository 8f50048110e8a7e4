//! The body of an answer, whatever its transfer coding; its end is only its end if HTTP says so.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;

use crate::failure::Failure;

/// A chunk's size with its extensions, or a trailer, is not longer than this.
const LINE_BYTES_MAX: u64 = 1 << 10;
/// Trailers after the last chunk.
const TRAILERS_MAX: usize = 32;

/// What is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// So many bytes.
    Bytes(u64),
    /// So many bytes of this chunk, then others.
    Chunk(u64),
    /// The size of a chunk; of all but the first a line break ends the chunk before.
    NextChunk { first: bool },
    /// Whatever comes before the connection closes.
    ToEnd,
    /// Nothing.
    Nothing,
}

pub(crate) struct Body<'a> {
    /// `None` once the connection has been handed back.
    stream: Option<BufReader<TcpStream>>,
    left: Left,
    /// Where the connection is kept for the next request; `None` if it can't be.
    keep: Option<&'a mut Option<BufReader<TcpStream>>>,
}

impl<'a> Body<'a> {
    pub(crate) fn new(
        stream: BufReader<TcpStream>,
        left: Left,
        keep: Option<&'a mut Option<BufReader<TcpStream>>>,
    ) -> Self {
        Self { stream: Some(stream), left, keep }
    }

    /// Fills the buffer, or says that the body is cut short.
    pub(crate) fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), Failure> {
        while !buffer.is_empty() {
            let read = self.read(buffer)?;
            if read == 0 {
                return Err(Failure::Truncated);
            }
            buffer = &mut buffer[read..];
        }
        Ok(())
    }

    /// The body is over, and so says HTTP; hands the connection back.
    pub(crate) fn is_at_end(&mut self) -> Result<bool, Failure> {
        if self.read(&mut [0])? != 0 {
            return Ok(false);
        }
        if let (Some(keep), Some(stream)) = (self.keep.take(), self.stream.take()) {
            *keep = Some(stream);
        }
        Ok(true)
    }

    /// 0 only at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        if let Left::NextChunk { first } = self.left {
            self.left = next_chunk(stream, first)?;
        }
        let (left, chunked) = match self.left {
            Left::Nothing | Left::Bytes(0) => return Ok(0),
            Left::Bytes(left) => (left, false),
            Left::Chunk(left) => (left, true),
            Left::NextChunk { .. } | Left::ToEnd => return stream.read(buffer).map_err(Failure::of_io),
        };
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = stream.read(&mut buffer[..most]).map_err(Failure::of_io)?;
        if read == 0 {
            return Err(Failure::Truncated);
        }
        let left = left - read as u64;
        self.left = match (chunked, left) {
            (true, 0) => Left::NextChunk { first: false },
            (true, left) => Left::Chunk(left),
            (false, left) => Left::Bytes(left),
        };
        Ok(read)
    }
}

fn next_chunk(stream: &mut BufReader<TcpStream>, first: bool) -> Result<Left, Failure> {
    if !first && !line(stream)?.is_empty() {
        return Err(Failure::Http("a chunk longer than its size"));
    }
    let size = line(stream)?;
    let digits = size.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    match size {
        None => Err(Failure::Http("a chunk size that is no number")),
        Some(0) => {
            for _ in 0..TRAILERS_MAX {
                if line(stream)?.is_empty() {
                    return Ok(Left::Nothing);
                }
            }
            Err(Failure::Http("too many trailers"))
        }
        Some(size) => Ok(Left::Chunk(size)),
    }
}

/// A line without its end.
fn line(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    stream.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(Failure::of_io)?;
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(text.to_vec()),
        None if line.len() as u64 == LINE_BYTES_MAX || line.ends_with(b"\n") => {
            Err(Failure::Http("a line without its end"))
        }
        None => Err(Failure::Truncated),
    }
}
