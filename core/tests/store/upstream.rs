//! A repository to mirror from, made by the generator, read by stock Git.

use heliostat_core::{
    ObjectId,
    refs::{Head, PackedRefs, Ref, RefName, RefTable},
    store::{IngestLimits, MirroredRepository, Snapshot, Verified},
};
use heliostat_testrepo::{Repository, Spec};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

/// Never raised.
pub static GO_ON: AtomicBool = AtomicBool::new(false);

pub struct Upstream {
    _root: tempfile::TempDir,
    pub directory: PathBuf,
    pub repository: Repository,
}

impl Upstream {
    pub fn generated(spec: &Spec) -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("upstream.git");
        let repository = spec.write(&directory).unwrap();
        Self { _root: root, directory, repository }
    }

    /// What the upstream would advertise.
    pub fn refs(&self) -> RefTable {
        refs_of(&self.directory)
    }

    /// The pack that leads from `haves` to the advertised tips: thin when there are haves.
    pub fn pack(&self, haves: &[ObjectId]) -> Vec<u8> {
        let mut revisions: String = self.refs().iter().map(|r| format!("{}\n", r.id)).collect();
        if let Head::Detached(id) = self.refs().head() {
            revisions += &format!("{id}\n");
        }
        revisions.extend(haves.iter().map(|id| format!("^{id}\n")));
        git_with_input(
            &self.directory,
            &["pack-objects", "--quiet", "--revs", "--thin", "--delta-base-offset", "--stdout"],
            revisions.as_bytes(),
        )
    }

    /// Fetches everything that `mirror` lacks, up to the proof.
    pub fn verified_for(&self, mirror: &MirroredRepository) -> Verified {
        let haves: Vec<_> = mirror.snapshot().iter().flat_map(|s| tips(&s.refs)).collect();
        let known: Vec<_> = haves.into_iter().filter(|id| has(&self.directory, id)).collect();
        let mut quarantine = mirror.quarantine(IngestLimits::default()).unwrap();
        quarantine.ingest(&mut &self.pack(&known)[..], &GO_ON).unwrap();
        quarantine.verify(self.refs(), &GO_ON).unwrap()
    }

    /// Brings `mirror` up to date.
    pub fn sync(&self, mirror: &MirroredRepository, now: Instant) -> Arc<Snapshot> {
        mirror.publish(self.verified_for(mirror), now).unwrap()
    }
}

pub fn tips(refs: &RefTable) -> Vec<ObjectId> {
    let mut tips: Vec<_> = refs.iter().map(|r| r.id).collect();
    tips.sort();
    tips.dedup();
    tips
}

/// The references of a bare repository, as stock Git tells them.
pub fn refs_of(directory: &Path) -> RefTable {
    let listed = git(directory, &["for-each-ref", "--format=%(objectname) %(refname) %(symref) %(*objectname)"]);
    let refs = listed.lines().map(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let id = ObjectId::from_hex(word().as_bytes()).unwrap();
        let name = RefName::new(word().as_bytes()).unwrap();
        let symbolic = Some(word()).filter(|word| !word.is_empty());
        Ref {
            name,
            id,
            peeled: Some(word()).filter(|word| !word.is_empty()).map(|_| peeled(directory, id)),
            symbolic: symbolic.map(|name| RefName::new(name.as_bytes()).unwrap()),
        }
    });
    let head = std::fs::read_to_string(directory.join("HEAD")).unwrap();
    let head = match head.trim_end().strip_prefix("ref: ") {
        Some(name) => Head::Symbolic(RefName::new(name.as_bytes()).unwrap()),
        None => Head::Detached(ObjectId::from_hex(head.trim_end().as_bytes()).unwrap()),
    };
    RefTable::new(refs.collect(), head)
}

fn peeled(directory: &Path, id: ObjectId) -> ObjectId {
    let id = git(directory, &["rev-parse", &format!("{id}^{{}}")]);
    ObjectId::from_hex(id.trim_end().as_bytes()).unwrap()
}

fn has(directory: &Path, id: &ObjectId) -> bool {
    let id = id.to_string();
    command(directory, &["cat-file", "-e", &id]).stderr(Stdio::null()).status().unwrap().success()
}

pub fn git(directory: &Path, arguments: &[&str]) -> String {
    String::from_utf8(git_with_input(directory, arguments, b"")).unwrap()
}

pub fn git_with_input(directory: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = command(directory, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?} in {}", directory.display());
        output.stdout
    })
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.arg("-C").arg(directory).args(arguments);
    command
}

/// `git fsck` is content with the published repository, and its references are those of `snapshot`.
pub fn check_published(mirror: &MirroredRepository, snapshot: &Snapshot) {
    git(mirror.directory(), &["fsck", "--full", "--no-dangling"]);
    let packed = std::fs::read(mirror.directory().join("packed-refs")).unwrap();
    let packed = RefTable::new(PackedRefs::parse(packed).unwrap().refs(), Head::Absent);
    assert_eq!(packed.len(), snapshot.refs.len());
    if *snapshot.refs.head() != Head::Absent {
        assert_eq!(refs_of(mirror.directory()).to_refs(), snapshot.refs.to_refs());
    }
}
