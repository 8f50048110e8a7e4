//! What synchronisation counts: questions to the upstream, fetches, and what they cost.

use super::{Counter, Durations, Gauge, text::Text};
use heliostat_core::sync::{Figures, Verdict};
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

/// How something can end; the first is a success.
const OUTCOMES: [&str; 8] = ["done", "missing", "denied", "unsupported", "outage", "failing", "failed", "useless"];

/// A kind of work, counted by its outcomes.
#[derive(Default)]
pub struct Work {
    outcomes: [Counter; OUTCOMES.len()],
    durations: Durations,
}

/// The counters of all threads of synchronisation.
#[derive(Default)]
pub struct SyncCounts {
    /// Questions for references.
    pub questions: Work,
    /// Fetches of what had moved, up to the publication.
    pub fetches: Work,
    /// Requests over HTTP.
    pub requests: Counter,
    /// Bytes that came.
    pub received_bytes: Counter,
    /// Hints of webhooks.
    pub hints: Counter,
    /// Repositories that were evicted.
    pub evictions: Counter,
    /// And the bytes of their packs.
    pub evicted_bytes: Counter,
    /// Bytes of all packs, those on their way out too, when that was looked at last.
    pub store_bytes: Gauge,
    /// Consolidations that changed something.
    pub consolidations: Counter,
    /// Consolidations that failed.
    pub consolidations_failed: Counter,
    questions_waiting: Gauge,
    questions_running: Gauge,
    fetches_waiting: Gauge,
    fetches_running: Gauge,
    callers_waiting: Gauge,
    known: Gauge,
    upstream_is_left_alone: AtomicBool,
}

impl Work {
    /// One piece of it has ended; `None`: well.
    pub fn ended(&self, verdict: Option<&Verdict>, time: Duration) {
        let outcome = match verdict {
            None | Some(Verdict::Verified) => 0,
            Some(Verdict::Missing) => 1,
            Some(Verdict::Denied(_)) => 2,
            Some(Verdict::Unsupported(_)) => 3,
            Some(Verdict::Outage(_)) => 4,
            Some(Verdict::Failing(_)) => 5,
            Some(Verdict::Failed(_)) => 6,
            Some(Verdict::Useless(_)) => 7,
        };
        self.outcomes[outcome].one();
        self.durations.observe(time);
    }

    fn spread(&self) -> super::counter::Spread {
        Durations::sum([&self.durations].into_iter())
    }
}

impl SyncCounts {
    /// Where the schedule stands now.
    pub fn stand(&self, figures: &Figures) {
        self.questions_waiting.set(figures.questions_waiting);
        self.questions_running.set(figures.questions_running);
        self.fetches_waiting.set(figures.fetches_waiting);
        self.fetches_running.set(figures.fetches_running);
        self.callers_waiting.set(figures.callers_waiting);
        self.known.set(figures.known);
        self.upstream_is_left_alone.store(figures.upstream_is_left_alone, Relaxed);
    }

    /// Writes them.
    pub fn write(&self, text: &mut Text) {
        let help = "Questions for the references of a repository, by their outcome.";
        let mut family = text.counter("heliostat_upstream_questions_total", help);
        for (outcome, count) in OUTCOMES.iter().zip(&self.questions.outcomes) {
            family.sample(&[("outcome", outcome)], count.get());
        }
        text.histogram("heliostat_upstream_question_duration_seconds", "How long such a question took.")
            .spread(&[], &self.questions.spread());
        let help = "Fetches of what had moved, up to the publication, by their outcome.";
        let mut family = text.counter("heliostat_syncs_total", help);
        for (outcome, count) in OUTCOMES.iter().zip(&self.fetches.outcomes) {
            family.sample(&[("outcome", outcome)], count.get());
        }
        text.histogram("heliostat_sync_duration_seconds", "How long such a fetch took, the proof included.")
            .spread(&[], &self.fetches.spread());
        text.counter("heliostat_upstream_requests_total", "Requests over HTTP to the upstream.")
            .is(self.requests.get());
        text.counter(
            "heliostat_upstream_received_bytes_total",
            "Bytes that came from the upstream, heads not counted.",
        )
        .is(self.received_bytes.get());
        text.counter("heliostat_webhook_hints_total", "Questions that webhooks have led to.").is(self.hints.get());
        text.counter("heliostat_evictions_total", "Repositories that went because the store was full.")
            .is(self.evictions.get());
        text.counter("heliostat_evicted_bytes_total", "Bytes of their packs.").is(self.evicted_bytes.get());
        let help = "Bytes of all packs, indexes, tables of commits and kept entries, packs on their way out too, when that was looked at last.";
        text.gauge("heliostat_store_bytes", help).is(self.store_bytes.get());
        let help = "Consolidations of packs that changed something, and those that failed.";
        let mut family = text.counter("heliostat_consolidations_total", help);
        family.sample(&[("outcome", "done")], self.consolidations.get());
        family.sample(&[("outcome", "failed")], self.consolidations_failed.get());
        for (name, help, gauge) in [
            ("heliostat_upstream_questions_waiting", "Questions that callers wait for.", &self.questions_waiting),
            ("heliostat_upstream_questions_running", "Questions that are being asked.", &self.questions_running),
            (
                "heliostat_syncs_waiting",
                "Repositories that have moved and wait for their fetch.",
                &self.fetches_waiting,
            ),
            ("heliostat_syncs_running", "Fetches under way.", &self.fetches_running),
            ("heliostat_sync_callers_waiting", "Callers that wait for the upstream's word.", &self.callers_waiting),
            ("heliostat_repositories_compared", "Repositories that the interval compares.", &self.known),
        ] {
            text.gauge(name, help).is(gauge.get());
        }
        text.gauge("heliostat_upstream_left_alone", "1 while the upstream is not asked, after outages in a row.")
            .is(u8::from(self.upstream_is_left_alone.load(Relaxed)));
    }
}
