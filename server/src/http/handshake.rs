//! The first bytes of a connection to a port that speaks TLS: a handshake, in its own time; or plain HTTP, whose sender is
//! told what it has mistaken.

use super::{
    patience::Patience,
    wire::{Awaited, Wire},
};
use crate::tls::Serving;
use heliostat_core::limits::TLS_HANDSHAKE_TIME;
use std::{io, time::Instant};

/// The begin of every record of a handshake (RFC 8446, section 5.1): no request begins so.
pub(super) const HANDSHAKE_RECORD: u8 = 22;
/// The alert `handshake_failure` (RFC 8446, section 6), for who speaks TLS where nobody does.
pub(super) const HANDSHAKE_FAILURE: &[u8] = &[21, 3, 3, 0, 2, 2, 40];
/// The alert `internal_error`, for who comes when the server is full.
pub const FULL: &[u8] = &[21, 3, 3, 0, 2, 2, 80];

/// Why there is no handshake.
pub(super) enum NoHandshake {
    /// The peer is gone, or said nothing in time.
    Gone,
    /// It speaks HTTP.
    Plain,
    /// It speaks TLS otherwise than we can, or nothing that we know.
    Failed(io::Error),
}

/// Shakes hands; what was read before it is in `input`.
pub(super) async fn shake_hands(wire: &Wire, serving: &Serving, input: &mut Vec<u8>) -> Result<(), NoHandshake> {
    wire.wait_for(Awaited::Handshake, Patience::fixed(Instant::now(), TLS_HANDSHAKE_TIME));
    if input.is_empty() && matches!(wire.read(input).await, Ok(0) | Err(_)) {
        return Err(NoHandshake::Gone);
    }
    // A method's first letter.
    if input[0].is_ascii_uppercase() {
        return Err(NoHandshake::Plain);
    }
    let session = serving.session().map_err(|error| NoHandshake::Failed(io::Error::other(error)))?;
    match wire.secure(session, std::mem::take(input)).await {
        Ok(()) => Ok(()),
        Err(_) if wire.is_expired() => Err(NoHandshake::Failed(io::Error::other("it took too long"))),
        Err(error) => Err(NoHandshake::Failed(error)),
    }
}
