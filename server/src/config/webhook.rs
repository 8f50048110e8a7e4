//! `[webhook]`: what lets the upstream's webhooks in.

use std::fmt;

/// `[webhook]`.
#[derive(Clone, Default)]
pub struct Webhook {
    /// What the host signs with. Without one, webhooks need what the rest of the admin port needs.
    pub secret: Option<String>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("secret", &self.secret.as_ref().map(|_| "…")).finish()
    }
}
