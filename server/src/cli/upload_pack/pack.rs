//! Making and sending the pack that the session orders.

use super::{
    Opened, complain,
    deadline::Deadline,
    output::{Output, WriteError},
    printable, tell,
};
use crate::lost_pages;
use heliostat_core::{
    fault::Fault,
    graph::{Graph, Query},
    limits::{SIDE_BAND_64K_PAYLOAD_MAX, SIDE_BAND_PAYLOAD_MAX},
    objects::{Database, ReadError},
    pack::{Chunk, EmitError, Emitter, Encoding, Framing, Outline, Plan, PlanError, Spool, plan},
    protocol::PackOrder,
    repository::blob_named,
    wire::sideband::{self, Band},
};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
};

/// Git's words for every pack that could not be made or sent.
const ABORTED: &str = "aborting due to possible repository corruption on the remote side.";
/// Git needs none, and has no words for it.
const NO_PLACE: &str = "no place for a temporary file on the remote side.";

/// Why there is no pack.
struct Unmade {
    /// In words.
    words: String,
    /// What ends the conversation.
    ended: &'static str,
}

impl From<String> for Unmade {
    fn from(words: String) -> Self {
        Self { words, ended: ABORTED }
    }
}

/// Plans and sends. `Ok(Err(…))`: the pack failed and the peer is still there to hear it.
pub(super) fn send(
    order: &PackOrder,
    opened: &Opened,
    output: &mut Output,
    deadline: &Deadline,
) -> Result<Result<(), Fault>, WriteError> {
    let plan = match plan_awake(order, opened, output, deadline)? {
        Ok(plan) => Arc::new(plan),
        Err(unmade) => return failed(order, output, &unmade).map(Err),
    };
    if order.progress {
        say(order, output, &format!("Enumerating objects: {}, done.\n", plan.objects))?;
    }
    let mut emitter = Emitter::new(Arc::clone(&plan), order.framing);
    loop {
        let chunk = emitter.next_chunk();
        if let Some(pack) = plan.packs.iter().find(|pack| lost_pages::any_in(pack.bytes())) {
            let words = format!("the disk has lost pages of {}", pack.path().display());
            return failed(order, output, &words.into()).map(Err);
        }
        match chunk {
            Ok(Some(Chunk::Bytes(bytes) | Chunk::Mapped(bytes))) => output.gather(bytes)?,
            Ok(None) => break,
            Err(error) => {
                output.flush()?;
                return failed(order, output, &emit_words(&error).into()).map(Err);
            }
        }
        deadline.postpone();
    }
    if order.progress {
        let Outline { objects, deltas, copied, .. } = &**plan.outline();
        let total =
            format!("Total {objects} (delta {deltas}), reused {copied} (delta {deltas}), pack-reused {copied}\n");
        say(order, output, &total)?;
    }
    output.flush()?;
    Ok(Ok(()))
}

/// Plans on a thread of its own, sending keep-alives meanwhile.
fn plan_awake(
    order: &PackOrder,
    opened: &Opened,
    output: &mut Output,
    deadline: &Deadline,
) -> Result<Result<Plan, Unmade>, WriteError> {
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The receiver is gone only when the peer is.
            let _ = sender.send(make(order, opened));
        });
        loop {
            let received = match opened.service.keep_alive {
                Some(silence) => receiver.recv_timeout(silence),
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            deadline.postpone();
            match received {
                Ok(made) => return Ok(made),
                Err(RecvTimeoutError::Timeout) if order.framing == Framing::Bare => {}
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = output.write(sideband::KEEP_ALIVE_IN_PACK) {
                        opened.stop.store(true, std::sync::atomic::Ordering::Relaxed);
                        return Err(error);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(Err(String::from("planning ended early").into())),
            }
        }
    })
}

/// What the order asks for, planned. If an object has gone since the objects were listed (packs made and loose objects
/// deleted by `git gc`), once more with a new listing.
fn make(order: &PackOrder, opened: &Opened) -> Result<Plan, Unmade> {
    let mut query = order.query.clone();
    if let Some(filter) = &mut query.filter {
        filter
            .resolve_sparse(&mut |name| blob_named(name, &opened.refs, &opened.objects))
            .map_err(|name| format!("unable to access sparse blob in '{}'", String::from_utf8_lossy(&name)))?;
    }
    let made = match make_from(&opened.objects, &query, order.encoding, opened) {
        Err(PlanError::Read(ReadError::Missing(_) | ReadError::Io(_))) => {
            let (objects, _) = opened.repository.objects().map_err(|error| error.to_string())?;
            make_from(&objects, &query, order.encoding, opened)
        }
        made => made,
    };
    made.map_err(|error| {
        let ended = if matches!(error, PlanError::Spool(_)) { NO_PLACE } else { ABORTED };
        Unmade { words: plan_words(&error), ended }
    })
}

fn make_from(objects: &Database, query: &Query, encoding: Encoding, opened: &Opened) -> Result<Plan, PlanError> {
    let graph = Graph { objects, grafts: &opened.shallow, stop: &opened.stop };
    let selected = graph.select(query).map_err(PlanError::Read)?;
    let mut in_vain = Vec::new();
    for directory in spool_directories(opened) {
        let spool = Spool { directory: directory.clone(), entries: None, room: None };
        match plan(objects, &selected, encoding, &spool, &opened.stop) {
            Err(PlanError::Spool(error)) => in_vain.push(format!("{}: {error}", directory.display())),
            made => return made,
        }
    }
    Err(PlanError::Spool(io::Error::other(in_vain.join("; "))))
}

/// Where a temporary file may go, what is better first. Git needs none, so that the usual place may be small, or not there
/// at all; whoever has a repository has room for another one beside it more often than not.
fn spool_directories(opened: &Opened) -> impl Iterator<Item = PathBuf> {
    let beside = opened.repository.object_directories().paths.first().cloned();
    std::iter::once(std::env::temp_dir()).chain(beside)
}

/// Tells the peer on band 2 what is wrong, as `git pack-objects` would, and makes the fault that ends the conversation.
fn failed(order: &PackOrder, output: &mut Output, Unmade { words, ended }: &Unmade) -> Result<Fault, WriteError> {
    say(order, output, &format!("fatal: {}\n", printable(words)))?;
    output.flush()?;
    complain("error: git upload-pack: git-pack-objects died with error.");
    Ok(Fault::ours(*ended, format!("git upload-pack: {ended}")))
}

/// Band 2 where there is one, else standard error, as Git does.
fn say(order: &PackOrder, output: &mut Output, text: &str) -> Result<(), WriteError> {
    let payload_max = match order.framing {
        Framing::Bare => {
            tell(text);
            return Ok(());
        }
        Framing::SideBand => SIDE_BAND_PAYLOAD_MAX,
        Framing::SideBand64k => SIDE_BAND_64K_PAYLOAD_MAX,
    };
    let mut frames = Vec::new();
    sideband::frames(&mut frames, Band::Progress, text.as_bytes(), payload_max);
    output.gather(&frames)
}

fn plan_words(error: &PlanError) -> String {
    match error {
        PlanError::Read(ReadError::Missing(id)) => format!("unable to read {id}"),
        PlanError::Read(ReadError::Corrupt { id, detail }) => format!("object {id} is corrupt: {detail}"),
        PlanError::Read(error @ ReadError::TooLarge { .. }) => error.to_string(),
        PlanError::Read(ReadError::Io(error)) => format!("unable to read objects: {error}"),
        PlanError::Read(ReadError::Interrupted) => "interrupted".into(),
        PlanError::Spool(error) => format!("unable to write a temporary file: {error}"),
        full @ PlanError::NoRoom { .. } => full.to_string(),
        PlanError::TooLarge(what) => format!("too large: {what}"),
    }
}

fn emit_words(error: &EmitError) -> String {
    match error {
        EmitError::Spool(error) => format!("unable to read a temporary file: {error}"),
        other => format!("{other:?}"),
    }
}
