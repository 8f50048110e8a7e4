//! One glommio executor per core, what lives on each, and what crosses between them.
//!
//! A connection stays on the shard that accepted it; a repository is planned for by the shard that owns it. State is
//! one shard's own, in plain cells; what is shared is in [`Node`] and immutable or a counter.

pub mod drain;
pub mod executor;
mod ladder;
pub mod listener;
pub mod message;
pub mod placement;
pub mod preflight;
pub mod task;

use crate::{
    auth::ShardMemory,
    http::{connection, wire::Wire},
    metrics::ShardCounts,
    serve::{node::Node, owner::Owner},
};
use executor::Pulse;
use heliostat_core::limits::DRAIN_TIME;
use listener::Listener;
use message::{Message, Post};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often deadlines are looked at. Coarse, since they are seconds; each look costs one pass over the connections.
const TICK: Duration = Duration::from_millis(200);
/// How often a draining shard looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// What live requests get to say their last word once the time for draining is over.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Which port a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Clones and fetches.
    Main,
    /// The admin port.
    Admin,
}

/// What a shard is given when it starts.
pub struct Seat {
    /// Its number, from 0.
    pub index: usize,
    /// What all shards share.
    pub node: Arc<Node>,
    /// The way to the other shards.
    pub post: Post,
    /// Its own messages.
    pub inbox: flume::Receiver<Message>,
    /// Its sockets.
    pub listeners: Vec<(Door, Listener)>,
    /// Its sign of life.
    pub pulse: Pulse,
}

/// One shard's state.
pub struct Shard {
    /// Its number.
    pub index: usize,
    /// What all shards share.
    pub node: Arc<Node>,
    /// The way to the other shards.
    pub post: Post,
    /// Plans of the repositories that this shard owns.
    pub owner: RefCell<Owner>,
    /// Who was let in a moment ago.
    pub grants: RefCell<ShardMemory>,
    wires: RefCell<HashMap<u64, Weak<Wire>>>,
    wires_made: Cell<u64>,
    pulse: Pulse,
}

/// Something without which the shard is of no use; its end is the shard's.
struct Vital {
    post: Post,
    index: usize,
    node: Arc<Node>,
}

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.node.stage.is_draining() {
            self.post.send(self.index, Message::End);
        }
    }
}

impl Shard {
    /// What this shard counts.
    pub fn counts(&self) -> &ShardCounts {
        &self.node.counts[self.index]
    }

    /// Shows where the queue of plans stands.
    fn show_queue(&self) {
        let (waiting, running, refused) = self.owner.borrow().figures();
        self.counts().plans_waiting.set(waiting);
        self.counts().plans_running.set(running);
        self.counts().plans_refused.set(refused);
    }

    fn visit(&self, now: Instant) {
        let draining = self.node.stage.is_draining();
        self.wires.borrow_mut().retain(|_, wire| match wire.upgrade() {
            Some(wire) => {
                wire.visit(now, draining);
                true
            }
            None => false,
        });
    }

    fn admit(self: &Rc<Self>, door: Door, stream: glommio::net::TcpStream, peer: SocketAddr) {
        let wire = Rc::new(Wire::new(stream, peer));
        let Some(entry) = self.node.admission.enter(door) else {
            let shard = self.clone();
            task::spawn("turn away", async move {
                connection::turn_away(&shard, &wire, door, "too many connections").await;
            });
            return;
        };
        match door {
            Door::Main => self.counts().connections.one(),
            Door::Admin => self.counts().admin_connections.one(),
        }
        let number = self.wires_made.get();
        self.wires_made.set(number + 1);
        self.wires.borrow_mut().insert(number, Rc::downgrade(&wire));
        let shard = self.clone();
        task::spawn("connection", async move {
            connection::run(shard.clone(), wire, door, entry).await;
            shard.wires.borrow_mut().remove(&number);
        });
    }
}

/// The life of a shard: accepts, plans for what it owns, and ends when it has been told to drain and is done.
pub async fn run(seat: Seat) {
    let shard = Rc::new(Shard {
        index: seat.index,
        owner: RefCell::new(Owner::new(seat.node.workers.len(), seat.node.config.limits.clone())),
        grants: RefCell::default(),
        node: seat.node,
        post: seat.post,
        wires: RefCell::default(),
        wires_made: Cell::new(0),
        pulse: seat.pulse,
    });
    let vital = || Vital { post: shard.post.clone(), index: shard.index, node: shard.node.clone() };
    for (door, listener) in seat.listeners {
        let (shard, vital) = (shard.clone(), vital());
        task::spawn("accept", async move {
            let _vital = vital;
            let accepting = shard.clone();
            let full = shard.node.full(door);
            let accepted = listener.accept(full, |stream, peer| accepting.admit(door, stream, peer)).await;
            if let Err(error) = accepted {
                tracing::error!(shard = shard.index, %error, "no connections are accepted any more");
            }
        });
    }
    let (ticking, vital) = (shard.clone(), vital());
    task::spawn("ticker", async move {
        let _vital = vital;
        loop {
            ticking.pulse.beat();
            ticking.visit(Instant::now());
            ticking.owner.borrow_mut().expire(Instant::now());
            ticking.show_queue();
            task::sleep(TICK).await;
        }
    });
    while let Ok(message) = seat.inbox.recv_async().await {
        match message {
            Message::Plan(job) => shard.owner.borrow_mut().arrive(*job),
            Message::PlanEnded(repository) => shard.owner.borrow_mut().ended(repository),
            Message::Drain => {
                let draining = shard.clone();
                let post = shard.post.clone();
                task::spawn("drain", async move {
                    drain(&draining).await;
                    post.send(draining.index, Message::End);
                });
                continue;
            }
            Message::End => return,
        }
        while let Some(job) = shard.owner.borrow_mut().start_next() {
            shard.node.workers.take(job);
        }
        shard.show_queue();
    }
}

/// Waits until no request is under way on any shard (one that has ended can't plan for the others), or time is up.
async fn drain(shard: &Shard) {
    shard.visit(Instant::now());
    let deadline = Instant::now() + DRAIN_TIME + LAST_WORDS;
    while shard.node.live() > 0 && Instant::now() < deadline {
        task::sleep(DRAIN_POLL).await;
    }
}
