//! What is to be sent: lines and sections, banded once `sideband-all` was asked for.

use crate::{
    ObjectId,
    fault::Fault,
    limits::{PKT_LINE_PAYLOAD_MAX, SIDE_BAND_PAYLOAD_MAX},
    pack::Framing,
    wire::{
        pktline,
        sideband::{self, Band},
    },
};
use std::{fmt, io::Write as _};

/// Bytes that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Reply {
    out: Vec<u8>,
    banded: bool,
}

impl Reply {
    /// From here on lines are frames of band 1 (`sideband-all`), or not any more.
    pub fn set_banded(&mut self, banded: bool) {
        self.banded = banded;
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Takes what waits.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub fn line(&mut self, text: fmt::Arguments<'_>) {
        self.frame(|out| {
            // Writing to a vector can't fail.
            let _ = out.write_fmt(text);
        });
    }

    /// A line that is not all text.
    pub fn frame(&mut self, payload: impl FnOnce(&mut Vec<u8>)) {
        let banded = self.banded;
        pktline::frame(&mut self.out, |out| {
            if banded {
                out.push(Band::Data as u8);
            }
            payload(out);
        });
    }

    pub fn flush(&mut self) {
        self.out.extend_from_slice(pktline::FLUSH);
    }

    pub fn delimiter(&mut self) {
        self.out.extend_from_slice(pktline::DELIMITER);
    }

    /// An `ERR` packet: the peer knows it outside the pack, banded or not.
    pub fn error(&mut self, text: &str) {
        let text = &text.as_bytes()[..text.len().min(PKT_LINE_PAYLOAD_MAX - 4)];
        pktline::frame(&mut self.out, |out| {
            out.extend_from_slice(b"ERR ");
            out.extend_from_slice(text);
        });
    }

    /// The end of an answer that fails within the pack. Without side-band nothing can be said: the stream just ends, and
    /// lacks its checksum.
    pub fn pack_error(&mut self, fault: &Fault, framing: Framing) {
        if framing != Framing::Bare {
            let text = fault.public.as_bytes();
            // One frame that fits either side-band: an error in pieces would be shown in pieces.
            sideband::frames(&mut self.out, Band::Error, &text[..text.len().min(SIDE_BAND_PAYLOAD_MAX)], text.len());
        }
    }
}

/// Appends `id` in hexadecimal.
pub(super) fn put_id(out: &mut Vec<u8>, id: &ObjectId) {
    // Writing to a vector can't fail.
    let _ = id.write_hex_to(out);
}
