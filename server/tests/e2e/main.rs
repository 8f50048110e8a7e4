//! End to end: real Git clients against a mirror of a real Apache with `git-http-backend`.
//!
//! Each module is one boundary with its cases as data. What came through the mirror is compared with what the same
//! client got from the upstream itself: references, objects, shallow boundary; and `git fsck --full --strict`.
//! A missing program is a failure with the name of its package, never a skip.
//!
//! With `HELIOSTAT_E2E_CALIBRATE=1` the mirror is left out and the upstream is compared with itself: that proves the
//! cases, not the mirror. `./check` unsets it.

// A panic is a test's report, in what it calls too.
#![allow(clippy::unwrap_used)]

mod admin;
mod clone;
mod crash;
mod demo;
mod directory;
mod fetch;
mod foreign;
mod generated;
mod hostile;
mod ls_remote;
mod names;
mod outage;
mod partial;
mod support;
mod tls;
