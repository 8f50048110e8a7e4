//! The life of one connection: head, exchange, head, exchange, …, end.

use super::{
    exchange::{Exchange, Record},
    head::{Head, HeadError, http_head},
    patience::Patience,
    response::{Length, Response, head},
    wire::{Awaited, Wire},
};
use crate::{
    admin, serve,
    shard::{Door, Shard, task},
};
use heliostat_core::limits::{HTTP_DISCARD_BYTES_MAX, HTTP_DISCARD_TIME, HTTP_HEAD_TIME, HTTP_IDLE_TIME};
use std::{io, net::Shutdown, rc::Rc, time::Instant};

/// How long an answer that ends the connection may take to leave.
const LAST_WORD_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// Serves requests until one side has enough.
pub async fn run(shard: Rc<Shard>, wire: Rc<Wire>, door: Door) {
    let mut input = Vec::new();
    let mut patience = Patience::fixed(Instant::now(), HTTP_HEAD_TIME);
    loop {
        wire.wait_for(Awaited::Request, patience);
        let head = match next_head(&wire, &mut input).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(refusal) => {
                refuse(&shard, &wire, refusal).await;
                return;
            }
        };
        let live = shard.node.begin_request();
        let started = Instant::now();
        let sent = wire.sent();
        let mut exchange = Exchange::new(&shard, &wire, &mut input, head);
        let outcome = match door {
            Door::Main => Box::pin(serve::answer(&mut exchange)).await,
            Door::Admin => Box::pin(admin::answer(&mut exchange)).await,
        };
        let (keeps, unread) = (exchange.keeps_connection(), exchange.has_unread_body());
        let sent = wire.sent() - sent;
        shard.counts().ended(&exchange.record, sent, started.elapsed(), outcome.is_ok());
        log(&exchange.record, &wire, sent, started, outcome.as_ref().err());
        drop(live);
        if outcome.is_err() {
            return;
        }
        if !keeps {
            if unread {
                discard(&wire).await;
            }
            return;
        }
        patience = Patience::fixed(Instant::now(), HTTP_IDLE_TIME);
        task::yield_if_needed().await;
    }
}

/// The next head; `None` if the peer is gone, or silent for too long, between two requests.
async fn next_head(wire: &Wire, input: &mut Vec<u8>) -> Result<Option<Head>, HeadRefusal> {
    let mut begun = false;
    loop {
        if let Some((head, len)) = http_head(input).map_err(HeadRefusal::Head)? {
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
}

/// Answers a head that is none and closes: where the next request would begin is not known.
async fn refuse(shard: &Shard, wire: &Wire, refusal: HeadRefusal) {
    let response = match refusal {
        HeadRefusal::Head(HeadError::Malformed(why)) => Response::text(400, why),
        HeadRefusal::Head(HeadError::TooLarge) => Response::text(431, "the request's head is too large"),
        HeadRefusal::Head(HeadError::Version) => Response::text(505, "HTTP/1.0 or HTTP/1.1, please"),
        HeadRefusal::Head(HeadError::Expectation) => Response::text(417, "only 100-continue can be expected"),
        HeadRefusal::Slow => Response::text(408, "the request's head came too slowly"),
    };
    let started = Instant::now();
    wire.wait_for(Awaited::Answer, Patience::fixed(started, LAST_WORD_TIME));
    let mut bytes = head(response.status, &response.headers, Length::Known(response.body.len()), true);
    bytes.extend_from_slice(&response.body);
    let sent = wire.sent();
    let outcome = wire.write_all(&bytes).await;
    let record = Record { operation: "none", status: response.status, ..Record::default() };
    let sent = wire.sent() - sent;
    shard.counts().ended(&record, sent, started.elapsed(), outcome.is_ok());
    log(&record, wire, sent, started, outcome.as_ref().err());
    if outcome.is_ok() {
        discard(wire).await;
    }
}

/// Ends our side and takes what is still coming, for a while: closing at once would reset the connection, and a reset
/// destroys an answer that the peer has not read yet.
async fn discard(wire: &Wire) {
    wire.shutdown(Shutdown::Write);
    wire.wait_for(Awaited::Answer, Patience::fixed(Instant::now(), HTTP_DISCARD_TIME));
    let (mut sink, mut taken) = (Vec::new(), 0);
    while taken < HTTP_DISCARD_BYTES_MAX {
        match wire.read(&mut sink).await {
            Ok(0) | Err(_) => return,
            Ok(read) => taken += read,
        }
        sink.clear();
    }
}

fn log(record: &Record, wire: &Wire, bytes: u64, started: Instant, error: Option<&io::Error>) {
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
        repository = record.repository.as_deref(),
        operation = record.operation,
        status = record.status,
        bytes,
        cache = record.cache,
        freshness = record.freshness,
        generation = record.generation.as_deref(),
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        error = error.as_deref().map(|text| text.escape_debug().to_string()),
        "request"
    );
}
