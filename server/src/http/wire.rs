//! One accepted connection: its socket, TLS upon it if there is any, and the patience that its shard's ticker has with it.
//!
//! The socket is borrowed inside a poll only, never across an await, so that the ticker can shut it down whatever the
//! connection's own task waits for; that task then sees the end of the stream.

use super::{patience::Patience, tls::Tls};
use futures_lite::{
    AsyncRead, AsyncWrite,
    future::{block_on, poll_once},
};
use glommio::net::TcpStream;
use rustls::ServerConnection;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

/// Bytes read at once: a request fits, and a compressed body's inflated form stays small.
pub const READ_BYTES: usize = 16 << 10;

thread_local! {
    /// What is read comes through here, so that a connection that waits holds no buffer of its own: 9,400 slow ones took 21 to
    /// 25 KiB each with one of 16 KiB.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// That both sides have agreed on keys.
    Handshake,
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
    tls: RefCell<Option<Tls>>,
    peer: Cell<SocketAddr>,
    awaited: Cell<Awaited>,
    patience: Cell<Patience>,
    expired: Cell<bool>,
    sent: Cell<u64>,
    ended: Cell<bool>,
    cut_short: Cell<bool>,
}

impl Wire {
    /// Takes a connection.
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        // Answers are written whole; waiting for acknowledgements would only delay their last segment.
        let _ = stream.set_nodelay(true);
        Self {
            stream: RefCell::new(stream),
            tls: RefCell::new(None),
            peer: Cell::new(peer),
            awaited: Cell::new(Awaited::Request),
            patience: Cell::new(Patience::ENDLESS),
            expired: Cell::new(false),
            sent: Cell::new(0),
            ended: Cell::new(false),
            cut_short: Cell::new(false),
        }
    }

    /// From now on what is read and written is what TLS carries. `ahead` has come of it already.
    pub async fn secure(&self, session: ServerConnection, ahead: Vec<u8>) -> io::Result<()> {
        *self.tls.borrow_mut() = Some(Tls::new(session, ahead));
        poll_fn(|cx| {
            let (mut stream, mut tls) = (self.stream.borrow_mut(), self.tls.borrow_mut());
            tls.as_mut().map_or(Poll::Ready(Ok(())), |tls| tls.poll_handshake(&mut *stream, cx))
        })
        .await
    }

    /// Whether what is written is encrypted on its way.
    pub fn is_secure(&self) -> bool {
        self.tls.borrow().is_some()
    }

    /// The other end, or whom a balancer has named as such.
    pub fn peer(&self) -> SocketAddr {
        self.peer.get()
    }

    /// The balancer at the other end speaks for `peer`.
    pub fn speaks_for(&self, peer: SocketAddr) {
        self.peer.set(peer);
    }

    /// Bytes written so far, as they were before they were encrypted.
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
        let (result, read) = SCRATCH.with_borrow_mut(|scratch| {
            let scratch = &mut scratch[..bytes.min(READ_BYTES)];
            let result = {
                let stream = &mut *self.stream.borrow_mut();
                match &mut *self.tls.borrow_mut() {
                    None => Pin::new(stream).poll_read(cx, scratch),
                    Some(tls) => tls.poll_read(stream, cx, scratch),
                }
            };
            let read = match &result {
                Poll::Ready(Ok(read)) => *read,
                _ => 0,
            };
            input.extend_from_slice(&scratch[..read]);
            (result, read)
        });
        self.ended.set(self.ended.get() || matches!(result, Poll::Ready(Ok(0))));
        self.moved(read);
        result
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        if self.is_secure() {
            return self.write_parts(&mut [IoSlice::new(bytes)]).await;
        }
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

    /// Writes all of `parts`, in records that hold bytes of several where they fit: encrypted from where they lie. For a
    /// connection that is secure; on another one each part would be a packet.
    pub async fn write_parts(&self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        // An empty part is no end.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let taken = self.tls.borrow_mut().as_mut().map_or(Ok(0), |tls| tls.encrypt(parts))?;
            if taken == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut parts, taken);
            self.sent.set(self.sent.get() + taken as u64);
            self.flush().await?;
        }
        Ok(())
    }

    /// Until the socket has taken all that was encrypted.
    async fn flush(&self) -> io::Result<()> {
        loop {
            match poll_fn(|cx| self.poll_flush(cx)).await? {
                0 => return Ok(()),
                written => self.moved(written),
            }
        }
    }

    /// Gives the socket what it takes of what was encrypted; 0: nothing is left.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (mut stream, mut tls) = (self.stream.borrow_mut(), self.tls.borrow_mut());
        tls.as_mut().map_or(Poll::Ready(Ok(0)), |tls| tls.poll_flush(&mut *stream, cx))
    }

    /// Whether the peer has ended its side.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether both sides have ended, or the connection was reset: the kernel knows of no peer any more.
    pub fn is_over(&self) -> bool {
        self.stream.borrow().peer_addr().is_err()
    }

    /// Writes `bytes`, a few, if there is room for them at once. (What was encrypted can't be taken back, and leaves when there
    /// is room.)
    pub async fn write_now(&self, bytes: &[u8]) {
        if self.is_secure() {
            let _ = poll_once(self.write_all(bytes)).await;
            return;
        }
        let write = poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes));
        match poll_once(write).await {
            None => {}
            Some(Ok(written)) if written == bytes.len() => self.sent.set(self.sent.get() + written as u64),
            // A part of it would be taken for the begin of the answer.
            Some(_) => self.shutdown(Shutdown::Both),
        }
    }

    /// What was written last is not the end of what there was to say: the connection ends without the word that it has.
    pub fn cut_short(&self) {
        self.cut_short.set(true);
    }

    /// Says that no more will come, where there is a word for it (`close_notify`), and waits until it has left.
    pub async fn say_goodbye(&self) {
        if self.is_secure() && !self.cut_short.get() {
            self.goodbye();
            // Who is gone does not need to hear it.
            let _ = self.flush().await;
        }
    }

    fn goodbye(&self) {
        if let Some(tls) = &mut *self.tls.borrow_mut() {
            tls.goodbye();
        }
    }

    /// Whether something that was encrypted has not left yet: a task waits for room.
    fn is_behind(&self) -> bool {
        self.tls.borrow().as_ref().is_some_and(Tls::is_behind)
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
        if draining && matches!(awaited, Awaited::Handshake | Awaited::Request | Awaited::Head) {
            self.leave(awaited);
        } else if self.patience.get().is_over(now) && !self.expired.replace(true) {
            // Who owes the rest of a request can still be told so.
            if matches!(awaited, Awaited::Head | Awaited::Body) {
                self.shutdown(Shutdown::Read);
            } else {
                self.leave(awaited);
            }
        }
    }

    /// Ends both sides now. Between two requests nobody waits for room to write (else the wait would be ours from now on, and
    /// the task's no more), so that a last word can be tried.
    fn leave(&self, awaited: Awaited) {
        if awaited == Awaited::Request && self.is_secure() && !self.is_behind() {
            self.goodbye();
            let _ = block_on(poll_once(poll_fn(|cx| self.poll_flush(cx))));
        }
        self.shutdown(Shutdown::Both);
    }

    fn moved(&self, bytes: usize) {
        if bytes > 0 {
            let mut patience = self.patience.get();
            patience.moved(Instant::now(), bytes);
            self.patience.set(patience);
        }
    }
}
