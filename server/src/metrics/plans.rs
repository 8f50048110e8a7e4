//! What the workers count of the packs that they plan.

use super::{Counter, Durations, text::Text};
use heliostat_core::{
    fault::{Fault, Side},
    pack::Plan,
};
use std::time::Duration;

/// The counters of all workers.
#[derive(Default)]
pub struct PlanCounts {
    made: Counter,
    failed: Counter,
    given_up: Counter,
    shared: Counter,
    hits: Counter,
    objects: Counter,
    objects_copied: Counter,
    objects_kept: Counter,
    bytes: Counter,
    waits: Durations,
    durations: Durations,
}

impl PlanCounts {
    /// A job has waited so long for a worker.
    pub fn waited(&self, time: Duration) {
        self.waits.observe(time);
    }

    /// An order got the plan of another.
    pub fn shared(&self) {
        self.shared.one();
    }

    /// An order got a plan that was kept.
    pub fn hit(&self) {
        self.hits.one();
    }

    /// A plan was made in so long, or not.
    pub fn ended(&self, planned: &Result<Plan, Fault>, time: Duration) {
        self.durations.observe(time);
        match planned {
            Ok(plan) => {
                self.made.one();
                self.objects.add(u64::from(plan.objects));
                self.objects_copied.add(u64::from(plan.copied));
                self.objects_kept.add(u64::from(plan.kept));
                self.bytes.add(plan.bytes);
            }
            Err(fault) if fault.side == Side::Client => self.given_up.one(),
            Err(_) => self.failed.one(),
        }
    }

    /// Writes them.
    pub fn write(&self, text: &mut Text) {
        let help = "Packs that were ordered: whose plan was made, was another's, was kept, failed, or was given up by its client.";
        let mut family = text.counter("heliostat_plans_total", help);
        for (result, count) in [
            ("made", &self.made),
            ("shared", &self.shared),
            ("hit", &self.hits),
            ("failed", &self.failed),
            ("given up", &self.given_up),
        ] {
            family.sample(&[("result", result)], count.get());
        }
        text.counter("heliostat_plan_objects_total", "Objects of the plans that were made.").is(self.objects.get());
        text.counter("heliostat_plan_objects_copied_total", "Those of them that travel as they lie on the disk.")
            .is(self.objects_copied.get());
        let help = "Those of them that had been encoded anew before, and were kept.";
        text.counter("heliostat_plan_objects_kept_total", help).is(self.objects_kept.get());
        text.counter("heliostat_plan_bytes_total", "Bytes of the packs that were planned, each once.")
            .is(self.bytes.get());
        let one = |durations| Durations::sum([durations].into_iter());
        text.histogram("heliostat_plan_wait_seconds", "How long an order waited for a worker.")
            .spread(&[], &one(&self.waits));
        text.histogram("heliostat_plan_duration_seconds", "How long a plan took to make.")
            .spread(&[], &one(&self.durations));
    }
}
