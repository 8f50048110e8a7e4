//! The store against real repositories, with stock Git as the oracle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod asked;
mod churn;
mod consolidation;
mod crash;
mod entries;
mod hostile;
mod publish;
mod purge;
mod recorder;
mod start;
mod tables;
mod upstream;
