//! Every bound of the engine, each with its reason. A limit reached has a stated answer: refuse, wait or drop.

/// Longest pkt-line, length prefix included (`gitprotocol-common`: LARGE_PACKET_MAX). Longer: refuse.
pub const PKT_LINE_BYTES_MAX: usize = 65_520;
/// Longest payload of a pkt-line.
pub const PKT_LINE_PAYLOAD_MAX: usize = PKT_LINE_BYTES_MAX - 4;
/// Payload of one `side-band-64k` frame: a pkt-line less its length and the band byte.
pub const SIDE_BAND_64K_PAYLOAD_MAX: usize = PKT_LINE_BYTES_MAX - 5;
/// Payload of one `side-band` frame (`gitprotocol-capabilities`: packets of up to 1000 bytes).
pub const SIDE_BAND_PAYLOAD_MAX: usize = 1_000 - 5;
/// Bytes of one request's body after inflation; git-http-backend buffers 10 MiB of negotiation by default
/// (`http.maxRequestBuffer`). Larger: refuse.
pub const REQUEST_BYTES_MAX: usize = 10 << 20;
/// Wants of one request. A mirror clone of a repository with 200,000 refs wants each distinct tip. More: refuse.
pub const WANTS_MAX: usize = 1_000_000;
/// Haves of one conversation. Git's client stops at 256 in vain, but a hostile one does not. More: refuse.
pub const HAVES_MAX: usize = 200_000;
/// Rounds of negotiation on one full-duplex connection. More: refuse.
pub const ROUNDS_MAX: usize = 10_000;
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

const _: () = assert!(PKT_LINE_PAYLOAD_MAX + 4 == PKT_LINE_BYTES_MAX);
const _: () = assert!(SIDE_BAND_64K_PAYLOAD_MAX < PKT_LINE_PAYLOAD_MAX);
const _: () = assert!(REQUEST_BYTES_MAX > PKT_LINE_BYTES_MAX);
