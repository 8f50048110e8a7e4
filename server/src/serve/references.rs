//! Answers from references alone: advertisements and `ls-refs`, on the accepting shard, from one snapshot.

use super::{
    freshness::Freshness,
    job::Cache,
    resolve::{Ask, Found, Unresolved, resolve},
    version,
    view::{NEVER, with_view},
};
use crate::{
    auth::gate,
    http::exchange::{Answer, Exchange, Record},
    shard::task,
};
use heliostat_core::{
    RepositoryPath,
    protocol::{Event, Phase, Session, Version},
};
use std::{borrow::Cow, io};

/// An answer from references is made for the request.
pub const MADE: Cache = Cache::Miss;
/// `# service=git-upload-pack` and a flush: what `git http-backend` puts before the advertisement of v0 and v1.
const SERVICE: &[u8] = b"001e# service=git-upload-pack\n0000";

/// `GET {path}/info/refs?service=git-upload-pack`.
pub async fn advertise(exchange: &mut Exchange<'_>, path: RepositoryPath) -> io::Result<()> {
    let version = version(exchange.head.git_protocol.as_deref());
    // The advertisement of v2 names no reference; `ls-refs` does, and asks then. But Git's client says that a repository is
    // not found only if it hears so here.
    let ask = if version == Version::V2 { Ask::IfOld } else { Ask::Whole };
    let grant = match gate::admit(exchange, path).await {
        Ok(grant) => grant,
        Err(refused) => return refuse(exchange, refused.into()).await,
    };
    let node = exchange.shard.node.clone();
    let found = match resolve(&node, &grant, ask).await {
        Ok(found) => found,
        Err(unresolved) => return refuse(exchange, unresolved).await,
    };
    let headers = headers(&found, Some(MADE), "application/x-git-upload-pack-advertisement");
    note(&mut exchange.record, &found, Some(MADE));
    let mut answer = exchange.begin(200, &headers).await?;
    if version != Version::V2 {
        answer.push(SERVICE).await?;
    }
    speak(answer, Session::new(version, Phase::Advertise), &found).await
}

/// Lets a session say all it has to say that needs no pack.
pub async fn speak(mut answer: Answer<'_, '_>, mut session: Session, found: &Found) -> io::Result<()> {
    let node = answer.shard().node.clone();
    loop {
        let event = with_view(found.grant(), &found.snapshot, found.references(), &node.policy, &NEVER, |view| {
            session.poll(view)
        });
        match event {
            Event::Send(bytes) => answer.push(&bytes).await?,
            Event::End(fault) => {
                answer.record().session_id = session.client_session_id().map(str::to_owned);
                answer.record().end(fault.as_ref());
                return answer.finish().await;
            }
            Event::Pack(_) | Event::Absent(_) | Event::NeedInput => {
                answer.record().error = Some("the session needs what it said it would not".into());
                return answer.abandon().await;
            }
        }
        task::yield_if_needed().await;
    }
}

/// Says why there is nothing to answer from.
pub async fn refuse(exchange: &mut Exchange<'_>, unresolved: Unresolved) -> io::Result<()> {
    let unresolved = match &unresolved.wants_credentials {
        Some(path) => gate::wanted(exchange, path).await.into(),
        None => unresolved,
    };
    exchange.record.error = unresolved.detail;
    exchange.respond(unresolved.response).await
}

/// The headers of an answer from a repository. `cache` is left out where it is not known, or where there is nothing to know.
pub fn headers(
    found: &Found,
    cache: Option<Cache>,
    content_type: &'static str,
) -> Vec<(&'static str, Cow<'static, str>)> {
    let mut headers = vec![("Content-Type", content_type.into())];
    headers.extend(cache.map(|cache| ("Heliostat-Cache", cache.word().into())));
    headers.push(("Heliostat-Freshness", found.freshness.header()));
    headers.push(("Heliostat-Generation", found.generation().into()));
    headers
}

/// Puts what is answered from into the log.
pub fn note(record: &mut Record, found: &Found, cache: Option<Cache>) {
    record.repository = Some(found.path.to_string());
    record.freshness = Some(found.freshness.word());
    record.generation = Some(found.generation());
    record.cache = cache.map(Cache::word);
    if matches!(found.freshness, Freshness::Stale(_)) {
        record.error = found.doubt.as_ref().map(ToString::to_string);
    }
}
