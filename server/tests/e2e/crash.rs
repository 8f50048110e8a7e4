//! SIGKILL in the middle of an ingest, a publication, a consolidation; the upstream is away when the server comes back:
//! what is served is the old generation or the new one, whole. Then the upstream returns, and the mirror catches up.
//!
//! Each kill is aimed: `watch` sees from outside what the store is doing, and the kill comes at a random instant of the
//! phase that is wanted. Where it fell is read from the disk (`on_disk`), and each phase has a number of kills that it must
//! have had; kills that fell elsewhere are checked all the same. Nothing in the server knows of this.
//!
//! A kill loses nothing that the kernel has been given, so this says nothing about `fsync`. `core/tests/store/crash.rs`
//! does: it records what a publication, a consolidation and an expiry do to a `Disk`, and opens what lies there after
//! every one of these operations, with each loss that the missing syncs allow. What is shown here is the rest: the whole
//! program with its threads, mapped packs and half-done answers, its start on what it left, and what clients get from it.

mod on_disk;
mod scene;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::heliostat::Heliostat;
use crate::support::process::{SERVER_TIMEOUT, wait_until};
use on_disk::{OnDisk, Phase};
use scene::{Kill, Refs, Scene};
use watch::{Mark, Watch};

/// Files of a new pack whose way through quarantine takes a while, and of one that is soon published.
const MANY: usize = 1000;
const FEW: usize = 20;
/// Publications that make a consolidation worth while again.
const WORTH_CONSOLIDATING: usize = 3;
/// Longer than a consolidation waits after the publications.
const CONSOLIDATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Kills in vain for each one that is demanded. Few are where an `fsync` takes its time; where it takes none, what follows
/// the link is over in microseconds.
const MISSES: usize = 5;

/// A part of the work: how it is aimed at, how it is told from what is on disk, and how many kills it must have had.
struct Part {
    begins: Mark,
    ends: Mark,
    phase: Phase,
    kills: usize,
}

impl Part {
    fn new(phase: Phase, kills: usize) -> Self {
        let (begins, ends) = match phase {
            Phase::Filling => (Mark::Filling, Mark::Checking),
            Phase::Checking => (Mark::Checking, Mark::Sealing),
            Phase::Sealing => (Mark::Sealing, Mark::Writing),
            Phase::Writing => (Mark::Writing, Mark::Published),
            Phase::Clearing | Phase::Superseding => (Mark::Published, Mark::Cleared),
            Phase::Rewriting => (Mark::Filling, Mark::Sealing),
            Phase::Replacing => (Mark::Sealing, Mark::Published),
            Phase::Idle | Phase::Begun => panic!("{phase:?} is not aimed at"),
        };
        Self { begins, ends, phase, kills }
    }
}

/// Kills until each part has had its number.
struct Hunt {
    parts: Vec<Part>,
    /// How long each part takes, as far as is known.
    spans: Vec<Duration>,
    counts: BTreeMap<Phase, usize>,
    kills: usize,
}

impl Hunt {
    /// `seen` is the work that is to be hit, undisturbed.
    fn new(parts: Vec<Part>, seen: &Watch) -> Self {
        let span = |part: &Part| seen.between(part.begins, part.ends).expect("the work was seen to its end");
        let spans = parts.iter().map(span).collect();
        Self { parts, spans, counts: BTreeMap::new(), kills: 0 }
    }

    fn had(&self, part: &Part) -> usize {
        self.counts.get(&part.phase).copied().unwrap_or_default()
    }

    /// The part that lacks most; none when all have had theirs. Fails when that takes too many kills.
    fn next(&self) -> Option<usize> {
        let lacks = |at: &usize| self.parts[*at].kills.saturating_sub(self.had(&self.parts[*at]));
        let next = (0..self.parts.len()).filter(|at| lacks(at) > 0).max_by_key(lacks)?;
        let demanded: usize = self.parts.iter().map(|part| part.kills).sum();
        assert!(
            self.kills < demanded * (1 + MISSES),
            "{} kills, and still not in every phase as often as it takes: {:?} of {demanded}",
            self.kills,
            self.counts
        );
        Some(next)
    }

    /// Waits for part `at` and for a random instant of it, then kills. What is left on disk.
    fn kill(&mut self, scene: &mut Scene, server: &mut Heliostat, watch: &mut Watch, at: usize) -> OnDisk {
        let Part { begins, phase, .. } = self.parts[at];
        let seen = watch.until(begins, if phase.is_consolidation() { CONSOLIDATION_TIMEOUT } else { SERVER_TIMEOUT });
        // A consolidation that came too early to be seen is a miss as any other.
        assert!(seen || phase.is_consolidation(), "no {begins:?} to be seen: {}", server.log());
        pass(self.spans[at].mul_f64(scene.random.f64()));
        server.kill();
        OnDisk::read(&server.data())
    }

    fn count(&mut self, at: usize, phase: Phase) {
        self.kills += 1;
        *self.counts.entry(phase).or_default() += 1;
        // The work does not take as long each time as when it was measured.
        let wanted = self.parts[at].phase;
        if phase > wanted || phase == Phase::Idle {
            self.spans[at] /= 2;
        } else if phase < wanted {
            self.spans[at] *= 2;
        }
    }

    fn report(&self, what: &str) {
        println!("{what}: {} kills: {:?}", self.kills, self.counts);
    }
}

/// Lets this much time go by, to the microsecond, which a sleep does not.
fn pass(time: Duration) {
    const SLACK: Duration = Duration::from_micros(200);
    let until = Instant::now() + time;
    std::thread::sleep(time.saturating_sub(SLACK));
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// A sync that nothing happens to, seen while it goes on.
fn undisturbed(scene: &Scene, server: &Heliostat) -> Watch {
    let mut watch = Watch::on(&server.data());
    let mut client = scene.ask(server);
    assert!(watch.until(Mark::Cleared, SERVER_TIMEOUT), "no sync: {}", server.log());
    assert!(client.wait(SERVER_TIMEOUT).is_some_and(|status| status.success()), "no answer: {}", server.log());
    watch
}

/// Kills in the sync that makes a mirror out of nothing, each time of another mirror.
fn first_sync(files: usize, parts: Vec<Part>, what: &str) {
    let mut scene = Scene::new();
    scene.advance(files);
    let server = scene.server("undisturbed");
    let watch = undisturbed(&scene, &server);
    drop(server);
    let mut hunt = Hunt::new(parts, &watch);
    while let Some(part) = hunt.next() {
        let mut server = scene.server(&format!("victim-{}", hunt.kills));
        let (before, new) = (OnDisk::read(&server.data()), scene.refs());
        let mut watch = Watch::on(&server.data());
        let client = scene.ask(&server);
        let after = hunt.kill(&mut scene, &mut server, &mut watch, part);
        drop(client);
        let phase = after.phase(&before);
        hunt.count(part, phase);
        let states = [None, Some(new)];
        scene.recover(&mut server, Kill { number: hunt.kills, phase, before, after, states });
    }
    hunt.report(what);
}

/// Kills in syncs of one mirror, which has been published before.
fn later_sync(files: usize, parts: Vec<Part>, what: &str) {
    let mut scene = Scene::new();
    let mut server = scene.server("victim");
    // Until earlier generations have to go with each one that comes.
    for _ in 0..=scene::GENERATIONS_KEPT {
        scene.sync(&server);
        scene.advance(FEW);
    }
    scene.advance(files);
    let watch = undisturbed(&scene, &server);
    let mut hunt = Hunt::new(parts, &watch);
    while let Some(part) = hunt.next() {
        let (before, old) = (OnDisk::read(&server.data()), scene.refs());
        scene.advance(files);
        let new = scene.refs();
        let mut watch = Watch::on(&server.data());
        let client = scene.ask(&server);
        let after = hunt.kill(&mut scene, &mut server, &mut watch, part);
        drop(client);
        let phase = after.phase(&before);
        hunt.count(part, phase);
        scene.recover(&mut server, Kill { number: hunt.kills, phase, before, after, states: [Some(old), Some(new)] });
    }
    hunt.report(what);
}

/// Kills while the packs of one mirror are consolidated.
fn consolidation(parts: Vec<Part>, what: &str) {
    let mut scene = Scene::new();
    let mut server = scene.server("victim");
    let fill = |scene: &mut Scene, server: &Heliostat| -> (OnDisk, Refs) {
        for _ in 0..WORTH_CONSOLIDATING {
            scene.advance(FEW);
            scene.sync(server);
        }
        (OnDisk::read(&server.data()), scene.refs())
    };
    // On a busy machine it may come between the publications, and leave nothing to see after them.
    let consolidated = |scene: &mut Scene, server: &Heliostat| -> Watch {
        for _ in 0..3 {
            fill(scene, server);
            let mut watch = Watch::on(&server.data());
            let seen = watch.until(Mark::Cleared, CONSOLIDATION_TIMEOUT)
                && watch.between(Mark::Filling, Mark::Published).is_some();
            if seen && OnDisk::read(&server.data()).listed.len() <= 2 {
                return watch;
            }
        }
        panic!("many packs have not become two: {:?}", OnDisk::read(&server.data()));
    };
    fill(&mut scene, &server);
    let watch = consolidated(&mut scene, &server);
    let mut hunt = Hunt::new(parts, &watch);
    while let Some(part) = hunt.next() {
        let (before, refs) = fill(&mut scene, &server);
        let mut watch = Watch::on(&server.data());
        let after = hunt.kill(&mut scene, &mut server, &mut watch, part);
        let phase = after.phase(&before);
        hunt.count(part, phase);
        let states: [Option<Refs>; 2] = [Some(refs.clone()), Some(refs)];
        scene.recover(&mut server, Kill { number: hunt.kills, phase, before, after, states });
    }
    // No kill has kept it from being done.
    consolidated(&mut scene, &server);
    hunt.report(what);
}

// Fifty in ingest and publication together, and as many more in consolidation as it takes. Several tests, so that they
// can run side by side.

#[test]
fn killed_in_the_first_ingest() {
    first_sync(MANY, vec![Part::new(Phase::Filling, 6), Part::new(Phase::Checking, 6)], "the first ingest");
}

#[test]
fn killed_in_later_ingests() {
    later_sync(MANY, vec![Part::new(Phase::Filling, 7), Part::new(Phase::Checking, 7)], "later ingests");
}

#[test]
fn killed_in_the_first_publication() {
    first_sync(
        FEW,
        vec![Part::new(Phase::Sealing, 2), Part::new(Phase::Writing, 3), Part::new(Phase::Clearing, 3)],
        "the first publication",
    );
}

#[test]
fn killed_in_later_publications() {
    later_sync(
        FEW,
        vec![Part::new(Phase::Sealing, 3), Part::new(Phase::Writing, 6), Part::new(Phase::Clearing, 7)],
        "later publications",
    );
}

/// What a kill has kept from being consolidated is made up for after the next start, whatever the upstream does.
#[test]
fn killed_before_a_consolidation() {
    let mut scene = Scene::new();
    let mut server = scene.server("victim");
    let mut many = false;
    for _ in 0..3 {
        for _ in 0..2 * WORTH_CONSOLIDATING {
            scene.advance(FEW);
            scene.sync(&server);
        }
        server.kill();
        // It may have come between the publications.
        many = OnDisk::read(&server.data()).is_worth_consolidating();
        if many {
            break;
        }
        server.start_again();
    }
    assert!(many, "{:?}", OnDisk::read(&server.data()));
    scene.leave();
    server.start_again();
    wait_until("many packs become two", 2 * CONSOLIDATION_TIMEOUT, || OnDisk::read(&server.data()).listed.len() <= 2);
}

#[test]
fn killed_while_packs_are_rewritten() {
    consolidation(vec![Part::new(Phase::Rewriting, 6)], "consolidation, before its packs are sealed");
}

#[test]
fn killed_while_packs_are_replaced() {
    consolidation(vec![Part::new(Phase::Replacing, 3), Part::new(Phase::Superseding, 3)], "consolidation, from there");
}
