//! Every preset against stock Git: valid, whole, and what was promised is there.

#![allow(clippy::unwrap_used, reason = "a failure in a test ends the test")]

mod oracle;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use heliostat_testrepo::{Head, HeadForm, Kind, ObjectId, Reader, RefsForm, Repository, Spec, id_of};
use oracle::{fsck, git, refs};

#[track_caller]
fn check(spec: &Spec, dir: &Path) -> Repository {
    let made = spec.write(dir).unwrap();
    fsck(dir);
    let listed: Vec<String> = made.refs.iter().map(|(name, id)| format!("{name} {id}")).collect();
    assert_eq!(refs(dir), listed);
    let objects = git(dir, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    assert_eq!(objects.lines().count() as u64, made.objects);
    if spec.commits > 0 {
        let count = git(dir, &["rev-list", "--count", "refs/heads/main"]);
        assert_eq!(count.trim(), spec.commits.to_string());
    }
    if spec.lost_commits == 0 && spec.commits > 0 {
        // Everything is reachable: nothing was made and forgotten on the way.
        let reached = git(dir, &["rev-list", "--objects", "--all", "--no-object-names", "HEAD", "--"]);
        assert_eq!(reached.lines().count() as u64, made.objects);
    }
    for (name, id) in &made.peeled {
        assert_eq!(git(dir, &["rev-parse", &format!("{name}^{{}}")]).trim(), id.to_string());
    }
    made
}

#[test]
fn every_preset_passes_fsck_and_holds_what_it_says() {
    for (name, mut spec) in Spec::presets(7) {
        // `rev-list HEAD` needs one; the form of HEAD has a test of its own.
        spec.head = HeadForm::Main;
        let dir = tempfile::tempdir().unwrap();
        println!("{name}");
        check(&spec, &dir.path().join("repository.git"));
    }
}

#[test]
fn fifty_thousand_objects_are_mostly_deltas() {
    let dir = tempfile::tempdir().unwrap();
    let made = check(&Spec::medium(3), dir.path());
    assert!((45_000..60_000).contains(&made.objects), "{}", made.objects);
    let (mut deltas, mut whole) = (0, 0);
    for pack in verify_packs(dir.path()) {
        for line in pack.lines().filter(|line| line.contains(" tree ") || line.contains(" blob ")) {
            match line.split_whitespace().count() {
                7 => deltas += 1,
                _ => whole += 1,
            }
        }
    }
    assert!(deltas > 7 * whole, "{deltas} deltas, {whole} whole");
}

/// `git verify-pack -v` of each pack.
fn verify_packs(dir: &Path) -> Vec<String> {
    let mut indexes: Vec<_> =
        fs::read_dir(dir.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path()).collect();
    indexes.retain(|path| path.extension().unwrap() == "idx");
    indexes.iter().map(|path| git(dir, &["verify-pack", "-v", path.to_str().unwrap()])).collect()
}

#[test]
fn chains_are_as_long_as_allowed_and_no_longer() {
    let longest = |spec: &Spec| {
        let dir = tempfile::tempdir().unwrap();
        spec.write(dir.path()).unwrap();
        let depth = |line: &str| line.split_whitespace().nth(5).and_then(|depth| depth.parse::<u32>().ok());
        let depths = verify_packs(dir.path());
        depths.iter().flat_map(|pack| pack.lines().filter(|line| !line.starts_with("chain")).filter_map(depth)).max()
    };
    let with_depth = |delta_depth| Spec { delta_depth, commits: 200, ..Spec::long_chains(1) };
    assert_eq!(longest(&with_depth(0)), None);
    assert_eq!(longest(&with_depth(1)), Some(1));
    assert_eq!(longest(&with_depth(12)), Some(12));
    assert!(longest(&Spec::long_chains(1)) > Some(1_000));
}

#[test]
fn both_kinds_of_delta_are_written_and_read_back() {
    for ref_delta_percent in [0, 50, 100] {
        let dir = tempfile::tempdir().unwrap();
        let spec = Spec { ref_delta_percent, ..Spec::small(9) };
        let made = spec.write(dir.path()).unwrap();
        fsck(dir.path());
        let reader = Reader::open(dir.path()).unwrap();
        let mut read = 0;
        for id in reader.packed_ids() {
            let (kind, content) = reader.read(&id).unwrap();
            assert_eq!(id_of(kind, &content), id);
            read += 1;
        }
        assert_eq!(read, made.objects);
    }
}

#[test]
fn head_is_what_was_asked_for() {
    let head = |head| {
        let dir = tempfile::tempdir().unwrap();
        let made = Spec { head, ..Spec::small(2) }.write(dir.path()).unwrap();
        (made.head_commit(), made.head, fs::read_to_string(dir.path().join("HEAD")).unwrap())
    };
    assert_eq!(head(HeadForm::Main).2, "ref: refs/heads/main\n");
    assert!(head(HeadForm::Main).0.is_some());
    assert_eq!(head(HeadForm::Unborn).0, None);
    let (commit, form, text) = head(HeadForm::Detached);
    assert_eq!(form, Head::Detached(commit.unwrap()));
    assert_eq!(text, format!("{}\n", commit.unwrap()));
}

#[test]
fn curiosities_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec::curious(5);
    let made = spec.write(dir.path()).unwrap();
    let lines = |arguments: &[&str]| -> Vec<String> { git(dir.path(), arguments).lines().map(str::to_owned).collect() };
    let first = made.commits[0].to_string();
    let files = lines(&["-c", "core.quotePath=false", "ls-tree", "-r", &first]);
    let count = |mode: &str, path: &str| {
        let is_one = |line: &&String| line.starts_with(mode) && line.contains(path);
        files.iter().filter(is_one).count() as u32
    };
    assert_eq!(count("120000 blob", "\tlinks/"), spec.symlinks);
    assert_eq!(count("160000 commit", "\tvendor/"), spec.submodules);
    assert_eq!(count("100644 blob", "\t.gitmodules"), 1);
    assert_eq!(count("100644 blob", "\twide/"), spec.wide_tree_entries);
    assert_eq!(count("100644 blob", "odd names/"), spec.odd_names);
    assert_eq!(count("100644 blob", "\tempty/"), spec.empty_files);
    assert_eq!(count("100644 blob", &format!("\t{}bottom.txt", "deep/".repeat(60))), 1);
    assert!(count("100755 blob", "") > 0);

    assert_eq!(lines(&["rev-list", "--max-parents=0", "--branches"]).len() as u32, spec.roots);
    assert_eq!(lines(&["rev-list", "--min-parents=3", "--branches"]).len() as u32, spec.octopuses);
    let merges = lines(&["rev-list", "--merges", "--parents", "refs/heads/main"]);
    let crossed = merges.iter().filter(|line| {
        let parents: Vec<&str> = line.split(' ').skip(1).collect();
        parents.len() == 2 && merge_bases(dir.path(), &parents) == 2
    });
    assert_eq!(crossed.count() as u32, spec.criss_crosses);

    let mut kinds = BTreeMap::new();
    for kind in lines(&["for-each-ref", "--format=%(objecttype)", "refs/tags"]) {
        *kinds.entry(kind).or_insert(0) += 1;
    }
    let annotated = spec.annotated_tags + spec.nested_tags + spec.tree_tags + spec.blob_tags;
    assert_eq!(kinds["tag"], annotated);
    assert_eq!(kinds["commit"], spec.light_tags);

    let commits: Vec<Vec<u8>> = made.commits.iter().map(|id| read(dir.path(), id)).collect();
    let with = |text: &[u8]| commits.iter().filter(|commit| contains(commit, text)).count();
    assert!(with(b"\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n") > 5);
    assert!(with(b"\nencoding ISO-8859-1\n") > 0 && with(b"\nencoding Shift-JIS\n") > 0);
    assert!(commits.iter().any(|commit| commit.len() > 20_000));
    let dates = lines(&["log", "--reverse", "--topo-order", "--format=%ct", "refs/heads/main"]);
    assert!(dates.windows(2).any(|pair| pair[0] > pair[1]), "no skew");
    let renames = lines(&["log", "-M100%", "--diff-filter=R", "--raw", "--format=", "refs/heads/main"]);
    assert!(renames.len() > 3, "{} renames", renames.len());
}

/// How many merge bases two commits have. Git fails where there is none, which is no failure here.
fn merge_bases(dir: &Path, commits: &[&str]) -> usize {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["merge-base", "--all"]).args(commits);
    command.output().unwrap().stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

fn read(dir: &Path, id: &ObjectId) -> Vec<u8> {
    Reader::open(dir).unwrap().read(id).unwrap().1
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn parts_are_stored_as_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec { packs: 3, loose_percent: 25, refs: RefsForm::Mixed, ..Spec::small(4) };
    let made = spec.write(dir.path()).unwrap();
    assert_eq!(verify_packs(dir.path()).len(), 3);
    let loose = git(dir.path(), &["count-objects"]);
    let loose: u64 = loose.split(' ').next().unwrap().parse().unwrap();
    assert!(loose > made.objects / 10 && loose < made.objects / 2, "{loose} of {}", made.objects);
    let main = fs::read_to_string(dir.path().join("refs/heads/main")).unwrap();
    assert_eq!(main.trim(), made.refs["refs/heads/main"].to_string());
    let packed = fs::read_to_string(dir.path().join("packed-refs")).unwrap();
    assert!(packed.contains(" refs/heads/main\n") && !packed.contains(main.trim()));

    let again = Repository::open(dir.path()).unwrap();
    assert_eq!((again.refs, again.peeled, again.head), (made.refs, made.peeled, made.head));
}

#[test]
fn near_duplicates_and_large_blobs_have_their_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec { large_blobs: 2, large_blob_bytes: 3_000_000, near_duplicates: 10, commits: 1, ..Spec::small(8) };
    spec.write(dir.path()).unwrap();
    let listed = git(dir.path(), &["ls-tree", "-r", "-l", "refs/heads/main", "assets", "alike"]);
    assert_eq!(listed.lines().filter(|line| line.contains(" 3000000\t")).count(), 2);
    assert_eq!(listed.lines().filter(|line| line.contains("\talike/")).count(), 10);
    let bytes: u64 =
        walk(dir.path()).iter().filter(|(name, _)| name.ends_with(".pack")).map(|(_, bytes)| bytes.len() as u64).sum();
    assert!((6_000_000..6_200_000).contains(&bytes), "{bytes}");
}

/// All files below a directory with their content, by relative path.
fn walk(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_same_spec_makes_the_same_bytes() {
    for (name, spec) in Spec::presets(11) {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        spec.write(one.path()).unwrap();
        spec.write(two.path()).unwrap();
        assert!(walk(one.path()) == walk(two.path()), "{name}");
    }
}

/// Ids must never change with a version of this crate: benches are compared by them. If this fails, the stream of
/// chance or the shape of histories changed.
#[test]
fn ids_of_a_seed_never_change() {
    let mut found = Vec::new();
    for (name, spec) in Spec::presets(7) {
        let dir = tempfile::tempdir().unwrap();
        let made = spec.write(dir.path()).unwrap();
        let text: String = made.refs.iter().map(|(name, id)| format!("{id} {name}\n")).collect();
        found.push((name, id_of(Kind::Blob, text.as_bytes()).to_string()));
    }
    let pinned: Vec<(&str, String)> = PINNED.iter().map(|(name, id)| (*name, (*id).to_owned())).collect();
    assert_eq!(found, pinned);
}

/// Digest of all refs of each preset at seed 7. How objects and refs are stored, and HEAD, change no id.
const PINNED: [(&str, &str); 12] = [
    ("empty", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
    ("small", "cf450dc6a3b56783ae5749a6f6cf6fc71e4f8f18"),
    ("linear", "76a0afebab212919a1488882a6e651732c2f014a"),
    ("braided", "0869eef21d551cf01426a26921110d31445cb906"),
    ("curious", "fb0685132cfd5961744d4c1f2d60ede220aa2a09"),
    ("many-refs", "d0e4f4cb11fe7aa22c0dd720e12cd6e27ddafa71"),
    ("long-chains", "5cd400201e69c7a50f9fa873a64d7c9763204a5f"),
    ("large-blobs", "fd94ccec5f20b69561c690b555813c42f1c44c78"),
    ("scattered", "0869eef21d551cf01426a26921110d31445cb906"),
    ("loose", "cf450dc6a3b56783ae5749a6f6cf6fc71e4f8f18"),
    ("unborn", "cf450dc6a3b56783ae5749a6f6cf6fc71e4f8f18"),
    ("detached", "cf450dc6a3b56783ae5749a6f6cf6fc71e4f8f18"),
];

#[test]
fn another_seed_makes_another_repository() {
    let tip = |seed| -> ObjectId {
        let dir = tempfile::tempdir().unwrap();
        Spec::linear(seed).write(dir.path()).unwrap().head_commit().unwrap()
    };
    assert_ne!(tip(1), tip(2));
}

#[test]
fn an_existing_repository_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    Spec::linear(1).write(dir.path()).unwrap();
    let error = Spec::linear(1).write(dir.path()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
}
