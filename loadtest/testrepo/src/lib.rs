//! The seeded generator of bare Git repositories, for tests, benches and `heliostat demo`.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! use heliostat_testrepo::{Change, Spec};
//! let spec = Spec { commits: 200, pulls: 50, ..Spec::small(7) };
//! let mut repository = spec.write(&dir.path().join("app.git"))?;
//! repository.advance(&[Change::AddCommits { branch: "main".into(), count: 3 }])?;
//! # Ok(())
//! # }
//! ```
//!
//! It promises: the same [`Spec`] makes the same object ids in every version, and the same bytes on disk in every run
//! of one build; what it makes passes `git fsck --full --strict`; memory is bounded by the newest state of the files
//! and some fifty bytes an object. It needs no Git, reads no clock and draws from its seed alone.
//!
//! It deliberately does not read repositories of others, make SHA-256 ones, or make damaged ones.

mod bounds;
mod change;
mod deflate;
pub mod delta;
mod evolve;
mod files;
mod history;
mod index;
mod loose;
mod object;
mod objects;
mod pack;
mod read;
mod refs;
mod repository;
mod rng;
mod scribe;
mod spec;
mod text;
mod tree;

pub use change::{Change, ChangeSyntaxError};
pub use evolve::{Outcome, Store};
pub use gix_hash::ObjectId;
pub use loose::{path_of as loose_path_of, write_loose};
pub use object::{Commit, Kind, Mode, Signature, Tag, id_of};
pub use pack::DELTA_DEPTH_MAX;
pub use read::Reader;
pub use refs::{Head, MAIN};
pub use repository::{COMMITS_LISTED_MAX, Repository};
pub use rng::Rng;
pub use spec::{HeadForm, RefsForm, Spec};
