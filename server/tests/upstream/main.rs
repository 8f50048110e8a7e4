//! Upstreams as the mirror meets them: a real Apache with git-http-backend, and peers that break every rule.

#![allow(clippy::unwrap_used, reason = "a failure in a test ends the test")]

#[allow(dead_code)] // The support of the end-to-end tests; this binary uses a part of it.
#[path = "../e2e/support/mod.rs"]
mod support;

mod hostile;
mod mirror;
mod packs;
mod peer;
mod proxy;
mod refs;
mod spelling;
