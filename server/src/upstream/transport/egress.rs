//! How connections leave: who is believed to be the upstream, whom we show ourselves as, and the proxy on the way.

use super::{
    address::Origin,
    proxy::{Proxies, Proxy},
    trust::tls_config,
};
use crate::tls::Files;
use rustls::ClientConfig;
use std::{path::Path, sync::Arc};

/// Made once from the configuration; its clones are the same.
#[derive(Clone)]
pub struct Egress {
    pub(super) tls: Arc<ClientConfig>,
    proxies: Arc<Proxies>,
}

impl Egress {
    /// The public authorities and those of `ca` are trusted, `client` is shown to who asks, `proxies` lead there.
    pub fn new(ca: Option<&Path>, client: Option<&Files>, proxies: impl Into<Arc<Proxies>>) -> Result<Self, String> {
        Ok(Self { tls: tls_config(ca, client)?, proxies: proxies.into() })
    }

    /// The proxy on the way to `origin`.
    #[must_use]
    pub fn proxy(&self, origin: &Origin) -> Option<&Proxy> {
        self.proxies.to(origin)
    }
}
