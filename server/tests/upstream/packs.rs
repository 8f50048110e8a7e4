//! Upstreams that send bad packs, or none: each gives a stated answer, the generation that was here stays, and nothing
//! is left behind.

use super::{
    mirror::{Mirror, words},
    peer::{ADVERTISEMENT, Peer, RESULT, Request, Say, line, ok, v2},
    support::{
        git::Git,
        process::{SERVER_TIMEOUT, wait_until},
        repositories::Upstream as Repository,
        sandbox::Sandbox,
    },
};
use heliostat::sync::Confirmed;
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

const APP: &str = "team/app.git";

/// A host whose answers a test can bend. It serves packs that stock Git makes.
struct Host {
    git: Git,
    upstream: Repository,
    mirror: Mirror,
    peer: Peer,
    bend: Arc<Mutex<Bend>>,
    sandbox: Sandbox,
}

/// What a v2 host offers that could also lead its clients elsewhere.
const OFFERED: &[&str] =
    &["agent=peer/1", "ls-refs=unborn", "fetch=shallow packfile-uris", "object-format=sha1", "bundle-uri"];

/// What the host does with its answer to a fetch.
#[derive(Clone, Default)]
enum Bend {
    #[default]
    Honest,
    /// This instead of the sections and the pack.
    Instead(Vec<u8>),
    /// The pack changed by this.
    Pack(fn(&mut Vec<u8>)),
    /// This before the packfile section.
    Before(Vec<u8>),
    /// The answer cut after this many bytes, with its whole length promised.
    Cut(usize),
}

impl Host {
    fn start() -> Self {
        Self::start_with(2)
    }

    /// A host that speaks this version of the protocol at most.
    fn start_with(version: u8) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let upstream = Repository::rich(&git, &sandbox.folder("upstream").join("app.git"));
        let bend: Arc<Mutex<Bend>> = Arc::default();
        let peer = Peer::start({
            let (git, folder, bend) = (git.clone(), upstream.folder.clone(), bend.clone());
            move |request| match (request.line.starts_with("GET"), version) {
                (true, 2) => Say::Keep(ok(ADVERTISEMENT, &v2(OFFERED))),
                (true, _) => {
                    let arguments = ["upload-pack", "--stateless-rpc", "--advertise-refs", "."];
                    let advertised = git.run(&folder, &arguments).stdout;
                    let service = [line("# service=git-upload-pack\n"), b"0000".to_vec()].concat();
                    Say::Keep(ok(ADVERTISEMENT, &[service, advertised].concat()))
                }
                (false, _) => answer(&git, &folder, request, version, &bend.lock().unwrap()),
            }
        });
        let mirror = Mirror::start(&sandbox.folder("data"), &peer.url());
        Self { git, upstream, mirror, peer, bend, sandbox }
    }

    fn bend(&self, bend: Bend) {
        *self.bend.lock().unwrap() = bend;
    }

    /// After whatever happened nothing lies in quarantine, as soon as nothing is under way.
    fn nothing_is_left_behind(&self, what: &str) {
        wait_until(what, SERVER_TIMEOUT, || self.left_behind().is_empty());
    }

    fn left_behind(&self) -> Vec<String> {
        let mut left = Vec::new();
        let repositories = self.sandbox.path().join("data/repositories");
        for repository in std::fs::read_dir(repositories).into_iter().flatten().flatten() {
            for entry in std::fs::read_dir(repository.path().join("quarantine")).into_iter().flatten().flatten() {
                left.push(entry.path().display().to_string());
            }
            let packs = std::fs::read_dir(repository.path().join("objects/pack")).into_iter().flatten().flatten();
            let names = packs.map(|entry| entry.file_name().to_string_lossy().into_owned());
            left.extend(names.filter(|name| !name.starts_with("pack-") || name.ends_with(".keep")));
        }
        left
    }
}

/// Asks stock `git upload-pack` on the folder, and bends what it says.
fn answer(git: &Git, folder: &Path, request: &Request, version: u8, bend: &Bend) -> Say {
    let body = plain(request);
    let mut command = git.command(folder, &["upload-pack", "--stateless-rpc", "."]);
    command.env("GIT_PROTOCOL", format!("version={version}"));
    let said = super::support::process::run(&mut command, &body, folder).stdout;
    let is_fetch = body.windows(13).any(|window| window == b"command=fetch");
    let whole = |answer: &[u8]| Say::Keep(ok(RESULT, answer));
    match bend {
        _ if !is_fetch => whole(&said),
        Bend::Honest => whole(&said),
        Bend::Instead(other) => whole(other),
        Bend::Before(section) => whole(&[section.as_slice(), said.as_slice()].concat()),
        Bend::Cut(bytes) => {
            let mut answer = ok(RESULT, &said);
            answer.truncate(*bytes);
            Say::Close(answer)
        }
        Bend::Pack(change) => {
            let mut pack = pack_of(&said);
            change(&mut pack);
            let mut answer = line("packfile\n");
            for piece in pack.chunks(60_000) {
                answer.extend(line([&[1], piece].concat()));
            }
            answer.extend(b"0000");
            whole(&answer)
        }
    }
}

/// A request's body, inflated.
fn plain(request: &Request) -> Vec<u8> {
    if !request.head.to_ascii_lowercase().contains("content-encoding: gzip") {
        return request.body.clone();
    }
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(request.body.as_slice()), &mut plain).unwrap();
    plain
}

/// Band 1 of an answer.
fn pack_of(answer: &[u8]) -> Vec<u8> {
    let (mut rest, mut pack) = (answer, Vec::new());
    while let Some((length, _)) = rest.split_at_checked(4) {
        let length = usize::from_str_radix(std::str::from_utf8(length).unwrap(), 16).unwrap();
        if length <= 4 {
            rest = &rest[4..];
            continue;
        }
        if rest[4] == 1 {
            pack.extend_from_slice(&rest[5..length]);
        }
        rest = &rest[length..];
    }
    pack
}

fn band(number: u8, text: &str) -> Vec<u8> {
    line([&[number], text.as_bytes()].concat())
}

const MISSING: &str = "2222222222222222222222222222222222222222";

fn bends() -> Vec<(&'static str, Bend, &'static str)> {
    vec![
        ("a flipped byte", Bend::Pack(|pack| flip(pack, 2)), "unavailable"),
        ("a flipped trailer", Bend::Pack(|pack| *pack.last_mut().unwrap() ^= 1), "unavailable"),
        ("a cut pack", Bend::Pack(|pack| pack.truncate(pack.len() / 2)), "unavailable"),
        ("a cut trailer", Bend::Pack(|pack| pack.truncate(pack.len() - 7)), "unavailable"),
        ("no pack bytes", Bend::Pack(Vec::clear), "unavailable"),
        ("not a pack", Bend::Pack(|pack| *pack = b"<html>nothing here</html>".to_vec()), "unavailable"),
        ("four billion objects promised", Bend::Pack(|pack| pack[8..12].fill(0xff)), "unavailable"),
        ("an empty pack", Bend::Pack(empty_pack), "unavailable"),
        ("a cut connection", Bend::Cut(200), "unavailable: the upstream does not answer"),
        ("a refusal", Bend::Instead(line("ERR upload-pack: not our ref 1\n")), "not our ref 1"),
        (
            "an error in the middle",
            Bend::Instead(
                [line("packfile\n"), band(2, "Counting\r"), band(3, "out of memory \x1b[1m\n"), b"0000".to_vec()]
                    .concat(),
            ),
            "out of memory",
        ),
        (
            "a shallow upstream",
            Bend::Before([line("shallow-info\n"), line(format!("shallow {MISSING}")), b"0001".to_vec()].concat()),
            "unsupported: the upstream repository is shallow",
        ),
        ("an unknown section", Bend::Instead([line("surprise\n"), b"0000".to_vec()].concat()), "unavailable"),
        (
            "packfile-uris",
            Bend::Before(
                [line("packfile-uris\n"), line(format!("{MISSING} https://evil.example/x")), b"0001".to_vec()].concat(),
            ),
            "unavailable",
        ),
        ("nothing", Bend::Instead(b"0000".to_vec()), "unavailable"),
        ("no answer at all", Bend::Instead(Vec::new()), "unavailable"),
    ]
}

/// Flips a bit this part of the way through.
fn flip(pack: &mut [u8], part: usize) {
    let at = pack.len() / part;
    pack[at] ^= 0x40;
}

fn empty_pack(pack: &mut Vec<u8>) {
    // `git pack-objects </dev/null`: header, and the SHA-1 of it.
    *pack = b"PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e"
        .to_vec();
}

/// A repository of its own for each case: a failed one is not asked about again at once. The host has them all.
fn path_of(case: usize) -> String {
    format!("team/app-{case}.git")
}

#[test]
fn nothing_of_a_bad_first_pack_remains() {
    let host = Host::start();
    for (case, (what, bend, expected)) in bends().into_iter().enumerate() {
        host.bend(bend);
        let path = path_of(case);
        let answer = words(&host.mirror.confirm(&path));
        assert!(answer.contains(expected), "{what}: {answer}");
        assert!(!answer.contains('\x1b'), "{what}: {answer}");
        // The answer goes out after everything has been swept.
        assert!(host.mirror.store.all().is_empty(), "{what}: {:?}", host.mirror.store.all());
        let left = std::fs::read_dir(host.sandbox.path().join("data/repositories")).unwrap().count();
        assert_eq!(left, 0, "{what}: a directory stays");
    }
    host.bend(Bend::Honest);
    assert_eq!(host.mirror.current(&path_of(0)).generation.n, 1, "and an honest answer heals it");
    assert_eq!(host.mirror.store.all().len(), 1);
    assert!(host.peer.seen().len() < 300, "{} requests", host.peer.seen().len());
}

/// The mirror takes packs from the host itself, whatever else that has on offer.
#[test]
fn what_leads_elsewhere_is_not_asked_for() {
    let host = Host::start();
    assert_eq!(host.mirror.current(&path_of(0)).generation.n, 1);
    host.upstream.commit("main", &[("next.txt", "next\n")]);
    assert_eq!(host.mirror.current(&path_of(0)).generation.n, 2);
    let asked: Vec<u8> = host.peer.seen().iter().flat_map(plain).collect();
    let asked = String::from_utf8_lossy(&asked);
    assert!(asked.matches("command=fetch").count() >= 2, "{asked}");
    assert!(!asked.contains("uri"), "{asked}");
}

#[test]
fn a_bad_pack_leaves_the_generation_that_was_here() {
    let host = Host::start();
    let before: Vec<_> = (0..bends().len()).map(|case| host.mirror.current(&path_of(case)).generation).collect();
    host.upstream.commit("main", &[("next.txt", "next\n")]);
    for (case, (what, bend, expected)) in bends().into_iter().enumerate() {
        host.bend(bend);
        let answer = host.mirror.confirm(&path_of(case));
        let Confirmed::Stale(snapshot, _) = &answer else { panic!("{what}: {}", words(&answer)) };
        assert_eq!(snapshot.generation, before[case], "{what}");
        let expected = expected.replace("unavailable", "stale").replace("unsupported", "stale");
        assert!(words(&answer).contains(&expected), "{what}: {}", words(&answer));
        host.nothing_is_left_behind(what);
    }
    host.bend(Bend::Honest);
    let after = host.mirror.current(&path_of(0));
    assert_eq!(after.generation.n, before[0].n + 1);
    let here = host.mirror.store.find(&path_of(0)).unwrap();
    host.git.text(here.directory(), &["fsck", "--full", "--strict"]);
}

/// A thin pack whose base is nowhere: everything is asked for once more, without telling what is here.
#[test]
fn a_damaged_increment_is_fetched_again_whole() {
    let host = Host::start();
    host.mirror.current(APP);
    host.upstream.commit("main", &[("next.txt", "next\n")]);
    // Only answers to fetches with haves are bent.
    let fetches = |host: &Host| {
        let plain = |request: &Request| String::from_utf8_lossy(&request.body).into_owned();
        let seen = host.peer.seen();
        let fetches: Vec<_> = seen.iter().map(plain).filter(|body| body.contains("command=fetch")).collect();
        (fetches.iter().filter(|body| body.contains("have ")).count(), fetches.len())
    };
    let before = fetches(&host);
    host.bend(Bend::Pack(|pack| flip(pack, 3)));
    assert!(matches!(host.mirror.confirm(APP), Confirmed::Stale(..)));
    let after = fetches(&host);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 2), "one with haves, one without");
}

/// A host that knows nothing newer than version 0: full, incremental and negotiated fetches, and a repository that gets
/// its first commit.
#[test]
fn a_host_of_version_0() {
    let host = Host::start_with(0);
    let check = |what: &str| {
        let snapshot = host.mirror.current(APP);
        let here = host.mirror.store.find(APP).unwrap();
        let references = |folder: &Path| host.git.text(folder, &["for-each-ref", "--format=%(refname) %(objectname)"]);
        assert_eq!(references(here.directory()), references(&host.upstream.folder), "{what}");
        host.git.text(here.directory(), &["fsck", "--full", "--strict"]);
        snapshot.objects.packs().iter().map(|pack| pack.len()).sum::<u32>()
    };
    let whole = check("full");
    host.upstream.commit("main", &[("next.txt", "next\n")]);
    let next = check("incremental");
    assert!(next - whole < 20, "{whole} objects and then {next}");
    for reference in host.upstream.run(&["for-each-ref", "--format=%(refname)"]).lines() {
        if reference != "refs/heads/main" {
            host.upstream.run(&["update-ref", "--no-deref", "-d", reference]);
        }
    }
    let parent = host.upstream.id("main~1");
    host.upstream.commit_on(&parent, "main", &[("amended.txt", "amended\n")]);
    let forced = check("forced, with nothing else in common");
    assert!(forced - next < 40, "{next} objects and then {forced}");
}
