//! A CI fleet in a box: clients that do what `git clone` does, as fast as the server lets them, and check the answers.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use heliostat_loadtest::{CloneKind, Fleet};
//! let fleet = Fleet { clients: 16, ..Fleet::new("http://127.0.0.1:8080/team/app.git".parse()?, CloneKind::Full) };
//! let report = fleet.run()?;
//! assert_eq!(report.failed, 0, "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! It promises: each answer is read to its end and judged (HTTP and pkt-line framing, side-bands, the pack's header and
//! checksum, on request the number of its entries, the final flush), and whatever a real client would stumble over is
//! counted as a failure. It shares no code with the server, so that no mistake can be made twice alike.
//!
//! It deliberately keeps nothing: no pack is stored or indexed, no object's id is checked. `git fsck` does that, at ten
//! times the cost. One thread a client, blocking sockets, plain HTTP/1.1, protocol v2 only.
//!
//! Beside the fleet there is what a mirror promises about freshness: [`Interleaved`] pushes and fetches with real Git, and
//! [`History`] judges whether each fetch saw what it had to.

mod address;
mod body;
mod client;
mod connection;
mod failure;
mod fetch;
mod fleet;
mod frames;
mod history;
mod interleaved;
mod pack;
mod references;
mod report;
mod steady;
mod walk;

pub use address::{Address, AddressError};
pub use client::{CloneKind, Cloned, Timings};
pub use failure::{Failure, PackFault};
pub use fleet::{FAILURES_LISTED_MAX, Fleet};
pub use history::{Fetch, History, Push, Violation};
pub use interleaved::Interleaved;
pub use report::{Percentiles, Report};
pub use steady::{Steady, Waits};
