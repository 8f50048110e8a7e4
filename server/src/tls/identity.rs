//! A certificate chain and its private key, in PEM files: read whole, known to belong together, or refused in words that
//! name the file and what to do. No word repeats anything of the key.

use super::provider;
use crate::upstream::error::escaped;
use rustls::{
    CertificateError, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    sign::CertifiedKey,
};
use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

/// No chain and no key is as long; a device file is.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Permission of those who are neither owner nor group.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Where they are. One file may hold both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The chain: our own certificate first, then those of the authorities between it and one that is known.
    pub certificate: PathBuf,
    /// The key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The chain.
    Certificate,
    /// The key.
    Key,
}

/// What is wrong, or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// With which file.
    pub part: Part,
    /// In words that name it.
    pub text: String,
}

/// A chain and the key of its first certificate.
#[derive(Clone)]
pub struct Identity {
    /// For rustls.
    pub certified: Arc<CertifiedKey>,
    /// What deserves a word and keeps nobody from using it.
    pub doubts: Vec<Flaw>,
    /// Whether it is valid by the clock of this machine.
    pub is_current: bool,
}

impl Identity {
    /// Reads both files.
    pub fn read(files: &Files) -> Result<Self, Flaw> {
        let chain = chain(&files.certificate)?;
        let key = key(&files.key)?;
        let certified = pair(chain, key, files)?;
        let mut doubts = Vec::new();
        let doubt = validity(&certified.cert, Duration::ZERO);
        let is_current = doubt.is_none();
        doubts.extend(doubt.or_else(|| fitness(&certified.cert)).map(|text| of_certificate(files, text)));
        if std::fs::metadata(&files.key).is_ok_and(|found| found.permissions().mode() & READABLE_BY_OTHERS != 0) {
            doubts.push(of_key(files, "everybody on this machine may read it: chmod o-r"));
        }
        Ok(Self { certified: Arc::new(certified), doubts, is_current })
    }

    /// What is to be used from now on, read anew; `None` if it is the same. One that nobody would take is no better than what
    /// there is.
    pub(super) fn successor(&self, files: &Files) -> Result<Option<Self>, String> {
        let read = Self::read(files).map_err(|flaw| flaw.to_string())?;
        if read.certified.cert == self.certified.cert {
            return Ok(None);
        }
        match read.doubts.iter().find(|_| !read.is_current) {
            Some(doubt) => Err(doubt.to_string()),
            None => Ok(Some(read)),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.certified.cert.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is wrong with the time of `chain`, `ahead` of now: `None` if it is valid then.
pub(super) fn validity(chain: &[CertificateDer<'_>], ahead: Duration) -> Option<String> {
    match judged(chain, ahead)? {
        CertificateError::ExpiredContext { not_after, .. } => {
            let verb = if ahead.is_zero() { "has expired" } else { "expires" };
            Some(format!("the certificate {verb} on {}", date(not_after)))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            Some(format!("the certificate is not valid before {}, by the clock of this machine", date(not_before)))
        }
        _ => None,
    }
}

/// Whether clients will take it for what it is used as.
fn fitness(chain: &[CertificateDer<'_>]) -> Option<String> {
    match judged(chain, Duration::ZERO)? {
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            Some("the certificate is an authority's (CA:TRUE), which some clients refuse".into())
        }
        _ => None,
    }
}

/// What a verifier finds first: whether a stranger issued it is looked at last, and is no fault here.
fn judged(chain: &[CertificateDer<'_>], ahead: Duration) -> Option<CertificateError> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
    let (own, others) = chain.split_first()?;
    let anybody = ServerName::try_from("localhost").ok()?;
    let then = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + ahead);
    match verifier.verify_server_cert(own, others, &anybody, &[], then) {
        Err(Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let flaw = |text: String| Flaw { part: Part::Certificate, text: format!("{}: {text}", path.display()) };
    let text = read(path).map_err(|error| flaw(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(flaw("no certificate in it".into())),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(flaw("it is damaged, or not PEM".into())),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Flaw> {
    let flaw = |text: &str| Flaw { part: Part::Key, text: format!("{}: {text}", path.display()) };
    let text = read(path).map_err(|error| flaw(&error.to_string()))?;
    match PrivateKeyDer::pem_slice_iter(&text).next() {
        Some(Ok(key)) => Ok(key),
        _ if String::from_utf8_lossy(&text).contains("ENCRYPTED") => {
            Err(flaw("the key is encrypted with a passphrase, which nobody can type here: write it without one"))
        }
        Some(Err(_)) => Err(flaw("it is damaged, or not PEM")),
        None => Err(flaw("no private key in it (PKCS#8, PKCS#1 or SEC1, as PEM)")),
    }
}

fn pair(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, files: &Files) -> Result<CertifiedKey, Flaw> {
    let key = provider().key_provider.load_private_key(key).map_err(|_| {
        of_key(files, "no key that is understood: RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519")
    })?;
    let of = |certificate: &CertificateDer<'static>| CertifiedKey::new(vec![certificate.clone()], key.clone());
    match of(&chain[0]).keys_match() {
        Ok(()) => Ok(CertifiedKey::new(chain, key)),
        Err(Error::InconsistentKeys(_)) => {
            let place = chain.iter().skip(1).position(|other| of(other).keys_match().is_ok());
            let text = match place {
                Some(place) => format!(
                    "it is the key of certificate {} in {}: our own has to come first, then those of the authorities",
                    place + 2,
                    files.certificate.display()
                ),
                None => format!("it is not the key of the certificate in {}", files.certificate.display()),
            };
            Err(of_key(files, text))
        }
        Err(error) => {
            let text = format!("the certificate can't be read: {}", escaped(error.to_string().as_bytes()));
            Err(of_certificate(files, text))
        }
    }
}

fn of_certificate(files: &Files, text: impl fmt::Display) -> Flaw {
    Flaw { part: Part::Certificate, text: format!("{}: {text}", files.certificate.display()) }
}

fn of_key(files: &Files, text: impl fmt::Display) -> Flaw {
    Flaw { part: Part::Key, text: format!("{}: {text}", files.key.display()) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too long for a certificate or a key"));
    }
    Ok(bytes)
}

/// A moment as HTTP writes it.
pub(crate) fn date(time: UnixTime) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())) {
        // Later than this HTTP dates do not reach.
        Some(moment) if time.as_secs() < 253_402_300_800 => httpdate::HttpDate::from(moment).to_string(),
        _ => "a day after the year 9999".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    struct Place(tempfile::TempDir);

    impl Place {
        fn files(&self, certificate: &str, key: &str) -> Files {
            let files = Files { certificate: self.0.path().join("c.pem"), key: self.0.path().join("k.pem") };
            std::fs::write(&files.certificate, certificate).unwrap();
            std::fs::write(&files.key, key).unwrap();
            std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o640)).unwrap();
            files
        }

        fn read(&self, certificate: &str, key: &str) -> Result<Identity, Flaw> {
            Identity::read(&self.files(certificate, key))
        }
    }

    fn made(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        change(&mut params);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn pairs_and_what_is_none() {
        let place = Place(tempfile::tempdir().unwrap());
        let (ours, key) = made(|_| ());
        let (theirs, other_key) = made(|_| ());
        let whole = place.read(&format!("{ours}{theirs}"), &key).unwrap();
        assert_eq!((whole.certified.cert.len(), whole.doubts.as_slice(), whole.is_current), (2, &[][..], true));
        let both = format!("{key}{ours}");
        assert!(place.read(&both, &both).is_ok(), "one file may hold both");

        let cut = &ours[..ours.len() / 2];
        let secret = key.lines().nth(1).unwrap();
        for (certificate, key, part, words) in [
            ("", key.as_str(), Part::Certificate, "no certificate in it"),
            (cut, &key, Part::Certificate, "damaged, or not PEM"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &key,
                Part::Certificate,
                "can't be read",
            ),
            (&ours, "", Part::Key, "no private key in it"),
            (&ours, &ours, Part::Key, "no private key in it"),
            (&ours, &key[..key.len() / 2], Part::Key, "damaged, or not PEM"),
            (&ours, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", Part::Key, "no key that is"),
            (&ours, &other_key, Part::Key, "it is not the key of the certificate in"),
            (&format!("{theirs}{ours}"), &key, Part::Key, "it is the key of certificate 2 in"),
            (&ours, &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), Part::Key, "encrypted with a passphrase"),
            (
                &ours,
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
                Part::Key,
                "encrypted with a passphrase",
            ),
        ] {
            let flaw = place.read(certificate, key).unwrap_err();
            assert!(flaw.part == part && flaw.text.contains(words), "{words}: {flaw:?}");
            let file = if part == Part::Key { "k.pem: " } else { "c.pem: " };
            assert!(flaw.text.contains(file) && !flaw.text.contains(secret), "{flaw}");
        }
    }

    #[test]
    fn doubts() {
        let place = Place(tempfile::tempdir().unwrap());
        let (past, key) = made(|params| params.not_after = date_time_ymd(2020, 1, 2));
        let expired = place.read(&past, &key).unwrap();
        assert!(!expired.is_current && expired.doubts[0].text.contains("has expired on Thu, 02 Jan 2020"));
        let (future, key) = made(|params| params.not_before = date_time_ymd(2120, 1, 2));
        let early = place.read(&future, &key).unwrap();
        assert!(!early.is_current && early.doubts[0].text.contains("not valid before Tue, 02 Jan 2120"));
        let (selfish, key) = made(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        let files = place.files(&selfish, &key);
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let doubts = Identity::read(&files).unwrap().doubts;
        assert!(doubts[0].text.contains("CA:TRUE") && doubts[0].part == Part::Certificate, "{doubts:?}");
        assert!(doubts[1].text.contains("chmod o-r") && doubts[1].part == Part::Key, "{doubts:?}");
        let (soon, key) = made(|params| params.not_after = date_time_ymd(2120, 1, 2));
        let chain = place.read(&soon, &key).unwrap().certified.cert.clone();
        assert_eq!(validity(&chain, Duration::ZERO), None);
        let ahead = Duration::from_secs(100 * 366 * 86_400);
        assert!(validity(&chain, ahead).unwrap().contains("expires on Tue, 02 Jan 2120"));
    }
}
