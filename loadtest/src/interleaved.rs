//! Pushes and fetches by turns, by several clients of real Git at once, written down as a [`History`].
//!
//! It starts no process itself: whoever runs it says how Git is run, with which home and whose credentials. What a
//! fetch saw is read from the client's own repository after it, so that nothing counts that Git did not take.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use crate::history::{Fetch, History, Push};

/// Each of so many pushes to a branch puts it where it was at first, with one commit on top.
const REPLACED_EVERY: u32 = 4;
/// A Git that hears nothing for so long gives up, in seconds.
const SILENCE_SECONDS: &str = "http.lowSpeedTime=120";

/// Clients, each with a repository and a branch of its own, that push and fetch for themselves.
pub struct Interleaved<'run> {
    /// Runs Git with these arguments in a folder; gives its standard output, or what it complained of.
    pub git: &'run (dyn Fn(&Path, &[&str]) -> io::Result<String> + Sync),
    /// The repository: fetched from, and pushed to. It needs a `HEAD` that leads somewhere.
    pub url: &'run str,
    /// At once.
    pub clients: u32,
    /// Of all clients together.
    pub pushes: u32,
    /// Of all clients together.
    pub fetches: u32,
}

impl Interleaved<'_> {
    /// Runs to the end, in `folder`, which is made. Fails if any command does, or a client's repository is not sound.
    pub fn run(&self, folder: &Path) -> io::Result<History> {
        let (begin, failed) = (Instant::now(), AtomicBool::new(false));
        let of = |all: u32, client: u32| all / self.clients + u32::from(client < all % self.clients);
        let parts = thread::scope(|scope| {
            let run = |number: u32| {
                let (begin, failed) = (begin, &failed);
                move || {
                    let client = Client { number, folder: &folder.join(format!("client-{number}")), all: self, begin };
                    let ended = client.run(of(self.pushes, number), of(self.fetches, number), failed);
                    failed.fetch_or(ended.is_err(), Ordering::Relaxed);
                    ended
                }
            };
            let threads: Vec<_> = (0..self.clients).map(|number| scope.spawn(run(number))).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, io::Result<History>>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<Vec<_>>()
        });
        let mut history = History::default();
        for part in parts {
            let part = part?;
            history.pushes.extend(part.pushes);
            history.fetches.extend(part.fetches);
        }
        Ok(history)
    }
}

struct Client<'run> {
    number: u32,
    folder: &'run Path,
    all: &'run Interleaved<'run>,
    begin: Instant,
}

impl Client<'_> {
    /// Ends early, without a word, if another client has failed: that one says why.
    fn run(&self, pushes: u32, fetches: u32, failed: &AtomicBool) -> io::Result<History> {
        fs::create_dir_all(self.folder)?;
        self.git(&["init", "-q", "--bare", "."])?;
        self.git(&["fetch", "-q", self.all.url, "HEAD"])?;
        let base = self.git(&["rev-parse", "FETCH_HEAD"])?;
        // Somewhere to be: of an unborn HEAD Git has words at the end.
        self.git(&["update-ref", "HEAD", &base])?;
        let mut history = History::default();
        let mut tip = base.clone();
        let turns = pushes.max(fetches);
        let due = |all: u32, turn: u32| (u64::from(turn + 1) * u64::from(all)).div_ceil(u64::from(turns)) as usize;
        for turn in 0..turns {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            if history.pushes.len() < due(pushes, turn) {
                let number = history.pushes.len() as u32;
                let parent = if number % REPLACED_EVERY == REPLACED_EVERY - 1 { &base } else { &tip };
                let push = self.push(parent, number)?;
                tip.clone_from(&push.id);
                history.pushes.push(push);
            }
            if history.fetches.len() < due(fetches, turn) {
                history.fetches.push(self.fetch()?);
            }
        }
        self.git(&["fsck", "--no-dangling", "--no-progress"])?;
        Ok(history)
    }

    fn push(&self, parent: &str, number: u32) -> io::Result<Push> {
        let words = format!("push {number} of client {}", self.number);
        let who = ["-c", "user.name=A U Thor", "-c", "user.email=author@example.com"];
        let tree = format!("{parent}^{{tree}}");
        let id = self.git(&[&who[..], &["commit-tree", "-p", parent, "-m", &words, &tree]].concat())?;
        let branch = format!("interleaved/{}", self.number);
        let began = self.now();
        self.git(&["push", "-q", self.all.url, &format!("+{id}:refs/heads/{branch}")])?;
        Ok(Push { branch, id, began, ended: self.now() })
    }

    fn fetch(&self) -> io::Result<Fetch> {
        let began = self.now();
        self.git(&["fetch", "-q", self.all.url, "+refs/heads/interleaved/*:refs/seen/*"])?;
        let ended = self.now();
        let seen =
            self.git(&["for-each-ref", "--format=interleaved/%(refname:lstrip=2) %(objectname)", "refs/seen"])?;
        let saw = seen.lines().filter_map(|line| line.split_once(' ')).map(|(name, id)| (name.into(), id.into()));
        Ok(Fetch { client: self.number, began, ended, saw: saw.collect() })
    }

    fn git(&self, arguments: &[&str]) -> io::Result<String> {
        let patient = ["-c", "http.lowSpeedLimit=1", "-c", SILENCE_SECONDS];
        let output = (self.all.git)(self.folder, &[&patient[..], arguments].concat())?;
        Ok(output.trim_end().to_owned())
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }
}
