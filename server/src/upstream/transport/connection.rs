//! One TCP or TLS connection to an upstream, through a proxy or not, with patience that ends.
//!
//! Reads and writes run in slices of [`SLICE`], between which the stop flag, the silence and the deadline are looked at.
//! Not bounded: name resolution, which the system's resolver times.

use super::{
    address::Origin,
    egress::Egress,
    proxy::Proxy,
    trust::{alert, handshake_error},
};
use crate::upstream::UpstreamError;
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How long one system call may block: how late a stop is seen.
const SLICE: Duration = Duration::from_secs(1);
/// For one address of the upstream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// How long to wait for an upstream.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Raised to give up at once.
    pub stop: Arc<AtomicBool>,
    /// How long it may be silent.
    pub idle: Duration,
    /// When it must be done.
    pub deadline: Instant,
}

impl Patience {
    fn check(&self, since: Instant, silence: &'static str) -> Result<(), UpstreamError> {
        if self.stop.load(Relaxed) {
            return Err(UpstreamError::Stopped);
        }
        let now = Instant::now();
        if now >= self.deadline {
            return Err(UpstreamError::Timeout("the whole exchange"));
        }
        if now.duration_since(since) >= self.idle {
            return Err(UpstreamError::Timeout(silence));
        }
        Ok(())
    }
}

/// The bytes of a connection.
pub(super) enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection with what has been read ahead.
pub(super) struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    /// The proxy that passes on each request of it: then its statuses may be that one's.
    pub(super) forwarder: Option<Proxy>,
    /// Whether an answer has been read from it before: then it may have been closed meanwhile.
    pub(super) used: bool,
}

impl Connection {
    pub(super) fn open(origin: &Origin, egress: &Egress, patience: &Patience) -> Result<Self, UpstreamError> {
        let proxy = egress.proxy(origin);
        let mut stream = match proxy {
            None => Stream::Plain(connect(origin, patience)?),
            Some(proxy) => {
                let mut stream = Stream::Plain(connect(&proxy.origin, patience).map_err(|error| proxy.blame(error))?);
                if origin.tls {
                    proxy.tunnel(&mut stream, origin, patience).map_err(|error| proxy.blame(error))?;
                }
                stream
            }
        };
        if origin.tls {
            stream = secure(stream, origin, egress, patience)?;
        }
        let forwarder = proxy.filter(|_| !origin.tls).cloned();
        Ok(Self { stream, buffer: Vec::new(), start: 0, forwarder, used: false })
    }

    pub(super) fn send(&mut self, bytes: &[u8], patience: &Patience) -> Result<(), UpstreamError> {
        send(&mut self.stream, bytes, patience)
    }

    /// What has been read ahead.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Takes `count` of the bytes read ahead.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Reads more ahead. `false`: the peer has closed.
    pub(super) fn fill(&mut self, patience: &Patience) -> Result<bool, UpstreamError> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let filled = self.buffer.len();
        self.buffer.resize(filled + (16 << 10), 0);
        let read = read(&mut self.stream, &mut self.buffer[filled..], patience);
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        read.map(|count| count > 0)
    }

    /// Reads into `out`: what has been read ahead, or directly. 0: the peer has closed.
    pub(super) fn read(&mut self, out: &mut [u8], patience: &Patience) -> Result<usize, UpstreamError> {
        let ahead = self.buffered();
        if ahead.is_empty() {
            return read(&mut self.stream, out, patience);
        }
        let count = ahead.len().min(out.len());
        out[..count].copy_from_slice(&ahead[..count]);
        self.consume(count);
        Ok(count)
    }
}

fn connect(origin: &Origin, patience: &Patience) -> Result<TcpStream, UpstreamError> {
    let addresses = (origin.host.as_str(), origin.port)
        .to_socket_addrs()
        .map_err(|error| UpstreamError::Unreachable(format!("{}: {error}", origin.host)))?;
    let mut last = UpstreamError::Unreachable(format!("{}: no address", origin.host));
    for address in addresses.take(ADDRESSES_MAX) {
        patience.check(Instant::now(), "")?;
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => {
                let set = socket
                    .set_nodelay(true)
                    .and_then(|()| socket.set_read_timeout(Some(SLICE)))
                    .and_then(|()| socket.set_write_timeout(Some(SLICE)));
                return set.map(|()| socket).map_err(|error| lost(&error.to_string()));
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => last = UpstreamError::Timeout("connecting"),
            Err(error) => last = UpstreamError::Unreachable(format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// TLS with `origin` upon `stream`.
fn secure(stream: Stream, origin: &Origin, egress: &Egress, patience: &Patience) -> Result<Stream, UpstreamError> {
    let Stream::Plain(socket) = stream else { return Ok(stream) };
    let name = ServerName::try_from(origin.host.clone())
        .map_err(|_| UpstreamError::Unreachable("the host is not a name that a certificate can hold".into()))?;
    let session = ClientConnection::new(egress.tls.clone(), name)
        .map_err(|error| UpstreamError::Unreachable(format!("tls: {error}")))?;
    let mut stream = Box::new(StreamOwned::new(session, socket));
    shake_hands(&mut stream, patience)?;
    Ok(Stream::Tls(stream))
}

fn shake_hands(
    stream: &mut StreamOwned<ClientConnection, TcpStream>,
    patience: &Patience,
) -> Result<(), UpstreamError> {
    let since = Instant::now();
    while stream.conn.is_handshaking() {
        patience.check(since, "the tls handshake")?;
        match stream.conn.complete_io(&mut stream.sock) {
            Ok(_) => {}
            Err(error) if is_slice_over(&error) => {}
            Err(error) => return Err(handshake_error(&error)),
        }
    }
    Ok(())
}

/// Writes all of `bytes`.
pub(super) fn send(stream: &mut Stream, mut bytes: &[u8], patience: &Patience) -> Result<(), UpstreamError> {
    let mut since = Instant::now();
    while !bytes.is_empty() {
        patience.check(since, "it does not take our request")?;
        match stream.write(bytes) {
            Ok(0) => return Err(lost("it closed the connection")),
            Ok(taken) => {
                bytes = &bytes[taken..];
                since = Instant::now();
            }
            Err(error) => retry_later(&error)?,
        }
    }
    loop {
        match stream.flush() {
            Ok(()) => return Ok(()),
            Err(error) => retry_later(&error)?,
        }
        patience.check(since, "it does not take our request")?;
    }
}

/// Reads what there is. 0: the peer has closed.
pub(super) fn read(stream: &mut Stream, out: &mut [u8], patience: &Patience) -> Result<usize, UpstreamError> {
    let since = Instant::now();
    loop {
        patience.check(since, "it is silent")?;
        match stream.read(out) {
            Ok(count) => return Ok(count),
            Err(error) => retry_later(&error)?,
        }
    }
}

/// Nothing, if an error only means that a slice is over.
fn retry_later(error: &io::Error) -> Result<(), UpstreamError> {
    if is_slice_over(error) { Ok(()) } else { Err(alert(error).unwrap_or_else(|| lost(&error.to_string()))) }
}

fn is_slice_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

pub(super) fn lost(why: &str) -> UpstreamError {
    UpstreamError::Unreachable(why.to_owned())
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(out),
            Self::Tls(stream) => stream.read(out),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
