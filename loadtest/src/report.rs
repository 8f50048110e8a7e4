//! What a fleet saw: throughput, latencies, failures.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::client::{Cloned, Timings};
use crate::fleet::Fleet;

/// The outcome of a run. Serialises to JSON as it is; times are in milliseconds there.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was cloned.
    pub url: String,
    /// Clients at once.
    pub clients: u32,
    /// Clones in a row by each client.
    pub rounds: u32,
    /// Clones that were whole.
    pub whole: u64,
    /// Clones that were not.
    pub failed: u64,
    /// Of these, how many of each kind.
    pub failures: BTreeMap<&'static str, u64>,
    /// The first few, in words.
    pub failures_listed: Vec<String>,
    /// From the common start to the last client's end.
    pub seconds: f64,
    /// Whole clones a second.
    pub clones_per_second: f64,
    /// Bytes of answers to `fetch`, of whole clones.
    pub answer_bytes: u64,
    /// The same, a second.
    pub bytes_per_second: f64,
    /// Fewest and most references listed: different only if they moved meanwhile.
    pub references: [u64; 2],
    /// Fewest and most objects in a pack: likewise.
    pub objects: [u64; 2],
    /// Connecting, and `GET info/refs`.
    pub info_refs: Percentiles,
    /// `ls-refs`.
    pub ls_refs: Percentiles,
    /// Both together: what `git ls-remote` takes.
    pub ls_remote: Percentiles,
    /// From the `fetch` request to the first byte of its pack.
    pub first_byte: Percentiles,
    /// The whole clone.
    pub total: Percentiles,
}

/// A distribution of times, in milliseconds. Each is a time that was measured (nearest rank); all 0 if none was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half took at most this long.
    pub p50_ms: f64,
    /// Nine of ten.
    pub p90_ms: f64,
    /// 99 of a hundred.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Report {
    pub(crate) fn new(
        fleet: &Fleet,
        clones: &[Cloned],
        failures: BTreeMap<&'static str, u64>,
        failures_listed: Vec<String>,
        elapsed: Duration,
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        let answer_bytes = clones.iter().map(|clone| clone.answer_bytes).sum::<u64>();
        let range = |of: fn(&Cloned) -> u64| {
            let values = || clones.iter().map(of);
            [values().min().unwrap_or(0), values().max().unwrap_or(0)]
        };
        let times =
            |of: fn(&Timings) -> Duration| Percentiles::of(clones.iter().map(|clone| of(&clone.timings)).collect());
        Self {
            url: fleet.address.to_string(),
            clients: fleet.clients,
            rounds: fleet.rounds,
            whole: clones.len() as u64,
            failed: failures.values().sum(),
            failures,
            failures_listed,
            seconds,
            clones_per_second: clones.len() as f64 / seconds,
            answer_bytes,
            bytes_per_second: answer_bytes as f64 / seconds,
            references: range(|clone| clone.references),
            objects: range(|clone| clone.objects),
            info_refs: times(|timings| timings.info_refs),
            ls_refs: times(|timings| timings.ls_refs),
            ls_remote: times(|timings| timings.info_refs + timings.ls_refs),
            first_byte: times(|timings| timings.first_byte),
            total: times(|timings| timings.total),
        }
    }
}

impl Percentiles {
    /// Of times in any order.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self { p50_ms: at(50), p90_ms: at(90), p99_ms: at(99), max_ms: at(100) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} clients, {} clones in {:.2} s, {} failed",
            self.url, self.clients, self.whole, self.seconds, self.failed
        )?;
        writeln!(f, "  {:.2} clones/s, {:.1} MB/s", self.clones_per_second, self.bytes_per_second / 1e6)?;
        let range = |[least, most]: [u64; 2]| {
            if least == most { least.to_string() } else { format!("{least} to {most}") }
        };
        writeln!(f, "  {} objects, {} references a clone", range(self.objects), range(self.references))?;
        writeln!(f, "  {:12} {:>10} {:>10} {:>10} {:>10}", "ms", "p50", "p90", "p99", "max")?;
        let rows = [
            ("info/refs", &self.info_refs),
            ("ls-refs", &self.ls_refs),
            ("ls-remote", &self.ls_remote),
            ("first byte", &self.first_byte),
            ("clone", &self.total),
        ];
        for (name, times) in rows {
            let Percentiles { p50_ms, p90_ms, p99_ms, max_ms } = times;
            writeln!(f, "  {name:12} {p50_ms:10.1} {p90_ms:10.1} {p99_ms:10.1} {max_ms:10.1}")?;
        }
        for (kind, count) in &self.failures {
            writeln!(f, "  failed: {count} times {kind}")?;
        }
        self.failures_listed.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_times() {
        let times = |range: std::ops::RangeInclusive<u64>| range.rev().map(Duration::from_millis).collect();
        let check = |times, [p50_ms, p90_ms, p99_ms, max_ms]: [f64; 4]| {
            assert_eq!(Percentiles::of(times), Percentiles { p50_ms, p90_ms, p99_ms, max_ms });
        };
        check(times(1..=200), [100.0, 180.0, 198.0, 200.0]);
        check(times(5..=5), [5.0; 4]);
        check(Vec::new(), [0.0; 4]);
    }
}
