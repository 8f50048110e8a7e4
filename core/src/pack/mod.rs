//! What to send, and sending it: sealed packs, plans made of segments, and their emission as frames.

mod emit;
mod plan;
mod sealed;

pub use emit::{Chunk, EmitError, Emitter, Framing};
pub use plan::{Encoding, Plan, PlanError, Segment, Spool, plan};
pub use sealed::{EntryTable, OpenError, SealedPack};
