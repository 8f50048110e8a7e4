//! The object database reads what stock Git wrote, and answers damage with errors.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stock;

use heliostat_core::{
    objects::{Database, Reader},
    pack::SealedPack,
};
use std::{path::Path, sync::Arc};
use stock::{database, git, git_with, id, import, linear_history};

/// Compares every object with `git cat-file`.
fn check_all(repository: &Path, objects: &Database, mut reader: Reader) {
    let listing = git(repository, &["cat-file", "--batch-all-objects", "--batch-check", "--unordered"]);
    let mut count = 0;
    for line in listing.lines() {
        let mut words = line.split(' ');
        let (hex, kind, size) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let number = objects.number(&id(hex)).unwrap_or_else(|| panic!("{line}: not found"));
        assert_eq!(objects.id(number), id(hex));
        let (found_kind, found_size) = objects.header(number, &mut reader).unwrap();
        assert_eq!((found_kind.to_string().as_str(), found_size.to_string().as_str()), (kind, size), "{line}");
        objects.verify(number, &mut reader).unwrap();
        let object = objects.read(number, &mut reader).unwrap();
        assert_eq!((object.kind, object.data.len() as u64), (found_kind, found_size), "{line}");
        count += 1;
    }
    assert!(count > 100, "only {count} objects");
}

#[test]
fn reads_packs_of_every_shape_and_loose_objects() {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("r.git");
    import(&repository, &linear_history(80));
    // As fast-import left it.
    check_all(&repository, &database(&repository), Reader::new());
    // Long chains of ofs-deltas, then ref-deltas, with a cache that holds nothing.
    for (offsets, depth) in [("true", "200"), ("false", "50")] {
        let config = format!("repack.useDeltaBaseOffset={offsets}");
        git(&repository, &["-c", &config, "repack", "-adfq", &format!("--depth={depth}"), "--window=20"]);
        check_all(&repository, &database(&repository), Reader::new());
        check_all(&repository, &database(&repository), Reader::with_limits(0, 1 << 20));
    }
    // Some in a second pack, some loose, some in both.
    let loose = directory.path().join("loose.git");
    git(directory.path(), &["init", "-q", "--bare", "loose.git"]);
    let pack = std::fs::read(database(&repository).packs()[0].path()).unwrap();
    git_with(&loose, &["unpack-objects", "-q"], &pack);
    check_all(&loose, &database(&loose), Reader::new());
    git_with(
        &loose,
        &["pack-objects", "-q", "objects/pack/pack"],
        git(&loose, &["rev-list", "--objects", "--all"]).as_bytes(),
    );
    git_with(&loose, &["index-pack", "--stdin"], &pack);
    check_all(&loose, &database(&loose), Reader::new());
}

#[test]
fn an_index_of_another_pack_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut packs = Vec::new();
    for (name, commits) in [("one.git", 3), ("two.git", 4)] {
        let repository = directory.path().join(name);
        import(&repository, &linear_history(commits));
        packs.push(database(&repository).packs()[0].path().to_owned());
    }
    std::fs::copy(&packs[0], directory.path().join("mixed.pack")).unwrap();
    std::fs::copy(packs[1].with_extension("idx"), directory.path().join("mixed.idx")).unwrap();
    assert!(SealedPack::open(&directory.path().join("mixed.pack")).is_err());
    assert!(SealedPack::open(&directory.path().join("none.pack")).is_err());
}

#[test]
fn damage_is_an_error_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("r.git");
    import(&repository, &linear_history(6));
    git(&repository, &["repack", "-adfq"]);
    let whole = database(&repository).packs()[0].path().to_owned();
    let pack = std::fs::read(&whole).unwrap();
    let index = std::fs::read(whole.with_extension("idx")).unwrap();
    let path = directory.path().join("damaged.pack");
    let mut damaged_reads = 0;
    let mut try_with = |pack: &[u8], index: &[u8]| {
        std::fs::write(&path, pack).unwrap();
        std::fs::write(path.with_extension("idx"), index).unwrap();
        let Ok(sealed) = SealedPack::open(&path) else { return };
        let objects = Database::new(vec![Arc::new(sealed)]);
        let mut reader = Reader::new();
        for position in 0..objects.numbers_end() {
            let number = objects.number_at(0, position);
            let _ = objects.header(number, &mut reader);
            damaged_reads += u32::from(objects.verify(number, &mut reader).is_err());
        }
        let _ = objects.packs()[0].entries();
    };
    for at in (0..pack.len()).step_by(11) {
        let mut damaged = pack.clone();
        damaged[at] ^= 1 << (at % 8);
        try_with(&damaged, &index);
    }
    for at in (0..index.len()).step_by(3) {
        // Bytes of the fan-out table but every 16th are all alike.
        if (8..1032).contains(&at) && at % 16 > 2 {
            continue;
        }
        let mut damaged = index.clone();
        damaged[at] ^= 0x81;
        try_with(&pack, &damaged);
    }
    for cut in [0, 4, 11, 12, 31, 32, pack.len() / 2, pack.len() - 1] {
        try_with(&pack[..cut], &index);
        try_with(&pack, &index[..cut.min(index.len())]);
    }
    assert!(damaged_reads > 100, "damage was met only {damaged_reads} times");
}
