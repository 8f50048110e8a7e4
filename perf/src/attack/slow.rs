//! Connections that hold a place and hardly say anything: between two requests, in the middle of a head, in the middle of a
//! body. Those that are ended come again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::PUBLIC;
use super::volley::connect;

/// Each is looked after so often: one byte is sent, and what came is read.
const TOUCH_INTERVAL: Duration = Duration::from_secs(5);
/// In so many parts.
const PARTS: usize = 50;

/// Many of them.
pub struct Slow {
    /// How many.
    pub connections: usize,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// Open at the end.
    pub open: u64,
    /// How often one came again.
    pub again: u64,
}

impl Slow {
    /// Until `over`, at `target`, from these addresses by turns. `opened` is what has been opened so far.
    pub fn run(&self, target: SocketAddr, from: &[IpAddr], opened: &AtomicU64, over: &AtomicBool) -> Held {
        let open = |number: usize| begin(target, from[number % from.len()], number).ok();
        let mut held = Held::default();
        let mut peers: Vec<Option<TcpStream>> = Vec::with_capacity(self.connections);
        while peers.len() < self.connections && !over.load(Ordering::Relaxed) {
            peers.push(open(peers.len()));
            opened.store(peers.len() as u64, Ordering::Relaxed);
        }
        let pause = TOUCH_INTERVAL / PARTS as u32;
        let mut due = Instant::now();
        for part in (0..PARTS).cycle() {
            if over.load(Ordering::Relaxed) {
                break;
            }
            due += pause;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            for number in (part..peers.len()).step_by(PARTS) {
                let lives = peers[number].as_mut().is_some_and(|peer| touch(peer, number));
                if !lives && !over.load(Ordering::Relaxed) {
                    held.again += 1;
                    peers[number] = open(number);
                }
            }
        }
        held.open = peers.iter().flatten().count() as u64;
        held
    }
}

fn begin(target: SocketAddr, from: IpAddr, number: usize) -> io::Result<TcpStream> {
    let mut peer = connect(target, from)?;
    let words = match number % 3 {
        0 => "GET /status HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        1 => "GET /status HTTP/1.1\r\nHost: h\r\nX: ".to_owned(),
        _ => format!(
            "POST /{PUBLIC}/git-upload-pack HTTP/1.1\r\nHost: h\r\nGit-Protocol: version=2\r\n\
             Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 100000\r\n\r\n0014"
        ),
    };
    peer.write_all(words.as_bytes())?;
    peer.set_nonblocking(true)?;
    Ok(peer)
}

/// Whether it is still there.
fn touch(peer: &mut TcpStream, number: usize) -> bool {
    let mut answer = [0; 1024];
    let waits = |error: io::Error| error.kind() == ErrorKind::WouldBlock;
    let heard = match peer.read(&mut answer) {
        Ok(read) => read > 0,
        Err(error) => waits(error),
    };
    // What idles between two requests says nothing at all.
    heard && (number.is_multiple_of(3) || peer.write(b"c").map_or_else(waits, |_| true))
}
