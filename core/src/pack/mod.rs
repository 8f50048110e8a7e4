//! What to send, and sending it: sealed packs, plans made of segments, and their emission as frames.

mod commit_table;
mod emit;
mod entry;
mod kinds;
mod plan;
mod sealed;
mod spool;

pub use commit_table::{Added, CommitTable, Link, Row, Target};
pub use emit::{Chunk, EmitError, Emitter, Framing};
pub use kinds::KindsError;
pub use plan::{Encoding, Plan, PlanError, Segment, plan};
pub use sealed::{EntryTable, OpenError, SealedPack};
pub use spool::Spool;
