//! May this caller read this repository? The upstream decides; here it is asked, and its answers are kept for a while.
//!
//! A [`Grant`] is the only way to whatever reads a repository, and [`gate`] the only place that makes one. The decisions are
//! `heliostat_core::rights`'; here are the thread that owns that machine ([`driver`]), the threads that ask, and the ways
//! to ask ([`judge`]).
//!
//! The mirror's own credential ([`own`]) and a caller's ([`credential`]) are two types: no function takes both.

pub mod challenge;
pub mod credential;
mod driver;
pub mod gate;
mod grant;
mod hook;
mod judge;
pub mod own;
pub mod public;
mod refused;
mod replay;
mod shard_memory;

pub use driver::{Rights, Threads};
pub use grant::Grant;
pub use hook::check_url as check_hook_url;
pub use refused::Refused;
pub use shard_memory::ShardMemory;
