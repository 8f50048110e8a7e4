//! Packs from a hostile or broken upstream: a precise refusal each, nothing left behind, memory bounded.

use crate::upstream::{GO_ON, Upstream, git, git_with_input};
use heliostat_core::{
    ObjectId,
    refs::{Head, Ref, RefName, RefTable},
    store::{
        IngestError, IngestLimits, Ingested, MirroredRepository, Retention, Store, VerifyError, ingest_bytes,
        ingest_entries,
    },
};
use heliostat_testrepo::Spec;
use sha1::{Digest, Sha1};
use std::{
    io::{self, BufRead, Read, Write},
    sync::{Arc, atomic::AtomicBool},
};

const LIMITS: IngestLimits = IngestLimits {
    pack_bytes: 8 << 20,
    objects: 10_000,
    object_bytes: 1 << 20,
    inflated_bytes: 16 << 20,
    delta_depth: 20,
};

/// A pack put together by hand.
#[derive(Default)]
struct Pack {
    entries: Vec<u8>,
    count: u32,
}

const COMMIT: u8 = 1;
const TREE: u8 = 2;
const BLOB: u8 = 3;
const TAG: u8 = 4;
const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

impl Pack {
    fn offset(&self) -> usize {
        12 + self.entries.len()
    }

    /// Adds an entry that claims `size`; gives its offset.
    fn raw(&mut self, kind: u8, size: u64, base: &[u8], content: &[u8]) -> usize {
        let offset = self.offset();
        let (mut byte, mut rest) = (kind << 4 | (size & 15) as u8, size >> 4);
        while rest > 0 {
            self.entries.push(byte | 0x80);
            (byte, rest) = ((rest & 0x7f) as u8, rest >> 7);
        }
        self.entries.push(byte);
        self.entries.extend_from_slice(base);
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        deflate.write_all(content).unwrap();
        self.entries.extend(deflate.finish().unwrap());
        self.count += 1;
        offset
    }

    fn add(&mut self, kind: u8, content: &[u8]) -> usize {
        self.raw(kind, content.len() as u64, b"", content)
    }

    fn ofs_delta(&mut self, base: usize, delta: &[u8]) -> usize {
        let mut distance = (self.offset() - base) as u64;
        let mut bytes = vec![(distance & 0x7f) as u8];
        while distance > 0x7f {
            distance = (distance >> 7) - 1;
            bytes.insert(0, 0x80 | (distance & 0x7f) as u8);
        }
        self.raw(OFS_DELTA, delta.len() as u64, &bytes, delta)
    }

    fn ref_delta(&mut self, base: ObjectId, delta: &[u8]) -> usize {
        self.raw(REF_DELTA, delta.len() as u64, base.as_slice(), delta)
    }

    fn finish_claiming(&self, count: u32) -> Vec<u8> {
        let mut pack = [b"PACK".as_slice(), &2u32.to_be_bytes(), &count.to_be_bytes(), &self.entries].concat();
        let checksum = Sha1::digest(&pack);
        pack.extend_from_slice(&checksum);
        pack
    }

    fn finish(&self) -> Vec<u8> {
        self.finish_claiming(self.count)
    }
}

/// A delta that turns `base_len` bytes into those bytes and one more.
fn grow(base_len: u8, byte: u8) -> Vec<u8> {
    vec![base_len, base_len + 1, 0x90, base_len, 1, byte]
}

fn id(kind: &str, content: &[u8]) -> ObjectId {
    let mut hash = Sha1::new();
    hash.update(format!("{kind} {}\0", content.len()));
    hash.update(content);
    ObjectId::try_from(hash.finalize().as_slice()).unwrap()
}

fn ingest(pack: &[u8]) -> Result<Ingested, IngestError> {
    let directory = tempfile::tempdir().unwrap();
    let result = ingest_bytes(pack, directory.path(), &LIMITS);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    result
}

fn too_large(pack: &[u8], what: &str) {
    match ingest(pack) {
        Err(IngestError::TooLarge(told)) => assert_eq!(told, what),
        other => panic!("{what}: {other:?}"),
    }
}

fn corrupt(pack: &[u8], what: &str) {
    match ingest(pack) {
        Err(IngestError::Corrupt(_)) => {}
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn limits_hold() {
    let mut one = Pack::default();
    one.add(BLOB, b"blob");
    assert_eq!(ingest(&one.finish()).unwrap().objects, 1);
    too_large(&one.finish_claiming(u32::MAX), "objects of one pack");
    let mut large = Pack::default();
    large.add(BLOB, &vec![0; (1 << 20) + 1]);
    too_large(&large.finish(), "inflated bytes of one object");
    let mut many = Pack::default();
    for byte in 0..17 {
        many.add(BLOB, &vec![byte; 1 << 20]);
    }
    too_large(&many.finish(), "inflated bytes of one pack");
    // Little on the wire, little inflated while streaming, much once resolved.
    let mut amplified = Pack::default();
    let base = amplified.add(BLOB, &vec![7; 1 << 20]);
    for byte in 0..17 {
        // Sizes 2^20 and 2^20 as varints; copy the first half twice, less one byte, and a byte of its own.
        let size = [0x80, 0x80, 0x40];
        let delta = [&size[..], &size[..], &[0xf0, 0xff, 0xff, 0x07, 0xf0, 0xff, 0xff, 0x07, 2, byte, byte]].concat();
        amplified.ofs_delta(base, &delta);
    }
    too_large(&amplified.finish(), "inflated bytes of one pack");
    let mut deep = Pack::default();
    let mut base = deep.add(BLOB, b"");
    for length in 0..21 {
        base = deep.ofs_delta(base, &grow_from(length));
    }
    too_large(&deep.finish(), "length of a delta chain");
    let mut long = Pack::default();
    for seed in 0..9 {
        long.add(BLOB, &noise(seed, 1 << 20));
    }
    too_large(&long.finish(), "bytes of one pack");
}

fn grow_from(length: u8) -> Vec<u8> {
    if length == 0 { vec![0, 1, 1, b'x'] } else { grow(length, b'x') }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    heliostat_testrepo::Rng::new(seed).bytes(len)
}

#[test]
fn reference_deltas_by_the_thousand_are_bounded() {
    // A chain by id, last link first, longer than a 16 bit counter.
    let mut chain = Pack::default();
    let mut contents = vec![b"x".to_vec()];
    for link in 0..70_000u32 {
        let mut content = link.to_be_bytes().to_vec();
        content.push(b'x');
        contents.push(content);
    }
    for link in (1..contents.len()).rev() {
        let base = id("blob", &contents[link - 1]);
        let (from, to) = (contents[link - 1].len() as u8, contents[link].len() as u8);
        let delta = [&[from, to, to], &contents[link][..]].concat();
        chain.ref_delta(base, &delta);
    }
    chain.add(BLOB, b"x");
    let directory = tempfile::tempdir().unwrap();
    let limits = IngestLimits { objects: 100_000, ..LIMITS };
    match ingest_bytes(&chain.finish(), directory.path(), &limits) {
        Err(IngestError::TooLarge("length of a delta chain") | IngestError::Corrupt(_)) => {}
        other => panic!("{other:?}"),
    }
    let mut short = Pack::default();
    short.ref_delta(id("blob", b"x"), &grow(1, b'y'));
    short.ref_delta(id("blob", b"xy"), &grow(2, b'z'));
    short.add(BLOB, b"x");
    assert_eq!(ingest(&short.finish()).unwrap().objects, 3);
}

#[test]
fn cycles_and_missing_bases_are_refused() {
    let nobody = id("blob", b"nobody has this");
    let mut missing = Pack::default();
    missing.ref_delta(nobody, &grow(1, b'y'));
    assert!(matches!(ingest(&missing.finish()), Err(IngestError::MissingBase(told)) if told == nobody));
    // A delta whose base is its own result cannot be made (that would be a collision); two that name each other neither.
    let mut cycle = Pack::default();
    cycle.ref_delta(id("blob", b"b"), &[1, 1, 1, b'a']);
    cycle.ref_delta(id("blob", b"a"), &[1, 1, 1, b'b']);
    assert!(matches!(ingest(&cycle.finish()), Err(IngestError::MissingBase(_))));
    let mut outside = Pack::default();
    outside.add(BLOB, b"base");
    outside.raw(OFS_DELTA, 6, &[0x7f], &grow(4, b'x'));
    corrupt(&outside.finish(), "an offset between entries");
    let mut forward = Pack::default();
    forward.raw(OFS_DELTA, 6, &[0], &grow(4, b'x'));
    corrupt(&forward.finish(), "a delta against itself");
    let mut before = Pack::default();
    before.raw(OFS_DELTA, 6, &[0xff, 0xff, 0x7f], &grow(4, b'x'));
    corrupt(&before.finish(), "an offset before the pack");
}

#[test]
fn damage_is_never_taken() {
    let mut pack = Pack::default();
    let base = pack.add(BLOB, b"some content that is long enough to be cut");
    pack.ofs_delta(base, &grow(42, b'x'));
    pack.add(TREE, b"");
    let whole = pack.finish();
    assert_eq!(ingest(&whole).unwrap().objects, 3);
    for cut in 0..whole.len() {
        match ingest(&whole[..cut]) {
            Err(IngestError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}"),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    for at in 0..whole.len() {
        for bit in [0x01, 0x10, 0x80] {
            let mut flipped = whole.clone();
            flipped[at] ^= bit;
            assert!(ingest(&flipped).is_err(), "byte {at} flipped by {bit:#x}");
        }
    }
    // A checksum that is right over content that is wrong.
    let mut lying = Pack::default();
    lying.raw(BLOB, 10, b"", b"not ten");
    corrupt(&lying.finish(), "a size that is not the content's");
    let mut delta = Pack::default();
    let base = delta.add(BLOB, b"base");
    delta.ofs_delta(base, &grow(9, b'x'));
    corrupt(&delta.finish(), "a delta for another base");
    let mut overrun = Pack::default();
    let base = overrun.add(BLOB, b"base");
    overrun.ofs_delta(base, &[4, 10, 0x91, 2, 10]);
    corrupt(&overrun.finish(), "a copy past the base's end");
    corrupt(&[b"PACK".as_slice(), &3u32.to_be_bytes(), &1u32.to_be_bytes(), &[0; 40]].concat(), "version 3");
    corrupt(&[0; 64], "zeros");
    let mut kind = Pack::default();
    kind.add(5, b"reserved");
    corrupt(&kind.finish(), "an unknown type");
}

#[test]
fn random_changes_under_a_right_checksum_are_survived() {
    let mut pack = Pack::default();
    let base = pack.add(BLOB, b"some content that is long enough to be changed");
    pack.ofs_delta(base, &grow(46, b'x'));
    pack.ref_delta(id("blob", b"later"), &grow(5, b'y'));
    pack.add(TREE, b"");
    pack.add(BLOB, b"later");
    let mut rng = heliostat_testrepo::Rng::new(17);
    let directory = tempfile::tempdir().unwrap();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..1_500 {
        let mut entries = pack.entries.clone();
        for _ in 0..rng.between(1, 3) {
            let at = rng.below(entries.len());
            match rng.below(4) {
                0 => entries[at] ^= 1 << rng.below(8),
                1 => drop(entries.remove(at)),
                2 => entries.insert(at, rng.draw() as u8),
                _ => entries[at] = rng.draw() as u8,
            }
        }
        match ingest_entries(pack.count, &entries, directory.path(), &LIMITS) {
            Ok(_) => taken += 1,
            Err(IngestError::Disk(error)) => panic!("a hostile pack is not the disk's fault: {error}"),
            Err(_) => refused += 1,
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    }
    assert!(refused > 1_000, "{refused} refused, {taken} taken");
}

#[test]
fn the_stream_is_not_read_past_the_pack() {
    let mut pack = Pack::default();
    pack.add(BLOB, b"blob");
    for pack in [pack.finish(), Pack::default().finish()] {
        let bytes = [&pack[..], b"0000"].concat();
        let data = tempfile::tempdir().unwrap();
        let mirror = mirror(data.path());
        let mut stream = &bytes[..];
        mirror.1.quarantine(LIMITS).unwrap().ingest(&mut stream, &GO_ON).unwrap();
        assert_eq!(stream, b"0000");
    }
}

fn mirror(data: &std::path::Path) -> (Store, Arc<MirroredRepository>) {
    let store = Store::open(data, Retention::default()).unwrap();
    let mirror = store.create("a.git").unwrap();
    (store, mirror)
}

#[test]
fn a_stream_that_breaks_is_told_from_one_that_is_stopped() {
    struct Broken(Vec<u8>, io::ErrorKind);
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!("packs are read through the buffer")
        }
    }
    impl BufRead for Broken {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            if self.0.is_empty() { Err(self.1.into()) } else { Ok(&self.0[..1]) }
        }
        fn consume(&mut self, count: usize) {
            self.0.drain(..count);
        }
    }
    let data = tempfile::tempdir().unwrap();
    let (_store, mirror) = mirror(data.path());
    let upstream = Upstream::generated(&Spec { commits: 5, ..Spec::small(31) });
    let pack = upstream.pack(&[]);
    let mut quarantine = mirror.quarantine(IngestLimits::default()).unwrap();
    let mut broken = Broken(pack[..pack.len() / 2].to_vec(), io::ErrorKind::ConnectionReset);
    match quarantine.ingest(&mut broken, &GO_ON) {
        Err(IngestError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        other => panic!("{other:?}"),
    }
    assert!(matches!(quarantine.ingest(&mut &pack[..], &AtomicBool::new(true)), Err(IngestError::Interrupted)));
    // And then it works.
    quarantine.ingest(&mut &pack[..], &GO_ON).unwrap();
    assert!(matches!(quarantine.verify(upstream.refs(), &AtomicBool::new(true)), Err(VerifyError::Interrupted)));
    let quarantines = data.path().join("repositories/00000001/quarantine");
    assert_eq!(std::fs::read_dir(quarantines).unwrap().count(), 0);
}

/// Ingests `pack` and verifies it with one reference to `tip`.
fn verify(pack: &Pack, tip: ObjectId) -> Result<u64, VerifyError> {
    let name = RefName::new(b"refs/heads/main").unwrap();
    verify_refs(pack, RefTable::new(vec![Ref { name, id: tip, peeled: None, symbolic: None }], Head::Absent))
}

fn verify_refs(pack: &Pack, refs: RefTable) -> Result<u64, VerifyError> {
    let data = tempfile::tempdir().unwrap();
    let (_store, mirror) = mirror(data.path());
    let mut quarantine = mirror.quarantine(LIMITS).unwrap();
    quarantine.ingest(&mut &pack.finish()[..], &GO_ON).unwrap();
    quarantine.verify(refs, &GO_ON).map(|verified| verified.findings().count)
}

#[test]
fn incomplete_and_broken_objects_are_refused_and_odd_ones_are_not() {
    let who = "A <a@b> 1 +0000";
    let empty_tree = id("tree", b"");
    let commit = |tree: ObjectId, rest: &str| format!("tree {tree}\n{rest}author {who}\ncommitter {who}\n\nx\n");
    let absent = id("blob", b"absent");
    let entry = |mode: &str, name: &str, id: ObjectId| [format!("{mode} {name}\0").as_bytes(), id.as_slice()].concat();

    let mut sound = Pack::default();
    sound.add(TREE, b"");
    let root = commit(empty_tree, "");
    sound.add(COMMIT, root.as_bytes());
    let root_id = id("commit", root.as_bytes());
    assert_eq!(verify(&sound, root_id).unwrap(), 0);
    assert!(
        matches!(verify(&sound, absent), Err(VerifyError::Missing(told)) if told == absent),
        "a tip that is not here"
    );
    let detached = |head| verify_refs(&sound, RefTable::new(Vec::new(), Head::Detached(head)));
    assert_eq!(detached(root_id).unwrap(), 0);
    assert!(matches!(detached(absent), Err(VerifyError::Missing(told)) if told == absent), "a HEAD that is not here");

    // One more object, whether anything reaches it or not.
    let with = |kind: u8, content: &[u8]| {
        let mut pack = Pack { entries: sound.entries.clone(), count: sound.count };
        pack.add(kind, content);
        verify(&pack, root_id)
    };
    let missing =
        |result: Result<u64, VerifyError>| matches!(result, Err(VerifyError::Missing(told)) if told == absent);
    assert!(missing(with(COMMIT, commit(empty_tree, &format!("parent {absent}\n")).as_bytes())), "a shallow upstream");
    assert!(missing(with(COMMIT, commit(absent, "").as_bytes())));
    assert!(missing(with(TREE, &entry("100644", "a", absent))));
    assert!(missing(with(TAG, format!("object {absent}\ntype blob\ntag x\ntagger {who}\n\nx\n").as_bytes())));
    let broken = |result: Result<u64, VerifyError>| matches!(result, Err(VerifyError::Broken { .. }));
    assert!(broken(with(TREE, &entry("40000", "a", root_id))), "a commit as a tree");
    assert!(broken(with(TREE, &entry("100644", "a", empty_tree))), "a tree as a blob");
    assert!(broken(with(COMMIT, commit(root_id, "").as_bytes())), "a commit as a tree");
    assert!(broken(with(COMMIT, commit(empty_tree, &format!("parent {empty_tree}\n")).as_bytes())));
    assert!(broken(with(TAG, format!("object {root_id}\ntype tree\ntag x\ntagger {who}\n\nx\n").as_bytes())));
    assert!(broken(with(TREE, b"100644 cut\0short")));
    assert!(broken(with(COMMIT, b"no commit at all")));
    // A submodule's commit is not ours to have; cosmetic faults are counted.
    assert_eq!(with(TREE, &entry("160000", "module", absent)).unwrap(), 0);
    assert_eq!(with(COMMIT, format!("tree {empty_tree}\nauthor {who}\n\nx\n").as_bytes()).unwrap(), 1);
}

#[test]
fn the_same_pack_twice_and_an_object_twice_are_no_trouble() {
    let data = tempfile::tempdir().unwrap();
    let (_store, mirror) = mirror(data.path());
    let upstream = Upstream::generated(&Spec { commits: 5, ..Spec::small(32) });
    let pack = upstream.pack(&[]);
    let now = std::time::Instant::now();
    let first = upstream.sync(&mirror, now);
    let mut quarantine = mirror.quarantine(IngestLimits::default()).unwrap();
    quarantine.ingest(&mut &pack[..], &GO_ON).unwrap();
    quarantine.ingest(&mut &pack[..], &GO_ON).unwrap();
    let again = mirror.publish(quarantine.verify(upstream.refs(), &GO_ON).unwrap(), now).unwrap();
    assert_eq!(again.generation, first.generation);
    assert_eq!(again.objects.packs().len(), 1, "a pack of the same name is the same pack");
    // The same objects in another pack.
    let all = git(&upstream.directory, &["rev-list", "--objects", "--all"]);
    let other = git_with_input(
        &upstream.directory,
        &["pack-objects", "--quiet", "--depth=1", "--window=0", "--stdout"],
        all.as_bytes(),
    );
    let mut quarantine = mirror.quarantine(IngestLimits::default()).unwrap();
    quarantine.ingest(&mut &other[..], &GO_ON).unwrap();
    let twice = mirror.publish(quarantine.verify(upstream.refs(), &GO_ON).unwrap(), now).unwrap();
    assert_eq!(twice.generation, first.generation);
    crate::upstream::check_published(&mirror, &twice);
}
