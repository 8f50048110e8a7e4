//! What is counted while the node works, and how it is told to a monitoring system.
//!
//! Requests are counted by each shard in counters of its own, on cache lines of their own: nothing is allocated, no shard
//! waits for another, and whoever reads adds up. Plans and syncs are counted once a node: they take milliseconds.
//!
//! Every label is a word of ours from a closed list. Nothing that a client or an upstream chooses ever becomes one, no
//! repository's path either: the number of time series does not depend on who asks.

pub mod counter;
pub mod plans;
pub mod process;
pub mod requests;
pub mod syncs;
pub mod text;

pub use counter::{Counter, Durations, Gauge};
pub use plans::PlanCounts;
pub use requests::ShardCounts;
pub use syncs::SyncCounts;

/// Where `word` stands in a closed list of labels; behind its end if it is not in it.
fn place(words: &[&str], word: &str) -> usize {
    words.iter().position(|known| *known == word).unwrap_or(words.len())
}

/// The word at `place`; `other` behind the end.
fn word(words: &[&'static str], place: usize) -> &'static str {
    words.get(place).copied().unwrap_or("other")
}
