//! What to send, and sending it: sealed packs, plans made of segments, and their emission as frames.

mod checkpoints;
mod commit_table;
mod emit;
mod encoder;
mod entry;
mod entry_file;
mod kinds;
mod outline;
mod plan;
mod room;
mod sealed;
mod spool;

pub use commit_table::{Added, CommitTable, Link, Row, Target};
pub use emit::{Chunk, EmitError, Emitter, Framing};
pub use entry_file::EntryFile;
pub use kinds::KindsError;
pub use outline::{Outline, Plan, Segment};
pub use plan::{Encoding, PlanError, plan};
pub use room::Room;
pub use sealed::{EntryTable, OpenError, SealedPack};
pub use spool::Spool;

pub(crate) use entry_file::Window;
