//! HTTP/1.1 to one upstream, blocking, as gix-transport's `Http`.
//!
//! Ours because a mirror needs what general clients hide: every wait bounded and stoppable, answers bounded in size,
//! failures told apart, and requests that can go nowhere but to the configured origin. Redirections are errors; the host
//! that they name is said, never visited. A credential goes to the configured origin only, in its header; none may be in the
//! URL.
//!
//! Not here: HTTP/2, compression of answers.

mod address;
mod body;
mod connection;
mod egress;
mod exchange;
mod head;
mod proxy;
mod question;
mod session;
pub(crate) mod trust;

pub use address::{AddressError, BaseUrl, Origin};
pub use connection::Patience;
pub use egress::Egress;
pub(crate) use exchange::host_of;
pub use head::{Framing, Head, HeadError};
pub use proxy::{Proxies, Proxy, ProxyError};
pub use question::{Asking, Question, Told};
pub use session::{Control, Session};
