//! A TCP relay in front of the upstream that lets through so many bytes a second of what the upstream says, can cut off all
//! that goes through it, and counts.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Relays from a port of its own to another, until dropped.
pub struct Throttle {
    port: u16,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    /// 0: as fast as it goes.
    bytes_per_second: AtomicU64,
    bytes: AtomicU64,
    is_cut: AtomicBool,
    ended: AtomicBool,
}

impl Throttle {
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("bound").port();
        let line = Arc::new(Line::default());
        let relayed = line.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if relayed.ended.load(SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                if !relayed.is_cut.load(SeqCst)
                    && let Ok(server) = TcpStream::connect(("127.0.0.1", target))
                {
                    relay(client, server, &relayed);
                }
            }
        });
        Self { port, line }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From here on, on each connection; 0 for no limit.
    pub fn limit(&self, bytes_per_second: u64) {
        self.line.bytes_per_second.store(bytes_per_second, SeqCst);
    }

    /// All connections end, and new ones too.
    pub fn cut(&self) {
        self.line.is_cut.store(true, SeqCst);
    }

    /// New connections are relayed again.
    pub fn heal(&self) {
        self.line.is_cut.store(false, SeqCst);
    }

    /// What the upstream has said so far, in bytes.
    pub fn bytes(&self) -> u64 {
        self.line.bytes.load(SeqCst)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.line.ended.store(true, SeqCst);
        self.cut();
        // One last connection, so that the loop looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Two threads a connection; each ends with its stream, or when nothing came for a minute.
fn relay(client: TcpStream, server: TcpStream, line: &Arc<Line>) {
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a nonzero time");
    }
    let ends = || (client.try_clone().expect("a second handle"), server.try_clone().expect("a second handle"));
    let (mut from_client, mut to_server) = ends();
    let (to_client, from_server) = ends();
    std::thread::spawn(move || {
        // Whichever side is gone already needs no telling.
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let line = line.clone();
    std::thread::spawn(move || pump(from_server, to_client, &line));
}

fn pump(mut from: TcpStream, mut to: TcpStream, line: &Line) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let time = (read as u64 * 1_000_000).checked_div(line.bytes_per_second.load(SeqCst));
        std::thread::sleep(Duration::from_micros(time.unwrap_or(0)));
        line.bytes.fetch_add(read as u64, SeqCst);
        if line.is_cut.load(SeqCst) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // As above.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
