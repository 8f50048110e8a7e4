//! One accepted connection: its socket, and the patience that its shard's ticker has with it.
//!
//! The socket is borrowed inside a poll only, never across an await, so that the ticker can shut it down whatever the
//! connection's own task waits for; that task then sees the end of the stream.

use super::patience::Patience;
use futures_lite::{
    AsyncRead, AsyncWrite,
    future::{block_on, poll_once},
};
use glommio::net::TcpStream;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

/// Bytes read at once: a request fits, and a compressed body's inflated form stays small.
pub const READ_BYTES: usize = 16 << 10;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The peer's next request.
    Request,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// Ourselves, or that the peer takes an answer.
    Answer,
}

/// An accepted connection.
pub struct Wire {
    stream: RefCell<TcpStream>,
    peer: Cell<SocketAddr>,
    awaited: Cell<Awaited>,
    patience: Cell<Patience>,
    expired: Cell<bool>,
    sent: Cell<u64>,
    ended: Cell<bool>,
}

impl Wire {
    /// Takes a connection.
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        // Answers are written whole; waiting for acknowledgements would only delay their last segment.
        let _ = stream.set_nodelay(true);
        Self {
            stream: RefCell::new(stream),
            peer: Cell::new(peer),
            awaited: Cell::new(Awaited::Request),
            patience: Cell::new(Patience::ENDLESS),
            expired: Cell::new(false),
            sent: Cell::new(0),
            ended: Cell::new(false),
        }
    }

    /// The other end, or whom a balancer has named as such.
    pub fn peer(&self) -> SocketAddr {
        self.peer.get()
    }

    /// The balancer at the other end speaks for `peer`.
    pub fn speaks_for(&self, peer: SocketAddr) {
        self.peer.set(peer);
    }

    /// Bytes written so far.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// From now on this is waited for, so long.
    pub fn wait_for(&self, awaited: Awaited, patience: Patience) {
        self.awaited.set(awaited);
        self.patience.set(patience);
        self.expired.set(false);
    }

    /// Whether the ticker has given up waiting for what is awaited.
    pub fn is_expired(&self) -> bool {
        self.expired.get()
    }

    /// Reads what there is, at most [`READ_BYTES`], to the end of `input`. 0: the peer has ended its side.
    pub async fn read(&self, input: &mut Vec<u8>) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, input)).await
    }

    /// The same, at most `bytes`, so that what follows is left where it is.
    pub async fn read_at_most(&self, input: &mut Vec<u8>, bytes: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read_at_most(cx, input, bytes)).await
    }

    /// As [`Wire::read`]. Nothing is lost if it is not polled again.
    pub fn poll_read(&self, cx: &mut Context<'_>, input: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        self.poll_read_at_most(cx, input, READ_BYTES)
    }

    fn poll_read_at_most(&self, cx: &mut Context<'_>, input: &mut Vec<u8>, bytes: usize) -> Poll<io::Result<usize>> {
        let len = input.len();
        input.resize(len + bytes, 0);
        let result = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut input[len..]);
        let read = match &result {
            Poll::Ready(Ok(read)) => *read,
            _ => 0,
        };
        input.truncate(len + read);
        self.ended.set(self.ended.get() || matches!(result, Poll::Ready(Ok(0))));
        self.moved(read);
        result
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
            self.sent.set(self.sent.get() + written as u64);
            self.moved(written);
        }
        Ok(())
    }

    /// Whether the peer has ended its side.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether both sides have ended, or the connection was reset: the kernel knows of no peer any more.
    pub fn is_over(&self) -> bool {
        self.stream.borrow().peer_addr().is_err()
    }

    /// Writes `bytes`, a few, if there is room for them at once.
    pub async fn write_now(&self, bytes: &[u8]) {
        let write = poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes));
        match poll_once(write).await {
            None => {}
            Some(Ok(written)) if written == bytes.len() => self.sent.set(self.sent.get() + written as u64),
            // A part of it would be taken for the begin of the answer.
            Some(_) => self.shutdown(Shutdown::Both),
        }
    }

    /// No more bytes in that direction.
    pub fn shutdown(&self, how: Shutdown) {
        // `shutdown` is an async fn around one system call: polled once, it is done.
        let stream = self.stream.borrow();
        let _ = block_on(poll_once(stream.shutdown(how)));
    }

    /// The ticker's visit: ends what has lasted too long, and what has no request while the shard drains.
    pub fn visit(&self, now: Instant, draining: bool) {
        let awaited = self.awaited.get();
        if draining && matches!(awaited, Awaited::Request | Awaited::Head) {
            self.shutdown(Shutdown::Both);
        } else if self.patience.get().is_over(now) && !self.expired.replace(true) {
            // Who owes the rest of a request can still be told so.
            let owes = matches!(awaited, Awaited::Head | Awaited::Body);
            self.shutdown(if owes { Shutdown::Read } else { Shutdown::Both });
        }
    }

    fn moved(&self, bytes: usize) {
        if bytes > 0 {
            let mut patience = self.patience.get();
            patience.moved(Instant::now(), bytes);
            self.patience.set(patience);
        }
    }
}
