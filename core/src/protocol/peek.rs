//! A look at a v2 request that has been received and not yet been read: at its beginning, where what matters stands, since
//! it is taken on a shard.

use super::{Asked, input::line_of};
use crate::{
    limits::SHARD_REQUEST_BYTES_MAX,
    wire::pktline::{Decoded, Packet, decode},
};

/// What the request asks of the answer's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peek {
    /// `sideband-all`, in a fetch that is there as a whole, or is long and says so at its beginning.
    pub sideband_all: bool,
    /// `no-progress`.
    pub no_progress: bool,
}

impl Peek {
    /// What the command asks for; `None`: it has not been named yet.
    pub fn command(rest: &[u8]) -> Option<Asked> {
        let mut packets = Packets::at_beginning(rest);
        while let Some(packet) = packets.next() {
            match packet {
                Ok(Packet::Data(payload)) => {
                    if let Some(name) = payload.strip_prefix(b"command=") {
                        return Some(match line_of(name) {
                            Ok(b"fetch") => Asked::Pack,
                            Ok(b"object-info") => Asked::ObjectInfo,
                            Ok(b"ls-refs") => Asked::References,
                            _ => Asked::Nothing,
                        });
                    }
                }
                // The answer is an error, or there is none.
                Ok(_) | Err(()) => return Some(Asked::Nothing),
            }
        }
        // Whoever hides its command so far behind may be asking for references: the strictest to answer.
        packets.is_cut.then_some(Asked::References)
    }

    /// What a request says; the default if it ends before its end.
    pub fn request(rest: &[u8]) -> Self {
        let mut packets = Packets::at_beginning(rest);
        let (mut peek, mut fetch) = (Self::default(), false);
        loop {
            match packets.next() {
                Some(Ok(Packet::Data(payload))) => match line_of(payload) {
                    Ok(b"command=fetch") => fetch = true,
                    Ok(b"sideband-all") => peek.sideband_all = true,
                    Ok(b"no-progress") => peek.no_progress = true,
                    _ => {}
                },
                Some(Ok(Packet::Delimiter)) => {}
                Some(Ok(Packet::Flush)) if fetch => return peek,
                None if fetch && packets.is_cut => return peek,
                _ => return Self::default(),
            }
        }
    }
}

struct Packets<'a> {
    rest: &'a [u8],
    /// There is more than is looked at.
    is_cut: bool,
}

impl<'a> Packets<'a> {
    fn at_beginning(rest: &'a [u8]) -> Self {
        let looked_at = rest.len().min(SHARD_REQUEST_BYTES_MAX);
        Self { rest: &rest[..looked_at], is_cut: looked_at < rest.len() }
    }

    /// `None`: no whole packet any more.
    fn next(&mut self) -> Option<Result<Packet<'a>, ()>> {
        match decode(self.rest) {
            Ok(Decoded::Complete { packet, consumed }) => {
                self.rest = &self.rest[consumed..];
                Some(Ok(packet))
            }
            Ok(Decoded::Incomplete { .. }) => None,
            Err(_) => Some(Err(())),
        }
    }
}
