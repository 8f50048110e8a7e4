//! Tasks whose panics stay their own, and the few words of the runtime that the rest of the server uses.
//!
//! In glommio a panic in any task ends the executor, and with it every connection of a core; so no task is started but
//! through [`spawn`]. What a panicking task held is dropped as usual: its socket closes, its counters count down.

use futures_lite::FutureExt;
use std::{any::Any, future::Future, panic::AssertUnwindSafe, time::Duration};

/// Starts a task on this shard. `name` is for the log line that a panic leaves.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(contained(name, task)).detach();
}

/// Runs `task`; a panic in it is logged and is its end only.
async fn contained(name: &'static str, task: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        tracing::error!(task = name, panic = words(panic.as_ref()), "a task panicked; others go on");
    }
}

/// What a panic said.
pub fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no words")
}

/// Ends after `time`.
pub async fn sleep(time: Duration) {
    glommio::timer::sleep(time).await;
}

/// What `future` gives within `time`; `None` if that takes longer. The future is dropped then, so it must be one that
/// loses nothing: a channel's receiver, not a read.
pub async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    async { Some(future.await) }
        .or(async {
            sleep(time).await;
            None
        })
        .await
}

/// Lets others run if this task has had its time.
pub async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use std::{cell::Cell, rc::Rc};

    #[test]
    fn a_panic_ends_its_task_and_nothing_else() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 << 10).make().unwrap();
        let survived = executor.run(async {
            let dropped = Rc::new(Cell::new(false));
            struct OnDrop(Rc<Cell<bool>>);
            impl Drop for OnDrop {
                fn drop(&mut self) {
                    self.0.set(true);
                }
            }
            let held = OnDrop(dropped.clone());
            spawn("test", async move {
                let _held = held;
                sleep(Duration::from_millis(1)).await;
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            let mut turns = 0;
            while !dropped.get() && turns < 1_000 {
                sleep(Duration::from_millis(1)).await;
                turns += 1;
            }
            dropped.get()
        });
        assert!(survived);
    }

    #[test]
    fn waiting_has_an_end() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 << 10).make().unwrap();
        executor.run(async {
            let (sender, receiver) = futures_channel::oneshot::channel::<u8>();
            assert!(within(Duration::from_millis(5), receiver).await.is_none());
            drop(sender);
            assert_eq!(within(Duration::from_secs(60), async { 7 }).await, Some(7));
        });
    }
}
