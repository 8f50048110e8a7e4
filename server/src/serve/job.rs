//! A fetch as it travels: from the accepting shard to the owner, to a worker, and back as messages.

use heliostat_core::{
    fault::Fault,
    pack::Plan,
    protocol::{PackOrder, Session},
    store::{RepositoryId, Snapshot},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// A request that needs planning, on its way to a worker.
pub struct Job {
    /// Whose plan it is: the owner counts by it.
    pub repository: RepositoryId,
    /// What is answered from.
    pub snapshot: Arc<Snapshot>,
    /// The conversation, its input complete.
    pub session: Session,
    /// When it began to wait.
    pub arrived: Instant,
    /// Raised when the client is gone.
    pub stop: Arc<AtomicBool>,
    /// Where the steps go. Closed without a last step: the worker panicked.
    pub steps: flume::Sender<Step>,
}

/// What the accepting shard hears of its job, in order.
pub enum Step {
    /// Nothing was done: the queue is full, or the wait in it was too long.
    Refused,
    /// The conversation has come to its pack, or to its end.
    Spoken(Box<Spoken>),
    /// The pack that was ordered.
    Planned(Result<Arc<Plan>, Fault>),
}

/// A conversation that has said what it has to say before the pack.
pub struct Spoken {
    /// The conversation, to go on with.
    pub session: Session,
    /// What is to be sent now.
    pub bytes: Vec<u8>,
    /// What it ended in.
    pub end: End,
}

/// Why a conversation has stopped speaking.
pub enum End {
    /// A pack is ordered; [`Step::Planned`] follows.
    Pack(Box<PackOrder>),
    /// It is over, in a fault if there is one: what the peer hears of that is in the bytes.
    Over(Option<Fault>),
}

/// The client's end of a job: dropped, it stops the work.
pub struct Interest(Arc<AtomicBool>);

impl Interest {
    /// An interest, and the flag that its end raises.
    pub fn new() -> (Self, Arc<AtomicBool>) {
        let stop = Arc::new(AtomicBool::new(false));
        (Self(stop.clone()), stop)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
