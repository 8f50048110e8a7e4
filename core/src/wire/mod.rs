//! Bytes and frames: pkt-lines, side-band, capability lists. Knows nothing of requests or repositories.

pub mod capability;
pub mod pktline;
pub mod sideband;
