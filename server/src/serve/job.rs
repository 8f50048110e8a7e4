//! A fetch as it travels: from the accepting shard to the owner, to a worker, and back as messages.

use heliostat_core::{
    fault::Fault,
    pack::{Framing, Plan},
    protocol::Session,
    store::{RepositoryId, Snapshot},
};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
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
    /// Who waits for it.
    pub client: Arc<Client>,
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
    /// A pack is ordered, to be sent in these frames; [`Step::Planned`] follows. The order itself, perhaps of a million
    /// wants, stays with the worker.
    Pack(Framing),
    /// It is over, in a fault if there is one: what the peer hears of that is in the bytes.
    Over(Option<Fault>),
}

/// The client's end of a job: dropped, it stops the work.
pub struct Interest(Arc<Client>);

/// Who waits for a job, as the job sees it.
#[derive(Default)]
pub struct Client {
    gone: AtomicBool,
    /// Whom it waits with for a plan.
    crowd: OnceLock<Arc<Crowd>>,
    /// Whether it has been counted out of that crowd.
    has_left: AtomicBool,
}

/// The clients that wait for one plan.
#[derive(Default)]
pub struct Crowd {
    /// How many; once it has come down to 0 it stays there.
    waiting: AtomicUsize,
    gone: AtomicBool,
}

impl Interest {
    /// An interest, and the client that it is the interest of.
    pub fn new() -> (Self, Arc<Client>) {
        let client = Arc::new(Client::default());
        (Self(client.clone()), client)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::SeqCst);
        self.0.leave();
    }
}

impl Client {
    /// Raised when it is gone.
    pub fn is_gone(&self) -> &AtomicBool {
        &self.gone
    }

    /// Waits in a new `crowd`, as its first.
    pub fn begin(&self, crowd: &Arc<Crowd>) {
        crowd.waiting.store(1, Ordering::SeqCst);
        self.board(crowd);
    }

    /// Waits with `crowd`, unless all of that have gone.
    pub fn join(&self, crowd: &Arc<Crowd>) -> bool {
        let one_more = |waiting: usize| (waiting > 0).then_some(waiting + 1);
        let joined = crowd.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok();
        if joined {
            self.board(crowd);
        }
        joined
    }

    /// A client waits for one plan in its life.
    fn board(&self, crowd: &Arc<Crowd>) {
        let _ = self.crowd.set(crowd.clone());
        // It may have gone before it could be told whom to leave; whoever comes second counts it out.
        if self.gone.load(Ordering::SeqCst) {
            self.leave();
        }
    }

    fn leave(&self) {
        if let Some(crowd) = self.crowd.get()
            && !self.has_left.swap(true, Ordering::SeqCst)
            && crowd.waiting.fetch_sub(1, Ordering::SeqCst) == 1
        {
            crowd.gone.store(true, Ordering::SeqCst);
        }
    }
}

impl Crowd {
    /// Raised when all are gone.
    pub fn is_gone(&self) -> &AtomicBool {
        &self.gone
    }
}
