//! What we show to an upstream that asks who we are: the certificate of `client_certificate` in `[upstream]`.
//!
//! Whether its files have changed is looked at whenever it is to be shown: on the threads that ask the upstream, which may
//! wait for a disk.

use super::{
    identity::{Files, Identity, validity},
    watch::{Renewable, Renewed, Watched},
};
use arc_swap::ArcSwap;
use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The certificate in use, for rustls.
pub struct ClientIdentity {
    pair: Arc<Pair>,
    watched: Mutex<Watched>,
}

struct Pair {
    files: Files,
    current: ArcSwap<Identity>,
}

impl ClientIdentity {
    /// Reads `files`.
    pub fn open(files: &Files) -> Result<Arc<Self>, String> {
        let identity = Identity::read(files).map_err(|flaw| flaw.to_string())?;
        let pair = Arc::new(Pair { files: files.clone(), current: ArcSwap::from_pointee(identity) });
        let watched = Mutex::new(Watched::new(pair.clone()));
        Ok(Arc::new(Self { pair, watched }))
    }
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // The first look sees a change, the second one that it stands still: the one before may be an hour ago.
        watched.look();
        watched.look();
        Some(self.pair.current.load().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Renewable for Pair {
    fn name(&self) -> &'static str {
        "the certificate of `client_certificate` in [upstream]"
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.files.certificate.clone(), self.files.key.clone()]
    }

    fn renew(&self) -> Result<Renewed, String> {
        let Some(identity) = self.current.load().successor(&self.files)? else { return Ok(Renewed::Same) };
        let doubts = identity.doubts.iter().map(ToString::to_string).collect();
        self.current.store(Arc::new(identity));
        Ok(Renewed::Taken { doubts })
    }

    fn doubt(&self, ahead: Duration) -> Option<String> {
        validity(&self.current.load().certified.cert, ahead)
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("files", &self.pair.files).finish_non_exhaustive()
    }
}
