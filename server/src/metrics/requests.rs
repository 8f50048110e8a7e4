//! What one shard counts of the requests that it answers, and of its connections and plans.

use super::{Counter, Durations, Gauge, place, text::Text, word};
use crate::http::exchange::Record;
use std::time::Duration;

/// What a request can be ([`Record::operation`]).
const OPERATIONS: [&str; 17] = [
    "handshake",
    "info/refs",
    "ls-refs",
    "fetch",
    "object-info",
    "upload-pack",
    "receive-pack",
    "lfs",
    "file",
    "status",
    "metrics",
    "sync",
    "webhook",
    "purge",
    "forget-rights",
    "admin",
    "none",
];
/// What can be answered to it. `0`: nothing, because the client left before.
const STATUSES: [u16; 23] =
    [0, 200, 202, 307, 400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 417, 429, 431, 451, 500, 501, 502, 503, 505];
/// What can be said of the plan that was sent ([`Record::cache`]).
const CACHE: [&str; 3] = ["miss", "shared", "hit"];
/// What can be said of how old an answer is ([`Record::freshness`]).
const FRESHNESS: [&str; 3] = ["confirmed", "unasked", "stale"];

/// One shard's counters. Aligned so that no two shards write to one pair of cache lines.
#[derive(Default)]
#[repr(align(128))]
pub struct ShardCounts {
    operations: [Operation; OPERATIONS.len() + 1],
    cache: [Counter; CACHE.len() + 1],
    freshness: [Counter; FRESHNESS.len() + 1],
    /// Connections that were let in on the main port.
    pub connections: Counter,
    /// Connections that were let in on the admin port.
    pub admin_connections: Counter,
    /// Connections that were turned away, because there are too many.
    pub turned_away: Counter,
    /// Plans that wait for a worker here.
    pub plans_waiting: Gauge,
    /// Plans of this shard's repositories at work.
    pub plans_running: Gauge,
    /// Plans that were refused, because too many wait or because they have waited too long.
    pub plans_refused: Gauge,
}

#[derive(Default)]
struct Operation {
    statuses: [Counter; STATUSES.len() + 1],
    /// Answers that did not reach their client whole.
    cut: Counter,
    sent_bytes: Counter,
    durations: Durations,
}

impl ShardCounts {
    /// A request has ended: so many bytes were sent, and whether the client took them all.
    pub fn ended(&self, record: &Record, sent_bytes: u64, time: Duration, is_whole: bool) {
        let operation = &self.operations[place(&OPERATIONS, record.operation)];
        let status = STATUSES.iter().position(|status| *status == record.status).unwrap_or(STATUSES.len());
        operation.statuses[status].one();
        operation.sent_bytes.add(sent_bytes);
        operation.durations.observe(time);
        if !is_whole {
            operation.cut.one();
        }
        if let Some(cache) = record.cache {
            self.cache[place(&CACHE, cache)].one();
        }
        if let Some(freshness) = record.freshness {
            self.freshness[place(&FRESHNESS, freshness)].one();
        }
    }
}

/// Writes what all `shards` have counted.
pub fn write(shards: &[ShardCounts], text: &mut Text) {
    let sum = |of: &dyn Fn(&ShardCounts) -> u64| shards.iter().map(of).sum::<u64>();
    let operations = (0..=OPERATIONS.len()).map(|at| (at, word(&OPERATIONS, at)));

    let mut family = text.counter("heliostat_requests_total", "Requests that have ended, by operation and status.");
    for (at, operation) in operations.clone() {
        for status in 0..=STATUSES.len() {
            let count = sum(&|shard| shard.operations[at].statuses[status].get());
            if count > 0 {
                let status = STATUSES.get(status).map_or("other".into(), |status| match status {
                    0 => "none".to_owned(),
                    status => status.to_string(),
                });
                family.sample(&[("operation", operation), ("status", &status)], count);
            }
        }
    }
    let help = "Requests whose answer did not reach the client whole.";
    let mut family = text.counter("heliostat_requests_cut_total", help);
    for (at, operation) in operations.clone() {
        family.sample(&[("operation", operation)], sum(&|shard| shard.operations[at].cut.get()));
    }
    let mut family = text.counter("heliostat_sent_bytes_total", "Bytes of answers, heads included.");
    for (at, operation) in operations.clone() {
        family.sample(&[("operation", operation)], sum(&|shard| shard.operations[at].sent_bytes.get()));
    }
    let help = "From a request's head to the end of its answer.";
    let mut family = text.histogram("heliostat_request_duration_seconds", help);
    for (at, operation) in operations {
        let spread = Durations::sum(shards.iter().map(|shard| &shard.operations[at].durations));
        if spread.count() > 0 {
            family.spread(&[("operation", operation)], &spread);
        }
    }
    let mut family = text.counter("heliostat_cache_total", "Answers by whose plan they were sent from.");
    for (at, cache) in CACHE.into_iter().enumerate() {
        family.sample(&[("cache", cache)], sum(&|shard| shard.cache[at].get()));
    }
    let mut family = text.counter("heliostat_freshness_total", "Answers from a repository by how fresh they were.");
    for at in 0..=FRESHNESS.len() {
        family.sample(&[("freshness", word(&FRESHNESS, at))], sum(&|shard| shard.freshness[at].get()));
    }
    let mut family = text.counter("heliostat_connections_total", "Connections that were let in.");
    family.sample(&[("port", "main")], sum(&|shard| shard.connections.get()));
    family.sample(&[("port", "admin")], sum(&|shard| shard.admin_connections.get()));
    text.counter(
        "heliostat_connections_refused_total",
        "Connections beyond the limits of the main port, or of the admin port.",
    )
    .is(sum(&|shard| shard.turned_away.get()));
    text.gauge("heliostat_plans_waiting", "Plans that wait for a worker.").is(sum(&|shard| shard.plans_waiting.get()));
    text.gauge("heliostat_plans_running", "Plans that are being made.").is(sum(&|shard| shard.plans_running.get()));
    text.counter("heliostat_plans_refused_total", "Plans for which there was no place, or none in time.")
        .is(sum(&|shard| shard.plans_refused.get()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_added_up() {
        let shards = [ShardCounts::default(), ShardCounts::default()];
        let record = |operation, status| Record { operation, status, ..Record::default() };
        shards[0].ended(&record("fetch", 200), 1_000, Duration::from_millis(2), true);
        shards[1].ended(&record("fetch", 200), 500, Duration::from_secs(2), false);
        shards[1].ended(&record("fetch", 503), 10, Duration::ZERO, true);
        let fresh = Record { cache: Some("shared"), freshness: Some("stale"), ..record("fetch", 0) };
        shards[0].ended(&fresh, 0, Duration::ZERO, false);
        shards[0].ended(&record("unheard of", 418), 7, Duration::ZERO, true);
        let mut text = Text::default();
        write(&shards, &mut text);
        let text = text.finish();
        for line in [
            "heliostat_requests_total{operation=\"fetch\",status=\"200\"} 2",
            "heliostat_requests_total{operation=\"fetch\",status=\"503\"} 1",
            "heliostat_requests_total{operation=\"fetch\",status=\"none\"} 1",
            "heliostat_requests_total{operation=\"other\",status=\"other\"} 1",
            "heliostat_requests_cut_total{operation=\"fetch\"} 2",
            "heliostat_sent_bytes_total{operation=\"fetch\"} 1510",
            "heliostat_sent_bytes_total{operation=\"other\"} 7",
            "heliostat_request_duration_seconds_bucket{operation=\"fetch\",le=\"0.003\"} 3",
            "heliostat_request_duration_seconds_count{operation=\"fetch\"} 4",
            "heliostat_cache_total{cache=\"shared\"} 1",
            "heliostat_freshness_total{freshness=\"stale\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
        }
    }

    /// The documentation lists the operations, all of them and no other.
    #[test]
    fn the_documentation_lists_every_operation() {
        let text = include_str!("../../../docs/monitoring.md");
        let list = text.split("Operations: ").nth(1).unwrap().split(". Status").next().unwrap();
        let mut listed: Vec<_> = list.split('`').skip(1).step_by(2).collect();
        let mut operations = OPERATIONS.to_vec();
        listed.sort_unstable();
        operations.sort_unstable();
        assert_eq!(listed, operations);
    }

    /// What a record is set to anywhere in the program has a counter of its own.
    #[test]
    fn every_word_of_the_program_is_in_the_lists() {
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with(file!()) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    for rest in text.split("record.operation = \"").skip(1) {
                        let operation = rest.split('"').next().unwrap();
                        assert!(OPERATIONS.contains(&operation), "{operation} in {}", path.display());
                        found += 1;
                    }
                }
            }
        }
        assert!(found > 5, "{found}");
    }
}
