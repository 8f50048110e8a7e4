//! Measurements that need running servers: memory at scale, and cost side by side with stock Git.
//!
//! The servers are real processes, their cost is what the kernel says it was. Nothing here decides whether a number is
//! good: the callers of [`scale`] hold it against a bound.

pub mod apache;
pub mod git;
pub mod heliostat;
pub mod process;
pub mod scale;
pub mod versus;
