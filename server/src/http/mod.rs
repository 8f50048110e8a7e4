//! HTTP/1.1: what comes in, what goes out, and how long it is waited for. Knows sockets and requests; what a pack is it
//! does not know.
//!
//! Pure: [`head`], [`chunked`], [`body`], [`target`], [`response`], [`patience`], [`admission`], [`proxy_protocol`],
//! [`client`]. On the shard's executor: [`wire`] (one socket, with `tls` or without), [`handshake`], [`exchange`] (one
//! request), [`connection`] (one after the other).

pub mod admission;
pub mod body;
pub mod chunked;
pub mod client;
pub mod connection;
pub mod exchange;
pub mod handshake;
pub mod head;
pub mod patience;
pub mod proxy_protocol;
pub mod response;
pub mod signature;
pub mod target;
mod tls;
pub mod wire;
