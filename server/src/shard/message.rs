//! Everything that crosses shards.

use crate::serve::job::Job;
use heliostat_core::store::RepositoryId;

/// The one closed list of what one thread may say to a shard.
pub enum Message {
    /// To the owner of the repository: plan this, in its turn.
    Plan(Box<Job>),
    /// To the owner, from a worker: a plan of this repository has ended, well or not; its place is free.
    PlanEnded(RepositoryId),
    /// From the main thread: end what is idle, finish what is live, then end.
    Drain,
    /// To itself: drained.
    End,
}

/// Where messages go: one inbox per shard.
#[derive(Clone)]
pub struct Post(std::sync::Arc<[flume::Sender<Message>]>);

impl Post {
    /// `shards` inboxes, and the way to them. Unbounded: what is sent is bounded by the plans in flight, which are.
    pub fn new(shards: usize) -> (Self, Vec<flume::Receiver<Message>>) {
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..shards).map(|_| flume::unbounded()).unzip();
        (Self(senders.into()), inboxes)
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.len()
    }

    /// Sends to shard `to`. False if that shard has ended: the message is gone.
    pub fn send(&self, to: usize, message: Message) -> bool {
        self.0.get(to).is_some_and(|inbox| inbox.send(message).is_ok())
    }

    /// Asks every shard to drain.
    pub fn drain(&self) {
        for inbox in self.0.iter() {
            // A shard that has ended has nothing to drain.
            let _ = inbox.send(Message::Drain);
        }
    }
}
