//! Whatever a small `Spec` says, Git finds no fault with what it makes, and with what then happens to it.

mod oracle;

use heliostat_testrepo::{Change, HeadForm, Reader, RefsForm, Spec};
use oracle::{fsck, git, refs};
use proptest::prelude::*;

fn any_spec() -> impl Strategy<Value = Spec> {
    let history = (0u32..60, 0u8..80, 0u32..3, 3u32..7, 0u32..4, 0u32..5, 0u32..4);
    let oddity = (0u8..40, 0u8..40, 0u8..40, 0u8..30);
    let files = (0u32..30, 0u32..3_000, 0u32..5, 0u32..4, 0u8..60);
    let special = (0u32..4, 0u32..3, 0u32..3, 0u32..5, 0u32..50, 0u32..150, 0u32..7);
    let names = (0u32..12, 0u32..4, 0u32..5, 0u32..5, 0u32..5, 0u32..3, 0u32..20, 0u32..4);
    let stored = (0u32..4, 0u8..=100, 0u16..60, 0u8..=100, 0u8..=9);
    let forms = (
        prop_oneof![Just(HeadForm::Main), Just(HeadForm::Unborn), Just(HeadForm::Detached)],
        prop_oneof![Just(RefsForm::Packed), Just(RefsForm::Loose), Just(RefsForm::Mixed)],
    );
    let all = (any::<u64>(), history, oddity, files, special, names, stored, forms);
    all.prop_map(|(seed, history, oddity, files, special, names, stored, forms)| Spec {
        seed,
        commits: history.0,
        merge_percent: history.1,
        octopuses: history.2,
        octopus_parents: history.3,
        criss_crosses: history.4,
        roots: history.5,
        lost_commits: history.6,
        skew_percent: oddity.0,
        signed_percent: oddity.1,
        encoded_percent: oddity.2,
        rename_percent: oddity.3,
        files: files.0,
        file_bytes: files.1,
        dir_levels: files.2,
        changes_per_commit: files.3,
        executable_percent: files.4,
        symlinks: special.0,
        submodules: special.1,
        empty_files: special.2,
        near_duplicates: special.3,
        deep_tree_levels: special.4,
        wide_tree_entries: special.5,
        odd_names: special.6,
        branches: names.0,
        branch_commits: names.1,
        light_tags: names.2,
        annotated_tags: names.3,
        nested_tags: names.4,
        tree_tags: names.5,
        blob_tags: names.5,
        pulls: names.6,
        symbolic_refs: names.7,
        other_refs: names.7,
        packs: stored.0,
        loose_percent: if stored.0 == 0 { 100 } else { stored.1 },
        delta_depth: stored.2,
        ref_delta_percent: stored.3,
        compression: stored.4,
        head: forms.0,
        refs: forms.1,
        ..Spec::small(0)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_spec_makes_a_valid_repository(spec in any_spec(), count in 1u32..4) {
        let dir = tempfile::tempdir().unwrap();
        let mut made = spec.write(dir.path()).unwrap();
        fsck(dir.path());
        if spec.commits > 0 {
            let reached = git(dir.path(), &["rev-list", "--count", "refs/heads/main"]);
            prop_assert_eq!(reached.trim(), spec.commits.to_string());
        }
        let reader = Reader::open(dir.path()).unwrap();
        for id in made.refs.values() {
            prop_assert!(reader.read(id).is_ok());
        }
        made.advance(&[
            Change::AddCommits { branch: "main".into(), count },
            Change::ForcePush { branch: "main".into(), count },
            Change::Pull { number: count },
        ]).unwrap();
        fsck(dir.path());
        let listed: Vec<String> = made.refs.iter().map(|(name, id)| format!("{name} {id}")).collect();
        prop_assert_eq!(refs(dir.path()), listed);
    }
}
