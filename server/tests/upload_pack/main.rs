//! `heliostat upload-pack` beside stock `git upload-pack`: the same repositories, the same requests, the same clients.
//!
//! Every test runs both and compares: packets, objects, references, exit codes, error texts.

// A test's helper may fail the test.
#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

mod boundaries;
mod clients;
mod configuration;
mod conversation;
mod dates;
mod draft;
mod matrix;
mod process;
mod property;
mod stage;
mod subject;
mod surroundings;
mod transcripts;
