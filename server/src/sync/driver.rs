//! The thread that owns the schedule: events in, effects out.

use super::{
    Confirmed, Repositories, Shared,
    arrivals::{Arrival, Arrivals, Coming, Ended, Want},
    job, pool,
    tidy::{self, Chore},
    wants::Wants,
};
use crate::upstream::{Asked, ById, Context, Progress, UpstreamError};
use futures_channel::oneshot;
use heliostat_core::{
    RepositoryPath,
    fault::Fault,
    retry::{Attempts, Backoff},
    rights::Payers,
    store::{MirroredRepository, Refusal},
    sync::{BreakerPolicy, Effect, EmptyGuard, Judgement, Need, Policy, Schedule, Ticket, Verdict},
};
use std::{
    collections::{HashMap, HashSet},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::Duration,
};

/// Questions at once for each fetch at once: a question is short.
const ASKS_PER_FETCH: usize = 3;
/// First mirrors at once, out of the fetches at once.
const CREATIONS_MAX: usize = 2;
/// Spacing of attempts after failures.
const RETRY: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(600) };

pub(super) enum Event {
    /// Somebody wants to know.
    Confirm { path: RepositoryPath, need: Need, payers: Option<Payers>, reply: oneshot::Sender<Confirmed> },
    /// Somebody waits for the end of the fetch that is under way.
    Park { path: RepositoryPath, reply: oneshot::Sender<Arrival> },
    /// Somebody wants objects that nothing here leads to.
    Want { path: RepositoryPath, want: Want },
    /// Somebody wants to know what there is.
    List { reply: oneshot::Sender<Repositories> },
    /// It is not mirrored here any more.
    Forget { path: RepositoryPath, reply: oneshot::Sender<()> },
    /// The upstream told its references.
    Asked { path: RepositoryPath, asked: Box<dyn Asked>, progress: Arc<Progress> },
    /// A question ended without references.
    Answered { path: RepositoryPath, verdict: Verdict },
    /// A fetch ended.
    Fetched { path: RepositoryPath, verdict: Verdict, by_id: ById },
    /// The upstream's repositories; `None` if it can't list them.
    Listed(Result<Option<Vec<RepositoryPath>>, UpstreamError>),
    /// The end.
    Stop,
}

struct Driver {
    shared: Arc<Shared>,
    events: flume::Sender<Event>,
    schedule: Schedule,
    waiting: HashMap<Ticket, oneshot::Sender<Confirmed>>,
    last_ticket: Ticket,
    arrivals: Arrivals,
    wants: Wants,
    guards: HashMap<Arc<str>, EmptyGuard>,
    /// When the questions under way were asked.
    asked_at: HashMap<Arc<str>, Duration>,
    /// Purged or evicted, while something was under way that might bring it back; until somebody asks again.
    forgotten: HashSet<Arc<str>>,
    askers: flume::Sender<pool::Job>,
    fetchers: flume::Sender<pool::Job>,
    tidy: flume::Sender<Chore>,
    /// When to list the upstream's repositories again; `None` while that is under way.
    list_at: Option<Duration>,
    list_attempts: Attempts,
}

/// What becomes of a question or a fetch whose repository has been purged or evicted meanwhile.
fn unwanted() -> Verdict {
    let text = "the repository was removed from this mirror";
    Verdict::Failed(Arc::new(Fault::ours(text, text)))
}

/// Starts all threads.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<(flume::Sender<Event>, Vec<JoinHandle<()>>)> {
    let fetches = shared.config.sync.concurrency.max(1);
    let asks = fetches * ASKS_PER_FETCH;
    let (events, inbox) = flume::unbounded();
    let mut handles = Vec::new();
    // One asker more than questions: it lists.
    let askers = pool::start("sync-ask", asks + 1, &mut handles)?;
    let fetchers = pool::start("sync-fetch", fetches, &mut handles)?;
    let tidy = tidy::start(shared, events.clone(), &mut handles)?;
    let policy = Policy {
        interval: shared.config.sync.interval,
        asks,
        fetches,
        creations: CREATIONS_MAX.min(fetches),
        // Half of what may wait for a fetch, and of that half: what is mirrored goes on.
        first_copies: 2 * asks,
        first_copies_per_source: asks,
        moved_max: 4 * asks,
        retry: RETRY,
        ask_spacing: Duration::from_millis(500),
        fetch_spacing: Duration::from_secs(5),
        refusal_ttl: Duration::from_secs(5),
        unknown_per_second: 20,
        unknown_burst: 100,
        breaker: BreakerPolicy {
            threshold: 5,
            open: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(15) },
        },
    };
    let mut driver = Driver {
        shared: shared.clone(),
        events: events.clone(),
        schedule: Schedule::new(policy, fastrand::u64(..)),
        waiting: HashMap::new(),
        last_ticket: 0,
        arrivals: Arrivals::default(),
        wants: Wants::default(),
        guards: HashMap::new(),
        asked_at: HashMap::new(),
        forgotten: HashSet::new(),
        askers,
        fetchers,
        tidy,
        list_at: Some(Duration::ZERO),
        list_attempts: Attempts::default(),
    };
    handles.push(std::thread::Builder::new().name("sync".into()).spawn(move || driver.run(&inbox))?);
    Ok((events, handles))
}

impl Driver {
    fn run(&mut self, inbox: &flume::Receiver<Event>) {
        let now = self.shared.now();
        for repository in self.shared.store.all() {
            if let Ok(path) = repository.path().parse() {
                let path: Arc<str> = self.shared.scheduled_as(path).as_str().into();
                self.schedule.know(now, &path);
                self.put_in_order(&path, &repository);
            }
        }
        loop {
            let now = self.shared.now();
            if self.list_at.is_some_and(|at| at <= now) {
                self.list();
            }
            while let Some(path) = self.wants.poll(now) {
                self.last_ticket += 1;
                self.schedule.ask(now, &path, self.last_ticket, Need::References, None);
            }
            while let Some(effect) = self.schedule.poll(now) {
                self.perform(effect);
            }
            self.shared.counts.stand(&self.schedule.figures(now));
            let next = self.schedule.deadline(now).into_iter().chain(self.list_at).chain(self.wants.deadline()).min();
            let event = match next {
                Some(at) => inbox.recv_deadline(self.shared.origin + at),
                None => inbox.recv().map_err(|_| flume::RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Stop) | Err(flume::RecvTimeoutError::Disconnected) => return,
                Ok(event) => self.apply(event),
                Err(flume::RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn apply(&mut self, event: Event) {
        let now = self.shared.now();
        match event {
            Event::Confirm { path, need, payers, reply } => {
                let path = self.shared.canonical(&path);
                if self.shared.config.rule(path.as_str()).is_none() {
                    let _ = reply.send(Confirmed::NotFound);
                    return;
                }
                self.forgotten.remove(path.as_str());
                self.last_ticket += 1;
                self.waiting.insert(self.last_ticket, reply);
                self.schedule.ask(now, &path.as_str().into(), self.last_ticket, need, payers);
            }
            Event::Park { path, reply } => {
                self.arrivals.park(&self.shared.canonical(&path).as_str().into(), reply);
            }
            Event::Want { path, want } => {
                let path: Arc<str> = self.shared.canonical(&path).as_str().into();
                self.wants.add(now, &path, want);
            }
            Event::List { reply } => {
                let shared = self.shared.clone();
                let job = move || drop(reply.send(shared.repositories()));
                // Without threads the reply is dropped, and the receiver learns that nobody will answer.
                let _ = self.askers.send(Box::new(job));
            }
            Event::Forget { path, reply } => {
                let path: Arc<str> = path.as_str().into();
                // What is under way for those who have asked before, or for nobody, brings nothing back.
                if self.asked_at.contains_key(&path) || self.arrivals.are_under_way(&path) {
                    self.forgotten.insert(path.clone());
                }
                self.arrivals.give_up(&path);
                self.schedule.forget(&path);
                let _ = reply.send(());
            }
            Event::Asked { path, asked, progress } => self.compare(now, &path.as_str().into(), asked, progress),
            Event::Answered { path, verdict } => self.answered(now, &path.as_str().into(), verdict),
            Event::Fetched { path, verdict, by_id } => self.fetched(now, &path.as_str().into(), verdict, &by_id),
            Event::Listed(listed) => self.note_list(now, listed),
            Event::Stop => {}
        }
    }

    /// What the upstream told, against what is here and what is on its way.
    fn compare(&mut self, now: Duration, path: &Arc<str>, asked: Box<dyn Asked>, progress: Arc<Progress>) {
        let theirs = &asked.advertised().refs;
        let repository = self.shared.mirrored(path);
        let snapshot = repository.as_ref().and_then(|repository| repository.snapshot());
        let (had, same) = snapshot.map_or((0, false), |s| (s.refs.len(), s.refs.digest() == theirs.digest()));
        self.wants.told(path, theirs.digest());
        self.arrivals.told(path, theirs);
        let wants = self.wants.take(path);
        if self.forgotten.contains(path) {
            self.wants.put_back(path, wants);
            return self.answered(now, path, unwanted());
        }
        // What is on its way would replace what is the upstream's again.
        if same && !self.arrivals.are_under_way(path) && wants.is_empty() {
            self.arrivals.settled(path);
            return self.answered(now, path, Verdict::Verified);
        }
        if let Some(repository) = repository {
            repository.standing().moved();
        }
        let has = theirs.len();
        if has == 0 && had > 0 {
            let guard = self.guards.entry(path.clone()).or_default();
            if guard.judge(now, had, has) == Judgement::Hold {
                tracing::warn!(repository = &**path, had, "the upstream suddenly advertises no reference; held back");
                let text = "the upstream answers without any reference, which is not believed yet";
                self.wants.put_back(path, wants);
                return self.answered(now, path, Verdict::Failed(Arc::new(Fault::upstream(text, text))));
            }
        }
        self.guards.remove(path);
        let asked_at = self.asked_at.remove(path).unwrap_or(now);
        let is_coming = self.arrivals.found(path, Coming::new(asked, progress, asked_at, wants));
        match self.shared.pending_as(path).filter(|_| is_coming && self.arrivals.in_vain(path).is_none()) {
            Some(pending) => self.shared.show(path, Some(pending.confirmed_again(asked_at))),
            None => self.show(path),
        }
        self.schedule.moved(now, path, is_coming);
    }

    /// A question ended, and nothing has to be fetched.
    fn answered(&mut self, now: Duration, path: &Arc<str>, verdict: Verdict) {
        let asked_at = self.asked_at.remove(path).unwrap_or(now);
        self.conclude(now, path, &verdict, asked_at);
        self.show(path);
        self.remember_again(path);
        if let Some(why) = verdict.fault() {
            self.wants.fail(path, why);
        }
        self.schedule.answered(now, path, verdict);
    }

    fn fetched(&mut self, now: Duration, path: &Arc<str>, verdict: Verdict, by_id: &ById) {
        // Published or not, it is about to go.
        let verdict = if self.forgotten.contains(path) { unwanted() } else { verdict };
        let arrival = match (&verdict, verdict.fault()) {
            (Verdict::Verified, _) => Arrival::Ended,
            (_, Some(why)) => Arrival::Failed(why.clone()),
            (refused, None) => {
                let why = Fault::upstream("the upstream refuses the repository", format_args!("{refused:?}"));
                Arrival::Failed(Arc::new(why))
            }
        };
        let ended = self.arrivals.end(path, matches!(arrival, Arrival::Ended));
        match (&arrival, &ended) {
            (Arrival::Failed(why), Some(Ended { refs, .. })) => {
                let is_outage = matches!(verdict, Verdict::Outage(_) | Verdict::Failing(_));
                self.arrivals.failed(path, refs, why.clone(), is_outage);
            }
            _ => self.arrivals.settled(path),
        }
        // What the upstream said is as old as the question, however long its objects took.
        let asked_at = ended.as_ref().map_or(now, |ended| ended.asked_at);
        self.conclude(now, path, &verdict, asked_at);
        self.show(path);
        self.remember_again(path);
        self.schedule.fetched(now, path, verdict);
        if let Some(Ended { refs, wants, .. }) = ended {
            self.wants.end(now, path, refs.digest(), wants, &arrival, by_id);
        }
        self.arrivals.wake(path, &arrival);
    }

    /// Nothing of before a repository was forgotten is under way any more.
    fn remember_again(&mut self, path: &Arc<str>) {
        if !self.asked_at.contains_key(path) && !self.arrivals.are_under_way(path) {
            self.forgotten.remove(path);
        }
    }

    /// What follows from every end, for the repository that is here.
    fn conclude(&mut self, now: Duration, path: &Arc<str>, verdict: &Verdict, asked_at: Duration) {
        if let Some(repository) = self.shared.mirrored(path) {
            // What is about to go is not to be compared at the interval, which would bring it back.
            if !self.forgotten.contains(path) {
                self.schedule.know(now, path);
            }
            let standing = repository.standing();
            match verdict {
                Verdict::Verified => standing.confirmed(asked_at),
                Verdict::Missing => standing.refused(Refusal::Missing),
                Verdict::Denied(status) => standing.refused(Refusal::Denied(*status)),
                Verdict::Unsupported(why)
                | Verdict::Outage(why)
                | Verdict::Failing(why)
                | Verdict::Failed(why)
                | Verdict::Useless(why) => standing.unanswered(why),
            }
            match (self.arrivals.are_under_way(path), standing.refusal()) {
                (true, None) => standing.moved(),
                (true, Some(_)) => {}
                (false, _) => standing.settled(),
            }
            self.put_in_order(path, &repository);
        }
        if matches!(verdict, Verdict::Verified) && !self.shared.superseded(path).is_empty() {
            // Nobody listens any more when the process is ending.
            let _ = self.tidy.send(Chore::SecondCopies(path.clone()));
        }
        if matches!(verdict, Verdict::Verified) && self.shared.config.store.bytes.is_some() {
            let _ = self.tidy.send(Chore::Eviction);
        }
    }

    /// Lets others see what is on its way; but not what has been tried in vain, where there is something else to serve.
    fn show(&self, path: &Arc<str>) {
        let here = self.shared.mirrored(path).and_then(|repository| repository.snapshot());
        let is_told = here.is_none() || self.arrivals.in_vain(path).is_none();
        let pending = self.arrivals.pending(path, here.as_deref()).filter(|_| is_told);
        self.shared.show(path, pending);
    }

    /// At the start and at the end of each question, whether anything was published or not: what a restart or a failure has
    /// kept from being done is made up for.
    fn put_in_order(&self, path: &Arc<str>, repository: &MirroredRepository) {
        if repository.lacks_tables() {
            let _ = self.tidy.send(Chore::Tables(path.clone()));
        }
        if repository.is_worth_consolidating() {
            let _ = self.tidy.send(Chore::Consolidation(path.clone()));
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Ask(path) => {
                self.asked_at.insert(path.clone(), self.shared.now());
                let (shared, events) = (self.shared.clone(), self.events.clone());
                self.work(path, Self::answered, |driver, path| {
                    driver.askers.send(Box::new(move || job::ask(&shared, &events, &path))).is_ok()
                });
            }
            Effect::Fetch(path) => {
                let (shared, events) = (self.shared.clone(), self.events.clone());
                let Some(coming) = self.arrivals.begin(&path) else { return };
                if self.forgotten.contains(&path) {
                    return self.fetched(self.shared.now(), &path, unwanted(), &ById::default());
                }
                let lost = |driver: &mut Self, now, path: &Arc<str>, verdict| {
                    driver.fetched(now, path, verdict, &ById::default());
                };
                self.work(path, lost, |driver, path| {
                    driver.fetchers.send(Box::new(move || job::fetch(&shared, &events, &path, coming))).is_ok()
                });
            }
            Effect::Told { path, tickets } => {
                match (self.shared.pending_as(&path), self.arrivals.in_vain(&path).cloned()) {
                    (Some(pending), _) => self.reply(tickets, &Confirmed::Pending(pending)),
                    (None, Some(why)) => self.answer(&path, tickets, &Verdict::Failed(why)),
                    // It has come in this very moment.
                    (None, None) => self.answer(&path, tickets, &Verdict::Verified),
                }
            }
            Effect::Answer { path, tickets, verdict } => self.answer(&path, tickets, &verdict),
        }
    }

    /// Has `send` hand a job to a thread. Where that can't be, it has `ended`.
    fn work(
        &mut self,
        path: Arc<str>,
        ended: fn(&mut Self, Duration, &Arc<str>, Verdict),
        send: impl FnOnce(&Self, RepositoryPath) -> bool,
    ) {
        let sent = path.parse().is_ok_and(|path| send(self, path));
        if !sent {
            let fault = Fault::ours("this mirror is shutting down", "no thread takes the job");
            ended(self, self.shared.now(), &path, Verdict::Failed(Arc::new(fault)));
        }
    }

    fn answer(&mut self, path: &str, tickets: Vec<Ticket>, verdict: &Verdict) {
        let repository = self.shared.mirrored(path);
        if let Some(why) = verdict.fault() {
            self.wants.fail(path, why);
        }
        let refusal = repository.as_ref().and_then(|repository| repository.standing().refusal());
        let snapshot = repository.and_then(|repository| repository.snapshot());
        let confirmed = match (verdict, snapshot) {
            (Verdict::Verified, Some(snapshot)) => Confirmed::Current(snapshot),
            (Verdict::Verified, None) => {
                let fault = Fault::ours("this mirror lost the repository", "verified, but without a snapshot");
                Confirmed::Unavailable(Arc::new(fault))
            }
            (Verdict::Missing, _) => Confirmed::NotFound,
            (Verdict::Denied(status), _) => Confirmed::Denied(*status),
            (Verdict::Unsupported(fault), None) => Confirmed::Unsupported(fault.clone()),
            (Verdict::Outage(fault) | Verdict::Failing(fault) | Verdict::Failed(fault), None) => {
                Confirmed::Unavailable(fault.clone())
            }
            (Verdict::Useless(fault), None) => Confirmed::Useless(fault.clone()),
            (
                Verdict::Unsupported(fault)
                | Verdict::Outage(fault)
                | Verdict::Failing(fault)
                | Verdict::Failed(fault)
                | Verdict::Useless(fault),
                Some(snapshot),
            ) => {
                // Silence takes no refusal back.
                refusal.map_or_else(|| Confirmed::Stale(snapshot, fault.clone()), Confirmed::from)
            }
        };
        self.reply(tickets, &confirmed);
    }

    fn reply(&mut self, tickets: Vec<Ticket>, confirmed: &Confirmed) {
        for ticket in tickets {
            if let Some(reply) = self.waiting.remove(&ticket) {
                // Who has gone meanwhile does not want to know.
                let _ = reply.send(confirmed.clone());
            }
        }
    }

    /// Lists the upstream's repositories; an interval after the end, again.
    fn list(&mut self) {
        self.list_at = None;
        let (shared, events) = (self.shared.clone(), self.events.clone());
        let job = move || {
            let context = Context { stop: shared.stop.clone(), progress: Arc::default() };
            let listed = catch_unwind(AssertUnwindSafe(|| shared.upstream.list(&context)));
            let listed = listed.unwrap_or_else(|_| Err(UpstreamError::Ours("listing panicked".into())));
            let _ = events.send(Event::Listed(listed));
        };
        let _ = self.askers.send(Box::new(job));
    }

    fn note_list(&mut self, now: Duration, listed: Result<Option<Vec<RepositoryPath>>, UpstreamError>) {
        let interval = self.shared.config.sync.interval;
        let pause = match listed {
            Ok(listed) => {
                for path in listed.into_iter().flatten() {
                    if self.shared.config.rule(path.as_str()).is_some() {
                        self.schedule.know(now, &path.as_str().into());
                    }
                }
                self.list_attempts.verified();
                self.shared.listed.store(true, Relaxed);
                interval
            }
            Err(error) => {
                let delay = self.list_attempts.failed(&RETRY, fastrand::u64(..)).min(interval);
                tracing::warn!(%error, again_in = ?delay, "the upstream's repositories could not be listed");
                delay
            }
        };
        self.list_at = Some(now + pause);
        self.shared.list_was_tried.store(true, Relaxed);
    }
}
