//! The life of one connection: head, exchange, head, exchange, …, end.

use super::{
    admission::{Entry, Place},
    exchange::{Exchange, Record},
    handshake::{self, HANDSHAKE_FAILURE, HANDSHAKE_RECORD, NoHandshake},
    head::{Head, HeadError, http_head},
    patience::Patience,
    proxy_protocol::{Progress, proxy_header},
    response::{Length, Response, head},
    wire::{Awaited, Wire},
};
use crate::{
    admin, serve,
    shard::{Door, Shard, task},
};
use futures_lite::future::poll_once;
use heliostat_core::limits::{
    HTTP_DISCARD_BYTES_MAX, HTTP_DISCARD_TIME, HTTP_HEAD_TIME, HTTP_IDLE_TIME, HTTP_PARTING_BYTES_MAX,
    HTTP_PARTING_TIME, PROXY_HEADER_TIME,
};
use std::{
    io,
    net::{IpAddr, Shutdown},
    rc::Rc,
    time::Instant,
};
use zeroize::Zeroize as _;

/// How long an answer that ends the connection may take to leave.
const LAST_WORD_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// Serves requests until one side has enough. `entry` is what it was let in by.
pub async fn run(shard: Rc<Shard>, wire: Rc<Wire>, door: Door, entry: Entry) {
    let mut entry = Some(entry);
    let Some(seat) = seated(&shard, &wire, door, &mut entry).await else { return };
    let trusted = &shard.node.config.http.trusted_proxies;
    let mut input = Vec::new();
    if let Some(serving) = shard.node.tls(door)
        && let Err(why) = handshake::shake_hands(&wire, serving, &mut input).await
    {
        return without_handshake(&shard, &wire, why).await;
    }
    let mut patience = Patience::fixed(Instant::now(), HTTP_HEAD_TIME);
    loop {
        wire.wait_for(Awaited::Request, patience);
        let head = match next_head(&wire, &mut input).await {
            Ok(Some(head)) => head,
            Ok(None) => return wire.say_goodbye().await,
            Err(refusal) => {
                refuse(&shard, &wire, refusal).await;
                return;
            }
        };
        let live = shard.node.begin_request();
        let started = Instant::now();
        let sent = wire.sent();
        let peer = wire.peer().ip();
        let client = if door == Door::Main { trusted.client(peer, head.forwarded_for.as_deref()) } else { peer };
        let mut exchange = Exchange::new(&shard, &wire, &mut input, head, client);
        let outcome = match (door, &seat) {
            (Door::Admin, _) => Box::pin(admin::answer(&mut exchange)).await,
            (Door::Main, Seat::Client { .. }) => Box::pin(serve::answer(&mut exchange)).await,
            (Door::Main, Seat::Balancer) => answer_in_place(&mut exchange).await,
        };
        // Whose answer was under way when the server began to drain is told that no more will come.
        let keeps = exchange.keeps_connection() && !shard.node.stage.is_draining();
        let unread = exchange.has_unread_body();
        let sent = wire.sent() - sent;
        shard.counts().ended(&exchange.record, sent, started.elapsed(), outcome.is_ok());
        let by = (client != peer).then_some(client);
        log(&exchange.record, &wire, by, sent, started, outcome.as_ref().err());
        if outcome.is_err() {
            return;
        }
        if !keeps {
            if unread {
                drop(live);
                discard(&wire).await;
            } else {
                wire.say_goodbye().await;
            }
            return;
        }
        drop(live);
        if input.is_empty() {
            // Nothing is kept of what the last request took, while the next one may be long in coming.
            input = Vec::new();
        }
        patience = Patience::fixed(Instant::now(), HTTP_IDLE_TIME);
        task::yield_if_needed().await;
    }
}

/// Who sits at the other end.
enum Seat {
    /// One client, which has one of its places for as long as the connection lasts. The admin port tells no addresses apart.
    Client { _place: Option<Place> },
    /// A balancer that speaks for many: each request takes a place of its client's.
    Balancer,
}

/// Finds out whom the connection is from, and gives it a place; `None` if there is nothing to be served.
async fn seated(shard: &Shard, wire: &Wire, door: Door, entry: &mut Option<Entry>) -> Option<Seat> {
    let http = &shard.node.config.http;
    if door == Door::Admin {
        return Some(Seat::Client { _place: None });
    }
    if http.proxy_protocol
        && let Err(why) = named_by_proxy(shard, wire).await
    {
        if let Some(why) = why {
            refuse(shard, wire, HeadRefusal::Proxy(why)).await;
        }
        return None;
    }
    let address = wire.peer().ip();
    if http.trusted_proxies.contains(address) {
        return Some(Seat::Balancer);
    }
    let place = shard.node.admission.place(address);
    if place.is_none() {
        // Others may have it: who is turned away takes no room from them.
        drop(entry.take());
        turn_away(shard, wire, door, "too many connections of this address").await;
    }
    place.map(|place| Seat::Client { _place: Some(place) })
}

/// Tells a peer for which there is no room so, and closes.
pub async fn turn_away(shard: &Shard, wire: &Wire, door: Door, why: &'static str) {
    shard.counts().turned_away.one();
    tracing::debug!(peer = %wire.peer(), "turned away: {why}");
    // One packet into an empty socket buffer: nothing waits here.
    if wire.write_all(shard.node.full(door)).await.is_err() {
        return;
    }
    wire.shutdown(Shutdown::Write);
    let rest = take_rest(wire, HTTP_PARTING_BYTES_MAX);
    match shard.node.admission.part() {
        Some(_parting) => drop(task::within(HTTP_PARTING_TIME, rest).await),
        None => drop(poll_once(rest).await),
    }
}

/// Reads the PROXY protocol header, which is demanded, and nothing behind it. Errs with what is wrong with it, or without a
/// word where it does not come.
async fn named_by_proxy(shard: &Shard, wire: &Wire) -> Result<(), Option<&'static str>> {
    let trusted = &shard.node.config.http.trusted_proxies;
    if !trusted.is_empty() && !trusted.contains(wire.peer().ip()) {
        return Err(Some("only load balancers may connect here"));
    }
    wire.wait_for(Awaited::Request, Patience::fixed(Instant::now(), PROXY_HEADER_TIME));
    let mut header = Vec::new();
    loop {
        match proxy_header(&header).map_err(|error| Some(error.0))? {
            Progress::Whole(whole) => {
                if let Some(client) = whole.client {
                    wire.speaks_for(std::net::SocketAddr::new(client.ip().to_canonical(), client.port()));
                }
                return Ok(());
            }
            Progress::Needs(bytes) => match wire.read_at_most(&mut header, bytes).await {
                Ok(0) | Err(_) => return Err(None),
                Ok(_) => {}
            },
        }
    }
}

/// Answers a request that a balancer has passed on, if its client has a place left.
async fn answer_in_place(exchange: &mut Exchange<'_>) -> io::Result<()> {
    match exchange.shard.node.admission.place(exchange.client) {
        Some(_place) => Box::pin(serve::answer(exchange)).await,
        None => {
            exchange.record.operation = "none";
            exchange.respond(Response::unavailable(5, "too many requests of this address at once, try again")).await
        }
    }
}

/// The next head; `None` if the peer is gone, or silent for too long, between two requests.
async fn next_head(wire: &Wire, input: &mut Vec<u8>) -> Result<Option<Head>, HeadRefusal> {
    let mut begun = false;
    loop {
        if input.first() == Some(&HANDSHAKE_RECORD) && !wire.is_secure() {
            return Err(HeadRefusal::Tls);
        }
        if let Some((head, len)) = http_head(input).map_err(HeadRefusal::Head)? {
            // It may hold a credential, and these bytes are used again for others.
            input[..len].zeroize();
            input.drain(..len);
            return Ok(Some(head));
        }
        if !begun && !input.is_empty() {
            begun = true;
            wire.wait_for(Awaited::Head, Patience::fixed(Instant::now(), HTTP_HEAD_TIME));
        }
        match wire.read(input).await {
            Ok(0) if wire.is_expired() && begun => return Err(HeadRefusal::Slow),
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

enum HeadRefusal {
    Head(HeadError),
    Slow,
    Proxy(&'static str),
    /// TLS, where plain HTTP belongs.
    Tls,
}

/// What becomes of a connection to a TLS port on which no TLS comes about.
async fn without_handshake(shard: &Shard, wire: &Wire, why: NoHandshake) {
    let started = Instant::now();
    match why {
        NoHandshake::Gone => {}
        NoHandshake::Plain => {
            let text = "this port speaks https: write https:// in the address";
            last_word(shard, wire, &Response::text(400, text), "plain http on a port that speaks tls").await;
        }
        NoHandshake::Failed(error) => {
            let record = Record { operation: "handshake", error: Some(error.to_string()), ..Record::default() };
            shard.counts().ended(&record, 0, started.elapsed(), true);
            log(&record, wire, None, 0, started, None);
            discard(wire).await;
        }
    }
}

/// Answers a head that is none and closes: where the next request would begin is not known.
async fn refuse(shard: &Shard, wire: &Wire, refusal: HeadRefusal) {
    let response = match &refusal {
        HeadRefusal::Head(HeadError::Malformed(why)) => Response::text(400, why),
        HeadRefusal::Head(HeadError::TooLarge) => Response::text(431, "the request's head is too large"),
        HeadRefusal::Head(HeadError::Version) => Response::text(505, "HTTP/1.0 or HTTP/1.1, please"),
        HeadRefusal::Head(HeadError::Expectation) => Response::text(417, "only 100-continue can be expected"),
        HeadRefusal::Proxy(why) => Response::text(400, why),
        HeadRefusal::Slow => Response::text(408, "the request's head came too slowly"),
        HeadRefusal::Tls => {
            return last_bytes(shard, wire, 0, HANDSHAKE_FAILURE, "tls on a port that speaks plain http").await;
        }
    };
    let why = if matches!(refusal, HeadRefusal::Proxy(_)) { "no PROXY protocol header from a balancer" } else { "" };
    last_word(shard, wire, &response, why).await;
}

/// Says `response` and closes; the log says `why`.
async fn last_word(shard: &Shard, wire: &Wire, response: &Response, why: &str) {
    let mut bytes = head(response.status, &response.headers, Length::Known(response.body.len()), true);
    bytes.extend_from_slice(&response.body);
    last_bytes(shard, wire, response.status, &bytes, why).await;
}

async fn last_bytes(shard: &Shard, wire: &Wire, status: u16, bytes: &[u8], why: &str) {
    let started = Instant::now();
    wire.wait_for(Awaited::Answer, Patience::fixed(started, LAST_WORD_TIME));
    let sent = wire.sent();
    let outcome = wire.write_all(bytes).await;
    let error = (!why.is_empty()).then(|| why.to_owned());
    let record = Record { operation: "none", status, error, ..Record::default() };
    let sent = wire.sent() - sent;
    shard.counts().ended(&record, sent, started.elapsed(), outcome.is_ok());
    log(&record, wire, None, sent, started, outcome.as_ref().err());
    if outcome.is_ok() {
        discard(wire).await;
    }
}

/// Ends our side and takes what is still coming, for a while: closing at once would reset the connection, and a reset
/// destroys an answer that the peer has not read yet.
async fn discard(wire: &Wire) {
    wire.wait_for(Awaited::Answer, Patience::fixed(Instant::now(), HTTP_DISCARD_TIME));
    wire.say_goodbye().await;
    wire.shutdown(Shutdown::Write);
    take_rest(wire, HTTP_DISCARD_BYTES_MAX).await;
}

/// Takes what is still coming, and looks at nothing of it.
async fn take_rest(wire: &Wire, bytes_max: usize) {
    let (mut sink, mut taken) = (Vec::new(), 0);
    while taken < bytes_max {
        match wire.read(&mut sink).await {
            Ok(0) | Err(_) => return,
            Ok(read) => taken += read,
        }
        sink.clear();
    }
}

fn log(record: &Record, wire: &Wire, client: Option<IpAddr>, bytes: u64, started: Instant, error: Option<&io::Error>) {
    if let Some(session_id) = &record.session_id {
        tracing::debug!(
            target: "heliostat::request",
            peer = %wire.peer(),
            repository = record.repository.as_deref(),
            operation = record.operation,
            session_id = %session_id.escape_debug(),
            "the client's session"
        );
    }
    let error = record.error.clone().or_else(|| error.map(|error| format!("the client went away: {error}")));
    tracing::info!(
        target: "heliostat::request",
        peer = %wire.peer(),
        client = client.map(tracing::field::display),
        repository = record.repository.as_deref(),
        operation = record.operation,
        status = record.status,
        bytes,
        cache = record.cache,
        freshness = record.freshness,
        generation = record.generation.as_deref(),
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        error = error.as_deref(),
        "request"
    );
}
