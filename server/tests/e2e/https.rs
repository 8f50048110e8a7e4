//! The mirror over TLS: real clients, versions and chains as OpenSSL sees them, and certificates that are replaced at work.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::authority::{Authority, Identity, Valid};
use crate::support::compare::{fsck, sound_and_same};
use crate::support::git::{Git, Which};
use crate::support::heliostat::{Heliostat, PROGRAM};
use crate::support::process::{Finished, SERVER_TIMEOUT, hermetic, run, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const APP: &str = "team/app.git";
const HERE: &[&str] = &["127.0.0.1", "localhost"];
/// Longer than it takes to notice that a file has changed.
const RELOAD_TIME: Duration = Duration::from_secs(30);

/// A folder as the upstream, mirrored over TLS by an authority's word.
struct Site {
    git: Git,
    upstream: Upstream,
    authority: Authority,
    mirror: Heliostat,
    sandbox: Sandbox,
}

impl Site {
    fn start() -> Self {
        Self::with(Upstream::rich, |authority| authority.certify(HERE, Valid::Now))
    }

    fn with(fill: impl FnOnce(&Git, &Path) -> Upstream, certify: impl FnOnce(&Authority) -> Identity) -> Self {
        let (sandbox, authority) = (Sandbox::new(), Authority::new("ours"));
        let git = Git::new(&sandbox);
        let upstream = fill(&git, &sandbox.folder("upstream").join(APP));
        let folder = sandbox.folder("mirror");
        show(&folder, &certify(&authority));
        std::fs::write(folder.join("ca.pem"), &authority.certificate).unwrap();
        let flags = ["--config", &configuration(&folder).display().to_string()];
        let mirror = Heliostat::start(&folder, &sandbox.folder("upstream").display().to_string(), &flags);
        Self { git, upstream, authority, mirror, sandbox }
    }

    fn folder(&self) -> PathBuf {
        self.sandbox.folder("mirror")
    }

    fn url(&self) -> String {
        format!("{}/{APP}", self.mirror.secure_url())
    }

    /// Git's arguments for trusting the authority.
    fn trusting(&self) -> [String; 2] {
        ["-c".into(), format!("http.sslCAInfo={}", self.folder().join("ca.pem").display())]
    }

    fn clone_by(&self, git: &Git, settings: &[&str]) -> Result<PathBuf, String> {
        let folder = self.sandbox.fresh("clone");
        let (trusting, url, target) = (self.trusting(), self.url(), folder.display().to_string());
        let mut arguments: Vec<&str> = trusting.iter().map(String::as_str).collect();
        arguments.extend(["clone", "--quiet"]);
        arguments.extend(settings);
        arguments.extend([url.as_str(), target.as_str()]);
        git.try_text(self.sandbox.path(), &arguments)?;
        Ok(folder)
    }

    fn theirs(&self) -> PathBuf {
        let folder = self.sandbox.fresh("theirs");
        let url = format!("file://{}", self.upstream.folder.display());
        self.git.text(self.sandbox.path(), &["clone", "-q", "--mirror", &url, &folder.display().to_string()]);
        folder
    }

    /// A connection that trusts the authority alone.
    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let session = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.mirror.port())).unwrap();
        socket.set_read_timeout(Some(RELOAD_TIME)).unwrap();
        StreamOwned::new(session, socket)
    }

    /// The certificate that a new connection is shown.
    fn shown(&self) -> CertificateDer<'static> {
        let mut stream = self.connect();
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// What OpenSSL's client makes of it, with `input` on its standard input.
    fn openssl(&self, arguments: &[&str], input: &[u8]) -> Finished {
        let mut command = hermetic("openssl", self.sandbox.path());
        command.args(["s_client", "-connect", &format!("127.0.0.1:{}", self.mirror.port()), "-CAfile"]);
        command.arg(self.folder().join("ca.pem")).args(["-servername", "localhost"]).args(arguments);
        run(&mut command, input, self.sandbox.path())
    }
}

fn show(folder: &Path, identity: &Identity) {
    std::fs::write(folder.join("tls.crt"), &identity.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &identity.key).unwrap();
}

fn configuration(folder: &Path) -> PathBuf {
    let (certificate, key, file) = (folder.join("tls.crt"), folder.join("tls.key"), folder.join("heliostat.toml"));
    let (certificate, key) = (certificate.display(), key.display());
    std::fs::write(&file, format!("[http]\ntls.certificate = \"{certificate}\"\ntls.key = \"{key}\"\n")).unwrap();
    file
}

fn leaf(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()
}

/// Both Gits in each protocol version: whole, shallow and partial clones, and a fetch, on one connection where Git keeps it.
#[test]
fn real_clients() {
    let site = Site::start();
    let theirs = site.theirs();
    for which in [Which::Machine, Which::Debian] {
        for version in 0..=2 {
            let case = format!("{which:?}, version {version}");
            let client = Git::client(&site.sandbox, which, version);
            let ours = site.clone_by(&client, &["--mirror"]).unwrap_or_else(|error| panic!("{case}: {error}"));
            sound_and_same(&site.git, &ours, &theirs).unwrap_or_else(|error| panic!("{case}: {error}"));
            let shallow = site.clone_by(&client, &["--bare", "--depth", "1"]).unwrap();
            fsck(&site.git, &shallow).unwrap();
            assert_eq!(site.git.text(&shallow, &["rev-list", "--count", "HEAD"]), "1", "{case}");
            let partial = site.clone_by(&client, &["--bare", "--filter=blob:none"]).unwrap();
            assert_eq!(site.git.text(&partial, &["rev-parse", "HEAD"]), site.upstream.id("HEAD"), "{case}");
        }
    }
    let ours = site.clone_by(&site.git, &["--mirror"]).unwrap();
    site.upstream.commit("main", &[("later.txt", "later\n")]);
    let trusting = site.trusting();
    let mut fetch = site.git.command(&ours, &[&trusting[0], &trusting[1], "fetch", "--prune"]);
    let finished = run(fetch.env("GIT_CURL_VERBOSE", "1"), b"", site.sandbox.path());
    assert!(finished.status.success(), "{}", finished.stderr);
    assert_eq!(site.git.text(&ours, &["rev-parse", "main"]), site.upstream.id("main"));
    fsck(&site.git, &ours).unwrap();
    let handshakes = finished.stderr.matches("SSL connection using TLS").count();
    assert!(handshakes == 1 && finished.stderr.contains("e-using existing connection"), "{}", finished.stderr);

    let untrusting = site.git.try_text(site.sandbox.path(), &["ls-remote", &site.url()]).unwrap_err();
    assert!(untrusting.contains("certificate"), "{untrusting}");
}

/// A hundred megabytes, in objects that are larger than all buffers on their way.
#[test]
fn a_large_clone() {
    let fill = |git: &Git, folder: &Path| {
        let upstream = Upstream::rich(git, folder);
        let mut random = fastrand::Rng::with_seed(7);
        for part in 0..5 {
            let mut noise = vec![0; 20 << 20];
            random.fill(&mut noise);
            let file = folder.join("noise");
            std::fs::write(&file, noise).unwrap();
            let blob = upstream.run(&["-c", "core.compression=0", "hash-object", "-w", "noise"]);
            std::fs::remove_file(file).unwrap();
            upstream.run(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},noise-{part}")]);
        }
        let tree = upstream.run(&["write-tree"]);
        let commit = upstream.run(&["commit-tree", "-m", "noise", "-p", "main", &tree]);
        upstream.run(&["update-ref", "refs/heads/main", &commit]);
        upstream
    };
    let site = Site::with(fill, |authority| authority.certify(HERE, Valid::Now));
    wait_until("the first copy is here", SERVER_TIMEOUT, || !site.mirror.stored().is_empty());
    let ours = site.clone_by(&site.git, &["--mirror"]).unwrap();
    sound_and_same(&site.git, &ours, &site.theirs()).unwrap();
}

/// What OpenSSL's own client sees: versions, the chain, the protocol, sessions that are resumed, and an end that is said.
#[test]
fn as_openssl_sees_it() {
    let site = Site::with(Upstream::rich, |authority| {
        let between = authority.intermediate("between");
        let identity = between.certify(HERE, Valid::Now);
        Identity { certificate: format!("{}{}", identity.certificate, between.certificate), ..identity }
    });
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let seen = site.openssl(&[version, "-alpn", "h2,http/1.1", "-verify_return_error"], b"");
        let text = seen.text();
        assert!(seen.status.success(), "{version}: {text}{}", seen.stderr);
        for words in [&format!("New, {name}"), "Verify return code: 0 (ok)", "ALPN protocol: http/1.1", "CN = between"]
        {
            assert!(text.contains(words), "{version}: {words:?} is not in {text}");
        }
        assert_eq!(text.matches("-----BEGIN CERTIFICATE-----").count(), 1, "{text}");
    }
    let old = site.openssl(&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], b"");
    assert!(!old.status.success() && old.text().contains("Cipher is (NONE)"), "{}", old.text());
    let other = site.openssl(&["-alpn", "h2"], b"");
    assert!(!other.status.success() && other.stderr.contains("no application protocol"), "{}", other.stderr);

    let session = site.sandbox.path().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let request = b"GET /status HTTP/1.0\r\n\r\n";
        let first = site.openssl(&[version, "-ign_eof", "-sess_out", &session], request);
        assert!(first.text().contains("New, TLSv1."), "{}", first.text());
        let second = site.openssl(&[version, "-ign_eof", "-sess_in", &session], request);
        assert!(second.text().contains("Reused, TLSv1."), "{version}: {}", second.text());
    }
    // Where nothing else tells that an answer is whole, the end of TLS does.
    let advertisement = format!("GET /{APP}/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n");
    let whole = site.openssl(&["-quiet", "-ign_eof"], advertisement.as_bytes());
    assert!(whole.status.success() && !whole.stderr.contains("unexpected eof"), "{}", whole.stderr);
    assert!(whole.text().ends_with("0000"), "{}", whole.text());
}

/// Every form of key that OpenSSL writes.
#[test]
fn forms_of_keys() {
    let sandbox = Sandbox::new();
    let openssl = |arguments: &[&str]| {
        let finished = run(hermetic("openssl", sandbox.path()).args(arguments), b"", sandbox.path());
        assert!(finished.status.success(), "{arguments:?}: {}", finished.stderr);
        finished.text()
    };
    let config = configuration(sandbox.path());
    let path = |name: &str| sandbox.path().join(name).display().to_string();
    let (key, certificate) = (path("tls.key"), path("tls.crt"));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[upstream]\nurl = \"https://h\"\n[[mirror]]\ninclude = [\"a\"]\n")).unwrap();
    for (form, begin, arguments) in [
        ("pkcs1", "BEGIN RSA PRIVATE KEY", &["genrsa", "-traditional", "2048"][..]),
        ("sec1", "BEGIN EC PARAMETERS", &["ecparam", "-genkey", "-name", "prime256v1"]),
        ("pkcs8-rsa", "BEGIN PRIVATE KEY", &["genpkey", "-algorithm", "RSA"]),
        ("pkcs8-ec", "BEGIN PRIVATE KEY", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("ed25519", "BEGIN PRIVATE KEY", &["genpkey", "-algorithm", "ed25519"]),
    ] {
        let pem = openssl(arguments);
        assert!(pem.contains(begin), "{form}: not what OpenSSL writes any more");
        std::fs::write(&key, pem + "\n").unwrap();
        let own = ["-subj", "/CN=localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
        openssl(&[&["req", "-x509", "-new", "-key", &key, "-out", &certificate][..], &own].concat());
        let checked = run(hermetic(PROGRAM, sandbox.path()).arg("check-config").arg(&config), b"", sandbox.path());
        assert!(checked.status.success(), "{form}: {}", checked.stderr);
        let warned = checked.stderr.trim().ends_with("tls.key: everybody on this machine may read it: chmod o-r");
        assert!(warned && checked.stderr.contains("warning: line 3: `tls.key`: "), "{form}: {}", checked.stderr);
    }
}

/// Fifty new certificates, in each of the ways in which they come, while clones are made without end: none fails, each
/// certificate is shown to who comes next, and a connection that was there before goes on.
#[test]
fn reloaded_under_load() {
    const RELOADS: usize = 50;
    let site = Site::start();
    let (over, clones) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut before = site.connect();
    let mut ask = || {
        before.write_all(b"GET /status HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut answer = [0; 4 << 10];
        let read = before.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..read]));
    };
    std::thread::scope(|scope| {
        let cloning = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let clone = site.clone_by(&site.git, &["--bare"])?;
                std::fs::remove_dir_all(clone).map_err(|error| error.to_string())?;
                clones.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), String>(())
        });
        let mut reload = |number: usize| {
            let identity = site.authority.certify(HERE, Valid::Now);
            let (folder, next) = (site.folder(), site.sandbox.folder(&format!("identity-{number}")));
            show(&next, &identity);
            for file in ["tls.crt", "tls.key"] {
                let (new, old) = (next.join(file), folder.join(file));
                match number % 3 {
                    // Written where it is, as long as it is no link to the one before.
                    0 if !old.is_symlink() => drop(std::fs::copy(new, old).unwrap()),
                    // Renamed into its place.
                    2 => std::fs::rename(new, old).unwrap(),
                    // A link that leads elsewhere now.
                    _ => {
                        let link = next.join("link");
                        symlink(new, &link).unwrap();
                        std::fs::rename(link, old).unwrap();
                    }
                }
            }
            let expected = leaf(&identity);
            wait_until("the new certificate is shown", RELOAD_TIME, || site.shown() == expected);
            ask();
        };
        let reloaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (0..RELOADS).for_each(&mut reload)));
        over.store(true, Ordering::Relaxed);
        cloning.join().unwrap().unwrap_or_else(|error| panic!("a clone failed: {error}"));
        reloaded.unwrap();
    });
    assert!(clones.load(Ordering::Relaxed) >= 10, "{clones:?}");
    let log = site.mirror.log();
    assert!(!log.contains("can't be used") && log.matches("is a new one from now on").count() >= RELOADS, "{log}");
}

/// A pair that can't be used is said to be none, loudly, and the one from before goes on; so it is with a pair that no client
/// would take.
#[test]
fn broken_ones_are_not_taken() {
    let site = Site::start();
    let first = site.shown();
    let sound = site.authority.certify(HERE, Valid::Now);
    let expired = site.authority.certify(HERE, Valid::Past);
    let misfit = Identity { key: expired.key.clone(), ..sound.clone() };
    let damaged = Identity { key: sound.key[..sound.key.len() / 2].into(), ..sound.clone() };
    for (identity, words) in [
        (&misfit, "it is not the key of the certificate in"),
        (&damaged, "it is damaged, or not PEM"),
        (&expired, "has expired on Thu, 02 Jan 2020"),
    ] {
        show(&site.folder(), identity);
        wait_until(words, RELOAD_TIME, || {
            let log = site.mirror.log();
            log.lines()
                .any(|line| line.contains("ERROR") && line.contains("the old one is kept") && line.contains(words))
        });
        assert_eq!(site.shown(), first, "{words}");
    }
    std::fs::remove_file(site.folder().join("tls.key")).unwrap();
    wait_until("a missing key is said", RELOAD_TIME, || site.mirror.log().contains("tls.key: No such file"));
    show(&site.folder(), &sound);
    wait_until("the sound one is shown", RELOAD_TIME, || site.shown() == leaf(&sound));
    fsck(&site.git, &site.clone_by(&site.git, &["--bare"]).unwrap()).unwrap();
}

/// Mistakes are told before anything listens, each with its line.
#[test]
fn what_is_no_identity_is_told_at_the_start() {
    let sandbox = Sandbox::new();
    let config = configuration(sandbox.path());
    let own = Authority::new("ours").certify(HERE, Valid::Now);
    show(sandbox.path(), &Identity { key: Authority::new("other").certify(HERE, Valid::Now).key, ..own });
    let data = sandbox.path().join("data");
    let mut command = hermetic(PROGRAM, sandbox.path());
    command.args(["serve", "--upstream", "/srv/git", "--listen", "127.0.0.1:0", "--config"]).arg(&config);
    let finished = run(command.arg("--data").arg(&data), b"", sandbox.path());
    assert_eq!(finished.status.code(), Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("line 3: `tls.key`: "), "{}", finished.stderr);
    assert!(finished.stderr.contains("it is not the key of the certificate in"), "{}", finished.stderr);
    assert!(!data.exists());
}
