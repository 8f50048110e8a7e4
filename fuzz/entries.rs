//! What the fuzz targets do with their input, in one file: each target calls one function of it, and
//! `server/tests/fuzz_replay.rs` calls the same ones on the seeds and on every finding kept in `fuzz/findings/`.
//!
//! An entry may do anything but panic, hang or grow; where something can be asserted about the result, it is.

mod allocations;

use heliostat::{
    admin::webhook::body,
    auth::{challenge, credential::Credential},
    config::{Config, Overrides, Upstream},
    http::{
        body::Body,
        client::Trusted,
        head::http_head,
        proxy_protocol::{Progress, proxy_header},
    },
    secret::Secret,
    upstream::{git::advertisement::Advertisement, transport},
};
use heliostat_core::{
    RepositoryPath,
    graph::{Filter, Graph},
    limits::INGEST_THREADS_MAX,
    objects::Database,
    pack::{self, Emitter, Spool},
    protocol::{Event, Phase, Policy, Session, Version, View},
    refs::{RefName, RefTable},
    repository::{Environment, HiddenRefs, Repository},
    store::{IngestLimits, ingest_bytes, ingest_entries},
    wire::pktline::{self, Decoded},
};
use heliostat_testrepo::Spec;
use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, atomic::AtomicBool},
};

/// A target's name, and what it does with an input.
pub type Entry = (&'static str, fn(&[u8]));

/// Every target.
pub const ENTRIES: &[Entry] = &[
    ("authorization", authorization),
    ("challenge", challenge),
    ("config", config),
    ("filter_spec", filter_spec),
    ("http_head", http_head_and_body),
    ("pack_ingest", pack_ingest),
    ("pkt_line", pkt_line),
    ("proxy_header", proxy_header_in_pieces),
    ("ref_name", ref_name),
    ("repository_path", repository_path),
    ("upstream_advertisement", upstream_advertisement),
    ("v0_request", v0_request),
    ("v2_request", v2_request),
    ("webhook_body", webhook_body),
];

/// `Authorization:` lines, by themselves and in a head. What is accepted is one line without a control character, is the same
/// when it is read again, comes apart, and shows itself to nobody.
pub fn authorization(data: &[u8]) {
    let parse = |line: &Secret| Credential::parse(line).ok().flatten();
    let head = [b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: ", data, b"\r\n\r\n"].concat();
    if let Ok(Some((head, _))) = http_head(&head)
        && let Some(line) = &head.authorization
        && !data.contains(&b'\r')
        && !data.contains(&b'\n')
    {
        assert_eq!(parse(line), parse(&Secret::new(data.to_vec())));
    }
    let Some(credential) = parse(&Secret::new(data.to_vec())) else { return };
    let line = credential.line().expose();
    let text = std::str::from_utf8(line).expect("visible characters");
    let (scheme, rest) = text.split_once(' ').expect("two words");
    assert!(["Basic", "Bearer"].contains(&scheme) && !rest.is_empty());
    assert!(rest.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(credential.parts().is_ok());
    assert_eq!(parse(credential.line()), Some(credential.clone()));
    assert!(!format!("{credential:?}").contains(rest) || rest.len() < 10);
}

/// An upstream's `WWW-Authenticate:`, a value on each line. What is passed on is few challenges of one line each, of kinds that
/// can be answered here, and each is the same when it is read again.
pub fn challenge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let passed_on = challenge::passed_on(text.lines());
    assert!(passed_on.len() <= 4);
    for challenge in passed_on.iter() {
        assert!(challenge.starts_with("Basic ") || challenge.starts_with("Bearer "));
        assert!(challenge.len() <= 512 && challenge.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{challenge:?}");
        assert!(is_challenge(challenge), "{challenge:?}");
        assert_eq!(challenge::passed_on([challenge.as_str()])[..], *std::slice::from_ref(challenge));
    }
}

/// A scheme, and after it parameters with quoted values, each of which ends where its quotes do (RFC 9110, section 11.4).
fn is_challenge(text: &str) -> bool {
    let Some((_, mut rest)) = text.split_once(' ') else { return false };
    loop {
        let Some((name, value)) = rest.split_once("=\"") else { return false };
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next() {
                None => return false,
                Some((_, '\\')) => drop(characters.next()),
                Some((end, '"')) => break end,
                Some(_) => {}
            }
        };
        if name.is_empty() || name.contains(['"', ' ', ',']) {
            return false;
        }
        match value[end + 1..].strip_prefix(", ") {
            Some(more) => rest = more,
            None => return value.len() == end + 1,
        }
    }
}

/// The configuration file.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(mistakes) = Config::load(text, &Overrides::default()) {
        assert!(!mistakes.is_empty(), "refused without a reason");
    }
}

/// Bodies of webhooks, at an upstream with a path of its own. Each name is a path that leads nowhere else.
pub fn webhook_body(data: &[u8]) {
    let upstream = Upstream::Git {
        url: "https://git.example.com/scm".into(),
        ca: None,
        client: None,
        proxies: Default::default(),
        credentials: None,
    };
    if let Ok(names) = body::names(data) {
        for path in names.paths(&upstream) {
            assert!(!path.as_str().split('/').any(|part| part == ".."), "{path}");
        }
    }
}

/// `filter` lines. What is accepted is written and read back as the same filter.
pub fn filter_spec(data: &[u8]) {
    if let Ok(filter) = Filter::parse(data) {
        assert_eq!(Filter::parse(&filter.to_bytes()), Ok(filter));
    }
}

/// HTTP heads and the bodies that they announce, in pieces of the size that the first byte names.
pub fn http_head_and_body(data: &[u8]) {
    let Some((&size, data)) = data.split_first() else { return };
    let Ok(Some((head, used))) = http_head(data) else { return };
    assert!(used <= data.len());
    let mut body = Body::new(head.framing, head.coding);
    let mut total = 0;
    for piece in data[used..].chunks(usize::from(size).max(1)) {
        let mut rest = piece;
        while !rest.is_empty() && !body.is_complete() {
            match body.feed(rest, &mut |bytes| total += bytes.len()) {
                Ok(0) => break,
                Ok(taken) => rest = &rest[taken..],
                Err(_) => return,
            }
        }
    }
    assert!(total <= heliostat_core::limits::REQUEST_BYTES_MAX, "a body grew past its limit");
}

/// Packs from an upstream: as they are, and as entries (the first byte says how many) under a right checksum. Whatever
/// becomes of them, nothing is left behind, and no more memory is used than the limits say.
pub fn pack_ingest(data: &[u8]) {
    let taken = allocations::peak_of(|| ingest(data));
    assert!(taken <= ingest_bytes_max(), "{taken} bytes of memory for a pack, {} are allowed", ingest_bytes_max());
}

const LIMITS: IngestLimits = IngestLimits {
    pack_bytes: 1 << 20,
    objects: 1_000,
    object_bytes: 256 << 10,
    inflated_bytes: 16 << 20,
    delta_depth: 50,
};

/// What `store/index` promises: one entry's compressed bytes; for each thread an object, its delta, its base, and one that
/// waits for its own turn as a base; and something for each object. Besides, the buffers of files, threads and inflaters.
/// Far less than all that may be inflated.
const fn ingest_bytes_max() -> usize {
    const BUFFERS: usize = 1 << 20;
    const OBJECT: usize = LIMITS.object_bytes as usize;
    const BYTES: usize = (2 + 4 * INGEST_THREADS_MAX) * OBJECT + 500 * LIMITS.objects as usize + BUFFERS;
    const { assert!(BYTES < LIMITS.inflated_bytes as usize / 2) };
    BYTES
}

fn ingest(data: &[u8]) {
    static DIRECTORY: LazyLock<tempfile::TempDir> =
        LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));
    let directory = DIRECTORY.path();
    let _ = ingest_bytes(data, directory, &LIMITS);
    if let Some((&count, entries)) = data.split_first()
        && let Ok(ingested) = ingest_entries(u32::from(count), entries, directory, &LIMITS)
    {
        assert!(ingested.objects <= LIMITS.objects);
    }
    assert_eq!(std::fs::read_dir(directory).expect("it can be read").count(), 0, "something was left behind");
}

/// PROXY protocol headers, as a connection reads them: no byte behind the header is asked for, and a whole look at the bytes
/// sees what the pieces did. What is left is taken for a list of addresses.
pub fn proxy_header_in_pieces(data: &[u8]) {
    let (mut read, mut header) = (0, 0);
    loop {
        match proxy_header(&data[..read]) {
            Ok(Progress::Needs(bytes)) => {
                assert!(bytes > 0 && read + bytes <= heliostat_core::limits::PROXY_HEADER_BYTES_MAX);
                if read + bytes > data.len() {
                    return;
                }
                read += bytes;
            }
            Ok(Progress::Whole(whole)) => {
                assert_eq!(whole.len, read, "it was read beyond its end");
                assert_eq!(proxy_header(data), Ok(Progress::Whole(whole)));
                header = whole.len;
                break;
            }
            Err(error) => {
                assert_eq!(proxy_header(data), Err(error));
                break;
            }
        }
    }
    if let Ok(list) = std::str::from_utf8(&data[header..]) {
        let anybody = Trusted::new(["::/0"].iter().map(|all| all.parse().expect("a network")).collect());
        let _ = anybody.client([10, 0, 0, 1].into(), Some(list));
        assert_eq!(Trusted::default().client([10, 0, 0, 1].into(), Some(list)), std::net::IpAddr::from([10, 0, 0, 1]));
    }
}

/// Reference names. What is accepted can become neither a traversal, nor a lock, nor an option, nor a terminal escape.
pub fn ref_name(data: &[u8]) {
    let Ok(name) = RefName::new(data) else { return };
    let name = name.as_bstr();
    assert!(name.starts_with(b"refs/"));
    assert!(!name.iter().any(|&b| b < b' ' || b == 0x7f || b" ~^:?*[\\".contains(&b)));
    for component in name.split(|&b| b == b'/') {
        assert!(!component.is_empty() && !component.starts_with(b".") && !component.ends_with(b".lock"));
        assert!(!component.windows(2).any(|two| two == b".."));
    }
}

/// Repository paths of requests. What is accepted stays below the root and survives a round through a URL.
pub fn repository_path(data: &[u8]) {
    let Ok(path) = RepositoryPath::new(data) else { return };
    let text = path.as_str();
    assert!(!text.starts_with('/') && !text.contains("//") && !text.contains('\\'));
    assert!(!text.chars().any(char::is_control));
    assert!(text.split('/').all(|component| component != ".." && component != "." && !component.is_empty()));
    assert!(path.to_url_path().bytes().all(|b| b.is_ascii_graphic()));
}

/// pkt-lines. What is decoded is no longer than the input, and every step gets on.
pub fn pkt_line(data: &[u8]) {
    let mut rest = data;
    while let Ok(Decoded::Complete { packet, consumed: used }) = pktline::decode(rest) {
        assert!(used >= 4 && used <= rest.len());
        if let pktline::Packet::Data(payload) = packet {
            assert_eq!(payload.len() + 4, used);
        }
        rest = &rest[used..];
    }
}

/// What an upstream says over HTTP: a response head, and the lines of an advertisement.
pub fn upstream_advertisement(data: &[u8]) {
    let _ = transport::Head::parse(data);
    let (mut v2, mut v0) = (Advertisement::v2(), Advertisement::v0([&b"HEAD:refs/heads/main"[..]].into_iter()));
    for line in data.split_inclusive(|&byte| byte == b'\n') {
        if v2.take_v2(line).is_err() || v0.take_v0(line).is_err() {
            return;
        }
    }
    for advertised in [v2.finish(), v0.finish()].into_iter().flatten() {
        assert!(advertised.refs.iter().all(|r| RefName::new(r.name).is_ok()));
    }
}

/// Requests of protocol v0 and v1, in pieces, on one connection and stateless.
pub fn v0_request(data: &[u8]) {
    let version = if data.first().is_some_and(|byte| byte & 0x80 != 0) { Version::V1 } else { Version::V0 };
    converse(version, data);
}

/// Requests of protocol v2.
pub fn v2_request(data: &[u8]) {
    converse(Version::V2, data);
}

/// A repository for the requests, made once a process; small, as each request that succeeds has a pack made from it.
static REPOSITORY: LazyLock<(Database, RefTable)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("r.git");
    let spec = Spec { commits: 12, files: 10, file_bytes: 300, pulls: 2, ..Spec::small(1) };
    spec.write(&path).expect("a generated repository");
    let repository = Repository::open(&path, &Environment::isolated("/".into(), 0), true).expect("it opens");
    let (objects, _) = repository.objects().expect("objects");
    let table = repository.references(&HiddenRefs::default(), Some(&objects)).expect("references").table;
    // The maps outlive the files' names.
    drop(folder);
    (objects, table)
});

/// The first byte chooses the phase and the size of the pieces. The conversation may take no more steps than its input
/// has bytes to cause them, and every pack that it orders is made and sent whole.
fn converse(version: Version, data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let phase = if choice & 0x40 == 0 { Phase::Stateless } else { Phase::Duplex };
    let (objects, refs) = &*REPOSITORY;
    let (shallow, policy, stop) = (BTreeSet::new(), Policy::mirror("fuzz/1"), AtomicBool::new(false));
    let view = View {
        refs,
        hidden: &[],
        recent: &[],
        pending: None,
        objects,
        shallow: &shallow,
        policy: &policy,
        stop: &stop,
    };
    let mut session = Session::new(version, phase);
    let mut steps = 0;
    let mut pieces = data.chunks(usize::from(choice & 0x3f) + 1);
    loop {
        steps += 1;
        assert!(steps < 10_000 + 8 * data.len(), "the conversation does not end");
        match session.poll(&view) {
            Event::Send(_) => {}
            Event::Absent(_) => session.deny(),
            Event::NeedInput => match pieces.next() {
                Some(piece) => session.receive(piece),
                None => session.finish_input(),
            },
            Event::Pack(order) => {
                let graph = Graph { objects, grafts: &shallow, stop: &stop };
                let Ok(selected) = graph.select(&order.query) else { return };
                let spool = Spool { directory: std::env::temp_dir(), entries: None, room: None };
                let plan = pack::plan(objects, &selected, order.encoding, &spool, &stop).expect("a plan");
                let mut emitter = Emitter::new(Arc::new(plan), order.framing);
                while emitter.next_chunk().expect("sound packs").is_some() {}
                session.pack_sent();
            }
            Event::End(_) => return,
        }
    }
}
