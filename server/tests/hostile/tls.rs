//! Peers of a port that speaks TLS: who speaks none, who never comes to an end, and who ends too early. Each test ends with a
//! server that answers over TLS.

use crate::support::{Peer, Server, git, repository, run, status};
use heliostat_core::limits::{TLS_HANDSHAKE_BYTES_MAX, TLS_HANDSHAKE_TIME};
use rcgen::{CertificateParams, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A handshake record, its length to come.
const HANDSHAKE: &[u8] = &[22, 3, 1];
/// Alerts as they come in the open: fatal, and which.
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];
const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A server with a certificate of its own, which is its clients' authority too.
pub struct Site {
    pub server: Server,
}

impl Site {
    fn start() -> Self {
        Self::with("")
    }

    /// With more lines in `[http]`.
    fn with(lines: &str) -> Self {
        let folder = TempDir::new().unwrap();
        repository(&folder.path().join("upstream/team/app.git"));
        Self::on(folder, lines)
    }

    /// On a folder that holds `upstream/`.
    pub fn on(folder: TempDir, lines: &str) -> Self {
        let place = |name: &str| folder.path().join(name).display().to_string();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        fs::write(place("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(place("tls.key"), key.serialize_pem()).unwrap();
        let (certificate, key, config) = (place("tls.crt"), place("tls.key"), place("heliostat.toml"));
        let text = format!("[http]\ntls.certificate = {certificate:?}\ntls.key = {key:?}\n{lines}");
        fs::write(&config, text).unwrap();
        let mut server = Server::listening(folder, &[], &["--config", &config]);
        server.until("it is ready", |server| {
            let mut peer = Peer::connect(server.admin);
            peer.send("GET /status HTTP/1.0\r\n\r\n");
            status(&peer.read_to_end()) == 200
        });
        Self { server }
    }

    fn session(&self, change: impl FnOnce(&mut ClientConfig)) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.server.folder.path().join("tls.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        change(&mut config);
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
    }

    /// A connection after its handshake.
    pub fn connect(&self) -> Stream {
        let mut stream = StreamOwned::new(self.session(|_| ()), self.server.peer().stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream
    }

    /// The first flight of a usual client.
    fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        self.session(|_| ()).write_tls(&mut hello).unwrap();
        hello
    }

    pub fn clone(&self, name: &str) {
        let folder = self.server.folder.path();
        let trusting = format!("http.sslCAInfo={}", folder.join("tls.crt").display());
        let url = format!("https://localhost:{}/team/app.git", self.server.main.port());
        run(git(folder).args(["-c", &trusting, "clone", "-q", "--bare", &url, name]));
    }

    pub fn lives_on(&self) {
        let mut stream = self.connect();
        let answer = ask(&mut stream, "GET /status HTTP/1.0\r\n\r\n");
        assert_eq!(status(&answer), 200, "{}", self.server.log());
        assert!(!self.server.log().contains("panic"), "{}", self.server.log());
    }
}

/// Sends `request` and reads until the end of TLS, which has to be said.
fn ask(stream: &mut Stream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{error} after {answer:?}"));
    answer
}

/// Everything until the server closes.
fn raw_answer(peer: &mut Peer) -> Vec<u8> {
    let mut answer = Vec::new();
    // A reset ends it too.
    let _ = peer.stream.read_to_end(&mut answer);
    answer
}

/// Each side's mistake is named: HTTP where TLS is spoken in a plain answer, TLS where HTTP is spoken in an alert.
#[test]
fn the_wrong_port() {
    let site = Site::start();
    let log = |words: &str| site.server.logs(words);
    for request in ["GET /team/app.git/info/refs HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.0\r\n\r\n", "G"] {
        let answer = site.server.exchange(request);
        assert_eq!(status(&answer), 400, "{answer}");
        assert!(answer.ends_with("\r\n\r\nthis port speaks https: write https:// in the address\n"), "{answer}");
    }
    log("plain http on a port that speaks tls");
    let folder = site.server.folder.path();
    let clone = |url: String| git(folder).args(["clone", "-q", &url, "none"]).output().unwrap();
    assert!(!clone(site.server.url()).status.success());

    // The admin port speaks plain HTTP.
    let mut peer = Peer::connect(site.server.admin);
    peer.send(site.hello());
    assert_eq!(raw_answer(&mut peer), HANDSHAKE_FAILURE);
    log("tls on a port that speaks plain http");
    let plain = Server::start();
    let mut peer = plain.peer();
    peer.send(site.hello());
    assert_eq!(raw_answer(&mut peer), HANDSHAKE_FAILURE);
    // TLS within TLS is neither.
    let mut stream = site.connect();
    stream.write_all(&site.hello()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 400, "{answer}");
    plain.lives_on();
    site.lives_on();
}

/// Behind a balancer that names the client in a PROXY protocol header, that one comes first, and the handshake behind it, in
/// one packet or not.
#[test]
fn behind_a_proxy_header() {
    let site = Site::with("proxy_protocol = true\n");
    for at_once in [true, false] {
        let mut peer = site.server.peer();
        let mut session = site.session(|_| ());
        let mut first = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n".to_vec();
        if at_once {
            session.write_tls(&mut first).unwrap();
        }
        peer.send(&first);
        let mut stream = StreamOwned::new(session, peer.stream);
        assert_eq!(status(&ask(&mut stream, "GET /status HTTP/1.0\r\n\r\n")), 200);
    }
    // The line of a request is written behind its answer.
    let told = || site.server.log().matches("peer=192.0.2.7:4711 ").count();
    let began = Instant::now();
    while told() < 2 && began.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(20));
    }
    assert_eq!(told(), 2, "{}", site.server.log());
    let mut peer = site.server.peer();
    peer.send(site.hello());
    assert!(peer.read_to_end().contains("400 Bad Request"), "a header was demanded");
}

/// What is no handshake ends at once, in an alert; what is cut off ends with its sender.
#[test]
fn garbage_and_cut_handshakes() {
    let site = Site::start();
    let mut random = fastrand::Rng::with_seed(11);
    for length in [1, 5, 100, 4096, 100_000] {
        let mut garbage = vec![0; length];
        random.fill(&mut garbage);
        garbage[0] = 0x80;
        let mut peer = site.server.peer();
        peer.send(&garbage);
        let _ = peer.stream.shutdown(Shutdown::Write);
        let answer = raw_answer(&mut peer);
        assert!(answer.len() <= 7, "{length}: {answer:?}");
    }
    let mut huge = site.server.peer();
    huge.send([HANDSHAKE, &[0xff, 0xff], &[0; 70_000]].concat());
    let answer = raw_answer(&mut huge);
    assert!(answer.is_empty() || answer[..5] == [21, 3, 3, 0, 2], "{answer:?}");
    let mut malformed = site.server.peer();
    malformed.send([HANDSHAKE, &[0, 5], &[1, 0, 0, 1, 0]].concat());
    assert_eq!(raw_answer(&mut malformed), DECODE_ERROR);

    let (hello, open) = (site.hello(), site.server.descriptors());
    for cut in (0..hello.len()).step_by(7) {
        let mut peer = site.server.peer();
        peer.send(&hello[..cut]);
        if cut.is_multiple_of(2) {
            peer.stream.shutdown(Shutdown::Write).unwrap();
            raw_answer(&mut peer);
        }
    }
    // Changed in a few places, under lengths that may still be right.
    for _ in 0..500 {
        let mut changed = hello.clone();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(1..changed.len());
            changed[at] = random.u8(..);
        }
        let mut peer = site.server.peer();
        peer.send(&changed);
        peer.stream.shutdown(Shutdown::Write).unwrap();
        // In the open an alert, or the first flight of a server that has not noticed.
        let answer = raw_answer(&mut peer);
        assert!(answer.is_empty() || [21, 22].contains(&answer[0]), "{answer:?}");
    }
    // After the whole hello, and a wrong second flight.
    for more in [&b""[..], &[0; 200], &[20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 1, 0]] {
        let mut peer = site.server.peer();
        peer.send(&hello);
        let mut begin = [0; 5];
        peer.stream.read_exact(&mut begin).unwrap();
        assert_eq!(begin[..3], [22, 3, 3]);
        peer.send(more);
    }
    let deadline = Instant::now() + TLS_HANDSHAKE_TIME;
    while site.server.descriptors() > open && Instant::now() < deadline {
        sleep(Duration::from_millis(20));
    }
    assert!(site.server.descriptors() <= open, "connections are left");
    site.lives_on();
}

/// Hundreds of handshakes that never end do not keep a clone waiting, and are over after their time.
#[test]
fn slow_handshakes() {
    let mut site = Site::start();
    let (began, hello) = (Instant::now(), site.hello());
    let mut slow: Vec<_> = (0..300)
        .map(|_| {
            let mut peer = site.server.peer();
            peer.send(&hello[..6]);
            peer
        })
        .collect();
    let mut silent = site.server.peer();
    site.clone("clone");
    for second in 0..8 {
        sleep(Duration::from_secs(1));
        slow.iter_mut().for_each(|peer| peer.send(&hello[6 + second..7 + second]));
    }
    slow.iter_mut().for_each(|peer| assert!(raw_answer(peer).is_empty()));
    assert!(raw_answer(&mut silent).is_empty());
    let took = began.elapsed();
    let range = TLS_HANDSHAKE_TIME - Duration::from_secs(1)..TLS_HANDSHAKE_TIME + Duration::from_secs(15);
    assert!(range.contains(&took), "{took:?}");
    site.server.until("each is in the log", |server| server.log().matches("it took too long").count() == 300);
    site.lives_on();
}

/// A hello as long as rustls takes one, and longer, in as many records as there are bytes.
#[test]
fn endless_handshakes() {
    let site = Site::start();
    let mut peer = site.server.peer();
    // A client hello of 65,535 bytes, of which each record brings one.
    let mut message = vec![1, 0, 0xff, 0xff];
    message.resize(2 * TLS_HANDSHAKE_BYTES_MAX, 0);
    let records: Vec<u8> = message.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    peer.send(&records);
    raw_answer(&mut peer);
    assert!(site.server.log().contains("operation=\"handshake\""), "{}", site.server.log());
    site.lives_on();
}

/// A request of which each record brings one byte is a request; so is one whose sender then ends its side.
#[test]
fn single_bytes_and_half_closed() {
    let site = Site::start();
    let mut stream = site.connect();
    for byte in b"GET /team/app.git/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
        stream.flush().unwrap();
    }
    let answer = ask(&mut stream, "");
    assert!(status(&answer) == 200 && answer.ends_with("0000"), "{answer}");

    for tcp_too in [false, true] {
        let mut stream = site.connect();
        stream.write_all(b"GET /team/app.git/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        if tcp_too {
            stream.sock.shutdown(Shutdown::Write).unwrap();
        }
        let answer = ask_nothing(&mut stream);
        assert!(status(&answer) == 200 && answer.ends_with("0000"), "{answer}");
    }
    // Without a word for it, in the middle of a request: nobody is there to be answered.
    let mut stream = site.connect();
    stream.write_all(b"GET /team/app.git/inf").unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ask_nothing(&mut stream), "");
    site.lives_on();
}

fn ask_nothing(stream: &mut Stream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{error} after {answer:?}"));
    answer
}

/// Who asks for keys to be agreed on anew is not heard, and others are served meanwhile.
#[test]
fn renegotiation() {
    let site = Site::start();
    let address = format!("127.0.0.1:{}", site.server.main.port());
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_2", "-legacy_renegotiation", "-connect", &address]);
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    // Each `R` on a line of its own asks for it.
    for _ in 0..100 {
        if input.write_all(b"R\n").and_then(|()| input.flush()).is_err() {
            break;
        }
    }
    site.clone("clone");
    drop(input);
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("RENEGOTIATING"), "the client did not ask: {said}");
    assert!(said.contains("no renegotiation") || said.contains("error"), "{said}");
    site.lives_on();
}

/// What a head, a body and silence are given over TLS too; a slow one is told so.
#[test]
fn slow_heads() {
    let site = Site::start();
    let began = Instant::now();
    let (mut slow, mut silent) = (site.connect(), site.connect());
    slow.write_all(b"GET /status HTTP/1.1\r\nHost: h\r\nX: ").unwrap();
    for _ in 0..8 {
        sleep(Duration::from_secs(1));
        slow.write_all(b"a").unwrap();
    }
    assert_eq!(status(&ask_nothing(&mut slow)), 408);
    assert_eq!(ask_nothing(&mut silent), "");
    let took = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(25)).contains(&took), "{took:?}");
    site.lives_on();
}
