//! The schedule on virtual time against an upstream with seeded faults.
//!
//! Checked in every run: one question and one fetch at a time per repository; the limits on questions, fetches and first
//! mirrors; every caller answered exactly once; whoever hears "verified" or "told" hears it of a version that is not older
//! than its own coming; after the faults end, everything converges.

use super::{BreakerPolicy, Effect, Need, Policy, Random, Schedule, Ticket, Verdict};
use crate::{
    fault::Fault,
    limits::{SYNC_UNKNOWN_MAX, SYNC_WAITING_MAX},
    retry::Backoff,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn policy() -> Policy {
    Policy {
        interval: 3 * MINUTE,
        asks: 6,
        fetches: 2,
        creations: 1,
        first_copies: 6,
        first_copies_per_source: 3,
        moved_max: 8,
        retry: Backoff { base: SECOND, cap: 10 * MINUTE },
        ask_spacing: SECOND / 2,
        fetch_spacing: 5 * SECOND,
        refusal_ttl: 5 * SECOND,
        unknown_per_second: 20,
        unknown_burst: 100,
        breaker: BreakerPolicy { threshold: 5, open: Backoff { base: SECOND, cap: MINUTE } },
    }
}

fn outage() -> Verdict {
    Verdict::Outage(Arc::new(Fault::upstream("down", "down")))
}

pub(super) fn failed() -> Verdict {
    Verdict::Failed(Arc::new(Fault::upstream("bad pack", "bad pack")))
}

/// What the upstream does, and the checks.
struct World {
    schedule: Schedule,
    random: Random,
    now: Duration,
    /// Version upstream and here.
    upstream: BTreeMap<Arc<str>, u64>,
    here: BTreeMap<Arc<str>, u64>,
    /// Jobs under way: when they end, what they are.
    jobs: BTreeSet<(Duration, u64)>,
    job: HashMap<u64, Job>,
    jobs_made: u64,
    /// Being asked about.
    busy: BTreeSet<Arc<str>>,
    /// Found, and to be fetched; and being fetched.
    found: BTreeMap<Arc<str>, u64>,
    fetching: BTreeMap<Arc<str>, u64>,
    /// Who waits for what, and which version was upstream when it came.
    waiting: BTreeMap<Ticket, (Arc<str>, Need, u64)>,
    answers: Vec<(Ticket, Duration, Verdict)>,
    told: Vec<(Ticket, Duration)>,
    tickets: Ticket,
    down: bool,
    faults: bool,
    asks: u64,
    asks_while_down: u64,
    fetch_longest: Duration,
}

#[derive(Clone)]
enum Job {
    Ask(Arc<str>),
    Fetch(Arc<str>, u64),
}

impl World {
    fn new(seed: u64, repositories: usize) -> Self {
        let mut world = Self {
            schedule: Schedule::new(policy(), seed),
            random: Random(seed ^ 0x5eed),
            now: SECOND,
            upstream: BTreeMap::new(),
            here: BTreeMap::new(),
            jobs: BTreeSet::new(),
            job: HashMap::new(),
            jobs_made: 0,
            busy: BTreeSet::new(),
            found: BTreeMap::new(),
            fetching: BTreeMap::new(),
            waiting: BTreeMap::new(),
            answers: Vec::new(),
            told: Vec::new(),
            tickets: 0,
            down: false,
            faults: false,
            asks: 0,
            asks_while_down: 0,
            fetch_longest: 20 * SECOND,
        };
        for number in 0..repositories {
            let path: Arc<str> = format!("team/r{number}.git").into();
            world.upstream.insert(path.clone(), 1);
            world.schedule.know(world.now, &path);
        }
        world
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.next().is_multiple_of(one_in)
    }

    fn ask(&mut self, path: &str) -> Ticket {
        self.ask_for(path, Need::Objects)
    }

    fn ask_for(&mut self, path: &str, need: Need) -> Ticket {
        self.tickets += 1;
        let path: Arc<str> = path.into();
        let version = self.upstream.get(&path).copied().unwrap_or(0);
        self.waiting.insert(self.tickets, (path.clone(), need, version));
        self.schedule.ask(self.now, &path, self.tickets, need, None);
        self.tickets
    }

    fn start(&mut self, job: Job, longest: Duration) {
        self.jobs_made += 1;
        let took = Backoff { base: longest, cap: longest }.delay(1, self.random.next());
        self.jobs.insert((self.now + took, self.jobs_made));
        self.job.insert(self.jobs_made, job);
    }

    fn perform_effects(&mut self) {
        let mut rounds = 0;
        while let Some(effect) = self.schedule.poll(self.now) {
            rounds += 1;
            assert!(rounds < 100_000, "effects without end");
            match effect {
                Effect::Ask(path) => {
                    assert!(self.busy.insert(path.clone()), "{path}: two at a time");
                    self.asks += 1;
                    self.asks_while_down += u64::from(self.down);
                    self.start(Job::Ask(path), SECOND);
                }
                Effect::Fetch(path) => {
                    let version = self.found.remove(&path).expect("found before it is fetched");
                    assert!(self.fetching.insert(path.clone(), version).is_none(), "{path}: two fetches at a time");
                    self.start(Job::Fetch(path, version), self.fetch_longest);
                }
                Effect::Told { path, tickets } => {
                    let told = *self.found.get(&path).or(self.fetching.get(&path)).expect("something is on its way");
                    for ticket in tickets {
                        let (asked, need, since) = self.waiting.remove(&ticket).expect("told once");
                        assert!(asked == path && need == Need::References && told >= since, "{path}: told of the past");
                        self.told.push((ticket, self.now));
                    }
                }
                Effect::Answer { path, tickets, verdict } => {
                    for ticket in tickets {
                        let (asked, _, since) = self.waiting.remove(&ticket).expect("answered once");
                        assert_eq!(asked, path);
                        if matches!(verdict, Verdict::Verified) {
                            assert!(self.here[&path] >= since, "{path}: an answer older than the question");
                        }
                        self.answers.push((ticket, self.now, verdict.clone()));
                    }
                }
            }
        }
        let (asks, fetches) = self.job.values().fold((0, 0), |(asks, fetches), job| match job {
            Job::Ask(_) => (asks + 1, fetches),
            Job::Fetch(..) => (asks, fetches + 1),
        });
        assert!(asks <= policy().asks && fetches <= policy().fetches, "{asks} questions, {fetches} fetches");
    }

    fn end(&mut self, job: Job) {
        let fault = self.faults && self.chance(4);
        match job {
            Job::Ask(path) => {
                self.busy.remove(&path);
                let version = self.upstream.get(&path).copied();
                let (found, fetching) = (self.found.get(&path).copied(), self.fetching.get(&path).copied());
                let verdict = match version {
                    _ if self.down || fault => outage(),
                    None => Verdict::Missing,
                    Some(_) if found.is_none() && version == fetching => {
                        return self.schedule.moved(self.now, &path, true);
                    }
                    Some(version) if found.or(fetching).is_none() && self.here.get(&path) == Some(&version) => {
                        Verdict::Verified
                    }
                    Some(version) => {
                        self.found.insert(path.clone(), version);
                        return self.schedule.moved(self.now, &path, false);
                    }
                };
                self.schedule.answered(self.now, &path, verdict);
            }
            Job::Fetch(path, version) => {
                let verdict = if self.down {
                    outage()
                } else if fault {
                    failed()
                } else {
                    self.here.insert(path.clone(), version);
                    Verdict::Verified
                };
                self.fetching.remove(&path);
                self.schedule.fetched(self.now, &path, verdict);
            }
        }
    }

    /// Runs until `until`.
    fn run(&mut self, until: Duration) {
        loop {
            self.perform_effects();
            let job = self.jobs.first().map(|(at, _)| *at);
            let deadline = self.schedule.deadline(self.now);
            assert!(deadline.is_none_or(|at| at > self.now), "a deadline in the past is a busy loop");
            let next = deadline.into_iter().chain(job).min().unwrap_or(until).min(until);
            self.now = self.now.max(next);
            while let Some((at, number)) = self.jobs.first().copied().filter(|(at, _)| *at <= self.now) {
                self.jobs.remove(&(at, number));
                let job = self.job.remove(&number).expect("under way");
                self.end(job);
            }
            if self.now >= until {
                return self.perform_effects();
            }
        }
    }
}

#[test]
fn everything_converges_after_seeded_faults() {
    for seed in 0..30 {
        let mut world = World::new(seed, 40);
        world.faults = true;
        for minute in 1..60u32 {
            world.down = (20..30).contains(&minute);
            for _ in 0..20 {
                let number = world.random.next() % 50;
                let path = format!("team/r{number}.git");
                if world.chance(3) {
                    *world.upstream.entry(path.as_str().into()).or_insert(0) += 1;
                }
                let need = if world.chance(2) { Need::Objects } else { Need::References };
                world.ask_for(&path, need);
                let pause = Duration::from_millis(world.random.next() % 3_000);
                let until = world.now + pause;
                world.run(until);
            }
            world.run(minute * MINUTE);
        }
        world.faults = false;
        world.run(90 * MINUTE);
        assert!(world.waiting.is_empty(), "seed {seed}: {} callers were forgotten", world.waiting.len());
        for (path, version) in &world.upstream {
            if world.schedule.knows(path) {
                assert_eq!(world.here.get(path), Some(version), "seed {seed}: {path}");
            }
        }
        assert!(world.here.len() >= 40, "seed {seed}: {}", world.here.len());
    }
}

#[test]
fn an_upstream_that_is_down_is_left_alone_and_found_again() {
    let mut world = World::new(1, 500);
    world.fetch_longest = SECOND;
    world.run(20 * MINUTE);
    assert_eq!(world.here.len(), 500);
    world.down = true;
    world.run(80 * MINUTE);
    // 500 repositories at an interval of 3 minutes are 10,000 questions an hour.
    assert!(world.asks_while_down < 400, "{} questions to an upstream that is down", world.asks_while_down);
    world.down = false;
    world.upstream.values_mut().for_each(|version| *version += 1);
    let before = world.asks;
    world.run(82 * MINUTE);
    assert!(world.asks - before > 10, "it is found again");
    world.run(400 * MINUTE);
    assert!(world.upstream == world.here, "and everything comes");
}

#[test]
fn callers_share_a_question_and_later_ones_share_the_next() {
    let mut world = World::new(2, 1);
    world.run(MINUTE);
    let before = world.asks;
    let first: Vec<_> = (0..50).map(|_| world.ask("team/r0.git")).collect();
    world.perform_effects();
    let second: Vec<_> = (0..50).map(|_| world.ask("team/r0.git")).collect();
    let until = world.now + 10 * SECOND;
    world.run(until);
    assert_eq!(world.asks - before, 2);
    let at = |tickets: &[Ticket]| {
        let times: BTreeSet<_> =
            world.answers.iter().filter(|(t, ..)| tickets.contains(t)).map(|(_, at, _)| *at).collect();
        assert_eq!(times.len(), 1);
        *times.first().unwrap()
    };
    assert!(at(&first) < at(&second));
}

/// A long fetch holds up nobody who needs references only, and what has moved meanwhile is fetched after it.
#[test]
fn references_are_told_while_objects_are_on_their_way() {
    let mut world = World::new(8, 1);
    let path: Arc<str> = "team/r0.git".into();
    world.run(MINUTE);
    world.fetch_longest = 20 * MINUTE;
    world.upstream.insert(path.clone(), 2);
    let objects = world.ask(&path);
    let references = world.ask_for(&path, Need::References);
    let until = world.now + 5 * SECOND;
    world.run(until);
    assert_eq!(world.told.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [references]);
    assert_eq!(world.fetching.get(&path), Some(&2));

    // The same again, then something else: told both times, and only the last waits for a fetch of its own.
    let same = world.ask_for(&path, Need::References);
    let until = world.now + 5 * SECOND;
    world.run(until);
    world.upstream.insert(path.clone(), 3);
    let [other, later] = [Need::References, Need::Objects].map(|need| world.ask_for(&path, need));
    let until = world.now + 5 * SECOND;
    world.run(until);
    assert_eq!(world.told.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [references, same, other]);
    let until = world.now + 60 * MINUTE;
    world.run(until);
    let verified: Vec<_> = world.answers.iter().map(|(ticket, ..)| *ticket).collect();
    assert_eq!((verified, world.here[&path]), (vec![objects, later], 3));
    assert!(world.waiting.is_empty());
}

#[test]
fn a_repository_that_never_verifies_is_no_hot_loop() {
    let mut schedule = Schedule::new(policy(), 3);
    let path: Arc<str> = "bad.git".into();
    schedule.know(Duration::ZERO, &path);
    let (mut now, mut asks) = (Duration::ZERO, 0);
    while now < 10 * 60 * MINUTE {
        match schedule.poll(now) {
            Some(Effect::Ask(path)) => {
                asks += 1;
                schedule.moved(now, &path, false);
            }
            Some(Effect::Fetch(path)) => schedule.fetched(now, &path, failed()),
            Some(Effect::Answer { .. } | Effect::Told { .. }) => unreachable!("nobody asked"),
            None => now = schedule.deadline(now).expect("it is asked again").max(now + Duration::from_nanos(1)),
        }
    }
    // Ten hours at the cap of ten minutes are 60, twice that on average with full jitter.
    assert!((60..250).contains(&asks), "{asks}");
}

#[test]
fn a_failing_repository_does_not_shut_out_the_others() {
    let mut world = World::new(4, 3);
    world.run(MINUTE);
    let bad: Arc<str> = "team/r0.git".into();
    for _ in 0..100 {
        let ticket = world.ask(&bad);
        // It alone fails: its question is answered by an outage.
        while !world.busy.contains(&bad) {
            world.now += SECOND / 10;
            world.perform_effects();
        }
        world.busy.remove(&bad);
        world.jobs.clear();
        world.job.clear();
        world.schedule.answered(world.now, &bad, outage());
        world.perform_effects();
        assert!(!world.waiting.contains_key(&ticket));
        let good = world.ask("team/r1.git");
        let until = world.now + 7 * SECOND;
        world.run(until);
        let verdict = world.answers.iter().find(|(t, ..)| *t == good).map(|(.., verdict)| verdict.clone());
        assert!(matches!(verdict, Some(Verdict::Verified)), "{verdict:?}");
    }
}

/// Neither repositories at which the upstream fails nor those that it keeps silent about hide what it says of another.
#[test]
fn what_a_caller_asks_of_what_is_known_is_asked_in_an_outage_too() {
    for (verdict, left_alone) in [(Verdict::Failing(Arc::new(Fault::upstream("500", "500"))), false), (outage(), true)]
    {
        let mut schedule = Schedule::new(policy(), 1);
        let paths: Vec<Arc<str>> = (0..7).map(|number| format!("team/r{number}.git").into()).collect();
        let (good, bad) = paths.split_last().unwrap();
        let mut now = SECOND;
        schedule.know(now, good);
        for path in [std::slice::from_ref(good), bad].concat() {
            schedule.know(now, &path);
            schedule.ask(now, &path, 1, Need::References, None);
            assert_eq!(effects(&mut schedule, now).0, std::slice::from_ref(&path));
            schedule.answered(now, &path, if path == *good { Verdict::Verified } else { verdict.clone() });
            effects(&mut schedule, now);
        }
        assert_eq!(schedule.figures(now).upstream_is_left_alone, left_alone, "{verdict:?}");
        let unknown: Arc<str> = "new.git".into();
        schedule.ask(now, &unknown, 2, Need::References, None);
        assert_eq!(effects(&mut schedule, now).0.is_empty(), left_alone, "no first mirror in an outage");
        schedule.ask(now, good, 3, Need::References, None);
        assert_eq!(effects(&mut schedule, now).0, std::slice::from_ref(good), "{verdict:?}");
        // Put off a little, for its own failure, and no longer.
        schedule.ask(now, &bad[0], 4, Need::References, None);
        assert!(effects(&mut schedule, now).0.is_empty());
        now += policy().ask_spacing;
        assert!(effects(&mut schedule, now).0.contains(&bad[0]), "{verdict:?}");
        schedule.answered(now, good, Verdict::Verified);
        assert!(!schedule.figures(now).upstream_is_left_alone, "it has answered");
    }
}

#[test]
fn random_paths_do_not_become_load() {
    let mut world = World::new(5, 1);
    world.run(MINUTE);
    let before = world.asks;
    for number in 0..20_000 {
        world.ask(&format!("random/{number}.git"));
        if number % 100 == 0 {
            let until = world.now + Duration::from_millis(50);
            world.run(until);
        }
    }
    let until = world.now + MINUTE;
    world.run(until);
    // 10 seconds at 20 a second, and the burst.
    assert!(world.asks - before < 100 + 20 * 11 + 5, "{}", world.asks - before);
    assert!(world.waiting.is_empty());
    let until = world.now + 10 * MINUTE;
    world.run(until);
    assert_eq!(world.schedule.known(), 1, "and they are forgotten");
}

#[test]
fn a_refusal_is_remembered_briefly() {
    let mut world = World::new(6, 0);
    for _ in 0..20 {
        world.ask("nothing.git");
        let until = world.now + Duration::from_millis(200);
        world.run(until);
    }
    assert!(world.asks <= 2, "{}", world.asks);
    world.upstream.insert("nothing.git".into(), 1);
    let until = world.now + 6 * SECOND;
    world.run(until);
    let ticket = world.ask("nothing.git");
    let until = world.now + MINUTE;
    world.run(until);
    assert!(world.answers.iter().any(|(t, _, verdict)| *t == ticket && matches!(verdict, Verdict::Verified)));
    assert!(world.schedule.knows("nothing.git"));
}

#[test]
fn a_repository_that_vanishes_stays_known_and_comes_back() {
    let mut world = World::new(7, 2);
    world.run(MINUTE);
    let path: Arc<str> = "team/r0.git".into();
    world.upstream.remove(&path);
    world.run(60 * MINUTE);
    assert!(world.schedule.knows(&path) && world.here.contains_key(&path), "a 404 deletes nothing");
    world.upstream.insert(path.clone(), 9);
    world.run(70 * MINUTE);
    assert_eq!(world.here[&path], 9);
}

#[test]
fn what_is_forgotten_is_left_alone_until_somebody_asks() {
    let mut schedule = Schedule::new(policy(), 1);
    let (idle, asked): (Arc<str>, Arc<str>) = ("idle.git".into(), "asked.git".into());
    let mut now = SECOND;
    for path in [&idle, &asked] {
        schedule.know(now, path);
        schedule.ask(now, path, 1, Need::References, None);
    }
    let (asks, _) = effects(&mut schedule, now);
    assert_eq!(asks.len(), 2);
    schedule.answered(now, &idle, Verdict::Verified);
    schedule.forget(&idle);
    // While it is asked about: whoever waits is answered.
    schedule.forget(&asked);
    assert_eq!(schedule.known(), 0);
    schedule.answered(now, &asked, failed());
    let (_, answers) = effects(&mut schedule, now);
    assert_eq!(answers.len(), 2);
    for _ in 0..100 {
        now += MINUTE;
        assert!(effects(&mut schedule, now).0.is_empty());
    }
    schedule.ask(now, &idle, 2, Need::References, None);
    assert_eq!(effects(&mut schedule, now).0, std::slice::from_ref(&idle));
    schedule.answered(now, &idle, Verdict::Verified);
    assert!(schedule.knows(&idle));
}

/// Who is told what.
type Answer = (Vec<Ticket>, Verdict);

/// What a schedule has to do now: the paths to ask about, and the answers.
pub(super) fn effects(schedule: &mut Schedule, now: Duration) -> (Vec<Arc<str>>, Vec<Answer>) {
    let (mut asks, mut answers) = (Vec::new(), Vec::new());
    while let Some(effect) = schedule.poll(now) {
        match effect {
            Effect::Ask(path) => asks.push(path),
            Effect::Answer { tickets, verdict, .. } => answers.push((tickets, verdict)),
            Effect::Fetch(path) | Effect::Told { path, .. } => panic!("{path} has not moved"),
        }
    }
    (asks, answers)
}

fn refused(answers: &[Answer], ticket: Ticket, words: &str) -> bool {
    matches!(answers, [(tickets, Verdict::Failed(fault))] if *tickets == [ticket] && fault.public == words)
}

#[test]
fn too_many_callers_are_told_so_and_the_others_go_on_waiting() {
    let (mut schedule, path): (_, Arc<str>) = (Schedule::new(policy(), 1), "team/app.git".into());
    let many = SYNC_WAITING_MAX as Ticket;
    schedule.know(SECOND, &path);
    for ticket in 0..=many {
        schedule.ask(SECOND, &path, ticket, Need::Objects, None);
    }
    let (asks, answers) = effects(&mut schedule, SECOND);
    assert_eq!(asks, std::slice::from_ref(&path));
    assert!(refused(&answers, many, "too many callers wait for the upstream"), "{answers:?}");
    schedule.answered(SECOND, &path, Verdict::Verified);
    let (_, answers) = effects(&mut schedule, SECOND);
    assert!(matches!(&answers[..], [(tickets, Verdict::Verified)] if tickets.len() == SYNC_WAITING_MAX));
    schedule.ask(SECOND, &path, many + 1, Need::Objects, None);
    let (asks, answers) = effects(&mut schedule, SECOND);
    assert!(asks == [path] && answers.is_empty(), "there is room again");
}

#[test]
fn of_too_many_unknown_paths_the_oldest_is_forgotten() {
    let rate = Policy { unknown_per_second: u32::MAX, unknown_burst: u32::MAX, refusal_ttl: 60 * MINUTE, ..policy() };
    let mut schedule = Schedule::new(rate, 1);
    let path = |number: usize| -> Arc<str> { format!("no/{number}.git").into() };
    let mut ask = |number: usize| {
        let now = Duration::from_millis(number as u64 + 1);
        schedule.ask(now, &path(number % SYNC_UNKNOWN_MAX), 1, Need::Objects, None);
        let (asks, answers) = effects(&mut schedule, now);
        for path in &asks {
            schedule.answered(now, path, Verdict::Missing);
        }
        assert!(matches!(&[answers, effects(&mut schedule, now).1].concat()[..], [(_, Verdict::Missing)]));
        !asks.is_empty()
    };
    assert!((0..SYNC_UNKNOWN_MAX).all(&mut ask), "each is new");
    assert!(!(SYNC_UNKNOWN_MAX..2 * SYNC_UNKNOWN_MAX).any(&mut ask), "each is remembered");

    // One more takes the place of the first; asked for again, that one takes the place of the second.
    let now = 10 * SECOND;
    for (number, is_new) in [(SYNC_UNKNOWN_MAX, true), (2, false), (0, true), (1, true), (3, false)] {
        schedule.ask(now, &path(number), 1, Need::Objects, None);
        let (asks, _) = effects(&mut schedule, now);
        assert_eq!(!asks.is_empty(), is_new, "{number}");
        asks.iter().for_each(|path| schedule.answered(now, path, Verdict::Missing));
        effects(&mut schedule, now);
    }
}

#[test]
fn too_many_unknown_paths_at_once_are_refused() {
    let rate = Policy { unknown_per_second: u32::MAX, unknown_burst: u32::MAX, ..policy() };
    let mut schedule = Schedule::new(rate, 1);
    for number in 0..=SYNC_UNKNOWN_MAX {
        schedule.ask(SECOND, &format!("no/{number}.git").into(), number as Ticket, Need::Objects, None);
    }
    let (asks, answers) = effects(&mut schedule, SECOND);
    assert_eq!(asks.len(), policy().asks, "the others wait for their turn");
    let words = "too many repositories that are not mirrored yet are asked for";
    assert!(refused(&answers, SYNC_UNKNOWN_MAX as Ticket, words), "{answers:?}");
}
