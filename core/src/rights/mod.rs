//! Pure decisions on who may read: what the upstream said of whom is remembered for a while, one question at a time is
//! asked about it, and nobody can use this mirror to guess passwords or names at the upstream.
//!
//! A machine on `(now, event) -> effects`, as `sync` is. It never sees a credential: it knows only a [`Key`].

mod key;
mod machine;
mod memory;
mod sources;
#[cfg(test)]
mod tests;

pub use key::{Action, Key, Keyring};
pub use machine::{Asked, Challenges, Effect, Outcome, Policy, Refusal, Rights, Ticket, Verdict};
pub use memory::Memory;
pub use sources::{Payers, Rate, Source};
