//! When to ask the upstream about which repository, and who hears the answer.
//!
//! ```text
//! questions   Idle --a caller or the interval--> Queued --a slot is free--> Asking --told, or in vain--> Idle
//! objects     Nothing --it moved--> Moved --a slot is free--> Fetching --ended--> Nothing
//!                                     ^------------------------- ended, and it has moved again ---'
//! ```
//!
//! Promises:
//! - One question at a time per repository, and one fetch; the two run beside each other. All who arrived before a question
//!   was asked share its answer; later ones share the next, so that nobody hears of a state older than their request.
//! - Who needs references hears of them as soon as they are told. Who needs their objects too waits for the fetch that
//!   brings what its own question has found, not for one that was under way before, unless that brings the same.
//! - Failures space out attempts exponentially (full jitter, a cap), and only a verified success resets the count. A caller
//!   shortens the wait, to [`Policy::ask_spacing`] or, where objects had been fetched in vain, to
//!   [`Policy::fetch_spacing`]; its question is then put off by that much, not answered from memory.
//! - Callers go before the interval, in both queues; the interval can never take the last slot for questions. While the
//!   breaker is open, the interval rests and nothing new is mirrored; what callers ask of what is known is asked.
//! - What is asked about paths that are not mirrored is bounded: a rate, a memory of answers, first mirrors in flight, of each
//!   source and in all.
//! - Nothing here deletes anything. A repository that the upstream denies having stays known and is asked about again.

mod figures;
mod first_copies;
mod unknown;

pub use figures::Figures;

use super::{Breaker, BreakerPolicy, Bucket, Effect, Need, Random, Ticket, Verdict};
use crate::{
    fault::Fault,
    limits::{SYNC_UNKNOWN_MAX, SYNC_WAITING_MAX},
    retry::{Attempts, Backoff},
    rights::Payers,
};
use first_copies::FirstCopies;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// The numbers.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Each known repository is compared this often; a tenth of it, up or down, is jitter.
    pub interval: Duration,
    /// Questions at once.
    pub asks: usize,
    /// Fetches at once.
    pub fetches: usize,
    /// First mirrors at once.
    pub creations: usize,
    /// First mirrors that callers have begun and that have not ended, in all and for each source. More: refused.
    pub first_copies: usize,
    /// See [`Policy::first_copies`].
    pub first_copies_per_source: usize,
    /// Repositories whose references have moved and that wait for a fetch, before no more questions are asked: each
    /// holds an advertisement in memory.
    pub moved_max: usize,
    /// Spacing of attempts after failures.
    pub retry: Backoff,
    /// A caller's question is put off by at most this long after a question that failed.
    pub ask_spacing: Duration,
    /// And by at most this long after a fetch that failed: it may have cost gigabytes.
    pub fetch_spacing: Duration,
    /// How long a refusal (404, 401, 403, unsupported) is remembered for a path that is not mirrored here.
    pub refusal_ttl: Duration,
    /// Questions a second about paths that are not mirrored, in the long run.
    pub unknown_per_second: u32,
    /// And at once.
    pub unknown_burst: u32,
    /// When the upstream is left alone.
    pub breaker: BreakerPolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Idle,
    Queued,
    Asking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Objects {
    Nothing,
    Moved,
    Fetching,
}

#[derive(Debug)]
struct Repository {
    question: Question,
    objects: Objects,
    /// What is being fetched is not what was found last.
    again: bool,
    /// It is mirrored here, or the upstream's listing names it.
    known: bool,
    /// Its fetch holds one of the slots for first mirrors.
    creating: bool,
    /// It is counted as a first mirror that is under way for this source.
    first_copy_of: Option<Payers>,
    /// The question was asked by the interval alone.
    background: bool,
    /// What it found waits for a fetch, and nobody for that.
    moved_in_background: bool,
    /// Who shares the question that runs or is about to run.
    current: Vec<(Ticket, Need)>,
    /// Who shares the next one.
    next: Vec<(Ticket, Need)>,
    /// Who waits for the fetch that runs or is about to run.
    arriving: Vec<Ticket>,
    /// And for the one after it.
    arriving_next: Vec<Ticket>,
    attempts: Attempts,
    /// The last answer was a refusal: remembered for callers until `not_before`.
    refusal: Option<Verdict>,
    /// No question before this.
    not_before: Duration,
    /// Its entry in the timers: next background question, or the end of an unknown path's memory.
    timer: Option<Duration>,
}

/// The schedule of all repositories of one upstream.
pub struct Schedule {
    policy: Policy,
    random: Random,
    breaker: Breaker,
    unknown_rate: Bucket,
    repositories: HashMap<Arc<str>, Repository>,
    unknown: usize,
    waiting: usize,
    timers: BTreeSet<(Duration, Arc<str>)>,
    demanded: VecDeque<Arc<str>>,
    /// Repositories in [`Question::Queued`] whose question is put off.
    delayed: BTreeSet<(Duration, Arc<str>)>,
    /// Repositories in [`Objects::Moved`]: those with callers, first mirrors, the rest. An entry may be stale.
    moved_demanded: VecDeque<Arc<str>>,
    moved_creations: VecDeque<Arc<str>>,
    moved_background: VecDeque<Arc<str>>,
    asking: usize,
    asking_background: usize,
    moved: usize,
    fetching: usize,
    creating: usize,
    first_copies: FirstCopies,
    last_outage: Option<Arc<Fault>>,
    effects: VecDeque<Effect>,
}

impl Schedule {
    /// A schedule without repositories. Equal seeds and events give equal effects.
    #[must_use]
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            random: Random(seed),
            breaker: Breaker::new(policy.breaker, policy.asks),
            unknown_rate: Bucket::new(policy.unknown_per_second, policy.unknown_burst),
            repositories: HashMap::new(),
            unknown: 0,
            waiting: 0,
            timers: BTreeSet::new(),
            demanded: VecDeque::new(),
            delayed: BTreeSet::new(),
            moved_demanded: VecDeque::new(),
            moved_creations: VecDeque::new(),
            moved_background: VecDeque::new(),
            asking: 0,
            asking_background: 0,
            moved: 0,
            fetching: 0,
            creating: 0,
            first_copies: FirstCopies::default(),
            last_outage: None,
            effects: VecDeque::new(),
        }
    }

    /// The repository is mirrored here or the upstream lists it: it is compared at the interval from now on.
    pub fn know(&mut self, now: Duration, path: &Arc<str>) {
        let repository = self.repositories.entry(path.clone()).or_insert_with(|| {
            self.unknown += 1;
            Repository::new()
        });
        if repository.known {
            return;
        }
        repository.known = true;
        self.unknown -= 1;
        if repository.is_idle() {
            self.set_timer(path, Some(now));
        }
    }

    /// The repository is not mirrored here any more: the interval leaves it alone until somebody asks for it. Who waits for
    /// it goes on waiting.
    pub fn forget(&mut self, path: &Arc<str>) {
        let Some(repository) = self.repositories.get_mut(path).filter(|repository| repository.known) else { return };
        repository.known = false;
        self.unknown += 1;
        if repository.is_idle() {
            self.set_timer(path, None);
            self.repositories.remove(path);
            self.unknown -= 1;
        }
    }

    /// Whether the interval compares this repository.
    #[must_use]
    pub fn knows(&self, path: &str) -> bool {
        self.repositories.get(path).is_some_and(|repository| repository.known)
    }

    /// A caller wants to hear what the upstream says from now on. `payers` pay for a first mirror.
    pub fn ask(&mut self, now: Duration, path: &Arc<str>, ticket: Ticket, need: Need, payers: Option<Payers>) {
        if self.waiting >= SYNC_WAITING_MAX {
            return self.refuse(path, ticket, "too many callers wait for the upstream");
        }
        if !self.repositories.contains_key(path) {
            if let Err(why) = self.may_begin_first_copy(payers) {
                return self.refuse(path, ticket, why);
            }
            if !self.unknown_rate.take(now) {
                return self.refuse(path, ticket, "too many requests for repositories that are not mirrored yet");
            }
            if self.unknown >= SYNC_UNKNOWN_MAX && !self.forget_one_unknown() {
                return self.refuse(path, ticket, "too many repositories that are not mirrored yet are asked for");
            }
            self.repositories.insert(path.clone(), Repository::new());
            self.unknown += 1;
        }
        let open = self.breaker.is_open(now);
        let Some(repository) = self.repositories.get_mut(path) else { return };
        match repository.question {
            Question::Idle => {
                let early = now < repository.not_before;
                let refusal = repository.refusal.clone().filter(|_| early);
                let outage = self.last_outage.as_ref().filter(|_| open && !repository.known);
                let outage = outage.map(|fault| Verdict::Outage(fault.clone()));
                if let Some(verdict) = refusal.or(outage) {
                    self.rest(now, path);
                    let path = path.clone();
                    return self.effects.push_back(Effect::Answer { path, tickets: vec![ticket], verdict });
                }
                if let Err(why) = self.begin_first_copy(path, payers) {
                    self.rest(now, path);
                    return self.refuse(path, ticket, why);
                }
                let Some(repository) = self.repositories.get_mut(path) else { return };
                repository.current.push((ticket, need));
                repository.question = Question::Queued;
                if early {
                    self.delayed.insert((repository.not_before, path.clone()));
                } else {
                    self.demanded.push_back(path.clone());
                }
                self.set_timer(path, None);
            }
            Question::Queued => repository.current.push((ticket, need)),
            Question::Asking => repository.next.push((ticket, need)),
        }
        self.waiting += 1;
        self.hurry(path);
    }

    /// Somebody is interested in what had moved unobserved.
    fn hurry(&mut self, path: &Arc<str>) {
        let Some(repository) = self.repositories.get_mut(path) else { return };
        if repository.objects == Objects::Moved && std::mem::take(&mut repository.moved_in_background) {
            self.moved_demanded.push_back(path.clone());
        }
    }

    /// The upstream answered, and its references differ from ours: a fetch will be ordered when a slot is free. `is_coming`:
    /// they are those that are being fetched.
    pub fn moved(&mut self, now: Duration, path: &Arc<str>, is_coming: bool) {
        let Some(repository) = self.repositories.get_mut(path).filter(|r| r.question == Question::Asking) else {
            return;
        };
        repository.question = Question::Idle;
        self.asking -= 1;
        self.asking_background -= usize::from(repository.background);
        self.breaker.answered();
        let callers = std::mem::take(&mut repository.current);
        let is_observed = !repository.background || !repository.next.is_empty();
        let fetch = match repository.objects {
            Objects::Fetching if !is_coming => &mut repository.arriving_next,
            _ => &mut repository.arriving,
        };
        let (objects, references): (Vec<_>, Vec<_>) = callers.into_iter().partition(|(_, n)| *n == Need::Objects);
        fetch.extend(objects.into_iter().map(|(ticket, _)| ticket));
        match repository.objects {
            Objects::Nothing => {
                repository.moved_in_background = !is_observed;
                self.queue_fetch(path);
            }
            Objects::Moved if is_observed => self.hurry(path),
            Objects::Moved => {}
            Objects::Fetching => repository.again |= !is_coming,
        }
        self.waiting -= references.len();
        if !references.is_empty() {
            let tickets = references.into_iter().map(|(ticket, _)| ticket).collect();
            self.effects.push_back(Effect::Told { path: path.clone(), tickets });
        }
        self.ask_next(now, path);
    }

    /// Puts what was found in line for a fetch.
    fn queue_fetch(&mut self, path: &Arc<str>) {
        let Some(repository) = self.repositories.get_mut(path) else { return };
        repository.objects = Objects::Moved;
        self.moved += 1;
        let queue = match (repository.known, repository.moved_in_background) {
            (false, _) => &mut self.moved_creations,
            (true, false) => &mut self.moved_demanded,
            (true, true) => &mut self.moved_background,
        };
        queue.push_back(path.clone());
    }

    /// Who came while a question was under way shares the next one.
    fn ask_next(&mut self, now: Duration, path: &Arc<str>) {
        let Some(repository) = self.repositories.get_mut(path) else { return };
        let later = std::mem::take(&mut repository.next);
        self.waiting -= later.len();
        for (ticket, need) in later {
            self.ask(now, path, ticket, need, None);
        }
    }

    /// A question ended with nothing to fetch.
    pub fn answered(&mut self, now: Duration, path: &Arc<str>, verdict: Verdict) {
        let random = self.random.next();
        // Not ordered: a defect of the driver, and nothing to count.
        let Some(repository) = self.repositories.get_mut(path).filter(|r| r.question == Question::Asking) else {
            return;
        };
        repository.question = Question::Idle;
        self.asking -= 1;
        self.asking_background -= usize::from(repository.background);
        match &verdict {
            Verdict::Outage(fault) => {
                self.last_outage = Some(fault.clone());
                self.breaker.outage(now, path, random);
            }
            Verdict::Failing(_) | Verdict::Failed(_) | Verdict::Useless(_) => self.breaker.undecided(now),
            _ => self.breaker.answered(),
        }
        let tickets = std::mem::take(&mut repository.current).into_iter().map(|(ticket, _)| ticket).collect();
        self.settle(now, path, tickets, verdict, self.policy.ask_spacing, random);
        // Who shares the next question shares who pays.
        self.ask_next(now, path);
        self.end_first_copy(path);
    }

    /// A fetch ended.
    pub fn fetched(&mut self, now: Duration, path: &Arc<str>, verdict: Verdict) {
        let random = self.random.next();
        let Some(repository) = self.repositories.get_mut(path).filter(|r| r.objects == Objects::Fetching) else {
            return;
        };
        repository.objects = Objects::Nothing;
        self.fetching -= 1;
        self.creating -= usize::from(std::mem::take(&mut repository.creating));
        let again = std::mem::take(&mut repository.again);
        let tickets = std::mem::replace(&mut repository.arriving, std::mem::take(&mut repository.arriving_next));
        self.settle(now, path, tickets, verdict, self.policy.fetch_spacing, random);
        if again {
            self.set_timer(path, None);
            self.queue_fetch(path);
        }
        self.end_first_copy(path);
    }

    /// What every end has to do: when to ask again, and who hears of it.
    fn settle(
        &mut self,
        now: Duration,
        path: &Arc<str>,
        tickets: Vec<Ticket>,
        verdict: Verdict,
        spacing: Duration,
        random: u64,
    ) {
        let Some(repository) = self.repositories.get_mut(path) else { return };
        repository.refusal = None;
        let again = match &verdict {
            Verdict::Verified => {
                repository.attempts.verified();
                repository.not_before = now;
                if !repository.known {
                    repository.known = true;
                    self.unknown -= 1;
                }
                jittered(self.policy.interval, random)
            }
            Verdict::Missing | Verdict::Denied(_) | Verdict::Unsupported(_) => {
                repository.not_before = now;
                if repository.known {
                    // Mirrored here: asked about again at once when somebody wants it, for it may be back.
                    jittered(self.policy.interval, random)
                } else {
                    repository.not_before = now + self.policy.refusal_ttl;
                    repository.refusal = Some(verdict.clone());
                    self.policy.refusal_ttl
                }
            }
            Verdict::Outage(_) | Verdict::Failing(_) | Verdict::Failed(_) | Verdict::Useless(_) => {
                let delay = repository.attempts.failed(&self.policy.retry, random);
                repository.not_before = now + delay.min(spacing);
                // An unknown path is not asked about again by itself; its count of failures outlives the next attempts.
                if repository.known { delay } else { delay.max(4 * self.policy.fetch_spacing) }
            }
        };
        if repository.is_idle() {
            self.set_timer(path, Some(now + again));
        }
        self.waiting -= tickets.len();
        if !tickets.is_empty() {
            self.effects.push_back(Effect::Answer { path: path.clone(), tickets, verdict });
        }
    }

    /// The next thing to do at `now`; `None` until another event or [`Schedule::deadline`].
    pub fn poll(&mut self, now: Duration) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        while let Some((at, path)) = self.delayed.first().cloned().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, path.clone()));
            self.demanded.push_back(path);
        }
        self.next_fetch().or_else(|| self.next_demanded(now)).or_else(|| self.next_due(now))
    }

    /// When [`Schedule::poll`] has something to do without another event. Never a busy loop: what waits for a slot
    /// waits for the event that frees it.
    #[must_use]
    pub fn deadline(&self, now: Duration) -> Option<Duration> {
        let due = self.timers.first().map(|(at, _)| *at);
        // What is due and was not done waits for a slot, and with it for an event; or for the breaker.
        let probe = self.breaker.opens_until();
        let delayed = self.delayed.first().map(|(at, _)| *at);
        [due, probe, delayed].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// How many repositories are compared at the interval.
    #[must_use]
    pub fn known(&self) -> usize {
        self.repositories.len() - self.unknown
    }

    fn next_fetch(&mut self) -> Option<Effect> {
        if self.fetching >= self.policy.fetches.max(1) {
            return None;
        }
        loop {
            let path = if let Some(path) = self.moved_demanded.pop_front() {
                path
            } else if self.creating < self.policy.creations.max(1) && !self.moved_creations.is_empty() {
                self.moved_creations.pop_front()?
            } else {
                self.moved_background.pop_front()?
            };
            let Some(repository) = self.repositories.get_mut(&path).filter(|r| r.objects == Objects::Moved) else {
                continue;
            };
            repository.objects = Objects::Fetching;
            repository.creating = !repository.known;
            self.creating += usize::from(repository.creating);
            self.moved -= 1;
            self.fetching += 1;
            return Some(Effect::Fetch(path));
        }
    }

    fn next_demanded(&mut self, now: Duration) -> Option<Effect> {
        if self.breaker.is_open(now) && !self.knows(self.demanded.front()?) {
            return self.answer_during_outage();
        }
        // What is known is not told from memory while the upstream may be back: the breaker holds up the interval alone.
        if self.moved >= self.policy.moved_max.max(1) || self.asking >= self.policy.asks.max(1) {
            return None;
        }
        let path = self.demanded.pop_front()?;
        self.start(now, &path, false);
        Some(Effect::Ask(path))
    }

    /// Who waits for a first mirror, for which the upstream is not asked now, is told.
    fn answer_during_outage(&mut self) -> Option<Effect> {
        let fault = self.last_outage.clone()?;
        let path = self.demanded.pop_front()?;
        let repository = self.repositories.get_mut(&path)?;
        repository.question = Question::Idle;
        let tickets: Vec<_> = std::mem::take(&mut repository.current).into_iter().map(|(ticket, _)| ticket).collect();
        self.waiting -= tickets.len();
        if repository.is_idle() {
            let again = self.breaker.opens_until().unwrap_or_default();
            self.set_timer(&path, Some(again));
        }
        self.end_first_copy(&path);
        Some(Effect::Answer { path, tickets, verdict: Verdict::Outage(fault) })
    }

    fn next_due(&mut self, now: Duration) -> Option<Effect> {
        while let Some((at, path)) = self.timers.first().cloned() {
            if at > now {
                return None;
            }
            if !self.repositories.get(&path).is_some_and(|repository| repository.known) {
                self.timers.pop_first();
                if self.repositories.remove(&path).is_some() {
                    self.unknown -= 1;
                }
                continue;
            }
            if !self.may_ask_in_background(now) {
                return None;
            }
            self.set_timer(&path, None);
            self.start(now, &path, true);
            return Some(Effect::Ask(path));
        }
        None
    }

    fn may_ask_in_background(&self, now: Duration) -> bool {
        let slots = self.policy.asks.saturating_sub(1).max(1);
        let moved_max = self.policy.fetches.clamp(1, self.policy.moved_max.max(1));
        self.asking_background < slots && self.moved < moved_max && self.breaker.admits(now, self.asking)
    }

    fn start(&mut self, now: Duration, path: &Arc<str>, background: bool) {
        if let Some(repository) = self.repositories.get_mut(path) {
            repository.question = Question::Asking;
            repository.background = background;
            self.asking += 1;
            self.asking_background += usize::from(background);
            self.breaker.asked(now);
        }
    }

    fn set_timer(&mut self, path: &Arc<str>, at: Option<Duration>) {
        let Some(repository) = self.repositories.get_mut(path) else { return };
        if let Some(old) = std::mem::replace(&mut repository.timer, at) {
            self.timers.remove(&(old, path.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, path.clone()));
        }
    }

    fn refuse(&mut self, path: &Arc<str>, ticket: Ticket, why: &'static str) {
        let verdict = Verdict::Failed(Arc::new(Fault::ours(why, why)));
        self.effects.push_back(Effect::Answer { path: path.clone(), tickets: vec![ticket], verdict });
    }
}

impl Repository {
    /// Nothing is under way. Only then does a timer run; whatever ends last sets it.
    fn is_idle(&self) -> bool {
        self.question == Question::Idle && self.objects == Objects::Nothing
    }

    fn new() -> Self {
        Self {
            question: Question::Idle,
            objects: Objects::Nothing,
            again: false,
            known: false,
            creating: false,
            first_copy_of: None,
            background: false,
            moved_in_background: false,
            current: Vec::new(),
            next: Vec::new(),
            arriving: Vec::new(),
            arriving_next: Vec::new(),
            attempts: Attempts::default(),
            refusal: None,
            not_before: Duration::ZERO,
            timer: None,
        }
    }
}

/// `interval`, a tenth up or down.
fn jittered(interval: Duration, random: u64) -> Duration {
    let tenth = Backoff { base: interval / 5, cap: interval / 5 }.delay(1, random);
    interval - interval / 10 + tenth
}
