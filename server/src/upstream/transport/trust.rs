//! Who is believed to be the upstream, and in what words an operator hears that somebody is not.
//!
//! The public authorities and those of `ca` in `[upstream]`, nothing else: no switch turns the check off. An upstream that
//! asks who we are is shown `client_certificate`.

use crate::{
    tls::{ClientIdentity, Files, date, provider},
    upstream::{UpstreamError, error::escaped},
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{io, path::Path, sync::Arc};

/// The trust anchors: the public ones, and those of `ca` (a PEM file) in addition. `client` is shown to who asks.
pub fn tls_config(ca: Option<&Path>, client: Option<&Files>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(ca) = ca {
        let own = authorities(ca).map_err(|why| format!("`ca` in [upstream]: {why}"))?;
        roots.roots.extend(own.roots);
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match client {
        None => config.with_no_client_auth(),
        Some(files) => {
            let own =
                ClientIdentity::open(files).map_err(|why| format!("`client_certificate` in [upstream]: {why}"))?;
            let mut config = config.with_client_cert_resolver(own);
            // A session that is resumed is that of who began it, with whichever certificate.
            config.resumption = Resumption::disabled();
            config
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificates in `ca`, a PEM file; an error names it.
pub fn authorities(ca: &Path) -> Result<RootCertStore, String> {
    let wrong = |why: String| format!("{}: {why}", ca.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("no certificate in it".into())) } else { Ok(roots) }
}

/// What a failed handshake means: that the other side is not to be trusted, and what to do about it; or that the
/// connection was lost.
pub(super) fn handshake_error(error: &io::Error) -> UpstreamError {
    match tls_error(error) {
        Some(error) => UpstreamError::Insecure(words(error)),
        None => UpstreamError::Unreachable(format!("during the tls handshake: {error}")),
    }
}

/// What a failed read or write means, if it is of TLS that it failed: in version 1.3 we hear only behind the handshake what the
/// other side thinks of our certificate.
pub(super) fn alert(error: &io::Error) -> Option<UpstreamError> {
    match tls_error(error)? {
        error @ Error::AlertReceived(_) => Some(UpstreamError::Insecure(words(error))),
        _ => None,
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidMessage(_) => {
            "it does not speak tls on this port; if it is a plain http host, `url` in [upstream] has to say http://"
                .into()
        }
        Error::AlertReceived(alert) => of_alert(*alert),
        // Both sides have no version or cipher in common.
        error => format!("tls: {}", escaped(error.to_string().as_bytes())),
    }
}

/// What it does not like, in its own words and in ours.
fn of_alert(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let what_to_do = match alert {
        A::CertificateRequired => "it wants a certificate of ours: `client_certificate` and `client_key` in [upstream]",
        A::UnknownCA => "it does not know the authority of `client_certificate` in [upstream]",
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::AccessDenied => "it does not take `client_certificate` in [upstream]",
        // What hosts answer in TLS 1.2 to who shows no certificate.
        A::HandshakeFailure => "it has no cipher in common with us, or wants a `client_certificate` in [upstream]",
        _ => "it does not say more",
    };
    format!("tls: {}: {what_to_do}", escaped(Error::AlertReceived(alert).to_string().as_bytes()))
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "its certificate comes from an authority that is not known here; if the \
             authority is your own, name the PEM file of its certificate as `ca` in [upstream]"
            .into(),
        CertificateError::BadSignature => "its certificate was not signed with the key of the authority that is known \
             here by that name; if the authority has a new one, `ca` in [upstream] has to be renewed"
            .into(),
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "its certificate has expired on {}; it has to be renewed there, unless the clock of this machine is wrong",
            date(*not_after)
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "its certificate is not valid before {}: either it or the clock of this machine is wrong",
            date(*not_before)
        ),
        CertificateError::NotValidForNameContext { .. } => format!(
            "{}; `url` in [upstream] has to name it as its certificate does",
            escaped(error.to_string().as_bytes())
        ),
        // rustls has no variant of its own for what `openssl req -x509` makes by default.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's (CA:TRUE), and can't be a server's too; one with CA:FALSE has to be \
             made for it there"
                .into()
        }
        error => format!("its certificate can't be verified: {}", escaped(error.to_string().as_bytes())),
    }
}
