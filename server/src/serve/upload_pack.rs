//! `POST {path}/git-upload-pack`: one stateless request, read whole, then answered from references or by a plan.

use super::{
    job::{End, Interest, Job, Spoken, Step},
    references::{self, headers, note},
    resolve::{Ask, Found, resolve},
    stream, version,
};
use crate::{
    http::{
        exchange::{Exchange, Unread},
        response::Response,
    },
    shard::{message::Message, placement::owner},
};
use futures_lite::FutureExt;
use heliostat_core::{
    RepositoryPath,
    protocol::{Phase, Session},
};
use std::{future::poll_fn, io, time::Instant};

const REQUEST: &str = "application/x-git-upload-pack-request";
const RESULT: &str = "application/x-git-upload-pack-result";
/// Seconds until a client should try again when too many plans wait.
const RETRY_AFTER_SECONDS: u32 = 5;

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
    let plans = session.needs_planning() != Some(false);
    exchange.record.operation = if plans { "fetch" } else { "ls-refs" };
    let ask = if plans { Ask::IfAbsent } else { Ask::Always };
    let node = exchange.shard.node.clone();
    let found = match resolve(&node, &path, ask).await {
        Ok(found) => found,
        Err(unresolved) => return references::refuse(exchange, unresolved).await,
    };
    note(&mut exchange.record, &found);
    if plans {
        return fetch(exchange, session, found).await;
    }
    let answer = exchange.begin(200, &headers(&found, RESULT)).await?;
    references::speak(answer, session, &found).await
}

/// Sends the request round by its owner to a worker, and what comes back to the client.
async fn fetch(exchange: &mut Exchange<'_>, session: Session, found: Found) -> io::Result<()> {
    let (interest, client) = Interest::new();
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
    let spoken = first_step(exchange, &steps).await?;
    let _held_to_the_end = interest;
    match spoken {
        Some(Step::Spoken(spoken)) => {
            let Spoken { session, bytes, end } = *spoken;
            exchange.let_go_of_body();
            let mut answer = exchange.begin(200, &headers(&found, RESULT)).await?;
            answer.push(&bytes).await?;
            match end {
                End::Pack(framing) => stream::send(answer, session, framing, &steps, &found).await,
                End::Over(fault) => {
                    answer.record().error = fault.map(|fault| fault.to_string());
                    answer.finish().await
                }
            }
        }
        Some(Step::Refused) => {
            exchange.record.error = Some("too many plans wait".into());
            let busy = Response::unavailable(RETRY_AFTER_SECONDS, "the server is busy, try again");
            exchange.respond(busy).await
        }
        Some(Step::Planned(_)) | None => {
            exchange.record.error = Some("the worker is gone".into());
            exchange.respond(Response::text(500, "internal error")).await
        }
    }
}

/// The first thing that is heard of a job; an error if the client goes away before.
async fn first_step(exchange: &mut Exchange<'_>, steps: &flume::Receiver<Step>) -> io::Result<Option<Step>> {
    async { Ok(steps.recv_async().await.ok()) }
        .or(async {
            poll_fn(|cx| exchange.poll_gone(cx)).await;
            Err(io::ErrorKind::ConnectionAborted.into())
        })
        .await
}
