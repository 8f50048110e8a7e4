//! End to end: real Git clients against a mirror of a real Apache with `git-http-backend`.
//!
//! Each module is one boundary with its cases as data. What came through the mirror is compared with what the same
//! client got from the upstream itself: references, objects, shallow boundary; and `git fsck --full --strict`.
//! A missing program is a failure with the name of its package, never a skip.
//!
//! With `HELIOSTAT_E2E_CALIBRATE=1` the mirror is left out and the upstream is compared with itself: that proves the
//! cases, not the mirror. `./check` unsets it.

// A panic is a test's report, in what it calls too.
#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

/// A test for each Git of the machine with each protocol version: `check(which, version)`.
macro_rules! each_client {
    ($check:ident) => {
        each_client!(@ $check protocol_2 Machine 2, protocol_1 Machine 1, protocol_0 Machine 0);
        each_client!(@ $check debian_protocol_2 Debian 2, debian_protocol_1 Debian 1, debian_protocol_0 Debian 0);
    };
    (@ $check:ident $($name:ident $which:ident $version:literal),*) => {$(
        #[test]
        fn $name() {
            $check(crate::support::git::Which::$which, $version);
        }
    )*};
}

mod admin;
mod adversarial;
mod api;
mod balancers;
mod beside;
mod churn;
mod clone;
mod crash;
mod demo;
mod directory;
mod egress;
mod fetch;
mod foreign;
mod freshness;
mod generated;
mod hidden;
mod hostile;
mod https;
mod interleaved;
mod kept;
mod large_files;
mod ls_remote;
mod metrics;
mod names;
mod odd;
mod outage;
mod parked;
mod partial;
mod progress;
mod purge;
mod pushes;
mod rights;
mod support;
mod tls;
mod wanted;
mod webhooks;
