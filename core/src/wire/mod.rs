//! Bytes and frames: pkt-line, side-band, capabilities.
