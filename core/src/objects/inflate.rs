//! Inflating streams whose size was declared beforehand: never more memory than the declaration and the input justify.

use flate2::{Decompress, FlushDecompress, Status};

/// A reusable inflate state.
pub(super) struct Inflate {
    state: Decompress,
}

/// The best ratio that deflate can reach is 1032:1 (`RFC 1951`: 258 bytes from two bits); a declared size above it lies.
const RATIO_MAX: u64 = 1032;

impl Inflate {
    pub(super) fn new() -> Self {
        Self { state: Decompress::new(true) }
    }

    /// Inflates a zlib stream at the beginning of `input` into `out`, replacing it. The stream must hold exactly `size`
    /// bytes. Returns how many bytes of `input` the stream took.
    pub(super) fn exact(&mut self, input: &[u8], size: u64, out: &mut Vec<u8>) -> Result<usize, &'static str> {
        if size > (input.len() as u64).saturating_mul(RATIO_MAX) {
            return Err("more bytes are declared than the stream can hold");
        }
        let size = usize::try_from(size).map_err(|_| "more bytes are declared than memory can hold")?;
        self.state.reset(true);
        out.clear();
        // One byte more than declared: there is always room to see the end of the stream, or that it does not come.
        out.reserve_exact(size + 1);
        loop {
            let (taken, filled) = (self.state.total_in(), out.len());
            let rest = input.get(taken as usize..).unwrap_or_default();
            let status = self
                .state
                .decompress_vec(rest, out, FlushDecompress::Finish)
                .map_err(|_| "the zlib stream is damaged")?;
            if out.len() > size {
                return Err("the zlib stream holds more than declared");
            }
            match status {
                Status::StreamEnd if out.len() == size => return Ok(self.state.total_in() as usize),
                Status::StreamEnd => return Err("the zlib stream holds less than declared"),
                Status::Ok | Status::BufError => {
                    if self.state.total_in() == taken && out.len() == filled {
                        return Err("the zlib stream is truncated");
                    }
                }
            }
        }
    }

    /// Inflates only as much as fits `out`; fewer bytes if the stream ends before. Returns how many.
    pub(super) fn prefix(&mut self, input: &[u8], out: &mut [u8]) -> Result<usize, &'static str> {
        self.state.reset(true);
        loop {
            let (taken, filled) = (self.state.total_in() as usize, self.state.total_out() as usize);
            let status = self
                .state
                .decompress(input.get(taken..).unwrap_or_default(), &mut out[filled..], FlushDecompress::None)
                .map_err(|_| "the zlib stream is damaged")?;
            let filled_now = self.state.total_out() as usize;
            let stuck = self.state.total_in() as usize == taken && filled_now == filled;
            if status == Status::StreamEnd || filled_now == out.len() || stuck {
                return Ok(filled_now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn sizes_are_exact() {
        for data in [&b""[..], b"a", &[7; 100_000]] {
            let stream = zlib(data);
            let (mut inflate, mut out) = (Inflate::new(), Vec::new());
            let mut with_tail = stream.clone();
            with_tail.extend_from_slice(b"next entry");
            assert_eq!(inflate.exact(&with_tail, data.len() as u64, &mut out), Ok(stream.len()));
            assert_eq!(out, data);
            assert!(inflate.exact(&stream, data.len() as u64 + 1, &mut out).is_err());
            if !data.is_empty() {
                assert!(inflate.exact(&stream, data.len() as u64 - 1, &mut out).is_err());
            }
            for cut in 0..stream.len().min(40) {
                assert!(inflate.exact(&stream[..cut], data.len() as u64, &mut out).is_err(), "cut at {cut}");
            }
            assert!(inflate.exact(&stream, 1 << 48, &mut out).is_err());
            let mut start = [0; 8];
            assert_eq!(inflate.prefix(&stream, &mut start), Ok(data.len().min(8)));
        }
    }
}
