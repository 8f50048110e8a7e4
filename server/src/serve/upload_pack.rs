//! `POST {path}/git-upload-pack`: one stateless request, read whole, then answered from references or by a plan.

use super::{
    job::{Cache, End, Heard, Interest, Job, Spoken, Step, hear},
    references::{self, MADE, headers, note},
    resolve::{Ask, Found, resolve},
    stream, version,
};
use crate::{
    http::{
        exchange::{Answer, Exchange, Unread},
        response::Response,
    },
    shard::{message::Message, placement::owner},
};
use heliostat_core::{
    RepositoryPath,
    fault::Fault,
    limits::KEEP_ALIVE_INTERVAL,
    protocol::{Asked, Phase, Session},
    wire::pktline,
};
use std::{io, time::Instant};

const REQUEST: &str = "application/x-git-upload-pack-request";
const RESULT: &str = "application/x-git-upload-pack-result";
/// Seconds until a client should try again when too many plans wait.
const RETRY_AFTER_SECONDS: u32 = 5;
/// What it hears then, and what the operator reads.
const BUSY: &str = "the server is busy, try again";
const TOO_MANY: &str = "too many plans wait";
const LOST: &str = "the worker is gone";
/// What a user reads whose fetch waits for a worker.
const IN_LINE: &str = "Waiting for a turn\r";

/// Answers the request.
pub async fn answer(exchange: &mut Exchange<'_>, path: RepositoryPath) -> io::Result<()> {
    if let Some(refusal) = exchange.refuse_announced() {
        return exchange.respond(refusal).await;
    }
    if exchange.head.content_type.as_deref() != Some(REQUEST) {
        return exchange.respond(Response::text(415, format_args!("expected a body of type {REQUEST}"))).await;
    }
    let mut session = Session::new(version(exchange.head.git_protocol.as_deref()), Phase::Stateless);
    match exchange.read_body(&mut |bytes| session.receive(bytes)).await {
        Ok(()) => session.finish_input(),
        Err(Unread::Gone(error)) => return Err(error),
        Err(Unread::Refused(response)) => return exchange.respond(response).await,
    }
    let asked = session.asked().unwrap_or(Asked::Nothing);
    exchange.record.operation = match asked {
        Asked::References => "ls-refs",
        Asked::Pack => "fetch",
        Asked::ObjectInfo => "object-info",
        Asked::Nothing => "upload-pack",
    };
    // Who asks for objects has been told of them, and of how fresh they are.
    let ask = if asked == Asked::References { Ask::Always } else { Ask::IfAbsent };
    let node = exchange.shard.node.clone();
    let found = match resolve(&node, &path, ask).await {
        Ok(found) => found,
        Err(unresolved) => return references::refuse(exchange, unresolved).await,
    };
    if session.needs_planning() != Some(false) {
        note(&mut exchange.record, &found, None);
        return plan(exchange, session, found).await;
    }
    note(&mut exchange.record, &found, Some(MADE));
    let answer = exchange.begin(200, &headers(&found, Some(MADE), RESULT)).await?;
    references::speak(answer, session, &found).await
}

/// Sends the request round by its owner to a worker, and what comes back to the client.
async fn plan(exchange: &mut Exchange<'_>, session: Session, found: Found) -> io::Result<()> {
    let (interest, client) = Interest::new();
    let _held_to_the_end = interest;
    // Where the protocol has room before the answer, silence is broken there; else the head is held back.
    let awake = session.progress(IN_LINE).or_else(|| session.keep_alive().map(<[u8]>::to_vec));
    // Two steps at most are ever in it.
    let (sender, steps) = flume::unbounded();
    let job = Job {
        repository: found.repository,
        snapshot: found.snapshot.clone(),
        session,
        arrived: Instant::now(),
        client,
        steps: sender,
    };
    let post = &exchange.shard.post;
    post.send(owner(found.repository, post.shards()), Message::Plan(Box::new(job)));
    let silence = awake.as_ref().map(|_| KEEP_ALIVE_INTERVAL);
    match (hear(&steps, silence, exchange.gone()).await?, awake) {
        (Heard::Step(Step::Spoken(spoken)), _) => {
            exchange.let_go_of_body();
            let answer = exchange.begin(200, &headers(&found, spoken.cache, RESULT)).await?;
            speak(answer, *spoken, &steps, &found).await
        }
        (Heard::Nothing, Some(awake)) => {
            // Nobody knows yet whose plan it will be. The log will tell.
            let answer = exchange.begin(200, &headers(&found, None, RESULT)).await?;
            wait_in_line(answer, &awake, &steps, &found).await
        }
        (Heard::Step(Step::Refused), _) => {
            exchange.record.error = Some(TOO_MANY.into());
            exchange.respond(Response::unavailable(RETRY_AFTER_SECONDS, BUSY)).await
        }
        (Heard::Step(Step::Planned(_)) | Heard::Lost | Heard::Nothing, _) => {
            exchange.record.error = Some(LOST.into());
            exchange.respond(Response::text(500, "internal error")).await
        }
    }
}

/// Keeps a client awake until it is its turn. Its answer has begun: a refusal is an `ERR` packet in it.
async fn wait_in_line(
    mut answer: Answer<'_, '_>,
    awake: &[u8],
    steps: &flume::Receiver<Step>,
    found: &Found,
) -> io::Result<()> {
    answer.at_work(true);
    let fault = loop {
        answer.push(awake).await?;
        answer.flush().await?;
        match hear(steps, Some(KEEP_ALIVE_INTERVAL), answer.gone()).await? {
            Heard::Step(Step::Spoken(spoken)) => {
                answer.at_work(false);
                answer.let_go_of_body();
                return speak(answer, *spoken, steps, found).await;
            }
            Heard::Nothing if answer.shard().node.stage.is_over() => break stream::shutting_down(),
            Heard::Nothing => {}
            Heard::Step(Step::Refused) => break Fault::ours(BUSY, TOO_MANY),
            Heard::Step(Step::Planned(_)) | Heard::Lost => break Fault::ours("internal error", LOST),
        }
    };
    answer.at_work(false);
    let mut packet = Vec::new();
    pktline::line(&mut packet, format_args!("ERR {}", fault.public));
    answer.push(&packet).await?;
    answer.record().error = Some(fault.to_string());
    answer.finish().await
}

/// Says what the conversation has to say, and sends the pack if one is ordered.
async fn speak(
    mut answer: Answer<'_, '_>,
    spoken: Spoken,
    steps: &flume::Receiver<Step>,
    found: &Found,
) -> io::Result<()> {
    let Spoken { session, bytes, end, cache } = spoken;
    answer.record().cache = cache.map(Cache::word);
    answer.record().session_id = session.client_session_id().map(str::to_owned);
    answer.push(&bytes).await?;
    match end {
        End::Pack(framing) => stream::send(answer, session, framing, steps, found).await,
        End::Over(fault) => {
            answer.record().end(fault.as_ref());
            answer.finish().await
        }
    }
}
