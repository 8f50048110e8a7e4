//! Clients that mean no good, as far as Git's protocol goes, and a disk that does; HTTP has `tests/hostile/`.
//!
//! Every test ends with a clone that works: one client's request is never another's trouble.

use std::path::{Path, PathBuf};

use crate::support::compare::{Report, fsck, sound_and_same};
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::http::{Answer, request};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;
use crate::support::site::Site;

const APP: &str = "team/app.git";
/// What the server may hold beyond mapped files, whatever its clients do.
const MEMORY_BYTES_MAX: u64 = 300_000_000;

/// A mirror of a folder, warm.
struct Target {
    git: Git,
    server: Heliostat,
    upstream: Upstream,
    sandbox: Sandbox,
}

impl Target {
    fn start() -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let folder = sandbox.folder("upstream");
        let upstream = Upstream::rich(&git, &folder.join(APP));
        Upstream::rich(&git, &folder.join("other.git"));
        let server = Heliostat::start(&sandbox.folder("heliostat"), &folder.display().to_string(), &[]);
        let target = Self { git, server, upstream, sandbox };
        target.clone(APP).unwrap();
        target
    }

    fn clone(&self, path: &str) -> Result<PathBuf, String> {
        let folder = self.sandbox.fresh("clone");
        let (url, to) = (format!("{}/{path}", self.server.url()), folder.display().to_string());
        self.git.try_text(self.sandbox.path(), &["clone", "--quiet", "--mirror", &url, &to]).map(|_| folder)
    }

    /// A clone holds what this one does.
    fn clones_as(&self, first: &Path) -> Result<(), String> {
        self.clone(APP).and_then(|clone| sound_and_same(&self.git, &clone, first))
    }

    /// The same, or Git fails and says why, which is counted.
    fn clone_of_damaged(&self, first: &Path, failed: &mut usize) -> Result<(), String> {
        match self.clone(APP) {
            Ok(clone) => sound_and_same(&self.git, &clone, first),
            Err(words) if words.contains("exit status: 128") && words.contains("fatal: ") => {
                *failed += 1;
                Ok(())
            }
            Err(words) => Err(words),
        }
    }

    fn post(&self, body: &[u8], headers: &[(&str, &str)]) -> Answer {
        let usual = [("Git-Protocol", "version=2"), ("Content-Type", "application/x-git-upload-pack-request")];
        let headers = [&usual, headers].concat();
        request("POST", self.server.port(), &format!("/{APP}/git-upload-pack"), &headers, body)
            .unwrap_or_else(|error| panic!("no answer: {error}\n{}", self.server.log()))
    }

    /// A v2 fetch with these arguments.
    fn fetch(&self, arguments: &[&str]) -> Answer {
        self.post(&fetch_body(arguments), &[])
    }

    /// The end of each test: alive, sound, within its memory, nothing panicked.
    fn lives_on(&self) {
        let clone = self.clone(APP).unwrap_or_else(|error| panic!("{error}\n{}", self.server.log()));
        fsck(&self.git, &clone).unwrap();
        let memory = self.server.memory_bytes();
        assert!(memory < MEMORY_BYTES_MAX, "{} MiB of memory", memory >> 20);
        assert!(!self.server.log().contains("panicked"), "{}", self.server.log());
    }
}

fn packet(line: &str) -> String {
    format!("{:04x}{line}", line.len() + 4)
}

fn fetch_body(arguments: &[&str]) -> Vec<u8> {
    let lines: String = arguments.iter().map(|line| packet(&format!("{line}\n"))).collect();
    format!("{}{}0001{lines}0000", packet("command=fetch"), packet("object-format=sha1")).into_bytes()
}

/// Refused in words: an error status, or an `ERR` packet or a line on band 3 under a good one; never a pack, never silence.
fn refused(answer: &Answer) -> Result<(), String> {
    let payload = answer.payload();
    let pack = payload.windows(8).any(|window| window == b"PACK\0\0\0\x02");
    if !pack && (answer.status >= 400 || tells_why(&payload)) {
        Ok(())
    } else {
        Err(format!("{}: {:.300}", answer.status, answer.text()))
    }
}

/// Whether these are packets, one of which says what is wrong.
fn tells_why(mut payload: &[u8]) -> bool {
    while let Some(length) = payload.get(..4) {
        let length = std::str::from_utf8(length).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let Some(packet) = length.and_then(|length| payload.get(4..length.max(4))) else { return false };
        if matches!(packet, [b'E', b'R', b'R', b' ', _, ..] | [3, _, ..]) {
            return true;
        }
        payload = &payload[4 + packet.len()..];
    }
    false
}

/// Nothing that serves or syncs starts a process: no shell, no `git`. From a folder, and from a Git host.
#[test]
fn no_process_is_started() {
    let target = Target::start();
    let tip = target.upstream.commit("main", &[("later.txt", "later\n")]);
    let clone = target.clone(APP).unwrap();
    assert_eq!(target.git.text(&clone, &["rev-parse", "main"]), tip);
    target.lives_on();
    assert!(!target.server.started_a_process());

    let mut site = Site::start(|git, folder| drop(Upstream::rich(git, &folder.join(APP))));
    let upstream = site.upstream(APP);
    let (git, url) = (site.git.clone(), site.mirror_url(APP));
    let clone = site.sandbox.fresh("clone");
    git.text(site.sandbox.path(), &["clone", "--quiet", "--mirror", &url, &clone.display().to_string()]);
    // From here on by packs that stand on what is there.
    for content in ["later\n", "later still\n"] {
        let tip = upstream.commit("main", &[("later.txt", content)]);
        let answer = site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/sync"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        git.text(&clone, &["fetch", "--quiet", "--prune", "origin"]);
        assert_eq!(git.text(&clone, &["rev-parse", "main"]), tip);
    }
    fsck(&git, &clone).unwrap();
    assert!(!site.mirror().started_a_process());
}

#[test]
fn bad_packet_lines() {
    let target = Target::start();
    let want = format!("want {}", target.upstream.id("main"));
    let bodies: Vec<Vec<u8>> = vec![
        b"zzzz".to_vec(),
        b"0003".to_vec(),
        b"00".to_vec(),
        b"-001".to_vec(),
        b"PACK\0\0\0\x02".to_vec(),
        b"fff1".to_vec(),
        b"ffff".to_vec(),
        b"0032want".to_vec(),
        b"0004".to_vec(),
        vec![0; 100],
        vec![0xff; 100_000],
        packet("command=").into_bytes(),
        packet("command=nonsense").into_bytes(),
        format!("{}0000", packet("command=bundle-uri")).into_bytes(),
        fetch_body(&[&want, "packfile-uris https", "done"]),
        fetch_body(&["want nonsense"]),
        fetch_body(&["want 0000000000000000000000000000000000000000", "done"]),
        fetch_body(&[&want, "have nonsense", "done"]),
        fetch_body(&[&want, "shallow nonsense", "done"]),
        fetch_body(&[&want, "an-unknown-argument", "done"]),
        format!("{}{}0000", packet("command=fetch"), packet("object-format=sha256")).into_bytes(),
    ];
    let mut report = Report::default();
    for body in bodies {
        report.case(&format!("{:.60}", String::from_utf8_lossy(&body)), refused(&target.post(&body, &[])));
    }
    report.finish();
    target.lives_on();
}

/// A want that no reference leads to, whether or not such an object is somewhere.
#[test]
fn wants_that_are_not_ours() {
    let target = Target::start();
    let dangling = target.upstream.run(&["commit-tree", "-m", "nobody points here", "main^{tree}"]);
    let mut report = Report::default();
    for id in [dangling.as_str(), "0123456789012345678901234567890123456789"] {
        let answer = target.fetch(&[&format!("want {id}"), "done"]);
        let words = answer.text().contains(&format!("not our ref {id}"));
        report.case(id, refused(&answer).and_then(|()| if words { Ok(()) } else { Err(answer.text()) }));
    }
    report.finish();
    target.lives_on();
}

#[test]
fn odd_depths_and_filters() {
    let target = Target::start();
    let want = format!("want {}", target.upstream.id("main"));
    let nested = format!("filter {}blob:none", "combine:".repeat(500));
    let wide = format!("filter combine:{}", vec!["blob:none"; 4_000].join("+"));
    let cases: &[&[&str]] = &[
        &["deepen 0"],
        &["deepen -1"],
        &["deepen 99999999999999999999"],
        &["deepen x"],
        &["deepen 1", "deepen-since 1700000000"],
        &["deepen 1", "deepen-not v0.1"],
        &["deepen-not no-such-reference"],
        &["deepen-since x"],
        &["filter tree:x"],
        &["filter tree:-1"],
        &["filter blob:limit=x"],
        &["filter nonsense"],
        &["filter sparse:oid=main:src/f1.txt"],
        &["filter sparse:path=src/f1.txt"],
        &["filter object:type=nonsense"],
        &[&nested],
        &[&wide],
    ];
    let mut report = Report::default();
    for case in cases {
        let arguments = [&[want.as_str()], *case, &["done"]].concat();
        report.case(&format!("{:.60}", case.join(", ")), refused(&target.fetch(&arguments)));
    }
    report.finish();
    target.lives_on();
}

#[test]
fn half_a_million_haves() {
    let target = Target::start();
    let want = format!("want {}", target.upstream.id("main"));
    let haves: Vec<String> = (0..500_000).map(|number| format!("have {number:040x}")).collect();
    let arguments: Vec<&str> = std::iter::once(want.as_str()).chain(haves.iter().map(String::as_str)).collect();
    let answer = target.fetch(&arguments);
    assert!(answer.status == 200 && answer.text().contains("ERR upload-pack: too many haves"), "{answer:?}");
    target.lives_on();
}

/// What can make a client fetch from elsewhere is never offered.
#[test]
fn no_uris_are_offered() {
    let target = Target::start();
    let path = format!("/{APP}/info/refs?service=git-upload-pack");
    let answer = request("GET", target.server.port(), &path, &[("Git-Protocol", "version=2")], b"").unwrap();
    let text = answer.text();
    assert!(text.contains("version 2") && text.contains("fetch="), "{text}");
    assert!(!text.contains("bundle-uri") && !text.contains("packfile-uris"), "{text}");
    for protocol in ["version=9", "version=2:version=1", "nonsense", ":::", "version="] {
        let answer = request("GET", target.server.port(), &path, &[("Git-Protocol", protocol)], b"").unwrap();
        assert_eq!(answer.status, 200, "{protocol}: {answer:?}");
    }
    target.lives_on();
}

/// Packs of one repository rot or vanish under the server: never a wrong clone, and the other one is served. A byte that
/// is as it was is served as before; what was cut off is after a restart (its map stays damaged).
#[test]
fn damaged_packs() {
    let mut target = Target::start();
    target.clone("other.git").unwrap();
    let first = target.clone(APP).unwrap();
    let stored = target.server.stored();
    let of_app = stored.iter().find(|folder| {
        let path = std::fs::read_to_string(folder.with_file_name("path")).unwrap_or_default();
        path.trim_end() == APP
    });
    let packs = of_app.expect("stored").join("objects/pack");
    let pack = std::fs::read_dir(packs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "pack"))
        .expect("a pack");
    let sound = std::fs::read(&pack).unwrap();
    let write = |at: usize, bytes: &[u8], length: usize| {
        use std::os::unix::fs::{FileExt, PermissionsExt};
        std::fs::set_permissions(&pack, std::fs::Permissions::from_mode(0o644)).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&pack).unwrap();
        file.set_len(length as u64).unwrap();
        file.write_all_at(bytes, at as u64).unwrap();
    };
    let mut report = Report::default();
    let mut failed = 0;
    for at in (12..sound.len()).step_by(sound.len() / 8) {
        write(at, &[!sound[at]], sound.len());
        report.case(&format!("byte {at} of {}", sound.len()), target.clone_of_damaged(&first, &mut failed));
        write(at, &[sound[at]], sound.len());
        report.case(&format!("byte {at} as it was"), target.clones_as(&first));
    }
    write(0, b"", sound.len() / 2);
    report.case("half of it gone", target.clone_of_damaged(&first, &mut failed));
    let other = target.clone("other.git").and_then(|clone| fsck(&target.git, &clone));
    report.case("the other repository", other);
    write(0, &sound, sound.len());
    target.server.stop();
    target.server.start_again();
    report.case("all of it there again", target.clones_as(&first));
    report.finish();
    assert!(failed >= 2, "{failed} clones failed: the damage is not where clients read");
    target.lives_on();
}
