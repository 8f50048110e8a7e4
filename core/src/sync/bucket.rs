//! A token bucket: a rate with a burst.

use std::time::Duration;

/// Lets `per_second` events through in the long run, and up to `burst` at once.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second: f64::from(per_second),
            burst: f64::from(burst),
            tokens: f64::from(burst),
            at: Duration::ZERO,
        }
    }

    /// Whether one more event may pass at `now`.
    pub fn take(&mut self, now: Duration) -> bool {
        let elapsed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.per_second).min(self.burst);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(2, 5);
        let passed = (0..20).filter(|_| bucket.take(Duration::from_secs(1))).count();
        assert_eq!(passed, 5);
        let passed =
            (0..100u32).filter(|i| bucket.take(Duration::from_secs(1) + Duration::from_millis(100) * *i)).count();
        assert!((19..=20).contains(&passed), "{passed}");
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_fills_nothing() {
        let mut bucket = Bucket::new(1_000, 1);
        assert!(bucket.take(Duration::from_secs(10)));
        assert!(!bucket.take(Duration::from_secs(10)));
        assert!(!bucket.take(Duration::from_secs(5)));
        assert!(bucket.take(Duration::from_secs(11)));
    }
}
