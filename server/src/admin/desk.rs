//! Where the admin port has done what a shard must not do: read files, look at every repository. One thread, and a bounded
//! number of requests that may wait for it or still be sending what it wrote.

use crate::{shard::task::words, sync::Repositories};
use arc_swap::ArcSwapOption;
use futures_channel::oneshot;
use heliostat_core::{
    limits::{ADMIN_READERS_MAX, WEBHOOKS_BURST, WEBHOOKS_PER_SECOND},
    sync::Bucket,
};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

type Job = Box<dyn FnOnce() + Send>;

/// The way to the thread.
pub struct Desk {
    jobs: flume::Sender<Job>,
    taken: Arc<AtomicUsize>,
    listing: ArcSwapOption<Repositories>,
    hints: Mutex<Bucket>,
    apart: Arc<Mutex<()>>,
}

/// A place at the desk, to be held until the answer has been sent.
pub struct Place {
    jobs: flume::Sender<Job>,
    taken: Arc<AtomicUsize>,
    apart: Arc<Mutex<()>>,
}

impl Desk {
    /// Starts the thread; before the shards, whose pins it would inherit.
    pub fn start() -> io::Result<Self> {
        // As many jobs as there are places.
        let (jobs, inbox) = flume::unbounded::<Job>();
        thread::Builder::new().name("admin".into()).spawn(move || {
            for job in inbox.iter() {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
                    tracing::error!(panic = words(panic.as_ref()), "an admin request panicked; others go on");
                }
            }
        })?;
        Ok(Self {
            jobs,
            taken: Arc::default(),
            listing: ArcSwapOption::empty(),
            hints: Mutex::new(Bucket::new(WEBHOOKS_PER_SECOND, WEBHOOKS_BURST)),
            apart: Arc::default(),
        })
    }

    /// What the upstream listed when somebody asked last.
    pub fn listing(&self) -> Option<Arc<Repositories>> {
        self.listing.load_full()
    }

    /// Keeps what it lists now, until somebody asks again.
    pub fn remember(&self, listed: Repositories) -> Arc<Repositories> {
        let listed = Arc::new(listed);
        self.listing.store(Some(listed.clone()));
        listed
    }

    /// Whether one more webhook may lead to a question at `now`, since the start.
    pub fn admits_hint(&self, now: Duration) -> bool {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    /// A place, if there is one.
    pub fn enter(&self) -> Option<Place> {
        let more = |taken: usize| (taken < ADMIN_READERS_MAX).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place { jobs: self.jobs.clone(), taken: self.taken.clone(), apart: self.apart.clone() })
    }
}

impl Place {
    /// What `work` gives, done by the thread; `None` if it panicked.
    pub async fn ask<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        // Who has gone meanwhile hears nothing; a thread that is gone drops the reply.
        let job = move || drop(reply.send(work()));
        let _ = self.jobs.send(Box::new(job));
        answer.await.ok()
    }
}

impl Place {
    /// The same for what takes long, on a thread for it alone; `None` also while there is such a thread already.
    pub async fn ask_apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let apart = self.apart.clone();
        // Started by the thread of the desk: a shard's would inherit its pin.
        let start = move || {
            let run = move || {
                if let Ok(_alone) = apart.try_lock() {
                    let _ = reply.send(work());
                }
            };
            thread::Builder::new().name("admin-apart".into()).spawn(run).is_ok()
        };
        self.ask(start).await.filter(|started| *started)?;
        answer.await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn places_are_bounded_and_given_back() {
        let desk = Desk::start().unwrap();
        let mut places: Vec<_> = (0..ADMIN_READERS_MAX).map(|_| desk.enter().expect("room")).collect();
        assert!(desk.enter().is_none());
        assert_eq!(block_on(places[0].ask(|| 7)), Some(7));
        places.pop();
        assert!(desk.enter().is_some());
    }

    #[test]
    fn a_panic_is_the_end_of_one_request() {
        let desk = Desk::start().unwrap();
        let place = desk.enter().unwrap();
        let panicked: Option<u8> = block_on(place.ask(|| std::panic::resume_unwind(Box::new("on purpose"))));
        assert_eq!(panicked, None);
        assert_eq!(block_on(place.ask(|| 7)), Some(7));
    }
}
