//! pkt-lines of an answer (`gitprotocol-common`), and of a request.

use crate::body::Body;
use crate::failure::Failure;

/// `gitprotocol-common`: a pkt-line is at most this long, its length included.
const FRAME_BYTES_MAX: usize = 65_520;

/// One pkt-line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
    /// Its payload.
    Data(&'a [u8]),
}

/// Takes an answer apart.
pub(crate) struct Frames<'a> {
    body: Body<'a>,
    payload: Vec<u8>,
    /// Bytes so far, lengths included.
    pub(crate) bytes: u64,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(body: Body<'a>) -> Self {
        Self { body, payload: vec![0; FRAME_BYTES_MAX], bytes: 0 }
    }

    /// The next frame. An `ERR` packet is a failure wherever it comes: no other line begins with these letters, and on
    /// a side-band the number of the band comes first.
    pub(crate) fn next(&mut self) -> Result<Frame<'_>, Failure> {
        let mut digits = [0; 4];
        self.body.read_exact(&mut digits)?;
        let length = length(&digits).ok_or(Failure::Framing("a length that is no number"))?;
        self.bytes += length.max(4) as u64;
        match length {
            0 => Ok(Frame::Flush),
            1 => Ok(Frame::Delimiter),
            2 | 3 => Err(Failure::Framing("a special packet that does not belong here")),
            4 => Err(Failure::Framing("an empty packet")),
            FRAME_BYTES_MAX.. if length > FRAME_BYTES_MAX => Err(Failure::Framing("a packet that is too long")),
            _ => {
                let payload = &mut self.payload[..length - 4];
                self.body.read_exact(payload)?;
                match payload.strip_prefix(b"ERR ") {
                    Some(line) => Err(Failure::Remote(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())),
                    None => Ok(Frame::Data(payload)),
                }
            }
        }
    }

    /// After the last flush nothing may come.
    pub(crate) fn end(mut self) -> Result<u64, Failure> {
        if self.body.is_at_end()? { Ok(self.bytes) } else { Err(Failure::Framing("more after the final flush")) }
    }
}

fn length(digits: &[u8; 4]) -> Option<usize> {
    digits.iter().try_fold(0, |sum, &digit| Some(sum * 16 + char::from(digit).to_digit(16)? as usize))
}

/// A text line without a line break.
pub(crate) fn text(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Appends a line to a request.
pub(crate) fn push(request: &mut Vec<u8>, line: &str) {
    request.extend_from_slice(format!("{:04x}{line}\n", line.len() + 5).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(length(b"0000"), Some(0));
        assert_eq!(length(b"fFf0"), Some(65_520));
        for digits in [b"+001", b"000g", b"  04"] {
            assert_eq!(length(digits), None);
        }
        let mut request = Vec::new();
        push(&mut request, "done");
        assert_eq!(request, b"0009done\n");
    }
}
