//! Numbers that go up, numbers that go up and down, and times sorted into a few classes.
//!
//! All are atomics without any order among them: a reader may see a request counted whose bytes are not yet.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Goes up only.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// How many there have been.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Says how many there are now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// So many.
    pub fn set(&self, count: usize) {
        self.0.store(count as u64, Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the classes of times, in milliseconds, and as Prometheus writes them in seconds. What takes longer is in
/// the last class, without a bound.
pub const BOUNDS: [(u64, &str); 12] = [
    (1, "0.001"),
    (3, "0.003"),
    (10, "0.01"),
    (30, "0.03"),
    (100, "0.1"),
    (300, "0.3"),
    (1_000, "1"),
    (3_000, "3"),
    (10_000, "10"),
    (30_000, "30"),
    (100_000, "100"),
    (600_000, "600"),
];
const CLASSES: usize = BOUNDS.len() + 1;

/// How long things took.
#[derive(Debug, Default)]
pub struct Durations {
    classes: [Counter; CLASSES],
    micros: Counter,
}

/// What one or several [`Durations`] have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// How many took at most as long as each bound, and last how many there were.
    pub cumulative: [u64; CLASSES],
    /// All times together, in seconds.
    pub seconds: f64,
}

impl Durations {
    /// One more, that took so long.
    pub fn observe(&self, time: Duration) {
        let class = BOUNDS.iter().position(|(bound, _)| time <= Duration::from_millis(*bound)).unwrap_or(BOUNDS.len());
        self.classes[class].one();
        self.micros.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// What all of `several` have counted.
    pub fn sum<'a>(several: impl Iterator<Item = &'a Self>) -> Spread {
        let mut sum = Spread::default();
        for durations in several {
            let mut so_far = 0;
            for (total, class) in sum.cumulative.iter_mut().zip(&durations.classes) {
                so_far += class.get();
                *total += so_far;
            }
            sum.seconds += durations.micros.get() as f64 / 1e6;
        }
        sum
    }
}

impl Spread {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.cumulative[CLASSES - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_every_class_that_they_fit() {
        let (a, b) = (Durations::default(), Durations::default());
        a.observe(Duration::from_micros(999));
        a.observe(Duration::from_millis(1));
        b.observe(Duration::from_micros(1_001));
        b.observe(Duration::from_secs(3_600));
        let sum = Durations::sum([&a, &b].into_iter());
        assert_eq!(sum.cumulative, [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(sum.count(), 4);
        assert!((sum.seconds - 3_600.003).abs() < 1e-9, "{}", sum.seconds);
    }

    #[test]
    fn bounds_are_written_as_they_are_and_ascend() {
        for (millis, seconds) in BOUNDS {
            assert_eq!(seconds.parse::<f64>().unwrap() * 1_000.0, millis as f64, "{seconds}");
            assert_eq!(seconds.parse::<f64>().unwrap().to_string(), seconds);
        }
        assert!(BOUNDS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
