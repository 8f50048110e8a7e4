//! Generated repositories and generated requests: our packs hold what stock `git upload-pack` sends.

use crate::{
    conversation::compare,
    draft::{Subject, drafts},
    stage::Stage,
};
use heliostat_testrepo::Spec;
use proptest::{collection, prelude::*, sample::select, test_runner::FileFailurePersistence};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where counterexamples are kept.
const FAILURES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/packs_hold_what_stock_sends.txt");

/// One in this many conversations at least must end with a pack: else the property says little.
const PACKED_SHARE: usize = 4;

const HIDDEN: [&str; 4] = [
    "",
    "\thideRefs = refs/pull\n",
    "\thideRefs = refs/pull\n\thideRefs = refs/heads\n\thideRefs = !refs/heads/main\n",
    "",
];

const GRANTED: [&str; 4] =
    ["", "\tallowTipSHA1InWant = true\n", "\tallowReachableSHA1InWant = true\n", "\tallowAnySHA1InWant = true\n"];

fn spec(seed: u64, form: u8, hidden: &str, granted: &str) -> Spec {
    let spec = match form {
        0 => Spec::small(seed),
        1 => Spec::linear(seed),
        2 => Spec::braided(seed),
        3 => Spec::curious(seed),
        4 => Spec::scattered(seed),
        _ => Spec::loose(seed),
    };
    let config = format!("[transfer]\n{hidden}[uploadpack]\n\tallowFilter = true\n\tallowRefInWant = true\n{granted}");
    Spec { commits: spec.commits.min(50), pulls: spec.pulls.max(3), config, ..spec }
}

/// As many as the environment says; few enough for every day if it says nothing.
fn cases() -> u32 {
    if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 24 }
}

/// How many conversations were generated, and how many ended with a pack.
static HELD: AtomicUsize = AtomicUsize::new(0);
static PACKED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn packs_hold_what_stock_sends() {
    conversations_compared();
    let (held, packed) = (HELD.load(Relaxed), PACKED.load(Relaxed));
    println!("{packed} of {held} conversations ended with a pack");
    // The others are refused, or not ended by the client. Fewer than a full run's say nothing about the share.
    assert!(held < 24 || packed * PACKED_SHARE >= held, "{packed} of {held} conversations ended with a pack");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        // The generator's state and the smallest case stay behind, and are tried first by the next run.
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(FAILURES))),
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    })]

    fn conversations_compared(
        seed in any::<u64>(),
        form in 0u8..6,
        hidden in select(HIDDEN.to_vec()),
        granted in select(GRANTED.to_vec()),
        drafts in collection::vec(drafts(), 1..6),
    ) {
        let stage = Stage::new();
        let path = stage.path("subject.git");
        spec(seed, form, hidden, granted).write(&path).unwrap();
        let subject = Subject::new(&stage, path);
        prop_assume!(!subject.is_empty());
        for draft in &drafts {
            HELD.fetch_add(1, Relaxed);
            for question in subject.questions(draft) {
                let answer = compare(&stage, &question, &format!("{draft:?}"));
                PACKED.fetch_add(usize::from(!answer.pack.is_empty()), Relaxed);
                if answer.code != 0 || !answer.pack.is_empty() {
                    break;
                }
            }
        }
    }
}
