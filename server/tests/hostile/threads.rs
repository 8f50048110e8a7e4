//! Threads of the server, stopped where they are by ptrace: a load that lasts as long as a test needs it.

use crate::support::Server;
use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{fs, marker::PhantomData};

/// They go on when this is dropped: before the server is, and on the thread that stopped them, as ptrace demands.
pub struct Stopped {
    threads: Vec<Pid>,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl Stopped {
    /// Stops the threads of `server` whose names begin with `name`.
    pub fn named(server: &Server, name: &str) -> Self {
        let mut stopped = Self { threads: Vec::new(), _stays_on_its_thread: PhantomData };
        for task in fs::read_dir(format!("/proc/{}/task", server.id())).unwrap() {
            let task = task.unwrap();
            if !fs::read_to_string(task.path().join("comm")).unwrap().starts_with(name) {
                continue;
            }
            let thread = Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap());
            ptrace::seize(thread, ptrace::Options::empty()).unwrap_or_else(|error| {
                panic!("this test stops threads of its own child, and may not ptrace it: {error}")
            });
            stopped.threads.push(thread);
            ptrace::interrupt(thread).unwrap();
            let status = waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
            assert!(matches!(status, WaitStatus::PtraceEvent(..)), "{name}: {status:?}");
        }
        assert!(!stopped.threads.is_empty(), "no thread is called {name}");
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for thread in &self.threads {
            // It may have been killed meanwhile.
            let _ = ptrace::detach(*thread, None);
        }
    }
}
