//! The bounds on what a request, a repository or an upstream's answer may take, each with its reason. A limit reached has a
//! stated answer: refuse, wait or drop.

use std::time::Duration;

/// Longest pkt-line, length prefix included (`gitprotocol-common`: LARGE_PACKET_MAX). Longer: refuse.
pub const PKT_LINE_BYTES_MAX: usize = 65_520;
/// Longest payload of a pkt-line.
pub const PKT_LINE_PAYLOAD_MAX: usize = PKT_LINE_BYTES_MAX - 4;
/// Payload of one `side-band-64k` frame: a pkt-line less its length and the band byte.
pub const SIDE_BAND_64K_PAYLOAD_MAX: usize = PKT_LINE_BYTES_MAX - 5;
/// Payload of one `side-band` frame (`gitprotocol-capabilities`: packets of up to 1000 bytes).
pub const SIDE_BAND_PAYLOAD_MAX: usize = 1_000 - 5;
/// Bytes of one request, over HTTP after inflation: room for as many wants, haves and shallow lines as are allowed. Stock
/// Git's bound on the way is 10 MiB (`http.maxRequestBuffer`), which a mirror clone of 210,000 distinct tips exceeds:
/// beyond `http.postBuffer` its client sends them uncompressed. Larger: refuse.
pub const REQUEST_BYTES_MAX: usize = 80 << 20;
/// A request up to this many bytes that references answer is read on the shard itself: its two to four thousand lines took
/// 0.3 to 0.6 ms, in a build for development. Longer: a worker reads it.
pub const SHARD_REQUEST_BYTES_MAX: usize = 64 << 10;
/// Wants of one request. A mirror clone of a repository with 200,000 refs wants each distinct tip. More: refuse.
pub const WANTS_MAX: usize = 1_000_000;
/// Haves of one conversation. Git's client stops at 256 in vain, but a hostile one does not. More: refuse.
pub const HAVES_MAX: usize = 200_000;
/// Rounds of negotiation on one full-duplex connection. More: refuse.
pub const ROUNDS_MAX: usize = 10_000;
/// Walks of one negotiation that look whether enough is known: v0 looks again at each have that is unknown here, if one
/// that is known came before it, and a client may send them by turns. Git's own sends no more than this in vain. More: no
/// `ready` any more.
pub const NEGOTIATION_WALKS_MAX: usize = 256;
/// Requests on one v2 connection; Git's client needs three, one more for each round of negotiation. More: the connection
/// ends.
pub const REQUESTS_MAX: usize = 2 * ROUNDS_MAX;
/// Shallow commits of a client that are here. A clone of all references with `--depth 1` has one for each distinct tip, of
/// which a large repository has 200,000. More: refuse.
pub const CLIENT_SHALLOWS_MAX: usize = 300_000;
/// `deepen-not` lines of one request. More: refuse.
pub const DEEPEN_NOTS_MAX: usize = 1_024;
/// Objects of one `object-info` request. More: refuse.
pub const OBJECT_INFO_IDS_MAX: usize = 10_000;
/// Walks that sort out which objects of one request no reference reaches, each ending at the first. More: refuse.
pub const UNREACHABLE_MAX: usize = 16;
/// Wants of one request that are not here and are reported, so that they can be brought. More: brought with the next look.
pub const ABSENT_WANTS_MAX: usize = 1_024;
/// Bytes of a list of references that are gathered before they are handed to the driver, give or take one line. Sections
/// that answer a request line by line are handed over whole: the request's bounds are theirs.
pub const REPLY_BYTES_MAX: usize = 64 << 10;
/// `ref-prefix` lines that are honoured before the rest is ignored and all refs are sent, as stock Git does.
pub const REF_PREFIXES_MAX: usize = 65_536;
/// `combine:` filters and nested filters of one request. More: refuse.
pub const FILTER_PARTS_MAX: usize = 64;
/// Longest reference name in bytes; the loose-ref form of Linux' path limit.
pub const REF_NAME_BYTES_MAX: usize = 4_096;
/// Longest repository path in a request, in bytes. Longer: 404.
pub const REPOSITORY_PATH_BYTES_MAX: usize = 1_024;
/// Symbolic references followed before the chain counts as a loop (Git's SYMREF_MAXDEPTH).
pub const SYMREF_DEPTH_MAX: usize = 5;
/// Commits of a line between two checkpoints of a table, at least: a walk over all 24,000 commits of a middling repository took
/// a millisecond, one that ends at a checkpoint a fifth of that.
pub const COMMITS_PER_CHECKPOINT_MIN: u32 = 1_024;
/// Checkpoints of one line of history, about. Each is a bit an object: four megabytes for a million objects.
pub const CHECKPOINTS: u32 = 32;
/// Objects of a pack whose table of commits is made before it is published: a tenth of a repository for which that took
/// 0.65 s. Larger: afterwards, and until then walks read commits and trees.
pub const COMMIT_TABLE_AT_ONCE_MAX: u32 = 20_000;
/// Entries of trees that are met at most when the table of a pack's commits is made, in a repository of so many objects. Git's
/// own history has 140 an object, a busy monorepo with wide folders several hundred. More: no table, and walks read trees.
pub const fn commit_table_entries_max(objects: u32) -> u64 {
    1_000_000 + objects as u64 * 4_096
}
/// Haves whose trees are compared with what is sent; the client names its newest first. What only the others hold may
/// travel again.
pub const HAVE_TREES_MAX: usize = 1_024;
/// Longest chain of deltas; `git pack-objects` caps its `--depth` at 4095. Longer (or a cycle): the object is corrupt.
pub const DELTA_CHAIN_MAX: usize = 4_095;
/// Largest object that is ever held in memory, whatever is ingested among them. Entries of packs are copied as they are,
/// however large; held are loose objects, and what deltas have to be resolved for. A planning worker then has the object,
/// beside it either the loose file or a delta and its base, and the object encoded anew: four times this at most. Larger:
/// the request fails.
pub const OBJECT_BYTES_MAX: u64 = 1 << 30;
/// Delta bases that one reader keeps.
pub const READER_CACHE_BYTES_MAX: usize = 16 << 20;

/// Head of an HTTP request in bytes: three times what Git sends with a long cookie and a bearer token. Larger: 431.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;
/// Header lines of one request. Git sends about ten, proxies add as many. More: 431.
pub const HTTP_HEADERS_MAX: usize = 64;
/// A head must be complete this long after its connection was accepted or its first byte came (slowloris): 408.
pub const HTTP_HEAD_TIME: Duration = Duration::from_secs(10);
/// A TLS handshake must be over this long after its connection was accepted: two round trips, and a busy shard. Later: closed.
pub const TLS_HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Bytes that a peer may send for a handshake, in all; usual ones are 2 KiB, rustls takes messages of 64 KiB. More: closed.
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 64 << 10;
/// Reads of a TLS connection's socket, of 4 KiB or more, until others have their turn: records may hold nothing for us.
pub const TLS_READS_PER_POLL_MAX: usize = 16;
/// A kept-alive connection without a request is closed after this; Git's rounds follow each other within seconds.
pub const HTTP_IDLE_TIME: Duration = Duration::from_secs(60);
/// How far a peer may fall behind the slowest pace allowed before its connection is closed.
pub const HTTP_STALL_TIME: Duration = Duration::from_secs(30);
/// Slowest pace of a request body, in bytes per second: a modem's.
pub const HTTP_BODY_BYTES_PER_SECOND_MIN: u32 = 1 << 10;
/// Slowest pace at which a client may take an answer, in bytes per second; a slower one pins memory, packs and a slot.
pub const HTTP_ANSWER_BYTES_PER_SECOND_MIN: u32 = 4 << 10;
/// No answer takes longer than this, at whatever pace: 100 GB at 5 MB/s.
pub const HTTP_ANSWER_TIME: Duration = Duration::from_secs(6 * 3600);
/// Open connections in all, unless the configuration says otherwise; lowered at start where the descriptor limit is lower.
/// More: 503 and close.
pub const HTTP_CONNECTIONS: u32 = 10_000;
/// What the configuration may say.
pub const HTTP_CONNECTIONS_MAX: u32 = 1_000_000;
/// Of them, the part that one address (one /64 in IPv6) may have, unless the configuration says otherwise: half, so that no
/// address starves the rest although a whole CI fleet may sit behind one. Where a trusted balancer speaks for the address,
/// its requests under way. More: 503; and close, if it is a connection.
pub const HTTP_CONNECTIONS_ADDRESS_SHARE: u32 = 2;
/// Connections that have been turned away and stay for [`HTTP_PARTING_TIME`], of the whole process, so that what the peer still
/// sends does not make a reset of the answer that it has not read yet. More: closed at once, behind what had come by then.
pub const HTTP_PARTING_MAX: u32 = 64;
/// Longer than a request takes that has been sent with the connection.
pub const HTTP_PARTING_TIME: Duration = Duration::from_secs(1);
/// Bytes that are taken of such a connection: the head of a request, and a beginning of its body.
pub const HTTP_PARTING_BYTES_MAX: usize = 64 << 10;
/// Bytes of one PROXY protocol header. Version 1 has 107 at most; version 2 a few hundred, with what it tells of a client's
/// certificate. More: 400 and close.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 << 10;
/// A PROXY protocol header must be complete this long after its connection was accepted: balancers send it at once. Later:
/// the connection is closed.
pub const PROXY_HEADER_TIME: Duration = Duration::from_secs(5);
/// Chunk extensions and trailers of one request body in bytes: nobody uses them. More: 400.
pub const HTTP_CHUNK_OVERHEAD_BYTES_MAX: usize = 4 << 10;
/// What is read and thrown away of a refused request's body so that the refusal arrives; then the connection closes.
pub const HTTP_DISCARD_BYTES_MAX: usize = 80 << 20;
/// How long that may take.
pub const HTTP_DISCARD_TIME: Duration = Duration::from_secs(5);
/// Bytes of further requests that are taken while one is being answered. More stay in the socket.
pub const HTTP_PIPELINE_BYTES_MAX: usize = 64 << 10;
/// Inflated bytes per compressed byte of a request body, beyond [`REQUEST_INFLATE_FREE_BYTES`]; lists of object ids
/// compress two to threefold, DEFLATE's most is 1032. More: 413.
pub const REQUEST_INFLATE_RATIO_MAX: u64 = 100;
/// Inflated bytes before the ratio is looked at.
pub const REQUEST_INFLATE_FREE_BYTES: u64 = 64 << 10;
/// Members of one compressed request: `pigz` and `bgzip` begin one each 64 KiB or more. Each takes a new inflater, on the shard.
/// More: 400.
pub const REQUEST_GZIP_MEMBERS_MAX: u32 = 1_024;
/// Request bodies being held in memory, all connections together, in bytes. More: 503.
pub const REQUEST_BYTES_IN_FLIGHT_MAX: u64 = 320 << 20;
/// Descriptors kept back from connections: packs, upstream connections, logs, and those that let a full server still say
/// 503.
pub const DESCRIPTORS_RESERVED: u64 = 512;
/// Connections on the admin port, of all addresses: an operator's, a scraper's, a load balancer's, and a Git host's pool for
/// webhooks. More: 503 and close.
pub const ADMIN_CONNECTIONS_MAX: u32 = 128;
/// Requests on the admin port that look at every repository or read files, waiting or being answered. More: 503 with
/// Retry-After.
pub const ADMIN_READERS_MAX: usize = 16;
/// Bytes of a webhook's body. A push of 2,048 commits, the most that GitHub tells of, has about 3 MB; nothing in it is needed
/// but the repository's name. Larger: 413, and the interval finds what moved.
pub const WEBHOOK_BYTES_MAX: usize = 4 << 20;
/// Webhooks a second that lead to a question, in the long run, and at once. More: 429; hosts send them again, or the interval
/// finds what moved.
pub const WEBHOOKS_PER_SECOND: u32 = 50;
/// See [`WEBHOOKS_PER_SECOND`].
pub const WEBHOOKS_BURST: u32 = 500;
/// Plans of one repository at work at once, unless the configuration says otherwise: more would only take the workers from
/// other repositories.
pub const PLANS_RUNNING_PER_REPOSITORY: usize = 4;
/// Plans of one repository that wait for a worker, unless the configuration says otherwise. More: 503 with Retry-After.
pub const PLANS_WAITING_PER_REPOSITORY: usize = 512;
/// Plans that wait on one shard, all its repositories together. More: 503 with Retry-After.
pub const PLANS_WAITING_MAX: usize = 2_048;
/// A plan that has waited this long for a worker is refused, unless the configuration says otherwise: 503 with Retry-After.
pub const PLAN_QUEUE_TIME: Duration = Duration::from_secs(30);
/// Fetches that wait for their objects, of all repositories; of one as many as are free, so half of these while nobody waits for
/// another. More: 503 with Retry-After.
pub const PARKED_MAX: u32 = 4_096;
/// While they wait, the client hears something this often, if the protocol has room.
pub const PARKED_INTERVAL: Duration = Duration::from_secs(3);
/// While a plan is made, the client hears something this often (`uploadpack.keepAlive`, 5 s).
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of an answer gathered before they go to the socket.
pub const ANSWER_BUFFER_BYTES: usize = 128 << 10;
/// After SIGTERM, live requests get this long to end.
pub const DRAIN_TIME: Duration = Duration::from_secs(30);
/// Newly encoded entries of one answer that stay in memory; more goes to the spool file. A few hundred clients at once may
/// each hold as much.
pub const SPOOL_MEMORY_BYTES_MAX: usize = 1 << 20;
/// What the temporary files of all plans of a node may take together, unless it is set: a hundred clones whose deltas lack
/// their bases, of a repository of 80 MB in each. More: refuse.
pub const SPOOL_BYTES: u64 = 8 << 30;
/// The least that may be set.
pub const SPOOL_BYTES_MIN: u64 = 64 << 20;
/// Orders that are remembered because they came once, 16 bytes each. More: the oldest half is forgotten, and a plan that was
/// forgotten is kept one order later.
pub const ORDERS_SEEN_MAX: usize = 65_536;
/// Kept plans, all of which are looked at when another one comes. More: that of the least worth goes.
pub const KEPT_PLANS_MAX: usize = 16_384;
/// Open files of kept plans, out of [`DESCRIPTORS_RESERVED`]. More: those that are worth the least go.
pub const KEPT_PLANS_FILES_MAX: usize = 128;
const _: () = assert!((KEPT_PLANS_FILES_MAX as u64) < DESCRIPTORS_RESERVED / 2);
/// Bytes of one of the two files of kept entries of a repository: this part of its packs, but at least and at most these. Of
/// two real repositories, what a clone of one commit takes is a twenty-eighth of the packs. Full: the older file goes.
pub const ENTRY_CACHE_PACKS_SHARE: u64 = 4;
/// See [`ENTRY_CACHE_PACKS_SHARE`].
pub const ENTRY_CACHE_HALF_BYTES_MIN: u64 = 16 << 20;
/// See [`ENTRY_CACHE_PACKS_SHARE`].
pub const ENTRY_CACHE_HALF_BYTES_MAX: u64 = 1 << 30;
/// Entries of one such file, some 60 bytes of memory each while the repository is asked for. More: as if it were full.
pub const ENTRY_CACHE_ENTRIES_MAX: usize = 131_072;
// Offsets in them are 32 bits.
const _: () = assert!(ENTRY_CACHE_HALF_BYTES_MIN <= ENTRY_CACHE_HALF_BYTES_MAX && ENTRY_CACHE_HALF_BYTES_MAX < 1 << 32);
/// Deflate level of newly encoded entries. They are kept, so the bytes that every clone takes count, and the time only once.
/// Of two real repositories a clone of one commit has, in parts of what stock Git sends: at level 1 1.24 and 1.44, at 2 1.08
/// and 1.15, at 3 1.05 and 1.08, at 6 1.02 and 1.04. It is not to be more than 1.10. Encoding takes 22, 50, 60 and 87 ms for the
/// smaller, of which stock Git's whole answer takes 430.
pub const DEFLATE_LEVEL: u32 = 3;

const _: () = assert!(PKT_LINE_PAYLOAD_MAX + 4 == PKT_LINE_BYTES_MAX);
const _: () = assert!(SIDE_BAND_64K_PAYLOAD_MAX < PKT_LINE_PAYLOAD_MAX);
const _: () = assert!(REQUEST_BYTES_MAX > PKT_LINE_BYTES_MAX);
const _: () = assert!(
    REQUEST_BYTES_MAX
        >= (WANTS_MAX + HAVES_MAX) * "0032want 0123456789abcdef0123456789abcdef01234567\n".len()
            + CLIENT_SHALLOWS_MAX * "0035shallow 0123456789abcdef0123456789abcdef01234567\n".len()
);
const _: () = assert!(SHARD_REQUEST_BYTES_MAX >= PKT_LINE_BYTES_MAX);

// Reading any repository on disk (`repository/`).

/// Bytes of one configuration file. Git's own have kilobytes. Larger: refuse.
pub const CONFIG_FILE_BYTES_MAX: u64 = 16 << 20;
/// Files that include each other (Git's MAX_INCLUDE_DEPTH). Deeper: refuse.
pub const CONFIG_INCLUDE_DEPTH_MAX: usize = 10;
/// Pairs of `GIT_CONFIG_COUNT`. More: refuse.
pub const CONFIG_OVERRIDES_MAX: usize = 100_000;
/// Bytes of a `.git` file (Git's limit). Larger: refuse.
pub const GITFILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a path on this machine (PATH_MAX). Longer: there is no such repository.
pub const REPOSITORY_PATH_BYTES_MAX_LOCAL: usize = 4_096;
/// Bytes read of a loose reference's file: an id or a name.
pub const REFERENCE_FILE_BYTES_MAX: u64 = REF_NAME_BYTES_MAX as u64 + 256;
/// Bytes of `packed-refs`: 10,000,000 references of 100 bytes. Larger: refuse.
pub const PACKED_REFS_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a `shallow` file: 6,000,000 commits. Larger: refuse.
pub const SHALLOW_BYTES_MAX: u64 = 256 << 20;
/// Bytes of `objects/info/alternates`. Larger: ignored.
pub const ALTERNATES_BYTES_MAX: u64 = 1 << 20;
/// Alternates of alternates (Git's limit). Deeper: ignored, with a complaint.
pub const ALTERNATES_DEPTH_MAX: usize = 5;
/// Packs of one repository. Each takes two maps of the process' 65,530. More: refuse.
pub const PACKS_MAX: usize = 20_000;

// Speaking to upstreams.

/// Bytes of one response head from an upstream. git-http-backend's are under 500; proxies add cookies. Larger: fail.
pub const UPSTREAM_HEAD_BYTES_MAX: usize = 64 << 10;
/// Header lines of one response head from an upstream. More: fail.
pub const UPSTREAM_HEADERS_MAX: usize = 100;
/// Interim (1xx) responses skipped before one answer. More: fail.
pub const UPSTREAM_INTERIM_RESPONSES_MAX: usize = 8;
/// Bytes of one line of chunked framing, extensions included. Longer: fail.
pub const UPSTREAM_CHUNK_LINE_BYTES_MAX: usize = 4 << 10;
/// Bytes of all trailer lines after the last chunk. More: fail.
pub const UPSTREAM_TRAILER_BYTES_MAX: usize = 16 << 10;
/// Bytes of one reference advertisement: 3,000,000 references of 80 bytes. Larger: fail.
pub const UPSTREAM_REFS_BYTES_MAX: u64 = 240 << 20;
/// References of one advertisement. More: fail.
pub const UPSTREAM_REFS_MAX: usize = 3_000_000;
/// Bytes of text that an upstream may put into our log at once (an `ERR` line, band 3).
pub const UPSTREAM_TEXT_BYTES_MAX: usize = 1_000;
/// Haves sent at once, when one of our tips is known to be upstream's too. More are left out: they only save bytes.
pub const UPSTREAM_TIP_HAVES_MAX: usize = 1_024;
/// Haves sent in one negotiation before it is closed with `done`. An unrelated history would list all its commits.
pub const UPSTREAM_NEGOTIATED_HAVES_MAX: usize = 16_384;
/// Fetches by id in one sync, each without the id that the upstream has refused in the one before. More: none is here.
pub const UPSTREAM_BY_ID_TRIES_MAX: usize = 4;
/// Request bodies above this many bytes are sent with gzip, as Git's own client does: git-http-backend counts a body
/// as it travels against its bound of 10 MiB, and 200,000 wants are 10 MB.
pub const UPSTREAM_GZIP_ABOVE_BYTES: usize = 1_024;
/// Depth of folders that a directory upstream is searched to.
pub const DIRECTORY_DEPTH_MAX: usize = 12;
/// Entries that one walk of a directory upstream looks at. More: the listing fails.
pub const DIRECTORY_ENTRIES_MAX: usize = 2_000_000;

// Keeping repositories equal to the upstream.

/// Tables of references that were told to clients and overtaken before they were fetched, and whose tips are fetched by
/// their ids, of one repository. More: the oldest is forgotten.
pub const OVERTAKEN_MAX: usize = 8;
/// Ids that the upstream was found not to give, and that are remembered, of all repositories. More: the oldest is forgotten.
pub const ABSENT_IDS_MAX: usize = 16_384;
/// For how long, if the references do not change before: what no reference shows may come without one.
pub const ABSENT_TIME: Duration = Duration::from_secs(60);
/// Syncs a second that are made for ids which nothing here leads to, in the long run, of all repositories. Each serves all
/// who are parked for its repository by then. More: they wait, and hear `not our ref` when their time is over.
pub const WANTED_SYNCS_PER_SECOND: u32 = 2;
/// And at once.
pub const WANTED_SYNCS_BURST: u32 = 10;
/// How often it is looked whether another one may be made.
pub const WANTED_SYNCS_PAUSE: Duration = Duration::from_millis(500);
/// Ids that one of them asks for. More: with the next.
pub const WANTED_IDS_MAX: usize = 4_096;
/// Callers that wait for one answer from the upstream, over all repositories. More: told that it is unavailable.
pub const SYNC_WAITING_MAX: usize = 65_536;
/// Paths that are not mirrored here and whose answer (404, 403, a failure) is remembered. More: the oldest goes.
pub const SYNC_UNKNOWN_MAX: usize = 4_096;
const _: () = assert!(HTTP_HEAD_BYTES_MAX < REQUEST_BYTES_MAX);
const _: () = assert!(HTTP_CONNECTIONS <= HTTP_CONNECTIONS_MAX && HTTP_CONNECTIONS_ADDRESS_SHARE > 1);
// They, and who is turned away, leave more than half for packs and the upstream.
const _: () = assert!(((HTTP_PARTING_MAX + ADMIN_CONNECTIONS_MAX) as u64) < DESCRIPTORS_RESERVED / 2);
const _: () = assert!(HTTP_PARTING_BYTES_MAX > HTTP_HEAD_BYTES_MAX);
const _: () = assert!(PROXY_HEADER_TIME.as_nanos() < HTTP_HEAD_TIME.as_nanos());
// A few of the largest at once.
const _: () = assert!(REQUEST_BYTES_IN_FLIGHT_MAX >= 4 * REQUEST_BYTES_MAX as u64);
const _: () = assert!(HTTP_DISCARD_BYTES_MAX >= REQUEST_BYTES_MAX);
const _: () = assert!(PLANS_WAITING_PER_REPOSITORY < PLANS_WAITING_MAX);
const _: () = assert!(PARKED_MAX < HTTP_CONNECTIONS_MAX);
const _: () = assert!(ANSWER_BUFFER_BYTES >= PKT_LINE_BYTES_MAX);

/// The capabilities of protocol v2 are told without a question if the upstream has confirmed the repository within this
/// time. Many clients at once, whose `ls-refs` is asked about anyway, cost the upstream nothing more.
pub const CAPABILITIES_AGE: Duration = Duration::from_secs(5);
/// And after this time without an answer: `ls-refs` waits then.
pub const CAPABILITIES_WAIT: Duration = Duration::from_secs(2);

// Who may read.

/// Remembered grants, of 200 bytes each. One is made by a credential that the upstream has accepted, so guesses push none
/// out. More: the oldest goes, and is asked about again.
pub const RIGHTS_GRANTS_MAX: usize = 65_536;
/// Remembered refusals; they live for seconds. More: the oldest goes.
pub const RIGHTS_REFUSALS_MAX: usize = 16_384;
/// Questions whose failure is remembered for a moment. More: the oldest goes.
pub const RIGHTS_FAILURES_MAX: usize = 4_096;
/// Grants that one shard keeps at hand. More: the oldest goes, and the common memory is asked.
pub const RIGHTS_GRANTS_PER_SHARD_MAX: usize = 4_096;
/// Questions that are asked or wait to be, each with a copy of its credential. More: 503.
pub const RIGHTS_QUESTIONS_MAX: usize = 2_048;
/// Callers that wait for them. More: 503.
pub const RIGHTS_WAITING_MAX: usize = 2 * HTTP_CONNECTIONS_MAX as usize;
/// How long a question waits for a thread: with the question's own time, less than a client waits. Longer: 503.
pub const RIGHTS_QUEUE_TIME: Duration = Duration::from_secs(5);
/// Buckets that the sources of requests are counted in.
pub const RIGHTS_SOURCES: usize = 4_096;
const _: () = assert!(RIGHTS_GRANTS_PER_SHARD_MAX <= RIGHTS_GRANTS_MAX);

// The store.

/// Bytes of one pack from an upstream. Larger than any repository that a host accepts. More: the ingest fails.
pub const INGEST_PACK_BYTES_MAX: u64 = 64 << 30;
/// Objects of one pack from an upstream; the Linux kernel has 11,000,000. An object costs about 150 bytes of memory while
/// it is indexed. More: the ingest fails.
pub const INGEST_OBJECTS_MAX: u32 = 32_000_000;
/// Inflated bytes of one object. It is held in memory, with its base, on each indexing thread. Larger: the ingest fails.
pub const INGEST_OBJECT_BYTES_MAX: u64 = 1 << 30;
// What is taken can be given.
const _: () = assert!(INGEST_OBJECT_BYTES_MAX <= OBJECT_BYTES_MAX);
/// Inflated bytes of all objects of one pack: about an hour of a core, and ten times the Linux kernel. More: the ingest
/// fails.
pub const INGEST_INFLATED_BYTES_MAX: u64 = 1 << 40;
/// Longest chain of deltas from an upstream: what a reader follows. Longer: the ingest fails.
pub const INGEST_DELTA_DEPTH_MAX: u32 = DELTA_CHAIN_MAX as u32;
/// Threads that index one pack. Several repositories are ingested at once, so one does not take all cores.
pub const INGEST_THREADS_MAX: usize = 4;
/// Cosmetic faults of one ingest that are kept by name; the others are counted.
pub const VERIFY_FINDINGS_KEPT: usize = 16;
/// Earlier generations whose tips stay servable, unless the configuration says otherwise. Older: their tips are gone unless
/// still reachable.
pub const GENERATIONS_KEPT: usize = 8;
/// What the configuration may say: each keeps a table of references in memory and a directory on the disk.
pub const GENERATIONS_KEPT_MAX: usize = 1_000;
/// For how long an earlier generation stays servable, unless the configuration says otherwise: a clone that was advertised
/// it has this long to ask. A pack that a consolidation has replaced stays on the disk for as long.
pub const GENERATION_GRACE: Duration = Duration::from_secs(10 * 60);
/// Tables of what was fetched by its id that are kept servable, each of the ids of one fetch, for as long as an earlier
/// generation. More: the oldest goes, and is asked for again.
pub const KEPT_TABLES_MAX: usize = 256;
/// Bytes of a `generation` file: mostly symbolic references and packs. More: the generation counts as damaged.
pub const GENERATION_FILE_BYTES_MAX: u64 = 64 << 20;
/// Threads that open repositories when the store is opened.
pub const STORE_OPENERS_MAX: usize = 8;
/// Packs from which on a repository is consolidated whatever their sizes: each lookup asks every pack.
pub const CONSOLIDATE_PACKS_MAX: usize = 16;
/// Packs below which it never is: the two that a consolidation leaves, and a few small ones.
pub const CONSOLIDATE_PACKS_MIN: usize = 5;
/// In between, it is when the small packs together are more than this part of the two large ones.
pub const CONSOLIDATE_SHARE: u64 = 4;
/// Bytes of replaced packs that may still lie on the disk, for the grace period, when the next consolidation of their
/// repository begins; or [`CONSOLIDATE_LEAVING_PERCENT`] of the packs in use, if that is more. More: it waits.
pub const CONSOLIDATE_LEAVING_BYTES_FREE: u64 = 256 << 20;
/// With one more consolidation beside them, a large repository takes at most three and a half times its packs' size.
pub const CONSOLIDATE_LEAVING_PERCENT: u64 = 150;
