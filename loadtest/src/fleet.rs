//! Many clients at once.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::client::{Client, CloneKind, Cloned};
use crate::failure::Failure;
use crate::report::Report;

/// How many failures a report spells out.
pub const FAILURES_LISTED_MAX: usize = 10;

/// Clients that clone one repository, each on a thread of its own, all from the same instant.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// What is cloned.
    pub address: Address,
    /// How.
    pub kind: CloneKind,
    /// Clients at once.
    pub clients: u32,
    /// Clones in a row by each client.
    pub rounds: u32,
    /// How long a client waits for the next bytes.
    pub patience: Duration,
    /// Inflate and count every entry: finds more, and costs as much as a slow client.
    pub walk: bool,
}

impl Fleet {
    /// One client, one round, two minutes of patience, no walk.
    pub fn new(address: Address, kind: CloneKind) -> Self {
        Self { address, kind, clients: 1, rounds: 1, patience: Duration::from_secs(120), walk: false }
    }

    /// Runs to the end of all clients. Fails itself only if what an incremental fetch starts from can't be learnt.
    pub fn run(&self) -> Result<Report, Failure> {
        let mut client = Client {
            address: self.address.clone(),
            kind: self.kind,
            patience: self.patience,
            walk: self.walk,
            haves: Vec::new(),
        };
        if self.kind == CloneKind::Incremental {
            client.haves = client.commits_behind()?;
        }
        let ready = Barrier::new(self.clients as usize + 1);
        let (outcomes, elapsed) = std::thread::scope(|scope| {
            let run_one = || -> Vec<Result<Cloned, Failure>> {
                ready.wait();
                (0..self.rounds).map(|_| client.clone_once()).collect()
            };
            let threads: Vec<_> = (0..self.clients).map(|_| scope.spawn(run_one)).collect();
            ready.wait();
            let begin = Instant::now();
            let outcomes: Vec<_> = threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect();
            (outcomes, begin.elapsed())
        });
        Ok(self.report(outcomes, elapsed))
    }

    fn report(&self, outcomes: Vec<Result<Cloned, Failure>>, elapsed: Duration) -> Report {
        let mut clones = Vec::new();
        let mut failures = BTreeMap::new();
        let mut listed = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok(cloned) => clones.push(cloned),
                Err(failure) => {
                    *failures.entry(failure.kind()).or_insert(0) += 1;
                    if listed.len() < FAILURES_LISTED_MAX {
                        listed.push(failure.to_string());
                    }
                }
            }
        }
        Report::new(self, &clones, failures, listed, elapsed)
    }
}
