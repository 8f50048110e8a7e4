//! Exponential backoff with full jitter, as a value: the caller brings randomness and keeps the time.
//!
//! Full jitter (a uniform draw between nothing and the exponential bound) spreads the many clients of one failed source
//! best. The counter goes back to zero only by [`Attempts::verified`]: a fetch that succeeds and then fails its
//! verification for ever must not become a hot loop.

use std::time::Duration;

/// How waiting grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Bound of the first wait.
    pub base: Duration,
    /// Bound of every wait.
    pub cap: Duration,
}

impl Backoff {
    /// The bound of the wait after `failures` failures in a row: `base * 2^(failures - 1)`, at most `cap`.
    #[must_use]
    pub fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// The wait after `failures` failures in a row: uniform between nothing and the bound. `random` is uniform over all
    /// of `u64`.
    #[must_use]
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        let bound = u64::try_from(self.bound(failures).as_nanos()).unwrap_or(u64::MAX);
        // The high half of the product of two 64-bit numbers: unbiased enough, and never above the bound.
        let scaled = (u128::from(bound) * u128::from(random)) >> 64;
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(bound))
    }
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    failures: u32,
}

impl Attempts {
    /// How many failures since the last verified success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts one failure and tells how long to wait.
    pub fn failed(&mut self, backoff: &Backoff, random: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backoff.delay(self.failures, random)
    }

    /// The whole operation succeeded and its result was proven. Nothing less resets the counter.
    pub fn verified(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(600) };

    #[test]
    fn bounds_double_up_to_the_cap() {
        let bounds: Vec<u64> = (0..14).map(|failures| BACKOFF.bound(failures).as_secs()).collect();
        assert_eq!(bounds, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        assert_eq!(BACKOFF.bound(u32::MAX), BACKOFF.cap);
    }

    #[test]
    fn jitter_is_full() {
        assert_eq!(BACKOFF.delay(5, 0), Duration::ZERO);
        assert!(BACKOFF.delay(5, u64::MAX) > Duration::from_millis(15_999));
        let half = BACKOFF.delay(5, u64::MAX / 2);
        assert!(half > Duration::from_millis(7_999) && half < Duration::from_millis(8_001), "{half:?}");
    }

    #[test]
    fn only_a_verified_success_resets() {
        let mut attempts = Attempts::default();
        for _ in 0..3 {
            attempts.failed(&BACKOFF, 0);
        }
        assert_eq!(attempts.failures(), 3);
        attempts.verified();
        assert_eq!(attempts.failures(), 0);
    }

    proptest! {
        #[test]
        fn a_delay_never_exceeds_its_bound(base in 0u64..1 << 40, cap in 0u64..1 << 50, failures: u32, random: u64) {
            let backoff = Backoff { base: Duration::from_nanos(base), cap: Duration::from_nanos(cap) };
            prop_assert!(backoff.delay(failures, random) <= backoff.bound(failures));
            prop_assert!(backoff.bound(failures) <= backoff.cap);
            prop_assert!(backoff.bound(failures) <= backoff.bound(failures.saturating_add(1)));
        }

        #[test]
        fn a_delay_grows_with_its_draw(failures in 0u32..40, a: u64, b: u64) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(BACKOFF.delay(failures, low) <= BACKOFF.delay(failures, high));
        }
    }
}
