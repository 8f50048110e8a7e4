//! How long a connection is waited for: a fixed time for a head, a pace for a body or an answer. Pure: time is an
//! argument.
//!
//! A pace is a leaky bucket: every byte buys a little time, and no more than [`HTTP_STALL_TIME`] can be saved up. So a
//! peer at one byte a second is given up after about that time, and so is one that was fast and has stopped, while one
//! at or above the pace is never.

use heliostat_core::limits::HTTP_STALL_TIME;
use std::time::{Duration, Instant};

/// What a connection may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// When it is over; `None` while it is we who are at work.
    ends: Option<Instant>,
    /// Nanoseconds that a byte buys; 0 for a fixed time.
    bought_by_byte: u64,
    /// However many bytes come, not beyond this.
    last: Option<Instant>,
}

impl Patience {
    /// Nothing is expected of the peer.
    pub const ENDLESS: Self = Self { ends: None, bought_by_byte: 0, last: None };

    /// `time` from `now`, whatever comes.
    pub fn fixed(now: Instant, time: Duration) -> Self {
        Self { ends: Some(now + time), bought_by_byte: 0, last: None }
    }

    /// At least `bytes_per_second` from `now` on, and no longer than `whole` altogether.
    pub fn pace(now: Instant, bytes_per_second: u32, whole: Duration) -> Self {
        Self {
            ends: Some(now + HTTP_STALL_TIME),
            bought_by_byte: 1_000_000_000 / u64::from(bytes_per_second.max(1)),
            last: Some(now + whole),
        }
    }

    /// `bytes` have moved.
    pub fn moved(&mut self, now: Instant, bytes: usize) {
        if self.bought_by_byte == 0 {
            return;
        }
        if let Some(ends) = &mut self.ends {
            let bought = Duration::from_nanos(self.bought_by_byte.saturating_mul(bytes as u64));
            *ends = (*ends + bought.min(HTTP_STALL_TIME)).min(now + HTTP_STALL_TIME);
            if let Some(last) = self.last {
                *ends = (*ends).min(last);
            }
        }
    }

    /// Whether the peer has had its time.
    pub fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| now >= ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// After how many seconds a peer that moves `bytes` each second is given up, if within an hour.
    fn given_up_after(mut patience: Patience, start: Instant, bytes: impl Fn(u32) -> usize) -> Option<u32> {
        (1..3_600).find(|&second| {
            let now = start + SECOND * second;
            let over = patience.is_over(now);
            patience.moved(now, bytes(second));
            over
        })
    }

    #[test]
    fn slow_peers_are_given_up_and_steady_ones_are_not() {
        let start = Instant::now();
        let pace = Patience::pace(start, 1_000, Duration::from_secs(7_200));
        let stall = u32::try_from(HTTP_STALL_TIME.as_secs()).unwrap();
        assert_eq!(given_up_after(pace, start, |_| 0), Some(stall));
        assert_eq!(given_up_after(pace, start, |_| 1), Some(stall + 1));
        assert_eq!(given_up_after(pace, start, |_| 1_000), None);
        assert_eq!(given_up_after(pace, start, |second| if second % 20 == 0 { 20_000 } else { 0 }), None);
        // Being fast first buys no right to stop later.
        assert_eq!(given_up_after(pace, start, |second| if second < 100 { 1 << 30 } else { 0 }), Some(99 + stall));
    }

    #[test]
    fn the_whole_is_bounded_and_a_fixed_time_is_fixed() {
        let start = Instant::now();
        let pace = Patience::pace(start, 1_000, SECOND * 100);
        assert_eq!(given_up_after(pace, start, |_| 1 << 20), Some(100));
        assert_eq!(given_up_after(Patience::fixed(start, SECOND * 10), start, |_| 1 << 20), Some(10));
        assert_eq!(given_up_after(Patience::ENDLESS, start, |_| 0), None);
    }
}
