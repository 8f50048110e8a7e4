//! The queue in front of the workers, one per owner shard: fair among repositories, bounded in every direction.
//!
//! Pure but for the channels inside the jobs. Repositories take turns; one of them has at most so many plans at work, so
//! that a storm on one does not keep the others waiting.

use super::job::{Job, Step};
use crate::config::Limits;
use heliostat_core::{limits::PLANS_WAITING_MAX, store::RepositoryId};
use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::Ordering,
    time::Instant,
};

/// What one shard knows of the plans it owns.
pub struct Owner<J = Job> {
    lines: HashMap<RepositoryId, Line<J>>,
    /// Repositories with waiting jobs and a free place, in the order of their turns; each at most once.
    turns: VecDeque<RepositoryId>,
    waiting: usize,
    running: usize,
    running_max: usize,
    refused: usize,
    limits: Limits,
}

struct Line<J> {
    waiting: VecDeque<J>,
    running: usize,
    in_turn: bool,
}

/// What the queue must know of a job.
pub trait Queued {
    /// Whose it is.
    fn repository(&self) -> RepositoryId;
    /// When it began to wait.
    fn arrived(&self) -> Instant;
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
    /// It will not be done.
    fn refuse(self);
}

impl Queued for Job {
    fn repository(&self) -> RepositoryId {
        self.repository
    }

    fn arrived(&self) -> Instant {
        self.arrived
    }

    fn is_abandoned(&self) -> bool {
        self.client.is_gone().load(Ordering::Relaxed)
    }

    fn refuse(self) {
        // Who is gone need not hear it.
        let _ = self.steps.send(Step::Refused);
    }
}

impl<J: Queued> Owner<J> {
    /// A queue in front of `workers` that other shards use too: this one keeps at most that many busy.
    pub fn new(workers: usize, limits: Limits) -> Self {
        Self {
            lines: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            running: 0,
            running_max: workers.max(1),
            refused: 0,
            limits,
        }
    }

    /// How many wait, how many are at work, and how many have been refused since the start.
    pub fn figures(&self) -> (usize, usize, usize) {
        (self.waiting, self.running, self.refused)
    }

    /// A job arrives: it waits, or is refused when too many do.
    pub fn arrive(&mut self, job: J) {
        let repository = job.repository();
        let line =
            self.lines.entry(repository).or_insert(Line { waiting: VecDeque::new(), running: 0, in_turn: false });
        if self.waiting >= PLANS_WAITING_MAX || line.waiting.len() >= self.limits.plans_waiting_per_repository {
            self.forget_if_idle(repository);
            self.refused += 1;
            job.refuse();
            return;
        }
        line.waiting.push_back(job);
        self.waiting += 1;
        self.queue(repository);
    }

    /// A plan of `repository` has ended.
    pub fn ended(&mut self, repository: RepositoryId) {
        if let Some(line) = self.lines.get_mut(&repository) {
            line.running = line.running.saturating_sub(1);
            self.running = self.running.saturating_sub(1);
            self.queue(repository);
            self.forget_if_idle(repository);
        }
    }

    /// The next job to start now, if there is one.
    pub fn start_next(&mut self) -> Option<J> {
        while self.running < self.running_max {
            let repository = self.turns.pop_front()?;
            let line = self.lines.get_mut(&repository)?;
            line.in_turn = false;
            let job = line.waiting.pop_front();
            if let Some(job) = job {
                self.waiting -= 1;
                if job.is_abandoned() {
                    self.queue(repository);
                    self.forget_if_idle(repository);
                    continue;
                }
                line.running += 1;
                self.running += 1;
                self.queue(repository);
                return Some(job);
            }
        }
        None
    }

    /// Refuses what has waited too long, and forgets what nobody waits for.
    pub fn expire(&mut self, now: Instant) {
        if self.waiting == 0 {
            return;
        }
        let repositories: Vec<_> = self.lines.keys().copied().collect();
        for repository in repositories {
            let Some(line) = self.lines.get_mut(&repository) else { continue };
            let before = line.waiting.len();
            for job in std::mem::take(&mut line.waiting) {
                if job.is_abandoned() {
                    drop(job);
                } else if now.duration_since(job.arrived()) > self.limits.plan_wait {
                    self.refused += 1;
                    job.refuse();
                } else {
                    line.waiting.push_back(job);
                }
            }
            self.waiting -= before - line.waiting.len();
            self.forget_if_idle(repository);
        }
    }

    /// Puts a repository into the order of turns if it has work and a free place.
    fn queue(&mut self, repository: RepositoryId) {
        if let Some(line) = self.lines.get_mut(&repository)
            && !line.in_turn
            && !line.waiting.is_empty()
            && line.running < self.limits.plans_per_repository
        {
            line.in_turn = true;
            self.turns.push_back(repository);
        }
    }

    fn forget_if_idle(&mut self, repository: RepositoryId) {
        if self.lines.get(&repository).is_some_and(|l| l.waiting.is_empty() && l.running == 0) {
            self.lines.remove(&repository);
            self.turns.retain(|&turn| turn != repository);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, rc::Rc, time::Duration};

    struct Fake {
        repository: RepositoryId,
        arrived: Instant,
        abandoned: bool,
        refused: Rc<Cell<usize>>,
    }

    impl Queued for Fake {
        fn repository(&self) -> RepositoryId {
            self.repository
        }
        fn arrived(&self) -> Instant {
            self.arrived
        }
        fn is_abandoned(&self) -> bool {
            self.abandoned
        }
        fn refuse(self) {
            self.refused.set(self.refused.get() + 1);
        }
    }

    #[derive(Default)]
    struct Maker {
        refused: Rc<Cell<usize>>,
    }

    impl Maker {
        fn job(&self, repository: u64) -> Fake {
            let arrived = Instant::now();
            Fake { repository: RepositoryId(repository), arrived, abandoned: false, refused: self.refused.clone() }
        }
    }

    fn started(owner: &mut Owner<Fake>) -> Vec<u64> {
        std::iter::from_fn(|| owner.start_next()).map(|job| job.repository.0).collect()
    }

    #[test]
    fn repositories_take_turns_and_none_takes_all() {
        let (maker, mut owner) = (Maker::default(), Owner::new(100, Limits::default()));
        for _ in 0..10 {
            owner.arrive(maker.job(1));
        }
        owner.arrive(maker.job(2));
        owner.arrive(maker.job(3));
        assert_eq!(started(&mut owner), [1, 2, 3, 1, 1, 1]);
        owner.ended(RepositoryId(1));
        assert_eq!(started(&mut owner), [1]);
    }

    #[test]
    fn what_the_configuration_says_holds() {
        let limits = Limits {
            plans_per_repository: 1,
            plans_waiting_per_repository: 2,
            plan_wait: Duration::from_secs(1),
            ..Limits::default()
        };
        let (maker, mut owner) = (Maker::default(), Owner::new(100, limits));
        for repository in [1, 1, 1, 2] {
            owner.arrive(maker.job(repository));
        }
        assert_eq!(maker.refused.get(), 1);
        assert_eq!(started(&mut owner), [1, 2]);
        owner.expire(Instant::now());
        assert_eq!((owner.waiting, maker.refused.get()), (1, 1));
        owner.expire(Instant::now() + Duration::from_secs(2));
        assert_eq!((owner.waiting, maker.refused.get()), (0, 2));
    }

    #[test]
    fn workers_are_not_overrun() {
        let (maker, mut owner) = (Maker::default(), Owner::new(2, Limits::default()));
        for repository in 0..5 {
            owner.arrive(maker.job(repository));
        }
        assert_eq!(started(&mut owner), [0, 1]);
        assert!(started(&mut owner).is_empty());
        owner.ended(RepositoryId(0));
        assert_eq!(started(&mut owner), [2]);
    }

    #[test]
    fn the_queue_has_ends_and_leaves_nothing_behind() {
        let (maker, mut owner) = (Maker::default(), Owner::new(1, Limits::default()));
        for _ in 0..Limits::default().plans_waiting_per_repository + 3 {
            owner.arrive(maker.job(1));
        }
        assert_eq!(maker.refused.get(), 3);
        let mut other = 2;
        while owner.waiting < PLANS_WAITING_MAX {
            owner.arrive(maker.job(other));
            other += 1;
        }
        owner.arrive(maker.job(other));
        assert_eq!(maker.refused.get(), 4);
        owner.expire(Instant::now() + Limits::default().plan_wait + Duration::from_secs(1));
        assert_eq!(maker.refused.get(), 4 + PLANS_WAITING_MAX);
        assert!(owner.lines.is_empty() && owner.turns.is_empty() && owner.waiting == 0);
    }

    #[test]
    fn who_has_left_is_not_worked_for() {
        let (maker, mut owner) = (Maker::default(), Owner::new(1, Limits::default()));
        let mut gone = maker.job(1);
        gone.abandoned = true;
        owner.arrive(gone);
        owner.arrive(maker.job(2));
        assert_eq!(started(&mut owner), [2]);
        owner.ended(RepositoryId(2));
        assert!(owner.lines.is_empty() && owner.running == 0 && maker.refused.get() == 0);
    }
}
