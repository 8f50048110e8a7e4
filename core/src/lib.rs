//! The engine of Heliostat: the Git wire protocol, the pack pipeline and the repository store.
//!
//! Everything here is synchronous and free of runtimes, sockets and clocks: bytes and times are arguments, effects
//! are return values. `ARCHITECTURE.md` is the map.

pub mod fault;
pub mod graph;
pub mod limits;
pub mod objects;
pub mod pack;
pub mod protocol;
pub mod refs;
pub mod repository;
mod repository_path;
pub mod retry;
pub mod rights;
pub mod store;
pub mod sync;
pub mod wire;

pub use gix_hash::{ObjectId, oid};
pub use repository_path::{RepositoryPath, RepositoryPathError};
