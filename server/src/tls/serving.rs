//! What clients are shown: the certificate of `[http] tls`, replaced as a whole by a newer one.
//!
//! A connection keeps what it began with. Sessions are resumed by tickets under keys that nobody but this process has and
//! that go with the certificate: none outlives it, and nothing is kept per client.

use super::{
    identity::{Files, Identity, validity},
    provider,
    watch::{Renewable, Renewed},
};
use arc_swap::ArcSwap;
use rustls::{ServerConfig, ServerConnection, crypto::aws_lc_rs::Ticketer, sign::SingleCertAndKey};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// The certificate in use.
pub struct Serving {
    files: Files,
    current: ArcSwap<Current>,
}

struct Current {
    identity: Identity,
    config: Arc<ServerConfig>,
}

impl Serving {
    /// Reads `files`.
    pub fn open(files: Files) -> Result<Arc<Self>, String> {
        let identity = Identity::read(&files).map_err(|flaw| flaw.to_string())?;
        let current = ArcSwap::from_pointee(Current::new(identity)?);
        Ok(Arc::new(Self { files, current }))
    }

    /// A new connection's side of TLS.
    pub fn session(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(self.current.load().config.clone())
    }
}

impl Current {
    fn new(identity: Identity) -> Result<Self, String> {
        let words = |error: rustls::Error| format!("tls: {error}");
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(words)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified.clone())));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = Ticketer::new().map_err(words)?;
        // With tickets nothing has to be remembered; nor does a shard wait for the lock of such a memory.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self { identity, config: Arc::new(config) })
    }
}

impl Renewable for Serving {
    fn name(&self) -> &'static str {
        "the certificate of `tls` in [http]"
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.files.certificate.clone(), self.files.key.clone()]
    }

    fn renew(&self) -> Result<Renewed, String> {
        let Some(identity) = self.current.load().identity.successor(&self.files)? else { return Ok(Renewed::Same) };
        let doubts = identity.doubts.iter().map(ToString::to_string).collect();
        self.current.store(Arc::new(Current::new(identity)?));
        Ok(Renewed::Taken { doubts })
    }

    fn doubt(&self, ahead: Duration) -> Option<String> {
        validity(&self.current.load().identity.certified.cert, ahead)
    }
}
