//! TLS on one accepted connection: rustls, which does no input or output of its own, between the socket and the wire.
//!
//! `futures-rustls` would do, but own the socket, which the shard's ticker must be able to shut down while a task waits on
//! it; and it would hide when a `close_notify` has come and when one leaves. Here every call borrows the socket for one poll.
//!
//! Encrypting takes plain bytes from where they lie (a mapped pack) and gathers them into records; it is the one copy that
//! is made of them. What rustls bounds by itself: records of 16 KiB, messages of a handshake, empty records, warnings, key
//! updates, and renegotiation (which it refuses).

use futures_lite::{AsyncRead, AsyncWrite};
use heliostat_core::limits::{TLS_HANDSHAKE_BYTES_MAX, TLS_READS_PER_POLL_MAX};
use rustls::ServerConnection;
use std::{
    io::{self, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

/// One side of a TLS connection.
pub(super) struct Tls {
    session: Box<ServerConnection>,
    /// What had been read from the socket before the session began.
    ahead: Vec<u8>,
    handshake_bytes: usize,
}

impl Tls {
    pub(super) fn new(session: ServerConnection, ahead: Vec<u8>) -> Self {
        Self { session: Box::new(session), ahead, handshake_bytes: 0 }
    }

    /// Until both sides have keys.
    pub(super) fn poll_handshake<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        for _ in 0..TLS_READS_PER_POLL_MAX {
            while self.session.wants_write() {
                match self.poll_flush(stream, cx) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => return Poll::Pending,
                };
            }
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_more(stream, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(read)) => self.handshake_bytes += read,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            if self.handshake_bytes > TLS_HANDSHAKE_BYTES_MAX {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the handshake is too long")));
            }
        }
        again(cx)
    }

    /// Reads plain bytes into `out`. 0: the peer has ended its side, with a word for it or without: that a request is whole,
    /// its framing tells.
    pub(super) fn poll_read<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        for _ in 0..TLS_READS_PER_POLL_MAX {
            match self.session.reader().read(out) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                read => return Poll::Ready(read),
            }
            // An answer of the protocol's own, to a key update: there may be no other write for long.
            if self.session.wants_write()
                && let Poll::Ready(Err(error)) = self.poll_flush(stream, cx)
            {
                return Poll::Ready(Err(error));
            }
            match self.poll_more(stream, cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        again(cx)
    }

    /// Encrypts of `parts` as much as is held at once: some of them, if [`Tls::poll_flush`] has nothing left.
    pub(super) fn encrypt(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.session.writer().write_vectored(parts)
    }

    /// Gives the socket a record of what was encrypted, or what it takes of it; 0: nothing is left.
    pub(super) fn poll_flush<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.session.wants_write() {
            return Poll::Ready(Ok(0));
        }
        let written = self.session.write_tls(&mut Socket { stream, cx });
        match pending(written) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            other => other,
        }
    }

    /// Whether something that was encrypted has not been written.
    pub(super) fn is_behind(&self) -> bool {
        self.session.wants_write()
    }

    /// `close_notify` is to be written.
    pub(super) fn goodbye(&mut self) {
        self.session.send_close_notify();
    }

    /// Reads records and understands them. 0: the socket has ended.
    fn poll_more<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let read = if self.ahead.is_empty() {
            match pending(self.session.read_tls(&mut Socket { stream, cx })) {
                Poll::Ready(read) => read?,
                Poll::Pending => return Poll::Pending,
            }
        } else {
            let mut ahead = self.ahead.as_slice();
            let read = self.session.read_tls(&mut ahead)?;
            self.ahead.drain(..read);
            read
        };
        if let Err(error) = self.session.process_new_packets() {
            // The alert that says why, if there is room for it.
            let _ = self.poll_flush(stream, cx);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        Poll::Ready(Ok(read))
    }
}

/// Others are to have their turn before this is polled again.
fn again<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// As rustls says it, and as a poll says it.
fn pending<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}

/// The socket as rustls wants it, for the time of a poll.
struct Socket<'s, 'c, 'w, S> {
    stream: &'s mut S,
    cx: &'c mut Context<'w>,
}

impl<S: AsyncRead + Unpin> Read for Socket<'_, '_, '_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_read(self.cx, out) {
            Poll::Ready(read) => read,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Socket<'_, '_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_write(self.cx, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
