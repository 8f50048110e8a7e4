//! `POST {path}/git-upload-pack`: one stateless request, read whole, then answered from references or by a plan.

use super::{
    door::{Door, RESULT},
    job::{Cache, End, Heard, Interest, Job, Spoken, Step, hear},
    node::Terms,
    parking::{Parked, Stay, fail, park},
    references::{self, MADE, headers, note},
    resolve::{Ask, Found, resolve},
    stream, version,
};
use crate::{
    auth::gate,
    http::{
        exchange::{Exchange, Unread},
        response::Response,
    },
    shard::{message::Message, placement::owner},
    sync::{Arrival, Pending},
};
use heliostat_core::{
    ObjectId, RepositoryPath,
    fault::Fault,
    limits::KEEP_ALIVE_INTERVAL,
    protocol::{Asked, Phase, Session},
    store::{RepositoryId, Snapshot},
};
use std::{io, sync::Arc, time::Instant};

const REQUEST: &str = "application/x-git-upload-pack-request";
/// Seconds until a client should try again when too many plans wait.
const RETRY_AFTER_SECONDS: u32 = 5;
/// What it hears then, and what the operator reads.
const BUSY: &str = "the server is busy, try again";
const TOO_MANY: &str = "too many plans wait";
const LOST: &str = "the worker is gone";
/// How often the upstream is asked for the ids of one request: those that are not here at all and those that nothing reaches
/// are found out one after the other.
const ASKED_MAX: usize = 2;
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
    // Before the body, which can be large: who may not read is told so at once.
    let grant = match gate::admit(exchange, path).await {
        Ok(grant) => grant,
        Err(refused) => return references::refuse(exchange, refused.into()).await,
    };
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
    let found = match resolve(&node, &grant, ask).await {
        Ok(found) => found,
        Err(unresolved) => return references::refuse(exchange, unresolved).await,
    };
    if session.needs_planning() != Some(false) {
        note(&mut exchange.record, &found, None);
        return Box::pin(bring(exchange, session, found)).await;
    }
    note(&mut exchange.record, &found, Some(MADE));
    let answer = exchange.begin(200, &headers(&found, Some(MADE), RESULT)).await?;
    references::speak(answer, session, &found).await
}

/// Answers what needs objects: from those that are here, or once they are.
async fn bring(exchange: &mut Exchange<'_>, mut session: Session, mut found: Found) -> io::Result<()> {
    let node = exchange.shard.node.clone();
    let grant = found.grant().clone();
    let path = grant.path();
    let Some(mirrors) = node.mirrors() else {
        return exchange.respond(Response::unavailable(RETRY_AFTER_SECONDS, BUSY)).await;
    };
    let (began, Terms { wait, park: patience, .. }) = (Instant::now(), node.terms(path));
    // A list of references that takes long to read needs a worker too, but no objects.
    let needs_objects = matches!(session.asked(), Some(Asked::Pack | Asked::ObjectInfo));
    let (mut door, mut asked) = (Door::Shut(exchange), 0);
    loop {
        let told = found.pending.take();
        let mut wanted = None;
        if found.repository.is_some() || !needs_objects {
            let ids;
            match in_line(door, session, &found, told).await? {
                InLine::Answered => return Ok(()),
                // Held to the end: whoever goes stops the work.
                InLine::Spoken(door, spoken, steps, _interest) => return speak(door, *spoken, &steps, &found).await,
                InLine::Absent(back, again, absent) => (door, session, ids) = (back, *again, absent),
            }
            let comes = mirrors.syncs.pending(path).is_some_and(|pending| ids.iter().any(|id| pending.brings(id)));
            // It may have come in this very moment.
            let is_newer = |now: Arc<Snapshot>| !Arc::ptr_eq(&now, &found.snapshot);
            let has_come = mirrors.syncs.find(path).and_then(|mirrored| mirrored.snapshot()).is_some_and(is_newer);
            if !comes && !has_come {
                if asked == ASKED_MAX || patience.is_zero() {
                    session.deny();
                    continue;
                }
                asked += 1;
                wanted = Some(mirrors.syncs.want(path, ids));
            }
        }
        let parked = match wanted {
            Some(arrival) => park(door, &session, &found, arrival, Stay::For(patience), || None).await?,
            None => {
                found.pending = mirrors.syncs.pending(path);
                let (arrival, stay) = (mirrors.syncs.arrival(path), Stay::Until(began, wait));
                park(door, &session, &found, arrival, stay, || mirrors.syncs.pending(path)).await?
            }
        };
        match parked {
            Parked::Answered => return Ok(()),
            Parked::Over(door, Arrival::Failed(fault)) => return fail(door, &fault).await,
            Parked::Over(back, Arrival::Ended) => {
                door = back;
                session.look_again();
            }
            Parked::Over(back, Arrival::Refused) | Parked::Late(back) => {
                door = back;
                session.deny();
            }
        }
        found = match resolve(&node, &grant, Ask::IfAbsent).await {
            Ok(found) => found,
            Err(unresolved) => return door.refuse(unresolved).await,
        };
    }
}

/// What has become of a request that went round by its owner to a worker.
enum InLine<'e, 'c> {
    /// The conversation has said what it has to say; the pack comes behind it, if one is ordered.
    Spoken(Door<'e, 'c>, Box<Spoken>, flume::Receiver<Step>, Interest),
    /// These are wanted and not granted; the conversation can be taken up again.
    Absent(Door<'e, 'c>, Box<Session>, Vec<ObjectId>),
    /// The client has been refused.
    Answered,
}

/// Sends the request round by its owner to a worker, and keeps the client awake until it is its turn. Silence is broken
/// where the protocol has room for that before the answer; else the head is held back.
async fn in_line<'e, 'c>(
    mut door: Door<'e, 'c>,
    session: Session,
    found: &Found,
    told: Option<Arc<Pending>>,
) -> io::Result<InLine<'e, 'c>> {
    // All whose first objects are on their way share a line.
    let repository = found.repository.unwrap_or(RepositoryId(0));
    let (interest, client) = Interest::new();
    let awake = session.progress(IN_LINE).or_else(|| session.keep_alive().map(<[u8]>::to_vec));
    // Two steps at most are ever in it.
    let (sender, steps) = flume::unbounded();
    let job = Job {
        repository,
        grant: found.grant().clone(),
        snapshot: found.snapshot.clone(),
        pending: told.map(|pending| pending.refs.clone()),
        session,
        arrived: Instant::now(),
        client,
        steps: sender,
    };
    let post = &door.shard().post;
    post.send(owner(repository, post.shards()), Message::Plan(Box::new(job)));
    let silence = awake.as_ref().map(|_| KEEP_ALIVE_INTERVAL);
    loop {
        match hear(&steps, silence, door.gone()).await? {
            Heard::Step(Step::Spoken(spoken)) => {
                let Spoken { session, bytes, end, cache } = *spoken;
                return Ok(match end {
                    End::Absent(ids) => InLine::Absent(door, Box::new(session), ids),
                    end => {
                        let spoken = Box::new(Spoken { session, bytes, end, cache });
                        InLine::Spoken(door, spoken, steps, interest)
                    }
                });
            }
            Heard::Nothing if door.shard().node.stage.is_over() => {
                let fault = stream::shutting_down();
                let response = Response::unavailable(RETRY_AFTER_SECONDS, &fault.public);
                door.fail(&fault, response).await?;
                return Ok(InLine::Answered);
            }
            // Nobody knows yet whose plan it will be. The log will tell.
            Heard::Nothing => door = door.say(awake.as_deref().unwrap_or_default(), found).await?,
            Heard::Step(Step::Refused) => return refused(door, 503, BUSY, TOO_MANY).await,
            Heard::Step(Step::Planned(_)) | Heard::Lost => return refused(door, 500, "internal error", LOST).await,
        }
    }
}

/// Tells the client that it is not its turn, and never will be.
async fn refused<'e, 'c>(
    door: Door<'e, 'c>,
    status: u16,
    public: &'static str,
    detail: &'static str,
) -> io::Result<InLine<'e, 'c>> {
    let response = match status {
        503 => Response::unavailable(RETRY_AFTER_SECONDS, public),
        status => Response::text(status, public),
    };
    door.fail(&Fault::ours(public, detail), response).await?;
    Ok(InLine::Answered)
}

/// Says what the conversation has to say, and sends the pack if one is ordered.
async fn speak(mut door: Door<'_, '_>, spoken: Spoken, steps: &flume::Receiver<Step>, found: &Found) -> io::Result<()> {
    let Spoken { session, bytes, end, cache } = spoken;
    door.record().cache = cache.map(Cache::word);
    door.record().session_id = session.client_session_id().map(str::to_owned);
    let mut answer = door.open(found, cache).await?;
    answer.let_go_of_body();
    answer.push(&bytes).await?;
    match end {
        End::Pack(framing) => stream::send(answer, session, framing, steps, found).await,
        End::Over(fault) => {
            answer.record().end(fault.as_ref());
            answer.finish().await
        }
        End::Absent(_) => {
            answer.record().error = Some("an answer without an end".into());
            answer.abandon().await
        }
    }
}
