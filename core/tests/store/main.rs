//! The store against real repositories, with stock Git as the oracle.

mod consolidation;
mod crash;
mod publish;
mod recorder;
mod upstream;
