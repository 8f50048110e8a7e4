//! Child processes, and what the kernel says that they cost.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a server may take to come up, or to end.
pub const SERVER_TIME: Duration = Duration::from_secs(60);
/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);
/// `/proc` counts processor time in ticks of 10 ms, on every Linux that matters.
const TICK_MS: u64 = 10;

/// A process in a group of its own; dropping it ends the group.
pub struct Server(Child);

impl Server {
    /// Starts it.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        command.process_group(0).stdin(Stdio::null()).spawn().map(Self)
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until `ready`; an error if it ends before, or takes longer than [`SERVER_TIME`].
    pub fn wait_ready(&mut self, mut ready: impl FnMut() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + SERVER_TIME;
        while !ready() {
            if let Some(status) = self.0.try_wait()? {
                return Err(io::Error::other(format!("the server ended: {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Processor time of it and of all its descendants, those that have ended and were waited for included.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut ticks = 0;
        let mut parents = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // It may have ended since; its parent has its times then.
            if let Some(stat) = Stat::of(id) {
                parents.insert(id, stat);
            }
        }
        for (&id, stat) in &parents {
            let mut ancestor = Some(id);
            while let Some(id) = ancestor {
                if id == self.id() {
                    ticks += stat.ticks;
                    break;
                }
                ancestor = parents.get(&id).map(|stat| stat.parent);
            }
        }
        Ok(Duration::from_millis(ticks * TICK_MS))
    }

    /// Private memory, mapped files not counted, in bytes.
    pub fn memory_bytes(&self) -> io::Result<u64> {
        memory_bytes(self.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = Pid::from_child(&self.0);
        // It may have ended by itself.
        let _ = kill_process_group(id, Signal::TERM);
        let deadline = Instant::now() + SERVER_TIME;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = kill_process_group(id, Signal::KILL);
        let _ = self.0.wait();
    }
}

/// What matters of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    /// Its own times and those of children that were waited for.
    ticks: u64,
}

impl Stat {
    fn of(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // proc_pid_stat(5): the second field is a name in parentheses; `fields` begins with the third.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks })
    }
}

/// Private memory of a process, mapped files not counted, in bytes.
pub fn memory_bytes(id: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = value.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("no RssAnon: the process has ended"))
}

/// Does the work, and says how much memory the process had at most meanwhile, in bytes; an error if it could not be seen.
pub fn watched<T>(process: u32, work: impl FnOnce() -> T) -> (T, io::Result<u64>) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = memory_bytes(process)?;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(memory_bytes(process)?);
                thread::sleep(SAMPLE_INTERVAL);
            }
            Ok(peak)
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        (outcome, sampler.join().unwrap_or_else(|_| Err(io::Error::other("the sampler panicked"))))
    })
}

/// Processor time that the whole machine has spent since its start.
pub fn machine_busy() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
    let fields: Vec<u64> =
        text.lines().next().unwrap_or_default().split_whitespace().skip(1).map_while(|it| it.parse().ok()).collect();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    let all: u64 = fields.iter().take(8).sum();
    Ok(Duration::from_millis((all - idle) * TICK_MS))
}

/// A loopback port that was free a moment ago, outside the range that the kernel gives to clients.
pub fn free_port() -> io::Result<u16> {
    (0..1000)
        .map(|_| fastrand::u16(10_000..32_000))
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .ok_or_else(|| io::Error::other("no free port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_children_burn_is_counted_while_they_run_and_afterwards() {
        let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let script = format!("sh -c '{burn}'; {burn} & wait; exec sleep 60");
        let server = Server::start(Command::new("sh").args(["-c", &script])).unwrap();
        let deadline = Instant::now() + SERVER_TIME;
        let mut last = Duration::ZERO;
        let mut name = String::new();
        while name != "sleep" {
            assert!(Instant::now() < deadline, "{last:?}");
            let now = server.cpu().unwrap();
            assert!(now + Duration::from_millis(2 * TICK_MS) >= last, "{now:?} after {last:?}");
            last = now;
            name = fs::read_to_string(format!("/proc/{}/comm", server.id())).unwrap().trim().to_owned();
            thread::sleep(Duration::from_millis(5));
        }
        assert!(server.cpu().unwrap() >= Duration::from_millis(100), "{last:?}");
        assert!(server.memory_bytes().unwrap() > 0);
        assert!(machine_busy().unwrap() > last);
    }
}
