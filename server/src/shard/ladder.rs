//! Keeps a shard from sleeping on while it has work.
//!
//! glommio 0.9 goes to sleep with tasks ready to run if its preemption timer fires between being set and the first look at
//! the tasks (`run_task_queues` then runs nothing and says that there was nothing to run): that takes a thread that is not
//! given its core for half a millisecond just there, so it happens on busy machines. Its sleep ends with the next event of
//! a socket or the next timer; timers that have fired are gone, and if there was no other, it does not end. A shard with
//! nothing but a ticker slept for good within half a minute beside two busy threads on two cores.
//!
//! So there is always another timer: a ladder of them, set anew when the first fires. One step bounds such a sleep, and
//! should the same happen at the next waking, the next rung does. Before the first task of a shard has run there is no
//! ladder yet: then the watch rouses it ([`super::executor`]).
//!
//! Tried before: a byte on a socket from the thread that watches the shards. It ended such a sleep only after some 600 ms.

use glommio::timer::Timer;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

/// How long such a sleep lasts; twenty wakings a second cost an idle shard a thousandth of its core.
const STEP: Duration = Duration::from_millis(50);
/// One such sleep in a thousand wakings was the most that was seen: eight in a row are not.
const RUNGS: u32 = 8;

/// Never ends.
pub async fn climb() {
    loop {
        let mut rungs: Vec<_> = (1..=RUNGS).map(|rung| Timer::new(rung * STEP)).collect();
        poll_fn(|cx| {
            // Each has to be polled once to be set.
            let fired = rungs.iter_mut().filter_map(|rung| Pin::new(rung).poll(cx).is_ready().then_some(())).count();
            if fired > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use crate::shard::{
        executor::{self, Ended},
        placement, task,
    };
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };

    /// Threads that want the same core, until dropped.
    struct Crowd(Arc<AtomicBool>);

    impl Drop for Crowd {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Three threads that never rest.
    fn crowd(core: usize) -> Crowd {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..3 {
            let over = over.clone();
            thread::spawn(move || {
                placement::pin(core).unwrap();
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Crowd(over)
    }

    /// Without being roused one in some hundred never runs a task: the ladder is none yet.
    #[test]
    fn a_shard_that_falls_asleep_before_its_first_task_is_roused() {
        let core = placement::cores()[0];
        let _crowd = crowd(core);
        for index in 0..2_000 {
            let (sender, receiver) = mpsc::channel();
            let ended = move |_, how| sender.send(how).unwrap();
            let sleeper = executor::start(index, Some(core), || async {}, ended).unwrap();
            let came = (0..200).find_map(|_| match receiver.recv_timeout(Duration::from_millis(100)) {
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    sleeper.rouse();
                    None
                }
                ended => Some(ended),
            });
            assert_eq!(came, Some(Ok(Ended::Done)));
        }
    }

    /// Short sleeps on a core that others want as well. Without the ladder one of the first thousand does not end.
    #[test]
    fn a_shard_on_a_crowded_core_wakes_from_every_sleep() {
        const SLEEPS: usize = 3_000;
        let core = placement::cores()[0];
        let _crowd = crowd(core);
        let (sender, receiver) = mpsc::channel();
        let main = || async {
            for _ in 0..SLEEPS {
                task::sleep(Duration::from_millis(1)).await;
            }
        };
        executor::start(0, Some(core), main, move |_, how| sender.send(how).unwrap()).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(300)).unwrap(), Ended::Done);
    }
}
