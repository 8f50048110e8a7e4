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

    /// An event that passed counts for nothing after all.
    pub fn give_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.burst);
    }

    /// How long after `now` the next event may pass; a day where none ever may.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Duration {
        const NEVER: Duration = Duration::from_secs(86_400);
        let passed = now.saturating_sub(self.at).as_secs_f64() * self.per_second;
        let missing = (1.0 - self.tokens - passed).max(0.0);
        if missing == 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(NEVER).min(NEVER)
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
    fn what_is_given_back_may_pass_again_and_no_more() {
        let (mut bucket, now) = (Bucket::new(1, 2), Duration::from_secs(1));
        assert!(bucket.take(now) && bucket.take(now) && !bucket.take(now));
        assert_eq!(bucket.wait(now), Duration::from_secs(1));
        bucket.give_back();
        assert_eq!(bucket.wait(now), Duration::ZERO);
        assert!(bucket.take(now) && !bucket.take(now));
        for _ in 0..9 {
            bucket.give_back();
        }
        assert_eq!((0..9).filter(|_| bucket.take(now)).count(), 2);
        assert!(Bucket::new(0, 0).wait(now) > Duration::from_secs(3_600));
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
