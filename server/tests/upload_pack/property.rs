//! Generated repositories and generated requests: our packs hold what stock `git upload-pack` sends.

use crate::{
    conversation::{Question, Request, compare},
    stage::Stage,
};
use heliostat_testrepo::Spec;
use proptest::{collection, prelude::*, sample::Index, test_runner::FileFailurePersistence};

/// Where counterexamples are kept.
const FAILURES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/packs_hold_what_stock_sends.txt");

/// A request, to be laid over any repository.
#[derive(Clone, Debug)]
struct Draft {
    version: u8,
    wants: Vec<Index>,
    haves: Vec<Index>,
    absent: bool,
    thin: bool,
    include_tag: bool,
    depth: Option<u8>,
    filter: Option<&'static str>,
}

fn drafts() -> impl Strategy<Value = Draft> {
    let filters = [
        "blob:none",
        "blob:limit=200",
        "tree:0",
        "tree:2",
        "object:type=tree",
        "object:type=blob",
        "combine:blob:limit=300+tree:3",
    ];
    (
        prop_oneof![Just(0u8), Just(2)],
        collection::vec(any::<Index>(), 1..5),
        collection::vec(any::<Index>(), 0..6),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        proptest::option::weighted(0.3, 1u8..12),
        proptest::option::weighted(0.4, proptest::sample::select(filters.to_vec())),
    )
        .prop_map(|(version, wants, haves, absent, thin, include_tag, depth, filter)| Draft {
            version,
            wants,
            haves,
            absent,
            thin,
            include_tag,
            depth,
            filter,
        })
}

fn spec(seed: u64, form: u8) -> Spec {
    let spec = match form {
        0 => Spec::small(seed),
        1 => Spec::linear(seed),
        2 => Spec::braided(seed),
        3 => Spec::curious(seed),
        4 => Spec::scattered(seed),
        _ => Spec::loose(seed),
    };
    Spec { commits: spec.commits.min(50), config: "[uploadpack]\n\tallowFilter = true\n".into(), ..spec }
}

fn request(draft: &Draft, tips: &[String], commits: &[String]) -> (Request, Vec<String>) {
    let wants: Vec<&String> = draft.wants.iter().map(|index| index.get(tips)).collect();
    let haves: Vec<String> = draft.haves.iter().map(|index| index.get(commits).clone()).collect();
    let mut lines: Vec<String> = Vec::new();
    let options =
        [(draft.thin, "thin-pack"), (draft.include_tag, "include-tag"), (true, "ofs-delta"), (true, "no-progress")];
    let options = options.iter().filter(|(on, _)| *on).map(|(_, option)| option.to_string());
    let have_lines =
        haves.iter().map(|id| format!("have {id}")).chain(draft.absent.then(|| format!("have {}", "7".repeat(40))));
    let bounds =
        [draft.depth.map(|depth| format!("deepen {depth}")), draft.filter.map(|filter| format!("filter {filter}"))];
    let bounds = bounds.into_iter().flatten();
    if draft.version == 2 {
        lines.extend(["command=fetch".into(), "0001".into()]);
        lines.extend(wants.iter().map(|id| format!("want {id}")));
        lines.extend(options.chain(bounds).chain(have_lines));
        lines.extend(["done".into(), "0000".into()]);
    } else {
        let capabilities: Vec<String> = options.collect();
        let first = format!("want {} {} side-band-64k multi_ack_detailed filter", wants[0], capabilities.join(" "));
        lines.push(first);
        lines.extend(wants[1..].iter().map(|id| format!("want {id}")));
        lines.extend(bounds);
        lines.push("0000".into());
        lines.extend(have_lines);
        lines.push("done".into());
    }
    (Request::of(&lines.iter().map(String::as_str).collect::<Vec<_>>()), haves)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        // The generator's state and the smallest case stay behind, and are tried first by the next run.
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(FAILURES))),
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    })]

    #[test]
    fn packs_hold_what_stock_sends(seed in any::<u64>(), form in 0u8..6, drafts in collection::vec(drafts(), 1..6)) {
        let stage = Stage::new();
        let path = stage.path("subject.git");
        let repository = spec(seed, form).write(&path).unwrap();
        let tips: Vec<String> = repository.refs.values().map(|id| id.to_string()).collect();
        let commits: Vec<String> = repository.commits.iter().map(|id| id.to_string()).collect();
        prop_assume!(!tips.is_empty() && !commits.is_empty());
        for draft in &drafts {
            // Difference 14.
            let trees = draft.wants.iter().filter(|_| draft.filter.is_some()).map(|index| index.get(&tips));
            let trees = trees.map(|id| stage.git(&["-C", path.to_str().unwrap(), "rev-parse", &format!("{id}^{{}}")]));
            let wanted_trees = trees.filter(|id| stage.kind(&path, id) == "tree").collect();
            let (request, haves) = request(draft, &tips, &commits);
            let question = Question {
                repository: path.clone(),
                options: vec!["--stateless-rpc"],
                environment: vec![("GIT_PROTOCOL".into(), format!("version={}", draft.version))],
                request,
                haves,
                wanted_trees,
                combined: draft.filter.is_some_and(|filter| filter.starts_with("combine:")),
            };
            compare(&stage, &question, &format!("{draft:?}"));
        }
    }
}
