//! HTTP/1.1 to one upstream, blocking, as gix-transport's `Http`.
//!
//! Ours because a mirror needs what general clients hide: every wait bounded and stoppable, answers bounded in size,
//! failures told apart, and requests that can go nowhere but to the configured origin. Redirections are errors; the host
//! that they name is said, never visited. Only anonymous access: no credential is ever sent, and none may be in the URL.
//!
//! Not here: HTTP/2, compression of answers.

mod address;
mod body;
mod connection;
mod egress;
mod exchange;
mod head;
mod proxy;
mod session;
pub(crate) mod trust;

pub use address::{AddressError, BaseUrl, Origin};
pub use connection::Patience;
pub use egress::Egress;
pub use head::{Framing, Head, HeadError};
pub use proxy::{Proxies, Proxy, ProxyError};
pub use session::{Control, Session};
