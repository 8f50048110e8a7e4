//! Hostile peers against a real `heliostat serve`: smuggled, slow, endless and malformed HTTP, and a machine that does
//! not want the server to run.
//!
//! What real clients do is in `tests/e2e`. Every test here ends with a server that still answers.

#![allow(clippy::unwrap_used, reason = "a failure in a test ends the test")]

mod admin;
mod bodies;
mod damage;
mod drain;
mod heads;
mod limits;
mod paths;
mod queue;
mod slow;
mod startup;
mod support;
mod threads;
mod token;
