//! The upload-pack machine against stock `git upload-pack`: the same repositories, the same bytes in, the same protocol
//! decisions out. `docs/protocol.md` lists every difference with its reason; [`dialogue`] holds the same list as code.

// A panic is a test's report, in what it calls too.
#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

mod absent;
mod bounds;
mod dialogue;
mod fixture;
mod properties;
#[path = "../stock/mod.rs"]
mod stock;
mod v0;
mod v2;
