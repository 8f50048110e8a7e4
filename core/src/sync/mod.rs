//! Pure decisions of synchronisation: when to ask the upstream, when to ask again, what to believe.
//!
//! Machines on `(now, event) -> effects`. Time is a [`std::time::Duration`] since any origin that the driver chose, on
//! a clock that never goes back; randomness comes from a seed. No thread, no clock, no socket: the driver in the server
//! performs the effects, and the tests run years of faults in a moment.

mod breaker;
mod bucket;
mod freshness;
mod guard;
mod question;
mod schedule;
#[cfg(test)]
mod tests;
mod wanted;

pub use breaker::{Breaker, BreakerPolicy};
pub use bucket::Bucket;
pub use freshness::{Ask, Decision, Known, Mode};
pub use guard::{EmptyGuard, Judgement};
pub use question::{Effect, Need, Ticket, Verdict};
pub use schedule::{Figures, Policy, Schedule};
pub use wanted::Wanted;

/// SplitMix64: a seed's stream of uniform numbers, for jitter.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
