//! The threads that plan: unpinned, started before the shards (a thread inherits its creator's pin), fed by the owners.
//!
//! A worker takes a conversation to its pack or its end, hands that back, and then plans the pack. A panic is the end of
//! that job and of nothing else; the owner hears in any case that its place is free.

use super::{
    flights::SharedPlans,
    job::{Cache, End, Job, Spoken, Step},
    view::{References, with_view},
};
use crate::metrics::PlanCounts;
use crate::shard::{
    message::{Message, Post},
    placement::owner,
    task::words,
};
use heliostat_core::{
    fault::Fault,
    graph::Graph,
    objects::ReadError,
    pack::{self, PlanError, Room, Spool},
    protocol::{Asked, Event, PackOrder, Policy},
    store::{RepositoryId, Snapshot},
};
use std::{
    collections::BTreeSet,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Instant,
};

/// The way to the workers.
#[derive(Clone)]
pub struct Workers {
    jobs: flume::Sender<Job>,
    count: usize,
    counts: Arc<PlanCounts>,
    plans: Arc<SharedPlans>,
}

/// What a worker needs beside its jobs.
#[derive(Clone)]
pub struct Tools {
    /// The way back to the owners.
    pub post: Post,
    /// What is offered to clients.
    pub policy: Arc<Policy>,
    /// Where plans spool what outgrows memory.
    pub spool: PathBuf,
    /// What they may take there.
    pub room: Arc<Room>,
    /// What is being planned and sent, and what is kept of it.
    pub plans: Arc<SharedPlans>,
    /// What is counted of that.
    pub counts: Arc<PlanCounts>,
}

impl Workers {
    /// Starts `count` threads.
    pub fn start(count: usize, tools: &Tools) -> io::Result<Self> {
        // Unbounded: each owner keeps at most `count` jobs in it.
        let (jobs, inbox) = flume::unbounded::<Job>();
        for index in 0..count {
            let (inbox, tools) = (inbox.clone(), tools.clone());
            thread::Builder::new().name(format!("plan-{index}")).spawn(move || {
                for job in inbox.iter() {
                    let _place = Place { post: &tools.post, repository: job.repository };
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(job, &tools))) {
                        tracing::error!(panic = words(panic.as_ref()), "planning panicked; that request fails");
                    }
                }
            })?;
        }
        Ok(Self { jobs, count, counts: tools.counts.clone(), plans: tools.plans.clone() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What they have counted.
    pub fn counts(&self) -> &PlanCounts {
        &self.counts
    }

    /// What they have planned and others may use.
    pub fn plans(&self) -> &SharedPlans {
        &self.plans
    }

    /// Hands a job to the next free worker.
    pub fn take(&self, job: Job) {
        // Fails only when all workers are gone, which ends the job: its channel closes.
        let _ = self.jobs.send(job);
    }
}

/// A place at work; freed however the job ends.
struct Place<'a> {
    post: &'a Post,
    repository: RepositoryId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.post.send(owner(self.repository, self.post.shards()), Message::PlanEnded(self.repository));
    }
}

fn work(job: Job, tools: &Tools) {
    let Job { repository, grant, snapshot, pending, mut session, client, steps, arrived } = job;
    tools.counts.waited(arrived.elapsed());
    let references = match (session.asked(), pending.as_deref()) {
        (Some(Asked::References), Some(refs)) => References::Pending(refs),
        (_, pending) => References::Here { pending },
    };
    let mut bytes = Vec::new();
    let (end, order) = with_view(&grant, &snapshot, references, &tools.policy, client.is_gone(), |view| {
        loop {
            match session.poll(view) {
                Event::Send(more) => bytes.extend(more),
                Event::Pack(order) => break (End::Pack(order.framing), Some(Arc::from(order))),
                Event::Absent(ids) => break (End::Absent(ids), None),
                Event::End(fault) => break (End::Over(fault), None),
                // The input is complete: a machine that asks for more has a defect.
                Event::NeedInput => {
                    let fault = Fault::ours("internal error", "input asked for behind its end");
                    break (End::Over(Some(fault)), None);
                }
            }
        }
    });
    let speak = |cache: Option<Cache>| {
        match cache {
            Some(Cache::Shared) => tools.counts.shared(),
            Some(Cache::Hit) => tools.counts.hit(),
            Some(Cache::Miss) | None => {}
        }
        // Who is gone hears nothing.
        let _ = steps.send(Step::Spoken(Box::new(Spoken { session, bytes, end, cache })));
    };
    match order {
        Some(order) => {
            let make = |order: &PackOrder, stop: &AtomicBool| {
                let began = Instant::now();
                let planned = plan(&snapshot, order, tools, stop);
                tools.counts.ended(&planned, began.elapsed());
                planned
            };
            let objects = (repository, &snapshot.objects);
            tools.plans.deliver(objects, order, &client, &steps, |cache| speak(Some(cache)), make);
        }
        None => speak(None),
    }
}

fn plan(snapshot: &Snapshot, order: &PackOrder, tools: &Tools, stop: &AtomicBool) -> Result<pack::Plan, Fault> {
    // A mirrored repository is never shallow: such upstreams are refused.
    let grafts = BTreeSet::new();
    let graph = Graph { objects: &snapshot.objects, grafts: &grafts, stop };
    let selected = graph.select(&order.query).map_err(read_fault)?;
    let (entries, room) = (Some(snapshot.entries.clone()), Some(tools.room.clone()));
    let spool = Spool { directory: tools.spool.clone(), entries, room };
    pack::plan(&snapshot.objects, &selected, order.encoding, &spool, stop).map_err(|error| match error {
        PlanError::Read(error) => read_fault(error),
        PlanError::Spool(error) => Fault::ours("the server has no room to prepare the pack", error),
        PlanError::NoRoom { would_fit: true } => Fault::ours(
            "the server has no room to prepare the pack, try again",
            "plans take all of `spool` in [limits]",
        ),
        PlanError::NoRoom { would_fit: false } => {
            Fault::ours("the server has no room to prepare the pack", "it needs more than all of `spool` in [limits]")
        }
        PlanError::TooLarge(what) => Fault::ours("the pack is too large", what),
    })
}

/// What the client and the operator hear of objects that can't be read.
fn read_fault(error: ReadError) -> Fault {
    const PUBLIC: &str = "the repository is damaged on this server";
    match error {
        ReadError::Missing(id) => Fault::ours(PUBLIC, format_args!("object {id} is missing")),
        ReadError::Corrupt { id, detail } => Fault::ours(PUBLIC, format_args!("object {id} is corrupt: {detail}")),
        ReadError::TooLarge { id, .. } => Fault::ours(format!("object {id} is too large for this server"), error),
        ReadError::Io(error) => Fault::ours("the server's disk failed", error),
        ReadError::Interrupted => Fault::client("the request was given up"),
    }
}
