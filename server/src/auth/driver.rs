//! The thread that owns the memory of rights, and the threads that ask: events in, effects out.
//!
//! Shards send a question and await the reply; what they keep of it is good for the epoch that came with it.

use super::{credential::Credential, hook::Hook, judge::Judge, own::OwnCredential, public, replay::Replay};
use crate::{
    config::{Config, Upstream},
    http::admission::neighbourhood,
    metrics::counter::Counter,
    sync::pool,
    upstream::transport::Patience,
};
use futures_channel::oneshot;
use heliostat_core::{
    RepositoryPath,
    fault::Fault,
    retry::Backoff,
    rights::{Action, Asked, Effect, Key, Keyring, Outcome, Policy, Rate, Rights as Machine, Source, Ticket, Verdict},
    sync::BreakerPolicy,
};
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Threads that ask, and questions at once: each waits for the upstream most of its time.
const QUESTIONS: usize = 16;
/// How long one question may take: less than a client is kept waiting.
const QUESTION_TIME: Duration = Duration::from_secs(10);
/// Credentials of one source that the upstream refuses: a fleet behind one address may have a few bad ones.
const FAILING: Rate = Rate { per_second: 1, burst: 30 };
/// Paths of one source that it may not read. Git asks without credentials first, and by both spellings of a path that may be
/// refused: a fleet behind one address pays two for each private repository, and gets them back when one of it has been let
/// in. Half of what all sources have.
const UNKNOWN: Rate = Rate { per_second: 5, burst: 500 };
/// All sources together: a fleet of 10,000 runners with credentials of their own, each renewed once a minute.
const ALL: Rate = Rate { per_second: 200, burst: 1_000 };

/// Who says what a caller may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Everybody may.
    Everybody,
    /// What the mirror may, for it comes with nothing either.
    Mirror,
    /// The judge.
    Judge,
}

/// The handle to the memory of rights, shared by all shards.
pub struct Rights {
    keyring: Keyring,
    events: flume::Sender<Event>,
    /// Moved when something is to be forgotten.
    epoch: Arc<AtomicU64>,
    /// To whom judges.
    requests: Arc<Counter>,
    /// Milliseconds from the origin to the last time that something was to be forgotten, and one more; 0: never.
    forgotten: AtomicU64,
    stop: Arc<AtomicBool>,
    origin: Instant,
    sources: RandomState,
    ttl: Duration,
    is_open: bool,
    /// The mirror shows the upstream nothing but what every caller can, and no hook judges.
    mirror_is_anonymous: bool,
    /// The judge is the upstream itself.
    upstream_judges: bool,
    /// What was on the disk at the start is known to be for everybody.
    all_public: bool,
}

/// The threads; they end when the process does, or when stopped.
pub type Threads = Vec<JoinHandle<()>>;

/// One question of a shard.
pub(super) struct Question {
    pub(super) key: Key,
    pub(super) credential: Option<Credential>,
    pub(super) path: RepositoryPath,
    pub(super) source: Source,
    pub(super) place: Key,
}

/// What a shard hears.
pub(super) struct Reply {
    pub(super) outcome: Outcome,
    pub(super) epoch: u64,
}

enum Event {
    Ask(Question, oneshot::Sender<Reply>),
    Answered(Key, Verdict),
    Forget(Vec<RepositoryPath>, oneshot::Sender<()>),
    Stop,
}

impl Rights {
    /// Starts the threads. To be called before the shards exist, from a thread that is not pinned.
    pub fn start(config: &Config) -> Result<(Self, Threads), String> {
        let requests = Arc::default();
        let (judge, mirror_is_anonymous): (Option<Box<dyn Judge>>, bool) = judge(config, &requests)?;
        let (events, inbox) = flume::unbounded();
        let rights = Self {
            keyring: Keyring::new(random_key()?),
            events,
            epoch: Arc::default(),
            requests,
            forgotten: AtomicU64::new(0),
            stop: Arc::default(),
            origin: Instant::now(),
            sources: RandomState::new(),
            ttl: config.auth.ttl,
            is_open: judge.is_none(),
            mirror_is_anonymous,
            upstream_judges: config.auth.hook.is_none(),
            all_public: public::is_all_public(&config.node.data),
        };
        let mut handles = Threads::new();
        if let Some(judge) = judge {
            let failed = |error| format!("starting threads: {error}");
            let askers = pool::start("rights-ask", QUESTIONS, &mut handles).map_err(failed)?;
            let mut driver = Driver {
                machine: Machine::new(policy(config)),
                events: rights.events.clone(),
                judge: judge.into(),
                askers,
                questions: HashMap::new(),
                waiting: HashMap::new(),
                last_ticket: 0,
                epoch: rights.epoch.clone(),
                stop: rights.stop.clone(),
                origin: rights.origin,
            };
            let spawned = std::thread::Builder::new().name("rights".into()).spawn(move || driver.run(&inbox));
            handles.push(spawned.map_err(failed)?);
        }
        Ok((rights, handles))
    }

    /// How many requests over HTTP have asked who may read.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Who judges a caller that has brought something, or nothing.
    pub(super) fn way(&self, brought: bool) -> Way {
        match (self.is_open, self.mirror_is_anonymous && !brought) {
            (true, _) => Way::Everybody,
            (_, true) => Way::Mirror,
            _ => Way::Judge,
        }
    }

    /// Whether what is mirrored here is what everybody may read.
    pub fn mirror_is_anonymous(&self) -> bool {
        self.mirror_is_anonymous
    }

    /// Whether it is the upstream that says what a caller may.
    pub fn upstream_judges(&self) -> bool {
        self.upstream_judges
    }

    /// Whether what was on the disk at the start is known to be such.
    pub fn is_all_public(&self) -> bool {
        self.all_public
    }

    /// How old the upstream's word to the mirror may be to stand for a caller's right.
    pub fn word_age_max(&self) -> Duration {
        let since = self.forgotten.load(Ordering::Acquire).checked_sub(1);
        let since = since.map(|millis| self.now().saturating_sub(Duration::from_millis(millis)));
        since.map_or(self.ttl, |since| since.min(self.ttl))
    }

    /// The time of the grants.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// What the shards' memories have to be of.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn key(&self, credential: Option<&Credential>, path: &RepositoryPath) -> Key {
        self.keyring.key(credential.map(|credential| credential.line().expose()), path, Action::Read)
    }

    /// Where a question comes from and what it is about, by one path for all spellings.
    pub(super) fn place(&self, source: Source, path: &RepositoryPath) -> Key {
        self.keyring.place(source, path)
    }

    pub(super) fn source(&self, address: IpAddr) -> Source {
        Source(self.sources.hash_one(neighbourhood(address)))
    }

    pub(super) fn source_of(&self, credential: &Credential) -> Source {
        Source(self.sources.hash_one(credential.line().expose()))
    }

    /// Asks. The sender never blocks; a receiver that hears nothing has lost the threads.
    pub(super) fn ask(&self, question: Question) -> oneshot::Receiver<Reply> {
        let (reply, receiver) = oneshot::channel();
        // Without a thread the reply is dropped, and the receiver learns that nobody will answer.
        let _ = self.events.send(Event::Ask(question, reply));
        receiver
    }

    /// Forgets what was said of the repository that these spellings name, or of all if there is none. Done when the receiver
    /// hears: no shard lets anybody in by an answer from before.
    pub fn forget(&self, spellings: Vec<RepositoryPath>) -> oneshot::Receiver<()> {
        let (reply, receiver) = oneshot::channel();
        let millis = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX - 1);
        self.forgotten.fetch_max(millis + 1, Ordering::AcqRel);
        if self.is_open {
            let _ = reply.send(());
        } else {
            let _ = self.events.send(Event::Forget(spellings, reply));
        }
        receiver
    }

    /// Ends the threads: each within a slice of its waiting.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.events.send(Event::Stop);
    }
}

/// Who judges, if anybody does, and whether the mirror comes to the upstream as everybody can.
fn judge(config: &Config, requests: &Arc<Counter>) -> Result<(Option<Box<dyn Judge>>, bool), String> {
    let (hook, ca) = (config.auth.hook.as_deref(), config.auth.hook_ca.as_deref());
    Ok(match (&config.upstream, hook) {
        (Upstream::Directory(_), None) => (None, false),
        (Upstream::Directory(_), Some(hook)) => (Some(Box::new(Hook::new(hook, ca, None, requests)?)), false),
        (Upstream::Git { url, credentials, client, .. }, None) => (
            Some(Box::new(Replay::new(url, config.upstream.egress()?, requests.clone())?)),
            credentials.is_none() && client.is_none(),
        ),
        (Upstream::Git { url, credentials, .. }, Some(hook)) => {
            let own = credentials.as_deref().map(OwnCredential::read).transpose()?;
            let upstream = Some((url.as_str(), config.upstream.egress()?, own));
            (Some(Box::new(Hook::new(hook, ca, upstream, requests)?)), false)
        }
    })
}

fn policy(config: &Config) -> Policy {
    Policy {
        ttl: config.auth.ttl,
        negative_ttl: config.auth.negative_ttl,
        stale_if_error: config.auth.stale_if_error,
        // Who asks after a failure is answered by a question, never from memory; the breaker spaces them in an outage.
        pause: Duration::ZERO,
        questions: QUESTIONS,
        failing: FAILING,
        unknown: UNKNOWN,
        all: ALL,
        breaker: BreakerPolicy {
            threshold: 5,
            open: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(15) },
        },
    }
}

/// From the provider of cryptography, which has the system's.
fn random_key() -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(&mut key).map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(key)
}

struct Driver {
    machine: Machine,
    events: flume::Sender<Event>,
    judge: Arc<dyn Judge>,
    askers: flume::Sender<pool::Job>,
    /// What the machine has a key of and may want asked.
    questions: HashMap<Key, Arc<(Option<Credential>, RepositoryPath)>>,
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
    last_ticket: Ticket,
    epoch: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    origin: Instant,
}

impl Driver {
    fn run(&mut self, inbox: &flume::Receiver<Event>) {
        loop {
            let event = match self.machine.deadline() {
                Some(at) => inbox.recv_deadline(self.origin + at),
                None => inbox.recv().map_err(|_| flume::RecvTimeoutError::Disconnected),
            };
            let now = self.origin.elapsed();
            match event {
                Ok(Event::Stop) | Err(flume::RecvTimeoutError::Disconnected) => return,
                Ok(event) => self.apply(now, event),
                Err(flume::RecvTimeoutError::Timeout) => {}
            }
            while let Some(effect) = self.machine.poll(now) {
                self.perform(effect);
            }
        }
    }

    fn apply(&mut self, now: Duration, event: Event) {
        match event {
            Event::Ask(question, reply) => {
                let Question { key, credential, path, source, place } = question;
                let anonymous = credential.is_none();
                let asked = Asked { key, repository: path.as_str().into(), source, place, anonymous };
                self.last_ticket += 1;
                self.waiting.insert(self.last_ticket, reply);
                self.machine.ask(now, asked, self.last_ticket);
                if self.machine.is_asking(&key) {
                    self.questions.entry(key).or_insert_with(|| Arc::new((credential, path)));
                }
            }
            Event::Answered(key, verdict) => self.machine.answered(now, key, verdict, fastrand::u64(..)),
            Event::Forget(spellings, reply) => {
                if spellings.is_empty() {
                    self.machine.forget(None);
                }
                for path in &spellings {
                    self.machine.forget(Some(path.as_str()));
                }
                self.epoch.fetch_add(1, Ordering::AcqRel);
                // Who has gone meanwhile does not want to know.
                let _ = reply.send(());
            }
            Event::Stop => {}
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Ask(key) => {
                let mut report = Report { events: self.events.clone(), key, verdict: None };
                let question = self.questions.get(&key).cloned();
                let (judge, stop) = (self.judge.clone(), self.stop.clone());
                let job = move || {
                    let report = &mut report;
                    let Some(question) = question else { return };
                    let (credential, path) = &*question;
                    let patience = Patience { stop, idle: QUESTION_TIME, deadline: Instant::now() + QUESTION_TIME };
                    report.verdict = Some(judge.may(credential.as_ref(), path, &patience));
                };
                // Not taken, the job is dropped, and its report with it.
                let _ = self.askers.send(Box::new(job));
            }
            Effect::Answer { tickets, outcome } => {
                let epoch = self.epoch.load(Ordering::Acquire);
                for ticket in tickets {
                    if let Some(reply) = self.waiting.remove(&ticket) {
                        // Who has gone meanwhile does not want to know.
                        let _ = reply.send(Reply { outcome: outcome.clone(), epoch });
                    }
                }
            }
            Effect::Drop(key) => drop(self.questions.remove(&key)),
        }
    }
}

/// Reports the end of a question, even if the judge panics.
struct Report {
    events: flume::Sender<Event>,
    key: Key,
    verdict: Option<Verdict>,
}

impl Drop for Report {
    fn drop(&mut self) {
        let lost = || Verdict::Undecided(Arc::new(Fault::ours("internal error", "a question about rights was lost")));
        let _ = self.events.send(Event::Answered(self.key, self.verdict.take().unwrap_or_else(lost)));
    }
}
