//! What to send, and sending it: sealed packs, plans made of segments, and their emission as frames.

mod emit;
mod entry;
mod plan;
mod sealed;
mod spool;

pub use emit::{Chunk, EmitError, Emitter, Framing};
pub use plan::{Encoding, Plan, PlanError, Segment, plan};
pub use sealed::{EntryTable, OpenError, SealedPack};
pub use spool::Spool;
