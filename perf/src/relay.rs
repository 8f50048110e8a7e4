//! A TCP relay that holds back what passes through it, as a line of some length would: half a round trip each way, and a
//! whole one more before the first byte of a connection, which is what TCP's handshake takes. It knows neither loss nor a
//! limit to what fits on the line, and its windows are open from the start. (Kernels that have `netem` can do without; many
//! do not have it.)

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const BUFFER_BYTES: usize = 32 << 10;

/// Relays from a port of its own to another one of this machine, until dropped.
pub struct Relay {
    port: u16,
    line: Arc<Line>,
}

struct Line {
    target: u16,
    round_trip: Duration,
    connections: AtomicU64,
    ended: AtomicBool,
}

impl Relay {
    /// To `target`, so far away.
    pub fn start(target: u16, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let line = Line { target, round_trip, connections: AtomicU64::new(0), ended: AtomicBool::new(false) };
        let line = Arc::new(line);
        let own = line.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if own.ended.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever connects sees whatever went wrong: the connection ends.
                let _ = client.and_then(|client| own.relay(client));
            }
        });
        Ok(Self { port, line })
    }

    /// Base URL without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many connections it has relayed so far.
    pub fn connections(&self) -> u64 {
        self.line.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.line.ended.store(true, Ordering::Relaxed);
        // One last connection, so that the loop looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Line {
    fn relay(&self, client: TcpStream) -> io::Result<()> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let server = TcpStream::connect(("127.0.0.1", self.target))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let open = Instant::now() + self.round_trip;
        hold_back(client.try_clone()?, server.try_clone()?, open, self.round_trip / 2);
        hold_back(server, client, open, self.round_trip / 2);
        Ok(())
    }
}

/// Two threads that end with their streams.
fn hold_back(mut from: TcpStream, mut to: TcpStream, open: Instant, time: Duration) {
    let (sender, held) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; BUFFER_BYTES];
        // The end travels too, as an empty piece. The other thread may have left first.
        while let Ok(read) = from.read(&mut buffer) {
            let due = Instant::now().max(open) + time;
            if sender.send((due, buffer[..read].to_vec())).is_err() || read == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in held {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if bytes.is_empty() || to.write_all(&bytes).is_err() {
                break;
            }
        }
        // Whoever is gone already needs no telling.
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_takes_its_time_and_the_first_one_twice_that() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4];
            while stream.read_exact(&mut buffer).is_ok() {
                stream.write_all(&buffer).unwrap();
            }
        });
        let round_trip = Duration::from_millis(40);
        let relay = Relay::start(port, round_trip).unwrap();
        let mut stream = TcpStream::connect(relay.url().strip_prefix("http://").unwrap()).unwrap();
        for trips in [2, 1, 1] {
            let begin = Instant::now();
            stream.write_all(b"ping").unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"ping");
            assert!(begin.elapsed() >= round_trip * trips, "{:?}", begin.elapsed());
        }
        assert_eq!(relay.connections(), 1);
        drop(stream);
        echo.join().unwrap();
    }
}
