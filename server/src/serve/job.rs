//! A fetch as it travels: from the accepting shard to the owner, to a worker, and back as messages.

use crate::{auth::Grant, shard::task};
use futures_lite::FutureExt;
use heliostat_core::{
    ObjectId,
    fault::Fault,
    pack::{Framing, Plan},
    protocol::Session,
    refs::RefTable,
    store::{RepositoryId, Snapshot},
};
use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// A request that needs planning, on its way to a worker.
pub struct Job {
    /// Whose plan it is: the owner counts by it.
    pub repository: RepositoryId,
    /// Whose request it is may read it.
    pub grant: Grant,
    /// What is answered from.
    pub snapshot: Arc<Snapshot>,
    /// What the client may have been told that is still on its way.
    pub pending: Option<Arc<RefTable>>,
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
    /// Whose plan the pack is sent from, if one is ordered.
    pub cache: Option<Cache>,
}

/// `Heliostat-Cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Made for this request. Others may come to share it.
    Miss,
    /// Another request's plan, which was being made or sent.
    Shared,
    /// A plan that was kept.
    Hit,
}

impl Cache {
    /// The value of the header.
    pub fn word(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Shared => "shared",
            Self::Hit => "hit",
        }
    }
}

/// Why a conversation has stopped speaking.
pub enum End {
    /// A pack is ordered, to be sent in these frames; [`Step::Planned`] follows. The order itself, perhaps of a million
    /// wants, stays with the worker.
    Pack(Framing),
    /// These wants can't be granted: nothing has been said yet, and the conversation can be taken up again.
    Absent(Vec<ObjectId>),
    /// It is over, in a fault if there is one: what the peer hears of that is in the bytes.
    Over(Option<Fault>),
}

/// What the accepting shard hears when it waits for a step.
pub enum Heard {
    /// The next step.
    Step(Step),
    /// There will be none: the worker is gone.
    Lost,
    /// Nothing yet, and the time is over.
    Nothing,
}

/// Waits for the next of `steps`, for `time` if there is one. An error if the client goes away: `gone` ends then.
pub async fn hear(
    steps: &flume::Receiver<Step>,
    time: Option<Duration>,
    gone: impl Future<Output = ()>,
) -> io::Result<Heard> {
    let step = async { Ok(steps.recv_async().await.map_or(Heard::Lost, Heard::Step)) };
    let gone = async {
        gone.await;
        Err(io::ErrorKind::ConnectionAborted.into())
    };
    let over = async {
        match time {
            Some(time) => task::sleep(time).await,
            None => std::future::pending().await,
        }
        Ok(Heard::Nothing)
    };
    step.or(gone).or(over).await
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
