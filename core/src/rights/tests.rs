use super::*;
use crate::{fault::Fault, retry::Backoff, sync::BreakerPolicy};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60);
const NEGATIVE_TTL: Duration = Duration::from_secs(5);
const STALE: Duration = Duration::from_secs(100);
const HOME: Source = Source(7);

fn policy() -> Policy {
    Policy {
        ttl: TTL,
        negative_ttl: NEGATIVE_TTL,
        stale_if_error: STALE,
        pause: Duration::from_millis(500),
        questions: 4,
        failing: Rate { per_second: 1, burst: 5 },
        unknown: Rate { per_second: 1, burst: 5 },
        all: Rate { per_second: 1_000, burst: 1_000 },
        breaker: BreakerPolicy { threshold: 3, open: Backoff { base: SECOND, cap: 10 * SECOND } },
    }
}

/// Who asks about what; `who` 0 comes without credentials.
fn asked(who: u8, repository: &str) -> Asked {
    asked_from(HOME, who, repository)
}

fn asked_from(source: Source, who: u8, repository: &str) -> Asked {
    let (credential, ring) = ([who], Keyring::new([1; 32]));
    let path = repository.parse().unwrap();
    let key = ring.key((who > 0).then_some(&credential[..]), &path, Action::Read);
    let place = ring.place(source, &repository.trim_end_matches(".git").parse().unwrap());
    Asked { key, repository: repository.into(), source, place, anonymous: who == 0 }
}

fn challenge() -> Refusal {
    Refusal::NeedCredentials(Arc::from(["Basic realm=\"x\"".to_owned()]))
}

fn outage() -> Verdict {
    Verdict::Outage(Arc::new(Fault::upstream("away", "away")))
}

/// The machine, with what came out of it.
struct Run {
    rights: Rights,
    now: Duration,
    tickets: Ticket,
    asking: Vec<Key>,
    heard: BTreeMap<Ticket, Outcome>,
}

impl Run {
    fn new(policy: Policy) -> Self {
        let now = 1_000 * SECOND;
        Self { rights: Rights::new(policy), now, tickets: 0, asking: Vec::new(), heard: BTreeMap::new() }
    }

    fn ask(&mut self, asked: Asked) -> Ticket {
        self.tickets += 1;
        self.rights.ask(self.now, asked, self.tickets);
        self.drain();
        self.tickets
    }

    fn drain(&mut self) {
        while let Some(effect) = self.rights.poll(self.now) {
            match effect {
                Effect::Ask(key) => {
                    assert!(!self.asking.contains(&key), "two questions about one thing");
                    self.asking.push(key);
                }
                Effect::Answer { tickets, outcome } => {
                    for ticket in tickets {
                        assert!(self.heard.insert(ticket, outcome.clone()).is_none(), "answered twice");
                    }
                }
                Effect::Drop(_) => {}
            }
        }
        assert!(self.rights.is_bounded());
    }

    fn answer(&mut self, key: Key, verdict: Verdict) {
        self.asking.retain(|asking| *asking != key);
        self.rights.answered(self.now, key, verdict, u64::MAX);
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.drain();
    }

    fn hears(&self, ticket: Ticket) -> String {
        match self.heard.get(&ticket) {
            None => "waits".into(),
            Some(Outcome::Granted { stale: false, .. }) => "granted".into(),
            Some(Outcome::Granted { stale: true, .. }) => "stale".into(),
            Some(Outcome::Refused(Refusal::NeedCredentials(_))) => "401".into(),
            Some(Outcome::Refused(Refusal::Forbidden)) => "403".into(),
            Some(Outcome::Refused(Refusal::Missing)) => "404".into(),
            Some(Outcome::Refused(Refusal::Gone(status))) => status.to_string(),
            Some(Outcome::Unavailable(_)) => "503".into(),
            Some(Outcome::Useless(_)) => "502".into(),
            Some(Outcome::TooMany(again)) => {
                assert!(*again > Duration::ZERO, "come again at once is no answer");
                "429".into()
            }
        }
    }

    /// One whole question and its answer.
    fn settle(&mut self, asked: Asked, verdict: Verdict) -> String {
        let key = asked.key;
        let ticket = self.ask(asked);
        if self.asking.contains(&key) {
            self.answer(key, verdict);
        }
        self.hears(ticket)
    }
}

#[test]
fn an_answer_is_remembered_for_its_time_and_no_longer() {
    let mut run = Run::new(policy());
    let (alice, bob) = (asked(1, "a"), asked(2, "a"));
    assert_eq!(run.settle(alice.clone(), Verdict::Granted), "granted");
    assert_eq!(run.settle(bob.clone(), Verdict::Refused(Refusal::Forbidden)), "403");
    run.pass(NEGATIVE_TTL - Duration::from_millis(1));
    assert_eq!(run.settle(bob.clone(), Verdict::Granted), "403", "remembered");
    run.pass(Duration::from_millis(1));
    assert_eq!(run.settle(bob, Verdict::Granted), "granted", "asked again");
    run.pass(TTL - NEGATIVE_TTL - Duration::from_millis(1));
    assert_eq!(run.settle(alice.clone(), Verdict::Refused(challenge())), "granted", "remembered");
    run.pass(Duration::from_millis(1));
    assert_eq!(run.settle(alice, Verdict::Refused(challenge())), "401", "asked again");
}

/// A grant counts from its question: a revocation made a moment after the upstream looked holds no later than `ttl` after it.
#[test]
fn a_slow_answer_shortens_its_own_life() {
    let mut run = Run::new(policy());
    let alice = asked(1, "a");
    let ticket = run.ask(alice.clone());
    run.pass(10 * SECOND);
    run.answer(alice.key, Verdict::Granted);
    assert_eq!(run.hears(ticket), "granted");
    run.pass(TTL - 10 * SECOND);
    assert_eq!(run.settle(alice, Verdict::Refused(Refusal::Missing)), "404");
}

#[test]
fn one_question_serves_all_who_ask_meanwhile() {
    let mut run = Run::new(policy());
    let alice = asked(1, "a");
    let tickets: Vec<_> = (0..100).map(|_| run.ask(alice.clone())).collect();
    assert_eq!(run.asking.len(), 1);
    run.answer(alice.key, Verdict::Granted);
    assert!(tickets.iter().all(|ticket| run.hears(*ticket) == "granted"));
}

#[test]
fn silence_is_no_answer_and_takes_nothing_back() {
    let mut run = Run::new(Policy { breaker: BreakerPolicy { threshold: 100, ..policy().breaker }, ..policy() });
    let (alice, nobody, stranger) = (asked(1, "a"), asked(0, "a"), asked(2, "a"));
    assert_eq!(run.settle(alice.clone(), Verdict::Granted), "granted");
    assert_eq!(run.settle(nobody.clone(), Verdict::Granted), "granted");
    run.pass(TTL);
    assert_eq!(run.settle(alice.clone(), outage()), "stale");
    assert_eq!(run.settle(stranger.clone(), outage()), "503");
    run.pass(SECOND);
    assert_eq!(run.settle(asked(3, "a"), Verdict::Granted), "granted", "the outage was not remembered as an answer");
    run.pass(STALE - SECOND - Duration::from_millis(1));
    assert_eq!(run.settle(alice.clone(), outage()), "stale");
    run.pass(SECOND);
    assert_eq!(run.settle(alice.clone(), outage()), "503", "its time is over");
    run.pass(1_000 * STALE);
    assert_eq!(run.settle(nobody.clone(), outage()), "stale", "what is public stays so until somebody says otherwise");
    run.pass(SECOND);
    assert_eq!(run.settle(nobody.clone(), Verdict::Refused(challenge())), "401");
    run.pass(NEGATIVE_TTL);
    assert_eq!(run.settle(nobody.clone(), outage()), "503", "and then it is not, and nobody would be let in");
    run.pass(SECOND);
    assert_eq!(run.settle(nobody.clone(), Verdict::Refused(Refusal::Missing)), "404");
    run.pass(NEGATIVE_TTL);
    assert_eq!(run.settle(nobody, outage()), "503");
    run.pass(SECOND);
    assert_eq!(run.settle(stranger.clone(), Verdict::Refused(challenge())), "401");
    run.pass(NEGATIVE_TTL);
    assert_eq!(run.settle(stranger, outage()), "503", "never 401 to who has brought something");
}

/// Git brings nothing unasked: who has brought nothing is asked for something as long as anything would let in.
#[test]
fn in_an_outage_nobody_is_asked_for_a_password_in_vain() {
    let mut run = Run::new(Policy { breaker: BreakerPolicy { threshold: 1_000, ..policy().breaker }, ..policy() });
    let nobody = || asked(0, "a");
    let hears = |run: &mut Run| {
        run.pass(SECOND);
        run.settle(nobody(), outage())
    };
    assert_eq!(run.settle(nobody(), Verdict::Refused(challenge())), "401");
    assert_eq!(run.settle(asked(1, "b"), Verdict::Granted), "granted", "elsewhere");
    run.pass(NEGATIVE_TTL);
    assert_eq!(hears(&mut run), "503");
    for who in [1, 2] {
        assert_eq!(run.settle(asked(who, "a"), Verdict::Granted), "granted");
        run.pass(SECOND);
    }
    assert_eq!(hears(&mut run), "401", "they would be let in");
    run.pass(TTL);
    assert_eq!(run.settle(asked(2, "a"), Verdict::Refused(Refusal::Forbidden)), "403");
    assert_eq!(hears(&mut run), "401", "one of them still would");
    run.pass(STALE);
    assert_eq!(hears(&mut run), "503", "its time is over");
    assert_eq!(run.settle(asked(1, "a"), Verdict::Granted), "granted");
    assert_eq!(hears(&mut run), "401");
    run.pass(TTL);
    assert_eq!(run.settle(asked(1, "a"), Verdict::Refused(challenge())), "401");
    assert_eq!(hears(&mut run), "503", "nobody any more");
    run.pass(NEGATIVE_TTL);
    assert_eq!(run.settle(asked(1, "a"), Verdict::Granted), "granted");
    assert_eq!(hears(&mut run), "401");
    run.rights.forget(Some("a"));
    assert_eq!(run.settle(nobody(), outage()), "503", "forgotten");
}

/// A page that says that the host is being mended is no answer, but it is no silence either.
#[test]
fn who_is_no_git_host_decides_nothing() {
    let mut run = Run::new(policy());
    let useless = || Verdict::Useless(Arc::new(Fault::upstream("no Git host", "a page")));
    let nobody = asked(0, "a");
    assert_eq!(run.settle(nobody.clone(), Verdict::Granted), "granted");
    run.pass(TTL);
    assert_eq!(run.settle(nobody, useless()), "stale");
    for who in 1..20 {
        assert_eq!(run.settle(asked(who, "a"), useless()), "502");
    }
    assert_eq!(run.settle(asked(20, "a"), Verdict::Granted), "granted", "it was not left alone");
}

#[test]
fn an_upstream_in_trouble_is_left_alone_and_nobody_waits() {
    let mut run = Run::new(policy());
    let alice = asked(9, "a");
    assert_eq!(run.settle(alice.clone(), Verdict::Granted), "granted");
    run.pass(TTL);
    for who in 1..=3 {
        assert_eq!(run.settle(asked(who, &format!("{who}")), outage()), "503");
    }
    for who in 10..60 {
        let ticket = run.ask(asked(who, "a"));
        assert_eq!((run.hears(ticket), run.asking.len()), ("503".into(), 0), "no question while it is left alone");
    }
    let ticket = run.ask(alice.clone());
    assert_eq!(run.hears(ticket), "stale");
    run.pass(SECOND);
    let ticket = run.ask(alice.clone());
    assert_eq!((run.hears(ticket), run.asking.len()), ("waits".into(), 1), "one looks whether it is back");
    run.answer(alice.key, Verdict::Granted);
    assert_eq!(run.hears(ticket), "granted");
}

#[test]
fn what_was_to_be_forgotten_is_not_remembered_by_a_question_under_way() {
    let mut run = Run::new(policy());
    let (alice, other) = (asked(1, "a"), asked(1, "b"));
    assert_eq!(run.settle(alice.clone(), Verdict::Granted), "granted");
    assert_eq!(run.settle(other.clone(), Verdict::Granted), "granted");
    run.rights.forget(Some("a"));
    let ticket = run.ask(other.clone());
    assert_eq!(run.hears(ticket), "granted", "another repository");
    let before = run.ask(alice.clone());
    assert_eq!(run.hears(before), "waits");
    run.rights.forget(None);
    let after = run.ask(alice.clone());
    run.answer(alice.key, Verdict::Granted);
    assert_eq!((run.hears(before), run.hears(after)), ("waits".into(), "waits".into()), "asked before the word");
    assert_eq!(run.asking, [alice.key]);
    run.answer(alice.key, Verdict::Refused(Refusal::Forbidden));
    assert_eq!((run.hears(before), run.hears(after)), ("403".into(), "403".into()));
    let ticket = run.ask(other);
    assert_eq!(run.hears(ticket), "waits", "all were forgotten");
}

/// A dictionary of passwords, one after the other and all at once, costs the upstream the bucket and no more; those who
/// have been let in before are not shut out with it.
#[test]
fn guesses_are_paid_for_by_their_source() {
    for at_once in [false, true] {
        let mut run = Run::new(Policy { questions: 1_000, ..policy() });
        let (alice, elsewhere) = (asked(200, "a"), asked_from(Source(8), 201, "a"));
        assert_eq!(run.settle(alice.clone(), Verdict::Granted), "granted");
        run.pass(TTL);
        let mut keys = Vec::new();
        let mut statuses = Vec::new();
        for who in 1..100 {
            let guess = asked(who, "a");
            if at_once {
                run.ask(guess.clone());
                keys.extend(run.asking.contains(&guess.key).then_some(guess.key));
            } else {
                statuses.push(run.settle(guess, Verdict::Refused(challenge())));
            }
        }
        for key in keys.drain(..) {
            run.answer(key, Verdict::Refused(challenge()));
        }
        let asked_upstream = run.heard.values().filter(|o| matches!(o, Outcome::Refused(_))).count();
        assert_eq!(asked_upstream, 5, "at once: {at_once}: {statuses:?}");
        assert_eq!(run.settle(alice, Verdict::Granted), "granted", "a renewal is no guess");
        assert_eq!(run.settle(elsewhere, Verdict::Granted), "granted", "another source");
        run.pass(2 * SECOND);
        let more = (100..110).filter(|who| run.settle(asked(*who, "a"), Verdict::Refused(challenge())) == "401");
        assert_eq!(more.count(), 2, "the rate");
    }
}

#[test]
fn unknown_paths_are_paid_for_by_their_source() {
    let mut run = Run::new(policy());
    let unknown = |n: u32| asked(0, &format!("random/{n}"));
    let heard: Vec<_> = (0..50).map(|n| run.settle(unknown(n), Verdict::Refused(Refusal::Missing))).collect();
    assert_eq!(heard.iter().filter(|heard| *heard == "404").count(), 5, "{heard:?}");
    // Whether such a path is mirrored here is nothing to tell by, to who has not been let in.
    assert_eq!(run.settle(asked(0, "mirrored"), Verdict::Refused(challenge())), "429");
    assert_eq!(run.settle(asked_from(Source(8), 0, "mirrored"), Verdict::Granted), "granted", "another source");
    // What may be read costs nothing, however many there are.
    run.pass(100 * SECOND);
    for n in 100..150 {
        assert_eq!(run.settle(unknown(n), Verdict::Granted), "granted");
    }
    // A right credential on a path that is not there is no guess of a credential.
    for n in 200..202 {
        assert_eq!(run.settle(asked(3, &format!("random/{n}")), Verdict::Refused(Refusal::Missing)), "404");
    }
    assert_eq!(run.settle(asked(99, "a"), Verdict::Granted), "granted");
    assert_eq!(
        (0..5).filter(|who| run.settle(asked(100 + who, "a"), Verdict::Refused(challenge())) == "401").count(),
        5
    );
}

/// Git asks without credentials first, and by both spellings where it is refused: a fleet gets back what that cost when it is
/// let in, and pays for it no more.
#[test]
fn where_somebody_is_let_in_the_path_costs_nothing() {
    let mut run = Run::new(policy());
    let refused = || Verdict::Refused(challenge());
    for round in 0..2 {
        for n in 0..20 {
            let (path, other) = (format!("team/{n}.git"), format!("team/{n}"));
            for spelling in [&path, &other] {
                assert_eq!(run.settle(asked(0, spelling), refused()), "401", "{path} in round {round}");
            }
            let who = 1 + round;
            assert_eq!(run.settle(asked(who, &path), Verdict::Granted), "granted");
        }
        run.pass(NEGATIVE_TTL);
    }
    let elsewhere = |n: u8| run.settle(asked_from(Source(8), 0, &format!("team/{n}")), refused());
    assert_eq!((0..20).map(elsewhere).filter(|heard| heard == "401").count(), 5, "who has not been let in pays");
    // As if it had never been, once it is forgotten.
    run.rights.forget(None);
    run.pass(100 * SECOND);
    let again = |n: u8| run.settle(asked(0, &format!("team/{n}")), refused());
    assert_eq!((0..20).map(again).filter(|heard| heard == "401").count(), 5);
}

#[test]
fn all_together_are_bounded() {
    let mut run = Run::new(Policy { all: Rate { per_second: 10, burst: 20 }, ..policy() });
    let heard: Vec<_> = (0..200u64)
        .map(|n| run.settle(Asked { source: Source(n), ..asked(1, &format!("r/{n}")) }, Verdict::Granted))
        .collect();
    assert_eq!(heard.iter().filter(|heard| *heard == "granted").count(), 20);
    assert_eq!(heard.iter().filter(|heard| *heard == "429").count(), 180);
}

#[test]
fn who_waits_too_long_for_a_turn_is_told() {
    let mut run = Run::new(Policy { questions: 1, ..policy() });
    let (first, second) = (asked(1, "a"), asked(2, "a"));
    run.ask(first.clone());
    let waits = run.ask(second.clone());
    assert_eq!(run.asking, [first.key]);
    let deadline = run.rights.deadline().unwrap();
    run.now = deadline;
    run.drain();
    assert_eq!(run.hears(waits), "503");
    run.answer(first.key, Verdict::Granted);
    assert_eq!(run.settle(second, Verdict::Granted), "granted");
}

/// What has come of one question, as the naive model keeps it: for ever, in a list.
#[derive(Clone, Debug)]
struct Said {
    who: u8,
    repository: u8,
    asked: Duration,
    at: Duration,
    verdict: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u8, u8),
    Answer(usize, u8),
    Pass(u16),
    Forget(Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u8, 0..2u8).prop_map(|(who, repository)| Step::Ask(who, repository)),
        5 => (any::<usize>(), 0..3u8).prop_map(|(which, verdict)| Step::Answer(which, verdict)),
        3 => (0..20_000u16).prop_map(Step::Pass),
        1 => proptest::option::of(0..2u8).prop_map(Step::Forget),
    ]
}

fn verdict(number: u8) -> Verdict {
    match number {
        0 => Verdict::Granted,
        1 => Verdict::Refused(Refusal::Forbidden),
        _ => outage(),
    }
}

/// What the model would say without a question.
fn remembered(said: &[Said], now: Duration, who: u8, repository: u8) -> Option<&'static str> {
    let last = said.iter().rev().find(|s| (s.who, s.repository) == (who, repository) && s.verdict < 2)?;
    match last.verdict {
        0 if now < last.asked + TTL => Some("granted"),
        1 if now < last.at + NEGATIVE_TTL => Some("403"),
        _ => None,
    }
}

/// What the model would say if the upstream keeps silent.
fn in_an_outage(said: &[Said], now: Duration, who: u8, repository: u8) -> &'static str {
    let last = said.iter().rev().find(|s| (s.who, s.repository) == (who, repository) && s.verdict < 2);
    match last {
        Some(last) if last.verdict == 0 && (who == 0 || now < last.asked + TTL + STALE) => "stale",
        _ => "503",
    }
}

proptest! {
    /// Against a model that keeps all that was ever said in a list and looks it through.
    #[test]
    fn it_remembers_what_a_list_would(steps in proptest::collection::vec(step(), 1..120)) {
        let plenty = Rate { per_second: 1_000, burst: 10_000 };
        let never = BreakerPolicy { threshold: u32::MAX, ..policy().breaker };
        let mut run = Run::new(Policy {
            failing: plenty, unknown: plenty, all: plenty, breaker: never, pause: Duration::ZERO, questions: 100, ..policy()
        });
        let name = |repository: u8| ["a", "b"][usize::from(repository)];
        let mut said: Vec<Said> = Vec::new();
        // Under way: who, which, since when, who waits; and whether it was to be forgotten meanwhile.
        let mut open: Vec<(u8, u8, Duration, Vec<Ticket>, bool)> = Vec::new();
        for step in steps {
            match step {
                Step::Ask(who, repository) => {
                    let ticket = run.ask(asked(who, name(repository)));
                    let now = run.now;
                    if let Some(expected) = remembered(&said, now, who, repository) {
                        prop_assert_eq!(run.hears(ticket), expected);
                    } else {
                        prop_assert_eq!(run.hears(ticket), "waits");
                        match open.iter_mut().find(|flight| (flight.0, flight.1) == (who, repository)) {
                            Some(flight) => flight.3.push(ticket),
                            None => open.push((who, repository, now, vec![ticket], false)),
                        }
                    }
                }
                Step::Answer(which, number) if !open.is_empty() => {
                    let which = which % open.len();
                    let (who, repository, since, tickets, void) = open.swap_remove(which);
                    let now = run.now;
                    run.answer(asked(who, name(repository)).key, verdict(number));
                    if void {
                        open.push((who, repository, now, tickets, false));
                        continue;
                    }
                    let expected = match number {
                        0 => "granted",
                        1 => "403",
                        _ => in_an_outage(&said, now, who, repository),
                    };
                    said.push(Said { who, repository, asked: since, at: now, verdict: number });
                    for ticket in tickets {
                        prop_assert_eq!(run.hears(ticket), expected);
                    }
                }
                Step::Answer(..) => {}
                Step::Pass(millis) => run.pass(Duration::from_millis(millis.into())),
                Step::Forget(which) => {
                    run.rights.forget(which.map(name));
                    said.retain(|s| which.is_some_and(|which| which != s.repository));
                    for flight in &mut open {
                        flight.4 |= which.is_none_or(|which| which == flight.1);
                    }
                }
            }
            prop_assert_eq!(run.asking.len(), open.len());
        }
    }
}
