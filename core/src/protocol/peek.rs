//! A look at a v2 request that has been received and not yet been read.

use super::input::line_of;
use crate::wire::pktline::{Decoded, Packet, decode};

/// What the request asks of the answer's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peek {
    /// `sideband-all`, in a request that is there as a whole.
    pub sideband_all: bool,
    /// `no-progress`.
    pub no_progress: bool,
}

impl Peek {
    /// Whether the command needs planning; `None`: it has not been named yet.
    pub fn command(rest: &[u8]) -> Option<bool> {
        let mut packets = Packets { rest };
        loop {
            match packets.next()? {
                Ok(Packet::Data(payload)) => {
                    if let Some(name) = payload.strip_prefix(b"command=") {
                        return Some(line_of(name).is_ok_and(|name| name == b"fetch"));
                    }
                }
                // The answer is an error, or there is none.
                Ok(_) | Err(()) => return Some(false),
            }
        }
    }

    /// What a whole request says; the default if it is not there as a whole.
    pub fn request(rest: &[u8]) -> Self {
        let mut packets = Packets { rest };
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
                _ => return Self::default(),
            }
        }
    }
}

struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
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
