//! One thread with one executor per shard, and the watch over them.
//!
//! A dead shard would be silent: its listening socket goes on taking connections while the other shards answer. So each
//! reports its end, however it comes, and beats once a tick; [`Watch`] tells the main thread when a shard has ended or
//! no longer beats.

use super::{ladder, placement, task};
use glommio::{LocalExecutorBuilder, Placement};
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Between this and the default of 100 ms lies what a request to a busy shard waits: foreign wakes are seen only then.
const PREEMPT_TIMER: Duration = Duration::from_micros(500);
/// Registered memory of one executor: sockets need none of it, and the default of 10 MiB is over many memory-lock limits.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// How a shard ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to and did.
    Done,
    /// Its executor could not be made.
    NotStarted(String),
    /// It panicked.
    Panicked(String),
}

/// A shard's sign of life, counted up by its ticker.
#[derive(Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// One beat.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts the thread of shard `index`, on `core` if one is given. `main` makes the future that is the shard's life;
/// `ended` hears of its end.
pub fn start<F: Future<Output = ()>>(
    index: usize,
    core: Option<usize>,
    main: impl FnOnce() -> F + Send + 'static,
    ended: impl FnOnce(usize, Ended) + Send + 'static,
) -> std::io::Result<()> {
    thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
        let how = contained(|| run(index, core, main));
        ended(index, how);
    })?;
    Ok(())
}

fn contained(shard: impl FnOnce() -> Ended) -> Ended {
    catch_unwind(AssertUnwindSafe(shard))
        .unwrap_or_else(|panic| Ended::Panicked(task::words(panic.as_ref()).to_owned()))
}

fn run<F: Future<Output = ()>>(index: usize, core: Option<usize>, main: impl FnOnce() -> F) -> Ended {
    if let Some(core) = core
        && let Err(error) = placement::pin(core)
    {
        tracing::warn!(shard = index, core, %error, "the shard can't be pinned to its core");
    }
    // `Unbound`, since the thread is pinned already: glommio's own placement reads the machine's topology from /sys and
    // panics where a container hides it.
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name("shard")
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT_TIMER)
        .make();
    match executor {
        Ok(executor) => {
            executor.run(async {
                task::spawn("ladder", ladder::climb());
                main().await;
            });
            Ended::Done
        }
        Err(error) => Ended::NotStarted(error.to_string()),
    }
}

/// Tells a stalled shard from a busy one: looked at by the main thread, several times a second.
pub struct Watch {
    shards: Vec<Watched>,
}

struct Watched {
    pulse: Pulse,
    beats: u64,
    silent: u32,
}

/// What [`Watch::look`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// This shard has not beaten for ten seconds: worth a line in the log.
    Silent(usize),
    /// This shard has not beaten for a minute: it will not come back.
    Dead(usize),
}

/// Looks without a beat after which a shard counts as silent, and as dead: ten seconds and a minute at a look every 300 ms.
const SILENT_LOOKS: u32 = 33;
const DEAD_LOOKS: u32 = 200;

impl Watch {
    /// Watches over the shards with these pulses, in order.
    pub fn new(shards: impl IntoIterator<Item = Pulse>) -> Self {
        let watched = |pulse: Pulse| Watched { beats: pulse.beats(), pulse, silent: 0 };
        Self { shards: shards.into_iter().map(watched).collect() }
    }

    /// One look at every shard. Looks are counted rather than time, so that a process that was stopped and continued does
    /// not take its own absence for its shards'.
    pub fn look(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let beats = shard.pulse.beats();
            if beats == shard.beats {
                shard.silent += 1;
            } else {
                shard.silent = 0;
            }
            shard.beats = beats;
            match shard.silent {
                SILENT_LOOKS => findings.push(Finding::Silent(index)),
                DEAD_LOOKS => findings.push(Finding::Dead(index)),
                _ => {}
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_end_of_a_shard_is_reported_however_it_comes() {
        let end_of = |main: fn()| {
            let (sender, receiver) = mpsc::channel();
            start(3, None, move || async move { main() }, move |index, how| sender.send((index, how)).unwrap())
                .unwrap();
            receiver.recv_timeout(Duration::from_secs(20)).unwrap()
        };
        assert_eq!(end_of(|| ()), (3, Ended::Done));
        let panicking = || std::panic::resume_unwind(Box::new("on purpose"));
        assert_eq!(end_of(panicking), (3, Ended::Panicked("on purpose".into())));
    }

    #[test]
    fn a_shard_that_does_not_beat_is_found() {
        let (alive, dead) = (Pulse::default(), Pulse::default());
        let mut watch = Watch::new([alive.clone(), dead.clone()]);
        let mut findings = Vec::new();
        for _ in 0..DEAD_LOOKS + 10 {
            alive.beat();
            findings.extend(watch.look());
        }
        assert_eq!(findings, [Finding::Silent(1), Finding::Dead(1)]);
        dead.beat();
        assert_eq!(watch.look(), []);
    }
}
