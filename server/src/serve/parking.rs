//! A fetch whose objects are not here yet waits for them.
//!
//! Where the protocol has room before the pack (`sideband-all`), the client hears at once and every few seconds how far they
//! are, and an `ERR` packet if they do not come. Else its head is held back for the rule's `wait`, and then it is asked to
//! come again.

use super::{
    door::Door,
    resolve::{Found, RETRY_AFTER_SECONDS, still_coming},
    stream,
};
use crate::{
    http::response::Response,
    shard::task,
    sync::{Arrival, Pending},
    upstream::Phase,
};
use futures_channel::oneshot;
use futures_lite::FutureExt;
use heliostat_core::{fault::Fault, limits::PARKED_INTERVAL, protocol::Session};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often it is looked whether the wait is over or the server shuts down.
const LOOK: Duration = Duration::from_secs(1);
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// How a wait has ended that leads on.
pub enum Parked<'e, 'c> {
    /// What was waited for has ended so.
    Over(Door<'e, 'c>, Arrival),
    /// Nothing has been heard within the time that there was.
    Late(Door<'e, 'c>),
    /// The client has been answered.
    Answered,
}

/// How long somebody may be parked.
#[derive(Clone, Copy)]
pub enum Stay {
    /// Until it has come; for this long in all since then, if the client has to be kept in the dark.
    Until(Instant, Duration),
    /// This long.
    For(Duration),
}

/// Waits for `arrival`. `pending` is what there is to say of it.
pub async fn park<'e, 'c>(
    mut door: Door<'e, 'c>,
    session: &Session,
    found: &Found,
    mut arrival: oneshot::Receiver<Arrival>,
    stay: Stay,
    pending: impl Fn() -> Option<Arc<Pending>>,
) -> io::Result<Parked<'e, 'c>> {
    let node = door.shard().node.clone();
    let Some(_place) = node.park(&found.path) else {
        let fault = Fault::ours("too many fetches wait for the upstream, try again", "too many are parked");
        return answered(door, &fault).await;
    };
    let has_room = session.keep_alive().is_some();
    let (began, wait) = match stay {
        Stay::Until(began, wait) => (began, wait),
        Stay::For(park) => (Instant::now(), park),
    };
    let mut said: Option<Instant> = None;
    loop {
        if has_room && said.is_none_or(|at| at.elapsed() >= PARKED_INTERVAL) {
            let line = session.progress(&line(pending().as_deref()));
            if let Some(bytes) = line.or_else(|| session.keep_alive().map(<[u8]>::to_vec)) {
                door = door.say(&bytes, found).await?;
            }
            said = Some(Instant::now());
        }
        let ended = async { Ok(Some((&mut arrival).await)) };
        let gone = async {
            door.gone().await;
            Err(io::ErrorKind::ConnectionAborted.into())
        };
        let look = async {
            task::sleep(if has_room && matches!(stay, Stay::Until(..)) { LOOK } else { LOOK.min(left(began, wait)) })
                .await;
            Ok(None)
        };
        let heard: io::Result<_> = ended.or(gone).or(look).await;
        match heard? {
            Some(Ok(arrival)) => return Ok(Parked::Over(door, arrival)),
            Some(Err(oneshot::Canceled)) => return answered(door, &stream::shutting_down()).await,
            None if node.stage.is_over() => return answered(door, &stream::shutting_down()).await,
            None if began.elapsed() < wait => {}
            None => match stay {
                Stay::Until(..) if has_room => {}
                Stay::Until(..) => return answered(door, &still_coming()).await,
                Stay::For(_) => return Ok(Parked::Late(door)),
            },
        }
    }
}

fn left(began: Instant, wait: Duration) -> Duration {
    wait.saturating_sub(began.elapsed()).max(SHORTEST_LOOK)
}

/// Tells the client that it waits in vain.
async fn answered<'e, 'c>(door: Door<'e, 'c>, fault: &Fault) -> io::Result<Parked<'e, 'c>> {
    fail(door, fault).await?;
    Ok(Parked::Answered)
}

/// The same, for whoever has waited.
pub async fn fail(door: Door<'_, '_>, fault: &Fault) -> io::Result<()> {
    door.fail(fault, Response::unavailable(RETRY_AFTER_SECONDS, &fault.public)).await
}

/// What a user reads whose objects are on their way.
fn line(pending: Option<&Pending>) -> String {
    let Some(progress) = pending.map(|pending| &pending.progress) else {
        return "This mirror asks its upstream\r".into();
    };
    let mut line = format!("This mirror fetches from its upstream: {}", words(progress.phase()));
    if let Some((done, total)) = progress.objects() {
        line += &format!(", {done} of {total} objects");
    }
    let bytes = progress.bytes();
    if bytes > 0 {
        line += &format!(", {:.1} MiB", bytes as f64 / f64::from(1 << 20));
    }
    line + "\r"
}

fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting for a turn",
        other => other.as_str(),
    }
}
