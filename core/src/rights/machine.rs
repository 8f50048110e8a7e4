//! Who may read what, as far as the upstream has said: answers remembered, questions shared and bounded.
//!
//! ```text
//!  a caller asks:   remembered? ---------------------------------------------> Answer
//!                   asked already? ---> waits with the others
//!                   a bucket empty, the upstream left alone, a queue full? ---> Answer (429, 503, or a stale grant)
//!                   else ---> Queued --a thread is free--> Asking --the upstream has spoken--> Answer, remembered
//! ```
//!
//! Promises:
//! - One question at a time per [`Key`]; all who ask meanwhile share its answer. A caller never shares an answer to a
//!   question that was asked before the last [`Rights::forget`] that concerns it.
//! - A grant lives [`Policy::ttl`] from the moment its question was asked, so that a revocation holds no later than that
//!   after it was made. A refusal lives [`Policy::negative_ttl`]. Silence is not an answer and takes nothing back: who has
//!   been granted before may still be let in for [`Policy::stale_if_error`], and who came without credentials (the
//!   repository is public) without such a bound. Who came without where they were wanted is still asked for them while
//!   somebody's would let in; else nobody's would, and who is asked for a password in vain believes that it is wrong.
//! - Credentials that fail and paths that may not be read are paid for by their source, in advance, so that many at once are
//!   no way round; what turns out well is given back. Who has been granted before is no guesser and pays nothing, and a
//!   source of which somebody has been let in pays nothing for that path.
//! - What a source pays does not depend on what is mirrored here, which this machine is not told: else who has nothing left
//!   to pay with could tell by that which names there are.
//! - Everything is bounded. Nothing here is a secret: keys are hashes.

use super::{
    Key, Memory,
    sources::{Rate, Source, Sources},
};
use crate::{
    fault::Fault,
    limits::{
        RIGHTS_FAILURES_MAX, RIGHTS_GRANTS_MAX, RIGHTS_QUESTIONS_MAX, RIGHTS_QUEUE_TIME, RIGHTS_REFUSALS_MAX,
        RIGHTS_WAITING_MAX,
    },
    sync::{Breaker, BreakerPolicy, Bucket},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// A caller that waits; the driver knows who it is.
pub type Ticket = u64;

/// The upstream's challenges that can be passed on, each as it stands behind `WWW-Authenticate:`.
pub type Challenges = Arc<[String]>;

/// Why somebody may not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Credentials are missing or wrong (401). Empty: the upstream asks for none that can be passed on.
    NeedCredentials(Challenges),
    /// Not with these (403).
    Forbidden,
    /// There is no such repository for this caller (404).
    Missing,
    /// The upstream says that it is gone for good (410) or withheld (451).
    Gone(u16),
}

/// How one question ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// This caller may read.
    Granted,
    /// This caller may not.
    Refused(Refusal),
    /// The upstream did not answer, or says that it is failing.
    Outage(Arc<Fault>),
    /// The upstream answered something that decides nothing, or the question failed here.
    Undecided(Arc<Fault>),
    /// Whoever answers is no Git host, or sends elsewhere.
    Useless(Arc<Fault>),
}

/// What a caller hears.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Come in.
    Granted {
        /// When the question has to be asked again; not to be counted from if `stale`.
        until: Duration,
        /// The upstream does not answer: this is what it said before.
        stale: bool,
    },
    /// Stay out.
    Refused(Refusal),
    /// Nobody can tell now.
    Unavailable(Arc<Fault>),
    /// Nobody can tell, nor will in a moment.
    Useless(Arc<Fault>),
    /// This source, or all together, have asked too much: come again after this.
    TooMany(Duration),
}

/// What the driver has to do.
#[derive(Debug)]
pub enum Effect {
    /// Ask the upstream; then call [`Rights::answered`].
    Ask(Key),
    /// Tell these callers.
    Answer {
        /// Who waits.
        tickets: Vec<Ticket>,
        /// What they hear.
        outcome: Outcome,
    },
    /// Nobody waits for this question any more, and it will not be asked: what was kept for asking it can go.
    Drop(Key),
}

/// A caller's question.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which credential, repository and action.
    pub key: Key,
    /// Which repository: to be forgotten by.
    pub repository: Arc<str>,
    /// Where it comes from.
    pub source: Source,
    /// The source and the repository, one for all spellings of its path and all credentials.
    pub place: Key,
    /// It comes without credentials.
    pub anonymous: bool,
}

/// The numbers.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long a grant lives.
    pub ttl: Duration,
    /// How long a refusal lives.
    pub negative_ttl: Duration,
    /// How long after its end a grant still lets in while the upstream does not answer.
    pub stale_if_error: Duration,
    /// A question that failed is not asked again before this.
    pub pause: Duration,
    /// Questions at once.
    pub questions: usize,
    /// Of one source: credentials that the upstream refuses.
    pub failing: Rate,
    /// Of one source: paths that it may not read.
    pub unknown: Rate,
    /// Questions of all sources together.
    pub all: Rate,
    /// When the upstream is left alone.
    pub breaker: BreakerPolicy,
}

#[derive(Debug)]
struct Grant {
    repository: Arc<str>,
    until: Duration,
    anonymous: bool,
}

#[derive(Debug)]
struct Refused {
    repository: Arc<str>,
    until: Duration,
    anonymous: bool,
    refusal: Refusal,
}

#[derive(Debug)]
struct Failed {
    until: Duration,
    outcome: Outcome,
}

/// A question that is asked or will be.
#[derive(Debug)]
struct Flight {
    asked: Asked,
    tickets: Vec<Ticket>,
    /// When it joined the queue, or when it was asked.
    since: Duration,
    running: bool,
    /// Asked before what it asks about was to be forgotten: its answer tells nothing.
    void: bool,
    /// What its source has paid.
    paid_failing: bool,
    paid_unknown: bool,
}

/// The machine.
pub struct Rights {
    policy: Policy,
    grants: Memory<Grant>,
    /// For each repository that a credential lets in to: when the last such grant ends.
    granted_until: HashMap<Arc<str>, Duration>,
    refusals: Memory<Refused>,
    failures: Memory<Failed>,
    flights: HashMap<Key, Flight>,
    /// Not running. An entry may be stale.
    queue: VecDeque<Key>,
    running: usize,
    waiting: usize,
    failing: Sources,
    unknown: Sources,
    /// Where somebody has been let in, with the repository as it was asked about.
    let_in: Memory<Arc<str>>,
    /// Where nobody has been, how much has been paid for the path. Git asks without credentials first.
    paid: Memory<u32>,
    all: Bucket,
    breaker: Breaker,
    last_outage: Option<Arc<Fault>>,
    effects: VecDeque<Effect>,
}

impl Rights {
    /// One that remembers nothing.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            grants: Memory::new(RIGHTS_GRANTS_MAX),
            granted_until: HashMap::new(),
            refusals: Memory::new(RIGHTS_REFUSALS_MAX),
            failures: Memory::new(RIGHTS_FAILURES_MAX),
            flights: HashMap::new(),
            queue: VecDeque::new(),
            running: 0,
            waiting: 0,
            failing: Sources::new(policy.failing),
            unknown: Sources::new(policy.unknown),
            let_in: Memory::new(RIGHTS_GRANTS_MAX),
            paid: Memory::new(RIGHTS_REFUSALS_MAX),
            all: policy.all.bucket(),
            breaker: Breaker::new(policy.breaker, policy.questions),
            last_outage: None,
            effects: VecDeque::new(),
        }
    }

    /// A caller wants to know whether it may.
    pub fn ask(&mut self, now: Duration, asked: Asked, ticket: Ticket) {
        let key = asked.key;
        if let Some(outcome) = self.remembered(now, &key) {
            return self.tell(vec![ticket], outcome);
        }
        if self.waiting >= RIGHTS_WAITING_MAX {
            return self.tell(vec![ticket], busy("too many callers wait to be judged"));
        }
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.tickets.push(ticket);
            self.waiting += 1;
            return;
        }
        if let Some(failed) = self.failures.get(&key).filter(|failed| now < failed.until) {
            let outcome = self.without_answer(now, &key, failed.outcome.clone());
            return self.tell(vec![ticket], outcome);
        }
        if self.breaker.is_open(now) {
            let outcome = self.without_answer(now, &key, Outcome::Unavailable(self.outage()));
            return self.tell(vec![ticket], outcome);
        }
        if self.flights.len() >= RIGHTS_QUESTIONS_MAX {
            return self.tell(vec![ticket], busy("too many questions about rights wait for the upstream"));
        }
        match self.pay(now, asked) {
            Ok(flight) => {
                self.flights.insert(key, Flight { tickets: vec![ticket], ..flight });
                self.queue.push_back(key);
                self.waiting += 1;
            }
            Err(again) => self.tell(vec![ticket], Outcome::TooMany(again)),
        }
    }

    /// Whether a question with this key is asked or will be.
    #[must_use]
    pub fn is_asking(&self, key: &Key) -> bool {
        self.flights.contains_key(key)
    }

    /// A question ended. `random` is uniform.
    pub fn answered(&mut self, now: Duration, key: Key, verdict: Verdict, random: u64) {
        let Some(mut flight) = self.flights.remove(&key) else { return };
        if !flight.running {
            // Not ordered: a defect of the driver.
            self.flights.insert(key, flight);
            return;
        }
        self.running -= 1;
        match &verdict {
            Verdict::Outage(fault) => {
                self.last_outage = Some(fault.clone());
                self.breaker.outage(now, &flight.asked.repository, random);
            }
            Verdict::Undecided(_) => self.breaker.undecided(now),
            Verdict::Granted | Verdict::Refused(_) | Verdict::Useless(_) => self.breaker.answered(),
        }
        if flight.void {
            // They wait for an answer to a question that is still to be asked.
            (flight.void, flight.running, flight.since) = (false, false, now);
            self.flights.insert(key, flight);
            return self.queue.push_back(key);
        }
        let outcome = self.learn(now, &flight, verdict);
        self.land(flight, outcome);
    }

    /// Forgets what was said of `repository`, or of all.
    pub fn forget(&mut self, repository: Option<&str>) {
        let concerns = |of: &str| repository.is_none_or(|repository| repository == of);
        self.grants.retain(|grant| !concerns(&grant.repository));
        self.granted_until.retain(|of, _| !concerns(of));
        self.refusals.retain(|refused| !concerns(&refused.repository));
        self.let_in.retain(|repository| !concerns(repository));
        self.failures.clear();
        for flight in self.flights.values_mut().filter(|flight| flight.running && concerns(&flight.asked.repository)) {
            flight.void = true;
        }
    }

    /// The next thing to do at `now`; `None` until another event or [`Rights::deadline`].
    pub fn poll(&mut self, now: Duration) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        while let Some(key) = self.queue.front().copied() {
            let Some(flight) = self.flights.get_mut(&key).filter(|flight| !flight.running) else {
                self.queue.pop_front();
                continue;
            };
            if flight.tickets.is_empty() || self.breaker.is_open(now) || now >= flight.since + RIGHTS_QUEUE_TIME {
                self.queue.pop_front();
                let fault = if self.breaker.is_open(now) { self.outage() } else { late() };
                self.give_up(now, key, fault);
                return self.effects.pop_front();
            }
            if self.running >= self.policy.questions || !self.breaker.admits(now, self.running) {
                return None;
            }
            self.queue.pop_front();
            (flight.running, flight.since) = (true, now);
            self.running += 1;
            self.breaker.asked(now);
            return Some(Effect::Ask(key));
        }
        None
    }

    /// When [`Rights::poll`] has something to do without another event.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let first = self.queue.front().and_then(|key| self.flights.get(key))?;
        Some(first.since + RIGHTS_QUEUE_TIME)
    }

    /// What can be said without asking.
    fn remembered(&self, now: Duration, key: &Key) -> Option<Outcome> {
        if let Some(grant) = self.grants.get(key).filter(|grant| now < grant.until) {
            return Some(Outcome::Granted { until: grant.until, stale: false });
        }
        let refused = self.refusals.get(key).filter(|refused| now < refused.until)?;
        Some(Outcome::Refused(refused.refusal.clone()))
    }

    /// Takes from the buckets what the question may cost.
    fn pay(&mut self, now: Duration, asked: Asked) -> Result<Flight, Duration> {
        let source = asked.source;
        let is_trusted = self.grants.get(&asked.key).is_some();
        let is_known = self.let_in.get(&asked.place).is_some();
        let (paid_failing, paid_unknown) = (!asked.anonymous && !is_trusted, !is_known && !is_trusted);
        if paid_failing {
            self.failing.take(now, source)?;
        }
        let others = if paid_unknown { self.unknown.take(now, source) } else { Ok(()) };
        let all = match others {
            Ok(()) if self.all.take(now) => Ok(()),
            Ok(()) => {
                self.give_back(source, false, paid_unknown);
                Err(self.all.wait(now))
            }
            refused => refused,
        };
        if let Err(again) = all {
            self.give_back(source, paid_failing, false);
            return Err(again);
        }
        let tickets = Vec::new();
        Ok(Flight { asked, tickets, since: now, running: false, void: false, paid_failing, paid_unknown })
    }

    fn give_back(&mut self, source: Source, failing: bool, unknown: bool) {
        if failing {
            self.failing.give_back(source);
        }
        if unknown {
            self.unknown.give_back(source);
        }
    }

    /// Remembers a verdict, settles what was paid, and says what the callers hear.
    fn learn(&mut self, now: Duration, flight: &Flight, verdict: Verdict) -> Outcome {
        let Flight { asked, since, paid_failing, paid_unknown, .. } = flight;
        let (key, source, repository) = (asked.key, asked.source, asked.repository.clone());
        match verdict {
            Verdict::Granted => {
                let until = *since + self.policy.ttl;
                self.refusals.remove(&key);
                self.failures.remove(&key);
                if !asked.anonymous {
                    self.note_granted(now, &repository, until);
                }
                self.grants.insert(key, Grant { repository: repository.clone(), until, anonymous: asked.anonymous });
                self.give_back(source, *paid_failing, *paid_unknown);
                let paid = self.paid.get(&asked.place).copied().unwrap_or_default();
                self.paid.remove(&asked.place);
                (0..paid).for_each(|_| self.give_back(source, false, true));
                self.let_in.insert(asked.place, repository);
                Outcome::Granted { until, stale: false }
            }
            Verdict::Refused(refusal) => {
                let until = now + self.policy.negative_ttl;
                if self.grants.remove(&key).is_some_and(|grant| !grant.anonymous) {
                    self.look_who_is_granted(&repository);
                }
                self.failures.remove(&key);
                let anonymous = asked.anonymous;
                self.refusals.insert(key, Refused { repository, until, anonymous, refusal: refusal.clone() });
                // Where there is nothing to see, the credential was not at fault.
                let is_about_the_path = matches!(refusal, Refusal::Missing | Refusal::Gone(_));
                self.give_back(source, *paid_failing && is_about_the_path, false);
                if *paid_unknown {
                    let paid = self.paid.get(&asked.place).copied().unwrap_or_default();
                    self.paid.insert(asked.place, paid + 1);
                }
                Outcome::Refused(refusal)
            }
            Verdict::Outage(fault) | Verdict::Undecided(fault) => {
                self.give_back(source, *paid_failing, *paid_unknown);
                self.fail(now, key, Outcome::Unavailable(fault))
            }
            // A path that leads nowhere is paid for, whatever stands there.
            Verdict::Useless(fault) => {
                self.give_back(source, *paid_failing, false);
                self.fail(now, key, Outcome::Useless(fault))
            }
        }
    }

    /// Somebody's credential lets in to `repository`.
    fn note_granted(&mut self, now: Duration, repository: &Arc<str>, until: Duration) {
        if self.granted_until.len() >= RIGHTS_GRANTS_MAX && !self.granted_until.contains_key(repository) {
            let stale_if_error = self.policy.stale_if_error;
            self.granted_until.retain(|_, until| now < *until + stale_if_error);
            if self.granted_until.len() >= RIGHTS_GRANTS_MAX {
                // Those who bring nothing hear 503 in an outage, until somebody is let in again.
                self.granted_until.clear();
            }
        }
        let last = self.granted_until.entry(repository.clone()).or_default();
        *last = until.max(*last);
    }

    /// Somebody's does not any more.
    fn look_who_is_granted(&mut self, repository: &Arc<str>) {
        let others = self.grants.values().filter(|grant| grant.repository == *repository && !grant.anonymous);
        match others.map(|grant| grant.until).max() {
            Some(until) => drop(self.granted_until.insert(repository.clone(), until)),
            None => drop(self.granted_until.remove(repository)),
        }
    }

    /// A question was in vain: it is not asked again at once.
    fn fail(&mut self, now: Duration, key: Key, outcome: Outcome) -> Outcome {
        self.failures.insert(key, Failed { until: now + self.policy.pause, outcome: outcome.clone() });
        self.without_answer(now, &key, outcome)
    }

    /// What a caller hears while the upstream does not answer; `otherwise` if nothing was said before.
    fn without_answer(&self, now: Duration, key: &Key, otherwise: Outcome) -> Outcome {
        let lives = |grant: &&Grant| grant.anonymous || now < grant.until + self.policy.stale_if_error;
        // Git brings credentials only when it is asked for them: who has brought none is asked as ever, if any would let in.
        // To who has brought some it would mean that they are wrong.
        let asks = |refused: &&Refused| {
            let until = self.granted_until.get(&refused.repository);
            let would_let_in = until.is_some_and(|until| now < *until + self.policy.stale_if_error);
            refused.anonymous && would_let_in && matches!(refused.refusal, Refusal::NeedCredentials(_))
        };
        match (self.grants.get(key).filter(lives), self.refusals.get(key).filter(asks)) {
            (Some(grant), _) => Outcome::Granted { until: grant.until, stale: true },
            (None, Some(refused)) => Outcome::Refused(refused.refusal.clone()),
            (None, None) => otherwise,
        }
    }

    fn outage(&self) -> Arc<Fault> {
        self.last_outage.clone().unwrap_or_else(late)
    }

    /// A question that will not be asked.
    fn give_up(&mut self, now: Duration, key: Key, fault: Arc<Fault>) {
        let Some(flight) = self.flights.remove(&key) else { return };
        self.give_back(flight.asked.source, flight.paid_failing, flight.paid_unknown);
        let outcome = self.without_answer(now, &key, Outcome::Unavailable(fault));
        self.land(flight, outcome);
    }

    fn land(&mut self, flight: Flight, outcome: Outcome) {
        self.waiting -= flight.tickets.len();
        self.tell(flight.tickets, outcome);
        self.effects.push_back(Effect::Drop(flight.asked.key));
    }

    fn tell(&mut self, tickets: Vec<Ticket>, outcome: Outcome) {
        self.effects.push_back(Effect::Answer { tickets, outcome });
    }

    /// Whether anything has outgrown its bounds, for tests.
    #[cfg(test)]
    pub(super) fn is_bounded(&self) -> bool {
        self.grants.len() <= RIGHTS_GRANTS_MAX
            && self.granted_until.len() <= RIGHTS_GRANTS_MAX
            && self.refusals.len() <= RIGHTS_REFUSALS_MAX
            && self.flights.len() <= RIGHTS_QUESTIONS_MAX
            && self.queue.len() <= RIGHTS_QUESTIONS_MAX
            && self.running <= self.policy.questions
    }
}

fn busy(detail: &str) -> Outcome {
    Outcome::Unavailable(Arc::new(Fault::ours("the server is busy, try again", detail)))
}

fn late() -> Arc<Fault> {
    Arc::new(Fault::upstream("the upstream can't be asked who may read, try again", "no answer about rights in time"))
}
