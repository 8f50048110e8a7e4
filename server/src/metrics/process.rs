//! What the kernel counts of this process, under the names that Prometheus' own clients use.

use super::text::Text;
use crate::shard::preflight;
use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Reads `/proc`, so not to be called on a shard; what can't be read is left out.
pub fn write(uptime: Duration, text: &mut Text) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let files = "Memory in use, mapped packs that are in the page cache included.";
    for (name, help, field) in [
        ("process_resident_memory_bytes", files, "VmRSS"),
        ("heliostat_anonymous_memory_bytes", "Memory in use without mapped files: what the process takes.", "RssAnon"),
        ("process_virtual_memory_bytes", "Address space in use.", "VmSize"),
    ] {
        if let Some(kib) = kib(field) {
            text.gauge(name, help).is(kib << 10);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is this reading's own.
        text.gauge("process_open_fds", "Descriptors in use.").is(open.count().saturating_sub(1));
    }
    text.gauge("process_max_fds", "Descriptors that may be in use.").is(preflight::descriptors_max());
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse::<u64>().ok());
    if let Some(threads) = threads {
        text.gauge("process_threads", "Threads.").is(threads);
    }
    if let Some(seconds) = cpu_seconds() {
        text.counter("process_cpu_seconds_total", "Processor time, of the user and of the system.").is(seconds);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    text.gauge("process_start_time_seconds", "When the process started, in seconds since 1970.")
        .is(now.saturating_sub(uptime).as_secs());
}

/// `utime` and `stime` of `proc_pid_stat(5)`, fields 14 and 15. The name of the process, the second, may hold anything.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_all_of_it() {
        let mut text = Text::default();
        write(Duration::from_secs(1), &mut text);
        let text = text.finish();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") >= value("heliostat_anonymous_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
        assert!(value("process_threads") >= 1.0 && value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_start_time_seconds") > 1.7e9);
    }
}
