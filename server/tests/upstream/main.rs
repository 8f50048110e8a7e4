//! Upstreams as the mirror meets them: a real Apache with git-http-backend, and peers that break every rule.

#[allow(dead_code)] // The support of the end-to-end tests; this binary uses a part of it.
#[path = "../e2e/support/mod.rs"]
mod support;

mod hostile;
mod mirror;
mod packs;
mod peer;
mod refs;
