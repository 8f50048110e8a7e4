//! One conversation: which part of it comes next.
//!
//! ```text
//! v0, v1   Begin -> Advertising -> Needs -> Negotiating -> Sending -> Ended
//! v2       Begin -> Keys -> Arguments -> (Listing | Sending) -> Keys | Ended
//! ```
//! A stateless request begins behind the advertisement; [`Phase::Advertise`] ends with it.

use super::{
    Asked, Event, PackOrder, Phase, Version, View,
    input::{Input, Next},
    listing::{self, Listing},
    negotiation::{Negotiation, Then},
    peek::Peek,
    refusal::{Refused, Stop, not_our_ref, refused},
    reply::Reply,
    v0::{self, Needs},
    v2::{self, Command, Keys},
};
use crate::{
    ObjectId,
    fault::Fault,
    limits::{REPLY_BYTES_MAX, REQUESTS_MAX, SHARD_REQUEST_BYTES_MAX},
    pack::Framing,
    wire::{
        pktline::Packet,
        sideband::{self, Band},
    },
};

/// One conversation.
pub struct Session {
    version: Version,
    phase: Phase,
    input: Input,
    reply: Reply,
    state: State,
    requests: usize,
    client_session_id: Option<String>,
    /// Wants that can't be granted are refused.
    denies: bool,
}

enum State {
    Begin,
    /// What is wanted can't be granted now: the driver has to decide.
    Absent(Vec<ObjectId>),
    /// Writing the advertisement of v0.
    Advertising(Listing),
    /// Reading the first list of v0.
    Needs(Box<Needs>),
    /// Reading haves of v0; `begun` once something has followed the first list.
    Negotiating {
        negotiation: Box<Negotiation>,
        begun: bool,
    },
    /// Reading the keys of a v2 request.
    Keys(Keys),
    /// Reading the arguments of its command.
    Arguments(Command),
    /// Writing the answer to `ls-refs`.
    Listing(Listing),
    /// A pack is ordered, and goes out once what stands before it has been sent.
    Ordered(Box<PackOrder>),
    /// The driver is sending it.
    Sending {
        framing: Framing,
        progress: bool,
    },
    Ended(Option<Fault>),
}

/// Whether there is more to do now.
enum Progress {
    Made(State),
    /// Not without more input, or not before the reply has been sent.
    Stuck(State),
}

impl Session {
    /// A session at its beginning.
    pub fn new(version: Version, phase: Phase) -> Self {
        Self {
            version,
            phase,
            input: Input::default(),
            reply: Reply::default(),
            state: State::Begin,
            requests: 0,
            client_session_id: None,
            denies: false,
        }
    }

    /// The `session-id` that the client gave with its last request, once that has been read: to join its traces with ours.
    /// It is what the client chose, cut to a thousand bytes, and proves nothing.
    pub fn client_session_id(&self) -> Option<&str> {
        self.client_session_id.as_deref()
    }

    /// Takes bytes from the peer. What exceeds [`REQUEST_BYTES_MAX`](crate::limits::REQUEST_BYTES_MAX) is dropped and the
    /// request refused.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.receive(bytes);
    }

    /// No more bytes will come.
    pub fn finish_input(&mut self) {
        self.input.finish();
    }

    /// What is asked for, as far as it has been received. `None`: more input is needed to tell.
    pub fn asked(&self) -> Option<Asked> {
        let nothing_more = || self.input.is_finished().then_some(Asked::Nothing);
        match &self.state {
            State::Begin if self.phase != Phase::Stateless => Some(Asked::References),
            State::Begin | State::Keys(_) if self.version == Version::V2 => {
                Peek::command(self.input.rest()).or_else(nothing_more)
            }
            State::Begin | State::Needs(_) | State::Negotiating { .. } => match self.input.rest() {
                b"" => nothing_more(),
                // Also how Git finds out whether it may post a large request, of whatever version.
                rest if matches!(self.state, State::Begin) && rest.starts_with(b"0000") => Some(Asked::Nothing),
                _ => Some(Asked::Pack),
            },
            State::Arguments(Command::Fetch(_)) | State::Ordered(_) | State::Sending { .. } | State::Absent(_) => {
                Some(Asked::Pack)
            }
            State::Arguments(Command::ObjectInfo(_)) => Some(Asked::ObjectInfo),
            State::Arguments(Command::LsRefs(_)) | State::Advertising(_) | State::Listing(_) => Some(Asked::References),
            State::Keys(_) | State::Ended(_) => Some(Asked::Nothing),
        }
    }

    /// Whether answering what has been received so far may take long: it walks history, orders a pack, or is a long
    /// request to read, so that it belongs on a worker. `None`: more input is needed to tell.
    pub fn needs_planning(&self) -> Option<bool> {
        if self.input.rest().len() > SHARD_REQUEST_BYTES_MAX {
            return Some(true);
        }
        Some(match self.asked()? {
            Asked::Pack | Asked::ObjectInfo => true,
            Asked::References | Asked::Nothing => false,
        })
    }

    /// What to do next. From a request's first byte to the end of its answer, every call must get the same view, but for
    /// what follows [`Event::Absent`].
    pub fn poll(&mut self, view: &View<'_>) -> Event {
        loop {
            if self.reply.len() >= REPLY_BYTES_MAX {
                return Event::Send(self.reply.take());
            }
            let state = std::mem::replace(&mut self.state, State::Ended(None));
            match self.step(state, view) {
                Ok(Progress::Made(state)) => self.state = state,
                Ok(Progress::Stuck(state)) if self.reply.len() > 0 => {
                    self.state = state;
                    return Event::Send(self.reply.take());
                }
                Ok(Progress::Stuck(state)) => return self.wait(state),
                Err(Stop::Absent(ids)) if self.phase == Phase::Stateless && self.input.is_whole() && !self.denies => {
                    self.state = State::Absent(ids.clone());
                    return Event::Absent(ids);
                }
                Err(stop) => {
                    let fault = match stop {
                        Stop::Refused(fault) => fault,
                        Stop::Absent(ids) => not_our_ref(&ids),
                    };
                    self.reply.error(&fault.public);
                    self.state = State::Ended(Some(fault));
                }
            }
        }
    }

    /// What could not be granted may be here now: the request is read again, from its beginning.
    pub fn look_again(&mut self) {
        if matches!(self.state, State::Absent(_)) {
            self.input.rewind();
            self.reply = Reply::default();
            self.state = State::Begin;
        }
    }

    /// The same; and what can't be granted is refused this time.
    pub fn deny(&mut self) {
        self.denies = true;
        self.look_again();
    }

    /// Everything has been sent: what `state` waits for.
    fn wait(&mut self, state: State) -> Event {
        match state {
            State::Ended(fault) => {
                self.state = State::Ended(fault.clone());
                Event::End(fault)
            }
            State::Ordered(order) => {
                self.input.release();
                self.state = State::Sending { framing: order.framing, progress: order.progress };
                Event::Pack(order)
            }
            state => {
                self.state = state;
                Event::NeedInput
            }
        }
    }

    /// Does what can be done in `state` without more input.
    fn step(&mut self, state: State, view: &View<'_>) -> Result<Progress, Stop> {
        match state {
            State::Begin => Ok(Progress::Made(self.begin(view))),
            State::Advertising(mut listing) => {
                if !listing.write(view.refs, &mut self.reply) {
                    return Ok(Progress::Stuck(State::Advertising(listing)));
                }
                listing::v0_shallows(view, &mut self.reply);
                self.reply.flush();
                Ok(Progress::Made(match self.phase {
                    Phase::Advertise => State::Ended(None),
                    _ => State::Needs(Box::default()),
                }))
            }
            State::Needs(needs) => self.needs(needs, view),
            State::Negotiating { negotiation, begun } => Ok(self.negotiate(negotiation, begun, view)?),
            State::Keys(keys) => self.keys(keys, view),
            State::Absent(ids) => Err(Stop::Absent(ids)),
            State::Arguments(command) => self.arguments(command, view),
            State::Listing(mut listing) => {
                if !listing.write(view.refs, &mut self.reply) {
                    return Ok(Progress::Stuck(State::Listing(listing)));
                }
                self.reply.flush();
                Ok(Progress::Made(self.next_request()))
            }
            waiting @ (State::Ordered(_) | State::Sending { .. } | State::Ended(_)) => Ok(Progress::Stuck(waiting)),
        }
    }

    fn begin(&mut self, view: &View<'_>) -> State {
        match (self.version, self.phase) {
            (Version::V2, Phase::Advertise) => {
                v2::advertise(view, &mut self.reply);
                State::Ended(None)
            }
            (Version::V2, Phase::Stateless) => State::Keys(Keys::default()),
            (Version::V2, Phase::Duplex) => {
                v2::advertise(view, &mut self.reply);
                State::Keys(Keys::default())
            }
            (_, Phase::Stateless) => State::Needs(Box::default()),
            (version, phase) => State::Advertising(v0::advertise(version, phase, view, &mut self.reply)),
        }
    }

    fn needs(&mut self, mut needs: Box<Needs>, view: &View<'_>) -> Result<Progress, Stop> {
        loop {
            match self.input.expect()? {
                None => return Ok(Progress::Stuck(State::Needs(needs))),
                Some(Packet::Data(line)) => needs.line(line, view)?,
                Some(_) => break,
            }
        }
        self.client_session_id = needs.session_id.take();
        let negotiation = needs.finish(self.version, self.phase, view, &mut self.reply)?;
        Ok(Progress::Made(match negotiation {
            Some(negotiation) => State::Negotiating { negotiation: Box::new(negotiation), begun: false },
            None => State::Ended(None),
        }))
    }

    fn negotiate(&mut self, mut negotiation: Box<Negotiation>, mut begun: bool, view: &View<'_>) -> Refused<Progress> {
        loop {
            let packet = match self.input.next()? {
                Next::Packet(packet) => packet,
                Next::Wait => return Ok(Progress::Stuck(State::Negotiating { negotiation, begun })),
                // A stateless client that deepens reads the shallow lines first and asks again.
                Next::End if !begun && self.phase == Phase::Stateless => {
                    return Ok(Progress::Made(State::Ended(None)));
                }
                Next::End => return refused("the remote end hung up unexpectedly"),
            };
            begun = true;
            let then = match packet {
                Packet::Data(line) => negotiation.line(line, view, &mut self.reply)?,
                _ => negotiation.flush(self.phase, view, &mut self.reply)?,
            };
            match then {
                Then::Continue if self.reply.len() >= REPLY_BYTES_MAX => {
                    return Ok(Progress::Made(State::Negotiating { negotiation, begun }));
                }
                Then::Continue => {}
                Then::Pack => return Ok(Progress::Made(State::Ordered(Box::new(negotiation.into_order(view))))),
                Then::End => return Ok(Progress::Made(State::Ended(None))),
            }
        }
    }

    fn keys(&mut self, mut keys: Keys, view: &View<'_>) -> Result<Progress, Stop> {
        loop {
            let packet = match self.input.next()? {
                Next::Packet(packet) => packet,
                Next::Wait => return Ok(Progress::Stuck(State::Keys(keys))),
                Next::End => break,
            };
            match packet {
                Packet::Data(line) => keys.key(line, view)?,
                Packet::Delimiter => {
                    self.client_session_id = keys.session_id.take();
                    return Ok(Progress::Made(State::Arguments(keys.finish()?)));
                }
                Packet::Flush if !keys.seen => return Ok(Progress::Made(State::Ended(None))),
                Packet::Flush => {
                    self.client_session_id = keys.session_id.take();
                    let command = keys.finish()?;
                    return self.answer(command, view);
                }
                Packet::ResponseEnd => return Ok(refused("unexpected response end packet")?),
            }
        }
        // In the middle of a request, or of a packet.
        if keys.seen || !self.input.rest().is_empty() {
            return Ok(refused("the remote end hung up unexpectedly")?);
        }
        Ok(Progress::Made(State::Ended(None)))
    }

    fn arguments(&mut self, mut command: Command, view: &View<'_>) -> Result<Progress, Stop> {
        loop {
            match self.input.expect()? {
                None => return Ok(Progress::Stuck(State::Arguments(command))),
                Some(Packet::Data(line)) => command.argument(line, view, &mut self.reply)?,
                Some(Packet::Flush) => return self.answer(command, view),
                Some(_) => {
                    return Ok(refused(match command {
                        Command::ObjectInfo(_) => "object-info: expected flush after arguments",
                        Command::LsRefs(_) => "expected flush after ls-refs arguments",
                        Command::Fetch(_) => "expected flush after fetch arguments",
                    })?);
                }
            }
        }
    }

    fn answer(&mut self, command: Command, view: &View<'_>) -> Result<Progress, Stop> {
        Ok(Progress::Made(match command {
            Command::LsRefs(command) => State::Listing(command.answer(view, &mut self.reply)),
            Command::ObjectInfo(command) => {
                command.answer(view, &mut self.reply)?;
                self.next_request()
            }
            Command::Fetch(command) => match command.answer(self.phase, view, &mut self.reply)? {
                Some(order) => State::Ordered(order),
                None => self.next_request(),
            },
        }))
    }

    /// Where a v2 conversation goes when a request has been answered.
    fn next_request(&mut self) -> State {
        self.reply.set_banded(false);
        self.input.begin_request();
        self.requests += 1;
        if self.phase == Phase::Duplex && self.requests < REQUESTS_MAX {
            State::Keys(Keys::default())
        } else {
            State::Ended(None)
        }
    }

    /// The ordered pack has been sent whole.
    pub fn pack_sent(&mut self) {
        let State::Sending { framing, .. } = self.state else { return };
        if framing != Framing::Bare {
            self.reply.flush();
        }
        self.state = match self.version {
            Version::V2 => self.next_request(),
            Version::V0 | Version::V1 => State::Ended(None),
        };
    }

    /// The ordered pack could not be made or sent; `fault.public` goes to the peer on band 3 where there is one.
    pub fn pack_failed(&mut self, fault: Fault) {
        self.fail(fault);
    }

    /// Ends the conversation from outside (a time limit, a failed sync): `fault.public` goes to the peer as `ERR`, or on
    /// band 3 once the pack has begun. A conversation that is over stays as it is.
    pub fn fail(&mut self, fault: Fault) {
        match self.state {
            State::Ended(_) => return,
            State::Sending { framing, .. } => self.reply.pack_error(&fault, framing),
            _ => self.reply.error(&fault.public),
        }
        self.state = State::Ended(Some(fault));
    }

    /// A frame that keeps the peer awake and means nothing, if the protocol has room for one right now: `0005\x01` while
    /// an ordered pack with side-band is on its way, `0005\x02` before that if the request asks for `sideband-all` (which
    /// the caller's policy must offer). Only between calls of [`Session::poll`], after all that it gave has been sent, and
    /// never in the midst of a frame of the pack.
    pub fn keep_alive(&self) -> Option<&'static [u8]> {
        match self.state {
            State::Sending { framing: Framing::Bare, .. } => None,
            State::Sending { .. } => Some(sideband::KEEP_ALIVE_IN_PACK),
            State::Begin | State::Keys(_) | State::Absent(_) if self.peek().sideband_all => Some(sideband::KEEP_ALIVE),
            _ => None,
        }
    }

    /// `text` as progress on band 2, where [`Session::keep_alive`] has room and if the peer wants progress. `text` ends in
    /// `\n` or `\r` and is shorter than a `side-band` frame.
    pub fn progress(&self, text: &str) -> Option<Vec<u8>> {
        let room = match self.state {
            State::Sending { progress, .. } => progress,
            State::Begin | State::Keys(_) | State::Absent(_) => {
                let peek = self.peek();
                peek.sideband_all && !peek.no_progress
            }
            _ => false,
        };
        room.then(|| {
            let mut frame = Vec::new();
            sideband::frames(&mut frame, Band::Progress, text.as_bytes(), crate::limits::SIDE_BAND_PAYLOAD_MAX);
            frame
        })
    }

    fn peek(&self) -> Peek {
        let request = match self.state {
            State::Absent(_) => self.input.whole(),
            _ => self.input.rest(),
        };
        if self.version == Version::V2 { Peek::request(request) } else { Peek::default() }
    }
}
