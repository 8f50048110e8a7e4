//! The Heliostat server: shards, HTTP, upstream adapters, synchronisation, administration.
//!
//! The binary is a thin `main` around this library, so that tests and fuzzers reach the parsers.

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod holder;
pub mod http;
pub mod logging;
pub mod lost_pages;
pub mod metrics;
pub mod secret;
pub mod serve;
pub mod shard;
pub mod sync;
pub mod tls;
pub mod upstream;
