//! What we send is what stock Git sends: for many repositories and requests, each accepted by `git index-pack --strict`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stock;

use heliostat_core::{
    ObjectId,
    graph::{Boundary, Deepen, Filter, Graph, Query},
    limits::{HAVE_TREES_MAX, SPOOL_MEMORY_BYTES_MAX},
    pack::{Chunk, Emitter, Encoding, Framing, PlanError, Room, Spool, plan},
};
use heliostat_testrepo::Spec;
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};
use stock::{
    answer::{Answer, Served, emit},
    git, id, rev,
};

const FULL: Encoding = Encoding { ofs_delta: true, thin_pack: false };
const THIN: Encoding = Encoding { ofs_delta: true, thin_pack: true };
const OLD: Encoding = Encoding { ofs_delta: false, thin_pack: false };

fn serve(spec: &Spec) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("r.git");
    spec.write(&repository).unwrap();
    Served::new(folder, repository)
}

/// Each repository as it is, walked through, and packed whole, with tables.
fn both_ways(specs: impl IntoIterator<Item = Spec>) -> impl Iterator<Item = (Spec, Served)> {
    specs.into_iter().flat_map(|spec| {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("r.git");
        spec.write(&repository).unwrap();
        [serve(&spec), Served::with_tables(folder, repository)].map(|served| (spec.clone(), served))
    })
}

/// Every shape that the generator knows, small: the checks run Git a few thousand times.
fn specs() -> Vec<Spec> {
    vec![
        Spec::small(1),
        Spec { commits: 80, pulls: 10, ..Spec::braided(3) },
        Spec { commits: 60, ..Spec::curious(4) },
        Spec { commits: 300, ..Spec::long_chains(5) },
        Spec { large_blobs: 2, large_blob_bytes: 1 << 20, ..Spec::large_blobs(6) },
        Spec { commits: 80, pulls: 10, ..Spec::scattered(7) },
        Spec { commits: 30, ..Spec::loose(8) },
    ]
}

fn all_refs(served: &Served) -> Vec<ObjectId> {
    let ids: BTreeSet<_> = served.git(&["for-each-ref", "--format=%(objectname)"]).lines().map(id).collect();
    ids.into_iter().collect()
}

fn commits(served: &Served) -> Vec<ObjectId> {
    served.git(&["rev-list", "--all", "--date-order"]).lines().map(id).collect()
}

/// Wants without haves: exactly what stock Git sends.
fn same(served: &Served, query: &Query) {
    let stock = served.stock(query, false);
    for encoding in [FULL, OLD] {
        let answer = served.check(query, encoding);
        let few: Vec<_> = stock.difference(&answer.ids).collect();
        // Where a wanted tree is a commit's tree too, stock Git forgets under a filter that it was wanted.
        let forgetful = query.filter.is_some() && query.wants.iter().any(|want| is_tree(served, want));
        let many: Vec<_> = answer.ids.difference(&stock).filter(|_| !forgetful).collect();
        assert!(few.is_empty() && many.is_empty(), "missing {few:?}, too many {many:?} for {query:?}");
    }
}

fn is_tree(served: &Served, id: &ObjectId) -> bool {
    served.git(&["cat-file", "-t", &format!("{id}^{{}}")]) == "tree"
}

#[test]
fn full_clones() {
    for (_, served) in both_ways(specs()) {
        same(&served, &Query { wants: all_refs(&served), ..Query::default() });
        let head = rev(&served.repository, "refs/heads/main");
        same(&served, &Query { wants: vec![head], ..Query::default() });
        // A repacked copy is whole: its pack goes out as it is.
        git(&served.repository, &["repack", "-adfq", "--depth=60"]);
        git(&served.repository, &["prune"]);
        let folder = tempfile::tempdir().unwrap();
        let packed = Served::new(folder, served.repository.clone());
        let query = Query { wants: all_refs(&packed), ..Query::default() };
        let answer = packed.check(&query, FULL);
        assert_eq!(answer.pack, std::fs::read(packed.objects.packs()[0].path()).unwrap());
        assert!(answer.known_before && answer.plan.segments.len() == 1);
        same(&packed, &query);
        // Without one branch it is not.
        let answer = packed.check(&Query { wants: vec![head], ..Query::default() }, FULL);
        assert!(!answer.known_before || answer.ids.len() as u32 == packed.objects.packs()[0].len());
    }
}

#[test]
fn frames_hold_the_pack() {
    let served = serve(&Spec::small(9));
    let query = Query { wants: all_refs(&served), ..Query::default() };
    let answer = served.answer(&query, OLD);
    for (framing, max) in [(Framing::SideBand, 1000), (Framing::SideBand64k, 65_520)] {
        let framed = emit(&answer.plan, framing);
        let (mut rest, mut pack, mut frames) = (framed.as_slice(), Vec::new(), Vec::new());
        while !rest.is_empty() {
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..4]).unwrap(), 16).unwrap();
            assert_eq!(rest[4], 1);
            pack.extend_from_slice(&rest[5..length]);
            frames.push(length);
            rest = &rest[length..];
        }
        assert_eq!(pack, answer.pack);
        let (_, full) = frames.split_last().unwrap();
        assert!(full.iter().all(|length| *length == max), "only the last frame may be short");
    }
}

#[test]
fn the_checksum_is_computed_once_for_each_plan() {
    let served = serve(&Spec::small(10));
    let query = Query { wants: all_refs(&served), ..Query::default() };
    let Answer { plan, pack, .. } = served.answer(&query, OLD);
    let (rest, trailer) = pack.split_at(pack.len() - 20);
    assert_eq!(plan.trailer.get().unwrap(), trailer);

    // Begun before it was known, ended after: the same.
    let fresh = served.plan(&query, OLD);
    let mut early = Emitter::new(fresh.clone(), Framing::SideBand);
    let Some(Chunk::Bytes(first)) = early.next_chunk().unwrap() else { panic!("a frame") };
    let mut framed = first.to_vec();
    assert_eq!(emit(&fresh, Framing::Bare), pack);
    while let Some(chunk) = early.next_chunk().unwrap() {
        let (Chunk::Bytes(bytes) | Chunk::Mapped(bytes)) = chunk;
        framed.extend_from_slice(bytes);
    }
    assert_eq!(framed, emit(&fresh, Framing::SideBand));

    // Known, it is believed, not computed again.
    let told = served.plan(&query, OLD);
    told.trailer.set([7; 20]).unwrap();
    assert_eq!(emit(&told, Framing::Bare), [rest, &[7; 20][..]].concat());
}

#[test]
fn incremental_fetches() {
    for (_, served) in both_ways(specs()) {
        let commits = commits(&served);
        let refs = all_refs(&served);
        let tip = rev(&served.repository, "refs/heads/main");
        let some = |at: usize| commits[at.min(commits.len() - 1)];
        let cases = [
            (vec![tip], vec![some(5)]),
            (vec![tip], vec![some(commits.len() / 2), some(commits.len() / 3)]),
            (refs.clone(), vec![some(7)]),
            (refs.clone(), vec![tip]),
            (vec![some(0), some(3)], vec![some(1), some(2)]),
            (vec![tip], vec![tip]),
        ];
        for (wants, haves) in cases {
            between(&served, &Query { wants, haves, ..Query::default() });
        }
    }
}

/// Wants less haves: no object that the client lacks is missing, none travels that stock Git would not send.
fn between(served: &Served, query: &Query) {
    let stock = served.stock(query, false);
    let wanted = served.closure(&query.wants);
    let had = served.closure(&query.haves);
    let exact: BTreeSet<_> = wanted.difference(&had).copied().collect();
    for encoding in [THIN, FULL, OLD, Encoding { ofs_delta: false, thin_pack: true }] {
        let answer = served.check(query, encoding);
        let context = format!("{query:?} of {}", served.repository.display());
        assert!(answer.ids.is_superset(&exact), "too few for {context}");
        // What is asked for by name travels, though the client may have it.
        let by_name =
            |id: &&ObjectId| query.wants.iter().any(|want| rev(&served.repository, &format!("{want}^{{}}")) == **id);
        let is_exact = || answer.ids.difference(&exact).all(|id| query.wants.contains(id) || by_name(&id));
        assert!(!served.objects.has_commit_tables() || is_exact(), "not exact for {context}");
        let extra: Vec<_> = answer.ids.difference(&stock).collect();
        assert!(extra.is_empty(), "{extra:?} more than stock for {context}");
    }
}

#[test]
fn filters() {
    for (_, served) in both_ways([Spec::small(11), Spec { commits: 50, packs: 3, ..Spec::curious(12) }]) {
        let tip = rev(&served.repository, "refs/heads/main");
        let tree = rev(&served.repository, "refs/heads/main^{tree}");
        let older = rev(&served.repository, "refs/heads/main~4");
        for filter in [
            "blob:none",
            "blob:limit=0",
            "blob:limit=200",
            "blob:limit=1k",
            "tree:0",
            "tree:1",
            "tree:2",
            "tree:3",
            "tree:100",
            "object:type=blob",
            "object:type=tree",
            "object:type=commit",
            "object:type=tag",
            "combine:blob:none+tree:2",
            "combine:blob:limit=300+blob:limit=500",
            "combine:object:type=tree+tree:2",
        ] {
            let filter = Some(Filter::parse(filter.as_bytes()).unwrap());
            same(&served, &Query { wants: vec![tip], filter: filter.clone(), ..Query::default() });
            same(&served, &Query { wants: all_refs(&served), filter: filter.clone(), ..Query::default() });
            // A tree or blob by id is sent whatever the filter says.
            let answer = served.check(&Query { wants: vec![tree], filter: filter.clone(), ..Query::default() }, FULL);
            assert!(answer.ids.contains(&tree));
            let query = Query { wants: vec![tip], haves: vec![older], filter, ..Query::default() };
            let stock = served.stock(&query, false);
            let ours = served.answer(&query, THIN);
            assert!(ours.ids.is_subset(&stock), "{query:?}");
        }
    }
}

#[test]
fn sparse_filters() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("r.git");
    Spec { commits: 40, ..Spec::curious(51) }.write(&repository).unwrap();
    let names = git(&repository, &["ls-tree", "-r", "--name-only", "refs/heads/main"]);
    let names: Vec<_> = names.lines().collect();
    let folders: Vec<_> = names.iter().filter_map(|name| name.split_once('/')).map(|(folder, _)| folder).collect();
    let texts = [
        "/*\n!/*/\n".to_owned(),
        format!("/{}/\n", folders[0]),
        format!("# a comment\n{}\n/{}\n", folders[folders.len() - 1], names[0]),
        "*.rs\n*.md\n".to_owned(),
        format!("*\n!{}/\n", folders[0]),
    ];
    let blobs: Vec<String> = texts
        .iter()
        .map(|text| {
            String::from_utf8(stock::git_with(&repository, &["hash-object", "-w", "--stdin"], text.as_bytes())).unwrap()
        })
        .collect();
    let served = Served::new(folder, repository);
    let tip = rev(&served.repository, "refs/heads/main");
    for (text, blob) in texts.iter().zip(blobs) {
        let filter = Filter::parse(format!("sparse:oid={}", blob.trim()).as_bytes()).unwrap();
        let query = Query { wants: vec![tip], filter: Some(filter), ..Query::default() };
        let stock = served.stock(&query, false);
        let ours = served.check(&query, FULL).ids;
        assert_eq!(ours.difference(&stock).collect::<Vec<_>>(), stock.difference(&ours).collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn objects_by_id() {
    let served = serve(&Spec::curious(21));
    let names = served.git(&["rev-list", "--objects", "--no-object-names", "--all"]);
    let all: Vec<_> = names.lines().map(id).collect();
    for wanted in all.iter().step_by(all.len() / 25 + 1) {
        same(&served, &Query { wants: vec![*wanted], ..Query::default() });
    }
    same(&served, &Query { wants: all.iter().step_by(7).copied().collect(), ..Query::default() });
}

/// What the client says by name that it has does not travel, of whatever type it is.
#[test]
fn objects_that_are_had_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("r.git");
    stock::import(&repository, &stock::linear_history(3));
    let name = |revision: &str| rev(&repository, revision);
    let tag = |name: &str, target: ObjectId| {
        git(&repository, &["tag", "-a", "-m", "m", name, &target.to_string()]);
        rev(&repository, &format!("refs/tags/{name}"))
    };
    let (blob, tree) = (name("main:a/b/c/big.txt"), name("main:a"));
    let (tag_of_blob, tag_of_tree) = (tag("blob", blob), tag("tree", tree));
    let nested = tag("nested", tag_of_blob);
    let served = Served::new(folder, repository);
    for (want, have) in [
        (tree, tree),
        (blob, blob),
        (blob, tag_of_blob),
        (tag_of_tree, tag_of_tree),
        (tag_of_tree, tree),
        (nested, tag_of_blob),
        (tag_of_blob, blob),
        (blob, tree),
        (tree, blob),
    ] {
        let query = Query { wants: vec![want], haves: vec![have], ..Query::default() };
        let ours = served.answer(&query, FULL).ids;
        assert_eq!(ours, served.stock(&query, false), "{want} without {have}");
    }
}

#[test]
fn tags_come_along() {
    for (_, served) in both_ways([Spec::small(31), Spec::curious(32)]) {
        let listing = served.git(&["for-each-ref", "--format=%(objectname) %(*objectname)", "refs/tags"]);
        let pairs = listing.lines().filter_map(|line| line.trim().split_once(' '));
        // The peeled column names the next object; what Git peels to is asked for by name.
        let include_tags: Vec<_> =
            pairs.map(|(tag, _)| (id(tag), rev(&served.repository, &format!("{tag}^{{}}")))).collect();
        assert!(!include_tags.is_empty());
        let commits = commits(&served);
        let main = rev(&served.repository, "refs/heads/main");
        for (wants, haves) in [(vec![main], vec![]), (vec![main], vec![commits[commits.len() / 2]])] {
            let query = Query { wants, haves, include_tags: include_tags.clone(), ..Query::default() };
            let stock = served.stock(&query, false);
            let ours = served.check(&query, FULL);
            assert!(ours.ids.is_subset(&stock));
            let tags = |ids: &BTreeSet<ObjectId>| -> BTreeSet<ObjectId> {
                ids.iter().filter(|id| served.git(&["cat-file", "-t", &id.to_string()]) == "tag").copied().collect()
            };
            assert_eq!(tags(&ours.ids), tags(&stock));
            assert!(!tags(&stock).is_empty());
        }
    }
}

/// The boundary by our rules, and the answer within it beside stock's.
fn deepened(served: &Served, wants: &[ObjectId], deepen: &Deepen, client_shallow: &BTreeSet<ObjectId>) -> Boundary {
    let stop = AtomicBool::new(false);
    let graph = Graph { objects: &served.objects, grafts: &served.grafts, stop: &stop };
    graph.deepen(wants, deepen, client_shallow, None).unwrap().expect("commits are selected")
}

#[test]
fn shallow_clones_deepened() {
    for (spec, served) in
        both_ways([Spec { commits: 40, ..Spec::small(41) }, Spec { commits: 80, ..Spec::braided(42) }])
    {
        let tip = rev(&served.repository, "refs/heads/main");
        let dates = served.git(&["log", "--format=%ct", "refs/heads/main"]);
        let mut dates: Vec<u64> = dates.lines().map(|date| date.parse().unwrap()).collect();
        dates.sort_unstable();
        let root = rev(&served.repository, "refs/heads/main~6");
        let first = [
            Deepen { depth: Some(1), ..Deepen::default() },
            Deepen { depth: Some(3), ..Deepen::default() },
            Deepen { since: Some(dates[dates.len() * 2 / 3]), ..Deepen::default() },
            Deepen { not: vec![root], ..Deepen::default() },
        ];
        for deepen in first {
            let boundary = deepened(&served, &[tip], &deepen, &BTreeSet::new());
            assert!(!boundary.shallow.is_empty() && boundary.unshallow.is_empty());
            let client_shallow: BTreeSet<_> = boundary.shallow.iter().copied().collect();
            same(&served, &Query { wants: vec![tip], boundary, ..Query::default() });
            for second in [
                Deepen { depth: Some(6), ..Deepen::default() },
                Deepen { depth: Some(2), relative: true, ..Deepen::default() },
                Deepen { depth: Some(0x7fff_ffff), ..Deepen::default() },
                Deepen { since: Some(dates[dates.len() / 3]), ..Deepen::default() },
            ] {
                let boundary = deepened(&served, &[tip], &second, &client_shallow);
                let client_shallow = client_shallow.clone();
                let query = Query { wants: vec![tip], haves: vec![tip], client_shallow, boundary, ..Query::default() };
                let stock = served.stock(&query, false);
                for encoding in [FULL, THIN] {
                    let ours = served.check(&query, encoding);
                    // Stock Git would send too little where dates lie (see `mark_edges` in `select`).
                    assert!(ours.ids.is_subset(&stock) || spec.skew_percent > 0, "{query:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn random_histories(
        seed in 0u64..1 << 32,
        commits in 10u32..60,
        merge_percent in 0u8..60,
        skew_percent in 0u8..30,
        packs in 1u32..4,
        loose_percent in 0u8..30,
        ref_delta_percent in 0u8..100,
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 2..8),
    ) {
        let spec = Spec { commits, merge_percent, skew_percent, packs, loose_percent, ref_delta_percent, ..Spec::small(seed) };
        let [(_, served), (_, tabled)] = both_ways([spec]).collect::<Vec<_>>().try_into().ok().unwrap();
        let history = self::commits(&served);
        let mut query = Query::default();
        for (index, wanted) in picks {
            let commit = *index.get(&history);
            if wanted { query.wants.push(commit) } else { query.haves.push(commit) }
        }
        query.wants.dedup();
        if query.wants.is_empty() {
            query.wants.push(history[0]);
        }
        let wanted = served.closure(&query.wants);
        let had = served.closure(&query.haves);
        let exact: BTreeSet<_> = wanted.difference(&had).copied().collect();
        for encoding in [FULL, THIN] {
            let answer = served.check(&query, encoding);
            prop_assert!(answer.ids.is_superset(&exact));
            // Lying dates may make more commits travel, for stock Git as for us, but not the same ones.
            if skew_percent == 0 || query.haves.is_empty() {
                prop_assert!(answer.ids.is_subset(&served.stock(&query, false)));
            }
            prop_assert_eq!(tabled.check(&query, encoding).ids, exact.clone());
        }
    }
}

/// Of more haves than are looked into, only the newest spare the client what their trees hold; what the others hold
/// travels again, and the pack is whole.
#[test]
fn not_every_have_is_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("r.git");
    let commit = |name: &str, files: &[usize]| {
        let files: String = files.iter().map(|n| format!("M 100644 inline f{n}\ndata <<E\nfile {n}\nE\n")).collect();
        format!("commit refs/heads/{name}\ncommitter C <c@example.com> 1600000000 +0000\ndata 0\n{files}\n")
    };
    let count = HAVE_TREES_MAX + 2;
    let mut stream: String = (0..count).map(|n| commit(&format!("h{n}"), &[n])).collect();
    stream += &commit("wanted", &[0, HAVE_TREES_MAX - 1, HAVE_TREES_MAX, count]);
    stock::import(&repository, &(stream + "done\n"));
    let served = Served::new(folder, repository);
    let names: Vec<_> = (0..count).map(|n| format!("h{n}")).collect();
    let haves = served.git(&[&["rev-parse"], &names.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    let query = Query {
        wants: vec![rev(&served.repository, "wanted")],
        haves: haves.lines().map(id).collect(),
        ..Query::default()
    };
    let answer = served.check(&query, THIN);
    let sent = |n: usize| answer.ids.contains(&rev(&served.repository, &format!("wanted:f{n}")));
    assert_eq!([0, HAVE_TREES_MAX - 1, HAVE_TREES_MAX, count].map(sent), [false, false, true, true]);
}

/// A client that names a hidden commit is not sent deltas against what only that commit holds. It would learn its ids, and
/// where it is alike.
#[test]
fn no_delta_stands_on_what_is_only_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("r.git");
    let commit = |name: &str, mark: u32, from: &str, lines: u32| {
        let big: String = (0..lines).map(|n| format!("line {n}: {:08x}\n", n.wrapping_mul(0x9e37_79b9))).collect();
        format!(
            "commit refs/heads/{name}\nmark :{mark}\ncommitter C <c@example.com> 160000000{mark} +0000\ndata 0\n{from}\
             M 100644 inline big\ndata {}\n{big}\n",
            big.len()
        )
    };
    let stream =
        commit("main", 1, "", 1) + &commit("main", 2, "from :1\n", 400) + &commit("secret", 3, "from :1\n", 401);
    stock::import(&repository, &(stream + "done\n"));
    git(&repository, &["repack", "-adfq"]);
    let [root, main, secret] = ["main~1", "main", "secret"].map(|name| rev(&repository, name));
    let deltas = git(&repository, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(deltabase)"]);
    let [big, hidden] = ["main:big", "secret:big"].map(|name| rev(&repository, name));
    assert!(deltas.contains(&format!("{big} {hidden}")), "{deltas}");
    let served = Served::new(folder, repository);
    let client = served.folder.path().join("client.git");
    git(served.folder.path(), &["init", "-q", "--bare", "client.git"]);
    let had = served.answer(&Query { wants: vec![root], ..Query::default() }, FULL);
    stock::git_with(&client, &["index-pack", "--stdin"], &had.pack);
    let takes = |claimed: &[ObjectId]| {
        let claimed = claimed.iter().copied().collect();
        let query = Query { wants: vec![main], haves: vec![root, secret], claimed, ..Query::default() };
        stock::try_git(&client, &["index-pack", "--stdin", "--fix-thin", "--strict"], &served.answer(&query, THIN).pack)
            .0
    };
    assert!(!takes(&[]), "who is believed to have it is sent deltas against it");
    assert!(takes(&[secret]));
    assert!(takes(&[root, secret]), "what is granted stands on its parents, whatever is proven of these");
}

/// What has to be encoded anew stays in memory up to a point, and then goes to a file; the pack is the same.
#[test]
fn what_outgrows_memory_is_spooled() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("r.git");
    git(folder.path(), &["init", "-q", "--bare", "-b", "main", "r.git"]);
    let mut entries = String::new();
    for number in 0..6u32 {
        // Half of them would fit.
        let bytes: Vec<u8> = (0..SPOOL_MEMORY_BYTES_MAX as u32 / 12)
            .flat_map(|at| (at ^ number << 24).wrapping_mul(0x9e37_79b9).rotate_left(at % 31).to_le_bytes())
            .collect();
        let blob = stock::git_with(&repository, &["hash-object", "-w", "--stdin"], &bytes);
        entries += &format!("100644 blob {}\tf{number}\n", String::from_utf8(blob).unwrap().trim());
    }
    let tree = stock::git_with(&repository, &["mktree"], entries.as_bytes());
    let tree = String::from_utf8(tree).unwrap();
    let mut served = Served::new(folder, repository);
    served.entries = None;
    let wanted = id(tree.trim());
    let answer = served.check(&Query { wants: vec![wanted], ..Query::default() }, FULL);
    assert!(answer.plan.spool_bytes > 0 && answer.plan.inline.len() <= SPOOL_MEMORY_BYTES_MAX + 1_000);
    assert_eq!(answer.ids.len(), 7);

    // All plans together take no more than there is room for, and give it back when they are gone.
    let (stop, grafts) = (AtomicBool::new(false), BTreeSet::new());
    let graph = Graph { objects: &served.objects, grafts: &grafts, stop: &stop };
    let selected = graph.select(&Query { wants: vec![wanted], ..Query::default() }).unwrap();
    let plan_in = |room: &Arc<Room>| {
        let spool = Spool { directory: served.folder.path().to_owned(), entries: None, room: Some(room.clone()) };
        plan(&served.objects, &selected, FULL, &spool, &stop)
    };
    let room = Room::new(answer.plan.spool_bytes);
    let first = plan_in(&room).unwrap();
    assert_eq!(room.taken(), answer.plan.spool_bytes);
    assert!(matches!(plan_in(&room), Err(PlanError::NoRoom { would_fit: true })));
    assert_eq!(room.taken(), answer.plan.spool_bytes);
    drop(first);
    assert_eq!(room.taken(), 0);
    drop(plan_in(&room).unwrap());
    let small = Room::new(answer.plan.spool_bytes - 1);
    assert!(matches!(plan_in(&small), Err(PlanError::NoRoom { would_fit: false })));
    assert_eq!(small.taken(), 0);

    let few = served.git(&["ls-tree", "--object-only", tree.trim()]);
    let wants: Vec<_> = few.lines().take(2).map(id).collect();
    assert!(served.check(&Query { wants, ..Query::default() }, FULL).plan.files.is_empty());
}
