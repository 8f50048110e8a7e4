//! Listening sockets, bound on the main thread, one per shard on a shared port, and the loop that accepts from one.
//!
//! Promises: no connection is lost by a dropped `accept` (the loop is the only one to accept, and nothing cancels it);
//! the loop ends when [`Stop::stop`] shuts the socket down; a process out of descriptors says so instead of
//! leaving the caller in the queue.

#![allow(unsafe_code)] // A bound socket and an accepted one change owners by number; glommio has no other way.

use super::task::sleep;
use glommio::net::{TcpListener, TcpStream};
use heliostat_core::limits::HTTP_HEAD_BYTES_MAX;
use rustix::{
    io::{Errno, FdFlags, fcntl_setfd},
    net::{SocketFlags, accept_with, sockopt::set_socket_reuseport},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    fs::File,
    io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Connections that the kernel may hold before they are accepted; it lowers this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Pause after an `accept` that failed for want of something.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a port may still be held by a process that is gone.
const PREDECESSOR_TIME: Duration = Duration::from_secs(3);

/// A bound socket that is not in any executor yet.
pub struct Listener {
    socket: Socket,
}

/// Ends the accept loop of a [`Listener`], from any thread.
pub struct Stop {
    socket: Socket,
}

impl Listener {
    /// `count` sockets on one address: with port 0 the first gets a free port and the others the same one.
    pub fn bind(address: SocketAddr, count: usize) -> io::Result<(Vec<Self>, SocketAddr)> {
        let mut bound = address;
        let mut listeners = Vec::with_capacity(count);
        for _ in 0..count {
            let socket = unbound(address)?;
            // Without it a restart has to wait until the old connections' sockets are gone.
            socket.set_reuse_address(true)?;
            if listeners.is_empty() {
                refuse_shared_port(address)?;
            }
            set_socket_reuseport(&socket, true)?;
            socket.bind(&bound.into())?;
            if bound.port() == 0 {
                bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            }
            listeners.push(Self { socket });
        }
        // Listening begins when all are bound, so that no connection lands in the queue of a socket that is given up.
        for listener in &listeners {
            listener.socket.listen(BACKLOG)?;
        }
        Ok((listeners, bound))
    }

    /// The handle that ends the accept loop.
    pub fn stop(&self) -> io::Result<Stop> {
        Ok(Stop { socket: self.socket.try_clone()? })
    }

    /// Accepts until stopped. Runs in the executor of the calling thread; `serve` gets each connection and its peer. Who comes
    /// when there is no descriptor left gets `full`.
    pub async fn accept(self, full: &[u8], mut serve: impl FnMut(TcpStream, SocketAddr)) -> io::Result<()> {
        let spare = self.socket.try_clone()?;
        SPARES.fill();
        // SAFETY: `into_raw_fd` gives up ownership of an open, listening socket, and `TcpListener` becomes its only owner.
        let listener = unsafe { TcpListener::from_raw_fd(self.socket.into_raw_fd()) };
        loop {
            match listener.shared_accept().await {
                Ok(accepted) => {
                    // Bound at once: what `accept` returns is a bare number that nobody closes.
                    let stream = accepted.bind_to_executor();
                    close_on_exec(&stream);
                    if let Ok(peer) = stream.peer_addr() {
                        // An IPv4 address that came to `[::]` is the same client.
                        serve(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                    }
                    SPARES.fill();
                }
                Err(error) => match Errno::from_io_error(&io::Error::from(error)) {
                    Some(Errno::INVAL) => return Ok(()),
                    Some(Errno::MFILE | Errno::NFILE) => {
                        SPARES.without_one(|| turn_away(&spare, full));
                        sleep(PAUSE).await;
                    }
                    Some(Errno::NOBUFS | Errno::NOMEM) => sleep(PAUSE).await,
                    // The peer went away before it was accepted, or a network error that belongs to it.
                    _ => super::task::yield_if_needed().await,
                },
            }
        }
    }
}

impl Stop {
    /// No connection is accepted from now on: the pending `accept` returns EINVAL.
    pub fn stop(&self) {
        // Fails only if it has been shut down already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// A socket for `address`; for `[::]` one that takes IPv4 too, whatever the machine's `net.ipv6.bindv6only` says.
fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    Ok(socket)
}

/// SO_REUSEPORT would let a second process of the same user share the port and take half of the connections; a socket
/// without it finds out. The sockets of a predecessor that was killed outlive it until the kernel has taken its rings
/// down, so it looks again for [`PREDECESSOR_TIME`].
fn refuse_shared_port(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let probe = unbound(address)?;
    probe.set_reuse_address(true)?;
    let deadline = Instant::now() + PREDECESSOR_TIME;
    loop {
        match probe.bind(&address.into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(5 * PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Descriptors that are let go when there is no other.
static SPARES: Spares = Spares { held: Mutex::new(Vec::new()), missing: AtomicBool::new(true) };

/// How many. With one for each shard, the first burst beyond the limit would take them: what one shard lets go, the accept
/// of another finds.
const SPARES_MAX: usize = 16;

/// The whole process'. The lock is taken at the limit, and by who finds one missing.
struct Spares {
    held: Mutex<Vec<File>>,
    missing: AtomicBool,
}

impl Spares {
    /// Takes as many as are missing and can be had.
    fn fill(&self) {
        if self.missing.swap(false, Ordering::Relaxed) {
            self.refill(&mut self.lock());
        }
    }

    /// Calls `use_it` while there is a descriptor to be had, unless somebody else takes it.
    fn without_one(&self, use_it: impl FnOnce()) {
        let mut held = self.lock();
        drop(held.pop());
        use_it();
        self.refill(&mut held);
    }

    fn refill(&self, held: &mut Vec<File>) {
        while held.len() < SPARES_MAX {
            match File::open("/dev/null") {
                Ok(spare) => held.push(spare),
                Err(_) => return self.missing.store(true, Ordering::Relaxed),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With a spare descriptor just let go: takes one waiting connection and says that the server is full. What the peer has sent by
/// then is taken, for else closing would reset the connection, and a reset destroys an answer that has not been read yet.
fn turn_away(listener: &Socket, full: &[u8]) {
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    if let Ok(peer) = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        let _ = rustix::io::write(&peer, full);
        let _ = rustix::net::shutdown(&peer, rustix::net::Shutdown::Write);
        // Room for a head; more is more than once.
        let mut sink = [0; HTTP_HEAD_BYTES_MAX];
        let _ = rustix::io::read(&peer, &mut sink);
    }
    let _ = listener.set_nonblocking(false);
}

fn close_on_exec(stream: &TcpStream) {
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, which is longer than this call.
    let descriptor = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
}
