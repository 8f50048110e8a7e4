//! A few threads that take jobs from one queue.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread::JoinHandle,
};

/// What a thread does.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Starts `count` threads called `name`. They end when the last sender is gone. A panic ends its job, not its thread.
pub(crate) fn start(name: &str, count: usize, handles: &mut Vec<JoinHandle<()>>) -> io::Result<flume::Sender<Job>> {
    let (sender, jobs) = flume::unbounded::<Job>();
    for number in 0..count {
        let jobs = jobs.clone();
        let work = move || {
            for job in jobs.iter() {
                // What the job had to report, its guard reports when it is dropped.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        };
        handles.push(std::thread::Builder::new().name(format!("{name}-{number}")).spawn(work)?);
    }
    Ok(sender)
}
