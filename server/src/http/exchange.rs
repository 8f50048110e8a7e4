//! One request and its answer, on a connection that may carry more: the body is asked for and read here, the answer is
//! framed here, and here it is decided whether the connection can be used again.
//!
//! It can when the request has been read to its end, or what is left of it is small enough to be read and dropped.

use super::{
    admission::Held,
    body::{Body, BodyError},
    head::{Coding, Framing, Head, Method},
    patience::Patience,
    response::{Length, Response, head},
    wire::{Awaited, READ_BYTES, Wire},
};
use crate::shard::{Shard, task};
use heliostat_core::{
    fault::Fault,
    limits::{
        ANSWER_BUFFER_BYTES, HTTP_ANSWER_BYTES_PER_SECOND_MIN, HTTP_ANSWER_TIME, HTTP_BODY_BYTES_PER_SECOND_MIN,
        HTTP_PIPELINE_BYTES_MAX, REQUEST_BYTES_MAX,
    },
};
use std::{
    borrow::Cow,
    io::{self, IoSlice},
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};

/// Bytes of a compressed body that are inflated before others have their turn: a hundred KiB at the ratio
/// that is allowed.
const INFLATED_AT_ONCE_BYTES: usize = 1 << 10;

/// The interim answer.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How often it is looked whether a client that sends no more has gone altogether.
const HALF_CLOSED_LOOK: Duration = Duration::from_millis(250);

/// A request being answered.
pub struct Exchange<'c> {
    /// The shard that accepted the connection.
    pub shard: &'c Rc<Shard>,
    /// The request's head.
    pub head: Head,
    /// Whom limits and buckets count it for.
    pub client: IpAddr,
    /// What the log will say of it.
    pub record: Record,
    wire: &'c Wire,
    /// Bytes read from the socket that nobody has taken yet: of this body, or of requests behind it.
    input: &'c mut Vec<u8>,
    body: Body,
    held: Held,
    continued: bool,
    /// Whether an interim answer has been sent to find out if the client is there.
    probed: bool,
    keep: bool,
}

/// What the log says of a request.
#[derive(Debug, Default)]
pub struct Record {
    /// What was asked for: `info/refs`, `ls-refs`, `fetch`, `status`, …
    pub operation: &'static str,
    /// Of which repository.
    pub repository: Option<String>,
    /// The status that was answered.
    pub status: u16,
    /// `Heliostat-Cache`.
    pub cache: Option<&'static str>,
    /// `Heliostat-Freshness`.
    pub freshness: Option<&'static str>,
    /// `Heliostat-Generation`.
    pub generation: Option<String>,
    /// The client's `session-id`, in its own words.
    pub session_id: Option<String>,
    /// Why it failed, or why what was served may be old, for the operator.
    pub error: Option<String>,
}

impl Record {
    /// The answer ends, with `fault` if there is one.
    pub fn end(&mut self, fault: Option<&Fault>) {
        if let Some(fault) = fault {
            self.error = Some(fault.to_string());
        }
    }
}

/// Why a request's body could not be read: there is nobody to answer, or there is something to answer.
pub enum Unread {
    /// The connection is gone.
    Gone(io::Error),
    /// Say this and close.
    Refused(Response),
}

impl<'c> Exchange<'c> {
    /// Begins with a parsed head; `input` holds what followed it.
    pub fn new(shard: &'c Rc<Shard>, wire: &'c Wire, input: &'c mut Vec<u8>, head: Head, client: IpAddr) -> Self {
        wire.wait_for(Awaited::Answer, Patience::ENDLESS);
        let body = Body::new(head.framing, head.coding);
        let keep = head.keep_alive && !shard.node.stage.is_draining();
        let held = shard.node.admission.hold();
        Self {
            shard,
            record: Record::default(),
            wire,
            input,
            body,
            held,
            continued: !head.expects_continue,
            probed: false,
            keep,
            head,
            client,
        }
    }

    /// Whether the connection can carry another request.
    pub fn keeps_connection(&self) -> bool {
        self.keep
    }

    /// Whether bytes of the request are still on their way: closing right now could destroy the answer before it is
    /// read (a reset overtakes data).
    pub fn has_unread_body(&self) -> bool {
        !self.body.is_complete()
    }

    /// What to say to a body that announces itself as too long, before anything else is looked at.
    pub fn refuse_announced(&mut self) -> Option<Response> {
        self.body.announces_too_much().then(|| self.too_large())
    }

    /// Reads the whole body into `sink`, inflated, under all limits.
    pub async fn read_body(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Unread> {
        if self.head.coding == Coding::Unknown {
            return Err(self.refuse(Response::text(415, "only gzip is understood as Content-Encoding")));
        }
        if let Some(refusal) = self.refuse_announced() {
            return Err(Unread::Refused(refusal));
        }
        if !self.continued {
            self.continued = true;
            self.wire.write_all(CONTINUE).await.map_err(Unread::Gone)?;
        }
        let patience = Patience::pace(Instant::now(), HTTP_BODY_BYTES_PER_SECOND_MIN, HTTP_ANSWER_TIME);
        self.wire.wait_for(Awaited::Body, patience);
        while !self.body.is_complete() {
            if self.input.is_empty() && self.wire.read(self.input).await.map_err(Unread::Gone)? == 0 {
                return Err(if self.wire.is_expired() {
                    self.refuse(Response::text(408, "the request's body came too slowly"))
                } else {
                    Unread::Gone(io::ErrorKind::UnexpectedEof.into())
                });
            }
            let piece_max = if self.head.coding == Coding::Gzip { INFLATED_AT_ONCE_BYTES } else { READ_BYTES };
            let piece = self.input.len().min(piece_max);
            let taken = self.body.feed(&self.input[..piece], sink).map_err(|error| self.body_error(error))?;
            self.input.drain(..taken);
            if !self.held.grow_to(self.body.given()) {
                return Err(self.refuse(Response::unavailable(5, "too many large requests at once, try again")));
            }
            task::yield_if_needed().await;
        }
        self.body.finish(sink).map_err(|error| self.body_error(error))?;
        self.wire.wait_for(Awaited::Answer, Patience::ENDLESS);
        Ok(())
    }

    /// Nobody holds the body's bytes any more: they no longer count.
    pub fn let_go_of_body(&mut self) {
        self.held.shrink_to_nothing();
    }

    /// Sends a small, complete answer.
    pub async fn respond(&mut self, response: Response) -> io::Result<()> {
        self.record.status = response.status;
        self.settle_body().await?;
        self.wait_for_reader();
        let length = Length::Known(response.body.len());
        let mut bytes = head(response.status, &response.headers, length, !self.keep);
        if self.head.method != Method::Head {
            bytes.extend_from_slice(&response.body);
        }
        self.wire.write_all(&bytes).await
    }

    /// Begins an answer whose body comes in pieces.
    pub async fn begin(
        &mut self,
        status: u16,
        headers: &[(&'static str, Cow<'static, str>)],
    ) -> io::Result<Answer<'_, 'c>> {
        self.record.status = status;
        self.settle_body().await?;
        let length = if self.head.http_1_0 { Length::UntilClose } else { Length::Chunked };
        if length == Length::UntilClose {
            self.keep = false;
        }
        self.wait_for_reader();
        // The head goes out with the first bytes of the body.
        let mut buffer = Vec::with_capacity(1 << 10);
        buffer.extend(head(status, headers, length, !self.keep));
        let mute = self.head.method == Method::Head;
        let body_starts = buffer.len();
        let mut answer = Answer { exchange: self, buffer, body_starts, chunked: length == Length::Chunked, mute };
        answer.open_chunk();
        Ok(answer)
    }

    /// Ends when the client has gone away. What it sends meanwhile is kept for the next request, up to a point.
    ///
    /// The end of what a client sends tells nothing: it may have ended its own side only, and wait for the answer. An interim
    /// answer, which HTTP/1.1 lets us send at any time before the answer, finds out: where nobody is, it is answered with a
    /// reset.
    pub async fn gone(&mut self) {
        self.input_ended_or_full().await;
        if !self.wire.is_over() && !self.probed && !self.head.http_1_0 && self.wire.has_ended() {
            self.probed = true;
            self.wire.write_now(CONTINUE).await;
        }
        self.over().await;
    }

    /// Ends when the client sends no more, or more than is kept.
    async fn input_ended_or_full(&mut self) {
        while self.input.len() < HTTP_PIPELINE_BYTES_MAX {
            if matches!(self.wire.read(self.input).await, Ok(0) | Err(_)) {
                return;
            }
        }
    }

    /// Ends when the connection is over in both directions.
    async fn over(&self) {
        while !self.wire.is_over() {
            task::sleep(HALF_CLOSED_LOOK).await;
        }
    }

    /// Decides what becomes of the part of the body that nobody has read, before the head of the answer says whether
    /// the connection closes.
    async fn settle_body(&mut self) -> io::Result<()> {
        const SMALL: u64 = READ_BYTES as u64;
        if self.body.is_complete() || !self.keep {
            return Ok(());
        }
        let small = matches!(self.head.framing, Framing::Length(length) if length <= SMALL);
        // A peer that was not told to continue may or may not send the body: what comes next can't be told apart.
        if !small || !self.continued {
            self.keep = false;
            return Ok(());
        }
        // Read raw: what it would inflate to does not matter any more.
        self.body = Body::new(self.head.framing, Coding::Identity);
        let patience = Patience::pace(Instant::now(), HTTP_BODY_BYTES_PER_SECOND_MIN, HTTP_ANSWER_TIME);
        self.wire.wait_for(Awaited::Body, patience);
        while !self.body.is_complete() {
            if self.input.is_empty() && self.wire.read(self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match self.body.feed(self.input, &mut |_| ()) {
                Ok(taken) => drop(self.input.drain(..taken)),
                Err(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }

    fn wait_for_reader(&self) {
        let pace = Patience::pace(Instant::now(), HTTP_ANSWER_BYTES_PER_SECOND_MIN, HTTP_ANSWER_TIME);
        self.wire.wait_for(Awaited::Answer, pace);
    }

    fn body_error(&mut self, error: BodyError) -> Unread {
        match error {
            BodyError::Malformed(why) => self.refuse(Response::text(400, why)),
            BodyError::TooLarge => Unread::Refused(self.too_large()),
        }
    }

    fn too_large(&mut self) -> Response {
        self.keep = false;
        Response::text(
            413,
            format_args!("the request is too large, or inflates to too much: at most {REQUEST_BYTES_MAX} bytes"),
        )
    }

    fn refuse(&mut self, response: Response) -> Unread {
        self.keep = false;
        Unread::Refused(response)
    }
}

/// A body on its way out, in pieces. Dropped before [`Answer::finish`], it ends without its last chunk: the client sees
/// that it is not whole.
pub struct Answer<'e, 'c> {
    exchange: &'e mut Exchange<'c>,
    buffer: Vec<u8>,
    /// Where the payload of the chunk being gathered begins in `buffer`, behind its size.
    body_starts: usize,
    chunked: bool,
    /// An answer to HEAD has no body.
    mute: bool,
}

/// What is encrypted from where it lies, without being gathered: a record's length at least.
const UNGATHERED_BYTES_MIN: usize = 16 << 10;
/// `00ffff\r\n`: as many digits as [`ANSWER_BUFFER_BYTES`] and one piece more can need.
const CHUNK_SIZE_BYTES: usize = 8;

impl Answer<'_, '_> {
    /// Adds `bytes`, sending when enough have been gathered.
    pub async fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.mute {
            return Ok(());
        }
        if bytes.len() >= UNGATHERED_BYTES_MIN && self.exchange.wire.is_secure() {
            return self.push_ungathered(bytes).await;
        }
        while !bytes.is_empty() {
            let room = ANSWER_BUFFER_BYTES.saturating_sub(self.buffer.len() - self.body_starts);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if !bytes.is_empty() {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends `bytes` behind what has been gathered, from where they lie: they are copied once, by being encrypted.
    async fn push_ungathered(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(ANSWER_BUFFER_BYTES) {
            let line_end: &[u8] = if self.size_chunk(piece.len()) { b"\r\n" } else { b"" };
            let mut parts = [&self.buffer, piece, line_end].map(IoSlice::new);
            self.exchange.wire.write_parts(&mut parts).await?;
            self.buffer.clear();
            self.open_chunk();
        }
        Ok(())
    }

    /// Sends what has been gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.buffer.len() > self.body_starts {
            self.close_chunk();
            self.exchange.wire.write_all(&self.buffer).await?;
            self.buffer.clear();
            self.open_chunk();
        }
        Ok(())
    }

    /// Ends a whole answer.
    pub async fn finish(mut self) -> io::Result<()> {
        self.close_chunk();
        if self.chunked && !self.mute {
            self.buffer.extend_from_slice(b"0\r\n\r\n");
        }
        self.exchange.wire.write_all(&self.buffer).await
    }

    /// Ends an answer that is not whole: what was gathered is sent, the last chunk is not, and the connection closes.
    pub async fn abandon(mut self) -> io::Result<()> {
        self.exchange.keep = false;
        self.exchange.wire.cut_short();
        self.close_chunk();
        self.exchange.wire.write_all(&self.buffer).await
    }

    /// As [`Exchange::gone`]; but nothing can be put between: what the answer says next finds out whether anybody is there.
    pub async fn gone(&mut self) {
        self.exchange.input_ended_or_full().await;
        self.exchange.over().await;
    }

    /// What the log will say of the request.
    pub fn record(&mut self) -> &mut Record {
        &mut self.exchange.record
    }

    /// As [`Exchange::let_go_of_body`].
    pub fn let_go_of_body(&mut self) {
        self.exchange.let_go_of_body();
    }

    /// The shard that accepted the connection.
    pub fn shard(&self) -> &Rc<Shard> {
        self.exchange.shard
    }

    /// We are at work and the client is not to blame for the silence; or it is its turn again.
    pub fn at_work(&mut self, at_work: bool) {
        if at_work {
            self.exchange.wire.wait_for(Awaited::Answer, Patience::ENDLESS);
        } else {
            self.exchange.wait_for_reader();
        }
    }

    fn open_chunk(&mut self) {
        if self.chunked && !self.mute {
            self.buffer.extend_from_slice(&[b'0'; CHUNK_SIZE_BYTES - 2]);
            self.buffer.extend_from_slice(b"\r\n");
        }
        self.body_starts = self.buffer.len();
    }

    /// Writes the size in front of the gathered payload and the line end behind it; removes an empty chunk's frame.
    fn close_chunk(&mut self) {
        if self.size_chunk(0) {
            self.buffer.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the size of the gathered payload and of `more` bytes behind it in front of it; removes an empty chunk's frame.
    /// Whether a line end belongs behind it.
    fn size_chunk(&mut self, more: usize) -> bool {
        if !self.chunked || self.mute {
            return false;
        }
        let payload = self.buffer.len() - self.body_starts + more;
        let frame = self.body_starts - CHUNK_SIZE_BYTES;
        if payload == 0 {
            self.buffer.truncate(frame);
            return false;
        }
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let digits = CHUNK_SIZE_BYTES - 2;
        for (place, digit) in self.buffer[frame..frame + digits].iter_mut().rev().enumerate() {
            *digit = HEX[payload >> (4 * place) & 15];
        }
        true
    }
}

const _: () = assert!(2 * ANSWER_BUFFER_BYTES < 1 << (4 * (CHUNK_SIZE_BYTES - 2)));
