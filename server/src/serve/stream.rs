//! An ordered pack on its way out: kept alive while it is planned, then sent as its segments are, at the client's pace.
//!
//! An answer that fails says so on band 3 and ends without the pack's trailer and without the last chunk: no client can
//! take it for a whole one.

use super::{
    job::{Heard, Step, hear},
    resolve::Found,
    view::{NEVER, References, with_view},
};
use crate::{http::exchange::Answer, lost_pages, shard::task};
use heliostat_core::{
    fault::Fault,
    limits::KEEP_ALIVE_INTERVAL,
    pack::{Chunk, EmitError, Emitter, Framing, Plan},
    protocol::{Event, Session},
};
use std::{io, sync::Arc, time::Instant};

/// Sends the pack that `session` ordered, when it comes through `steps`, and what the session says after it.
pub async fn send(
    mut answer: Answer<'_, '_>,
    mut session: Session,
    framing: Framing,
    steps: &flume::Receiver<Step>,
    found: &Found,
) -> io::Result<()> {
    if let Some(line) = found.freshness.notice().and_then(|line| session.progress(&line)) {
        answer.push(&line).await?;
    }
    answer.flush().await?;
    answer.at_work(true);
    let outcome = match planned(&mut answer, &session, steps).await? {
        Ok(plan) => {
            answer.at_work(false);
            summarize(&mut answer, &session, &plan).await?;
            emit(&mut answer, plan, framing).await?
        }
        Err(fault) => {
            answer.at_work(false);
            Err(fault)
        }
    };
    let failed = match outcome {
        Ok(()) => {
            session.pack_sent();
            None
        }
        Err(fault) => {
            let words = fault.to_string();
            session.pack_failed(fault);
            Some(words)
        }
    };
    let node = answer.shard().node.clone();
    let fault = loop {
        let view = References::Here { pending: None };
        match with_view(found.grant(), &found.snapshot, view, &node.policy, &NEVER, |view| session.poll(view)) {
            Event::Send(bytes) => answer.push(&bytes).await?,
            Event::End(fault) => break fault,
            Event::Pack(_) | Event::Absent(_) | Event::NeedInput => {
                break Some(Fault::ours("internal error", "more after the pack"));
            }
        }
    };
    match failed.or_else(|| fault.map(|fault| fault.to_string())) {
        None => answer.finish().await,
        Some(words) => {
            answer.record().error = Some(words);
            answer.abandon().await
        }
    }
}

/// The plan, when it is made. Until then the client is kept awake, and is noticed if it goes: the job ends with us.
async fn planned(
    answer: &mut Answer<'_, '_>,
    session: &Session,
    steps: &flume::Receiver<Step>,
) -> io::Result<Result<Arc<Plan>, Fault>> {
    let began = Instant::now();
    loop {
        match hear(steps, Some(KEEP_ALIVE_INTERVAL), answer.gone()).await? {
            Heard::Step(Step::Planned(plan)) => return Ok(plan),
            Heard::Step(_) | Heard::Lost => return Ok(Err(Fault::ours("internal error", "the worker is gone"))),
            Heard::Nothing if answer.shard().node.stage.is_over() => return Ok(Err(shutting_down())),
            Heard::Nothing => {
                let text = format!("Preparing the pack: {} s\r", began.elapsed().as_secs());
                let awake = session.progress(&text).or_else(|| session.keep_alive().map(<[u8]>::to_vec));
                if let Some(bytes) = awake {
                    answer.push(&bytes).await?;
                    answer.flush().await?;
                }
            }
        }
    }
}

/// The line that `git` shows at the end of a remote's progress.
async fn summarize(answer: &mut Answer<'_, '_>, session: &Session, plan: &Plan) -> io::Result<()> {
    let text =
        format!("Total {} (delta {}), reused {} (delta {})\n", plan.objects, plan.deltas, plan.copied, plan.deltas);
    match session.progress(&text) {
        Some(bytes) => answer.push(&bytes).await,
        None => Ok(()),
    }
}

/// Walks the plan into the socket.
async fn emit(answer: &mut Answer<'_, '_>, plan: Arc<Plan>, framing: Framing) -> io::Result<Result<(), Fault>> {
    let stage_of = answer.shard().node.clone();
    let mut emitter = Emitter::new(plan.clone(), framing);
    loop {
        if stage_of.stage.is_over() {
            return Ok(Err(shutting_down()));
        }
        let chunk = emitter.next_chunk();
        // Zeros in the place of lost pages must not leave as if they were entries, nor a checksum over them.
        if let Some(pack) = plan.packs.iter().find(|pack| lost_pages::any_in(pack.bytes())) {
            let detail = format!("the disk has lost pages of {}", pack.path().display());
            return Ok(Err(Fault::ours("the repository is damaged on this server", detail)));
        }
        match chunk {
            Ok(Some(Chunk::Bytes(bytes) | Chunk::Mapped(bytes))) => answer.push(bytes).await?,
            Ok(None) => return Ok(Ok(())),
            Err(EmitError::Spool(error)) => return Ok(Err(Fault::ours("the server's disk failed", error))),
            // Whoever asks again gets another plan.
            Err(error @ EmitError::Damaged) => {
                return Ok(Err(Fault::ours("what the server had prepared is damaged, try again", error)));
            }
            Err(error) => {
                let detail = format!("{error:?}");
                return Ok(Err(Fault::ours("the repository is damaged on this server", detail)));
            }
        }
        task::yield_if_needed().await;
    }
}

/// What a live request ends with when the time for draining is over.
pub(super) fn shutting_down() -> Fault {
    Fault::ours("the server is shutting down, try again", "draining took too long")
}
