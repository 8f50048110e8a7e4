//! Hostile peers against a real `heliostat serve`: smuggled, slow, endless and malformed HTTP, and a machine that does
//! not want the server to run.
//!
//! What real clients do is in `tests/e2e`. Every test here ends with a server that still answers, but for those of how it
//! ends (`drain`) and of why it does not start (`startup`).
//!
//! Which attack on names and on the protocol is shown to be answered where (`core` is `core/tests`):
//!
//! | attack | tests |
//! |---|---|
//! | paths that lead elsewhere | `paths`, `http::target`, fuzz `repository_path` |
//! | arguments and shells | `e2e::hostile::no_process_is_started`; `paths` (`-u…`, `--upload-pack=`) |
//! | addresses that lead requests elsewhere | `config::tests`, `upstream::transport::address`, `upstream::hostile` |
//! | the caller's host in an answer, redirects of pushes | `e2e::names`, `e2e::pushes`, `serve::redirect` |
//! | names that are alike | `e2e::names`, `repository_path` |
//! | bad and huge packet lines | `e2e::hostile::bad_packet_lines`, `core::protocol::bounds`, fuzz `pkt_line` |
//! | endless negotiation | `e2e::hostile::half_a_million_haves`, `bodies`, `limits`, `slow`, `core::protocol::bounds` |
//! | compressed bombs | `bodies::a_gigabyte_in_a_megabyte` |
//! | hidden objects | `e2e::hidden`, `core::protocol::v2`, `core::answers` (as bases of deltas) |
//! | references that move between question and answer | `e2e::churn` |
//! | depths that overflow or take long | `e2e::adversarial`, `e2e::hostile`, `core::protocol::bounds` |
//! | filters without end | `e2e::hostile::odd_depths_and_filters`, `e2e::adversarial`, `core::protocol::bounds`, fuzz `filter_spec` |
//! | a cut answer that looks whole | `damage`, `drain`, `core::protocol::properties` |
//! | readers that do not read | `slow` |
//! | versions, unknown capabilities, URIs | `e2e::hostile`, `upload_pack::transcripts`, `core::protocol::v2` |
//! | URIs from an upstream | `upstream::packs::nothing_of_a_bad_first_pack_remains` (`packfile-uris`) |
//! | the caller's address, made up | `proxy`, `e2e::balancers`, `http::client`, `http::proxy_protocol`, fuzz `proxy_header` |
//! | TLS that is none, slow, cut off, endless, in single bytes | `tls` |
//! | the dumb protocol | `paths::files_are_not_served` |
//!
//! Not yet here, since what they attack is not: commands and channels of SSH, several nodes.

#![allow(clippy::unwrap_used, reason = "a failure in a test ends the test")]

mod admin;
mod blame;
mod bodies;
mod damage;
mod drain;
mod folder;
mod heads;
mod large_objects;
mod limits;
mod paths;
mod proxy;
mod queue;
mod slow;
mod startup;
mod support;
mod threads;
mod tls;
mod token;
