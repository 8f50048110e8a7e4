//! The store against real repositories, with stock Git as the oracle.

mod publish;
mod upstream;
