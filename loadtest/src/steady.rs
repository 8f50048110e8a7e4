//! Clients that ask for references at a fixed rate, whether the earlier ones have been answered or not: what they wait
//! counts from the moment at which each was to ask (an open loop).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::references::list;

/// So many may wait for an answer at once; more wait for one of these, and that counts.
const THREADS: u32 = 64;

/// Who asks what.
#[derive(Clone, Debug)]
pub struct Steady {
    /// Whose branches.
    pub address: Address,
    /// `ls-refs` a second, each on a connection of its own.
    pub per_second: f64,
    /// For so long.
    pub time: Duration,
    /// How long a client waits for the next bytes.
    pub patience: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// What each waited that was answered.
    pub answered: Vec<Duration>,
    /// How many were not answered as they should be, of each kind.
    pub failures: BTreeMap<&'static str, u64>,
}

impl Steady {
    /// Runs to the last answer.
    pub fn run(&self) -> Waits {
        let (begin, next) = (Instant::now(), AtomicU32::new(0));
        let count = (self.per_second * self.time.as_secs_f64()) as u32;
        let client = || {
            let mut waits = Waits::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return waits;
                }
                let due = begin + Duration::from_secs_f64(f64::from(number) / self.per_second);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                match self.ask() {
                    Ok(()) => waits.answered.push(due.elapsed()),
                    Err(failure) => *waits.failures.entry(failure.kind()).or_insert(0) += 1,
                }
            }
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS.min(count)).map(|_| scope.spawn(client)).collect();
            let mut all = Waits::default();
            for thread in threads {
                all.add(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            all
        })
    }

    fn ask(&self) -> Result<(), Failure> {
        let mut connection = Connection::new(self.address.clone(), self.patience);
        let references = list(&mut connection, &["HEAD", "refs/heads/"])?;
        if references.count == 0 { Err(Failure::References("none")) } else { Ok(()) }
    }
}

impl Waits {
    /// Adds what came of another run.
    pub fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        for (kind, count) in other.failures {
            *self.failures.entry(kind).or_insert(0) += count;
        }
    }
}
