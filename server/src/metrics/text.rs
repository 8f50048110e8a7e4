//! The text format of Prometheus, version 0.0.4: families of samples, one a line.
//!
//! Written by hand: it is a page, and the counters of this server are arrays of atomics, which no library's registry
//! takes without a lock or a counter that all shards share.

use super::counter::{BOUNDS, Spread};
use std::fmt::{Display, Write as _};

/// The media type of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A document on its way.
#[derive(Default)]
pub struct Text(String);

/// What samples of one name mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The samples of one name.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Text {
    /// Something that only ever goes up: the name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.family(name, Kind::Counter, help)
    }

    /// Something that is so now.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, Kind::Gauge, help)
    }

    /// Times: the name ends in `_seconds`.
    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        debug_assert!(name.ends_with("_seconds"), "{name}");
        self.family(name, Kind::Histogram, help)
    }

    fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        debug_assert!(!help.contains(['\\', '\n']), "{help}");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { text: &mut self.0, name }
    }

    /// The whole document.
    pub fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// One sample without labels.
    pub fn is(&mut self, value: impl Display) {
        self.sample(&[], value);
    }

    /// One sample. Label values are words of ours, without anything to escape.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// All samples of a spread of times.
    pub fn spread(&mut self, labels: &[(&str, &str)], spread: &Spread) {
        let bounds = BOUNDS.iter().map(|(_, seconds)| *seconds).chain(["+Inf"]);
        for (bound, count) in bounds.zip(spread.cumulative) {
            self.line("_bucket", labels, Some(bound), count);
        }
        self.line("_sum", labels, None, spread.seconds);
        self.line("_count", labels, None, spread.count());
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut opened = false;
        for (label, text) in all {
            debug_assert!(!text.contains(['"', '\\', '\n']), "{text}");
            let _ = write!(self.text, "{}{label}=\"{text}\"", if opened { ',' } else { '{' });
            opened = true;
        }
        let _ = writeln!(self.text, "{} {value}", if opened { "}" } else { "" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Durations;
    use std::time::Duration;

    #[test]
    fn samples_as_prometheus_reads_them() {
        let mut text = Text::default();
        let mut family = text.counter("a_total", "Things.");
        family.sample(&[("kind", "x"), ("status", "200")], 3);
        family.sample(&[("kind", "y")], 0);
        text.gauge("b", "Now.").is(1.5);
        let durations = Durations::default();
        durations.observe(Duration::from_millis(2));
        durations.observe(Duration::from_secs(1_000));
        text.histogram("c_seconds", "Times.").spread(&[("kind", "x")], &Durations::sum([&durations].into_iter()));
        let text = text.finish();
        for line in [
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{kind=\"x\",status=\"200\"} 3\na_total{kind=\"y\"} 0\n",
            "# TYPE b gauge\nb 1.5\n",
            "c_seconds_bucket{kind=\"x\",le=\"0.001\"} 0\nc_seconds_bucket{kind=\"x\",le=\"0.003\"} 1\n",
            "c_seconds_bucket{kind=\"x\",le=\"600\"} 1\nc_seconds_bucket{kind=\"x\",le=\"+Inf\"} 2\n",
            "c_seconds_sum{kind=\"x\"} 1000.002\nc_seconds_count{kind=\"x\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
