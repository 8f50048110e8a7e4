//! A TCP relay in front of the upstream that can cut what the upstream says after so many bytes, or hold it back there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Relays from a port of its own to another, until dropped.
pub struct Cutter {
    port: u16,
    budget: Arc<AtomicU64>,
    holds: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Cutter {
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("bound").port();
        let (budget, ended) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicBool::new(false)));
        let holds = Arc::new(AtomicBool::new(false));
        let (limit, held, stop) = (budget.clone(), holds.clone(), ended.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                relay(client, server, limit.load(Ordering::SeqCst), held.load(Ordering::SeqCst));
            }
        });
        Self { port, budget, holds, ended }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From here on each new connection hears at most this many bytes, then it is closed.
    pub fn cut_after(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::SeqCst);
    }

    /// From here on each new connection hears at most this many bytes, and then nothing until the client gives up.
    pub fn hold_after(&self, bytes: u64) {
        self.holds.store(true, Ordering::SeqCst);
        self.cut_after(bytes);
    }

    /// New connections are whole again.
    pub fn heal(&self) {
        self.cut_after(u64::MAX);
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // One last connection, so that the loop looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Two threads a connection; each ends with its stream, or when nothing came for a minute.
fn relay(client: TcpStream, server: TcpStream, budget: u64, holds: bool) {
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a nonzero time");
    }
    let ends = || (client.try_clone().expect("a second handle"), server.try_clone().expect("a second handle"));
    let (from_client, to_server) = ends();
    let (to_client, from_server) = ends();
    std::thread::spawn(move || pump(from_client, to_server, u64::MAX, false));
    std::thread::spawn(move || pump(from_server, to_client, budget, holds));
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut budget: u64, holds: bool) {
    let mut buffer = [0; 4096];
    while budget > 0 {
        let wanted = buffer.len().min(usize::try_from(budget).unwrap_or(usize::MAX));
        let Ok(read @ 1..) = from.read(&mut buffer[..wanted]) else { break };
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        budget -= read as u64;
    }
    if holds && budget == 0 {
        // Its request is over: what can be seen next is its end.
        let _ = to.peek(&mut [0]);
    }
    // Whichever side is gone already needs no telling.
    let _ = to.shutdown(Shutdown::Write);
    if budget == 0 {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
