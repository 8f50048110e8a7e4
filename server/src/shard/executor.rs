//! One thread with one executor per shard, and the watch over them.
//!
//! A dead shard would be silent: its listening socket goes on taking connections while the other shards answer. So each
//! reports its end, however it comes, and beats once a tick; [`Watch`] tells the main thread when a shard has ended or
//! no longer beats, and rouses who does not: a shard may fall asleep before its first task has run (see [`ladder`]), and
//! then nothing in it is left to wake it.

use super::{ladder, placement, task};
use glommio::{LocalExecutorBuilder, Placement};
use nix::sys::{pthread::pthread_kill, signal::Signal};
use std::{
    future::Future,
    io,
    os::unix::thread::JoinHandleExt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
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

/// A shard's thread, from outside.
pub struct Sleeper(JoinHandle<()>);

impl Sleeper {
    /// Ends its sleep in the kernel, if it sleeps: it looks at its tasks again.
    pub fn rouse(&self) {
        // A signal that is handled interrupts the wait for a ring. Who has ended is not to be waked.
        let _ = pthread_kill(self.0.as_pthread_t(), Signal::SIGURG);
    }
}

/// SIGURG is ignored unless somebody handles it, and what is ignored wakes nobody.
fn hear_signals() -> io::Result<()> {
    static HEARD: OnceLock<Result<(), io::ErrorKind>> = OnceLock::new();
    let register = || signal_hook::flag::register(signal_hook::consts::SIGURG, Arc::default());
    HEARD.get_or_init(|| register().map(|_| ()).map_err(|error| error.kind())).map_err(io::Error::from)
}

/// Starts the thread of shard `index`, on `core` if one is given. `main` makes the future that is the shard's life;
/// `ended` hears of its end.
pub fn start<F: Future<Output = ()>>(
    index: usize,
    core: Option<usize>,
    main: impl FnOnce() -> F + Send + 'static,
    ended: impl FnOnce(usize, Ended) + Send + 'static,
) -> io::Result<Sleeper> {
    hear_signals()?;
    let thread = thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
        let how = contained(|| run(index, core, main));
        ended(index, how);
    })?;
    Ok(Sleeper(thread))
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
    sleeper: Sleeper,
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
    /// Watches over the shards with these pulses and threads, in order.
    pub fn new(shards: impl IntoIterator<Item = (Pulse, Sleeper)>) -> Self {
        let watched = |(pulse, sleeper): (Pulse, Sleeper)| Watched { beats: pulse.beats(), pulse, sleeper, silent: 0 };
        Self { shards: shards.into_iter().map(watched).collect() }
    }

    /// One look at every shard; who has not beaten since the last one is roused. Looks are counted rather than time, so that a process that was stopped and continued does
    /// not take its own absence for its shards'.
    pub fn look(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let beats = shard.pulse.beats();
            if beats == shard.beats {
                shard.silent += 1;
                shard.sleeper.rouse();
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
            let ended = move |index, how| sender.send((index, how)).unwrap();
            let sleeper = start(3, None, move || async move { main() }, ended).unwrap();
            awaited(&receiver, &sleeper)
        };
        assert_eq!(end_of(|| ()), (3, Ended::Done));
        let panicking = || std::panic::resume_unwind(Box::new("on purpose"));
        assert_eq!(end_of(panicking), (3, Ended::Panicked("on purpose".into())));
    }

    /// What comes, the shard being roused as the watch does it.
    fn awaited<T>(receiver: &mpsc::Receiver<T>, sleeper: &Sleeper) -> T {
        for _ in 0..200 {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Err(mpsc::RecvTimeoutError::Timeout) => sleeper.rouse(),
                came => return came.unwrap(),
            }
        }
        panic!("not within 20 s");
    }

    #[test]
    fn a_shard_that_does_not_beat_is_found() {
        let (alive, dead) = (Pulse::default(), Pulse::default());
        let sleeper = || start(0, None, || async {}, |_, _| ()).unwrap();
        let mut watch = Watch::new([(alive.clone(), sleeper()), (dead.clone(), sleeper())]);
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
