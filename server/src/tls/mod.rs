//! Certificates and keys of our own: read, judged in words, and read again when their files change. What a connection does
//! with them is in `http/tls` (to clients) and `upstream/transport` (to the upstream).

mod client;
mod identity;
mod provider;
mod serving;
mod watch;

pub use client::ClientIdentity;
pub(crate) use identity::date;
pub use identity::{Files, Flaw, Identity, Part};
pub use provider::provider;
pub use serving::Serving;
pub use watch::{Renewable, Renewed, watch};
