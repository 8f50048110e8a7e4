//! Hostile peers against a real `heliostat serve`: smuggled, slow, endless and malformed HTTP, and a machine that does
//! not want the server to run.
//!
//! What real clients do is in `tests/e2e`. Every test here ends with a server that still answers, but for those of how it
//! ends (`drain`) and of why it does not start (`startup`).
//!
//! Which attack is shown to be answered where is in docs/threats.md.
//!
//! Which limit (`core/src/limits.rs`; for operators in docs/operating.md) is shown to hold where, by what is sent beyond it:
//!
//! | limit | tests |
//! |---|---|
//! | connections, in all and of one address | `limits::a_full_server_says_so`, `limits::who_is_turned_away_reads_why`, `http::admission`, `e2e::balancers` (connections) |
//! | requests of one address | `e2e::balancers` (requests) |
//! | connections on the admin port | `admin::too_many_connections` |
//! | first copies, of one source and in all | `first_copies`, `core::sync::tests` |
//! | fetches that wait for objects, of one repository | `serve::places` |
//! | descriptors | `limits::out_of_descriptors` |
//! | slow connections, as many as there is room for | `crowd` |
//! | PROXY headers: bytes, time | `proxy`, `http::proxy_protocol`, fuzz `proxy_header` |
//! | heads: bytes, lines, time | `heads`, `http::head`, fuzz `http_head`; `slow::slow_heads` |
//! | idle connections | `slow::idle_connections` |
//! | bodies: bytes, ratio, members, pace, all together | `bodies`, `http::body`; `slow::slow_bodies`; `limits::request_bytes_in_flight` |
//! | what is read of a refused body, and ahead of an answer | `limits::a_refused_body_is_not_read_for_ever`, `limits::pipelined_bytes_are_not_gathered` |
//! | answers that are not taken | `slow::readers_that_do_not_read`, `http::patience` |
//! | packet lines, wants, haves, rounds, filters, shallows, requests | `core::protocol::bounds`, `core::protocol::v2`, `e2e::hostile` |
//! | plans: at work, waiting, for how long | `queue`, `serve::owner` |
//! | packs from an upstream | `core::store::hostile::limits_hold`, fuzz `pack_ingest` |
//! | an upstream's heads, bodies, references | `upstream::hostile`, `upstream::transport` |
//! | objects in memory | `large_objects` |
//! | callers that wait for the upstream | `core::sync::tests` |
//! | draining | `drain` |

#![allow(clippy::unwrap_used, reason = "a failure in a test ends the test")]

mod addresses;
mod admin;
mod blame;
mod bodies;
mod crowd;
mod damage;
mod drain;
mod first_copies;
mod folder;
mod heads;
mod large_objects;
mod limits;
mod paths;
mod proxy;
mod purge;
mod queue;
mod slow;
mod startup;
mod support;
mod threads;
mod tls;
mod tls_answers;
mod token;
