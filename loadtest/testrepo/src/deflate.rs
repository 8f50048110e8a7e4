//! One zlib compressor, used again for each object.
//!
//! zlib-rs picks vector instructions by processor, but only to compare and to move bytes: its output for an input and
//! a level is the same everywhere, so packs are too. It may change with its version; ids never do.

use std::io::{self, Read as _};

use flate2::{Compress, Compression, FlushCompress, Status};

/// A compressor that keeps its tables between objects.
pub(crate) struct Deflater {
    machine: Compress,
    output: Vec<u8>,
}

impl Deflater {
    pub(crate) fn new(level: u32) -> Self {
        Deflater { machine: Compress::new(Compression::new(level), true), output: Vec::new() }
    }

    /// The zlib stream of `pieces`, one after the other, valid until the next call.
    pub(crate) fn deflate(&mut self, pieces: &[&[u8]]) -> io::Result<&[u8]> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.machine.reset();
        self.output.clear();
        // Deflate's worst case is five bytes for each stored block, and the frame; with this much there is one pass.
        self.output.reserve(len + len / 1000 + 64);
        for (at, piece) in pieces.iter().enumerate() {
            let flush = if at + 1 == pieces.len() { FlushCompress::Finish } else { FlushCompress::None };
            let end = self.machine.total_in() + piece.len() as u64;
            loop {
                let done = piece.len() - (end - self.machine.total_in()) as usize;
                let status = self.machine.compress_vec(&piece[done..], &mut self.output, flush)?;
                let all_in = self.machine.total_in() == end;
                if status == Status::StreamEnd || (all_in && flush == FlushCompress::None) {
                    break;
                }
                self.output.reserve(64 + len / 8);
            }
        }
        Ok(&self.output)
    }
}

/// The content of a zlib stream at the start of `input`, which must inflate to exactly `len` bytes.
pub(crate) fn inflate(input: impl io::Read, len: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    flate2::read::ZlibDecoder::new(input).take(len as u64 + 1).read_to_end(&mut content)?;
    if content.len() != len {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "inflated size differs from the recorded one"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn streams_come_back() {
        let noise = Rng::new(3).bytes(300_000);
        for level in [0, 1, 6, 9] {
            let mut deflater = Deflater::new(level);
            for content in [&b""[..], b"x", &[b'a'; 100_000], &noise] {
                for cut in [0, content.len() / 2] {
                    let (head, tail) = content.split_at(cut);
                    let stream = deflater.deflate(&[head, tail]).unwrap().to_vec();
                    assert_eq!(inflate(&stream[..], content.len()).unwrap(), content);
                }
            }
        }
    }
}
