//! One question and one fetch, on the thread of a pool, from the upstream to the publication.

use super::{
    Shared,
    arrivals::Coming,
    by_id,
    driver::Event,
    seed::{self, Seed},
};
use crate::metrics::{SyncCounts, syncs::Work};
use crate::upstream::{self, Asked, ById, Context, Have, Phase, Progress, Upstream, UpstreamError};
use heliostat_core::{
    RepositoryPath,
    fault::Fault,
    store::{IngestLimits, Snapshot, Store, StoreError, VerifyError},
    sync::Verdict,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

/// Reports and counts the end of a job, even if the job panics.
struct Report<'a> {
    counts: &'a SyncCounts,
    work: &'a Work,
    progress: Arc<Progress>,
    started: Instant,
    events: &'a flume::Sender<Event>,
    path: &'a RepositoryPath,
    event: Option<Event>,
    /// What to say if there is none.
    lost: fn(RepositoryPath, Verdict) -> Event,
}

fn answered(path: RepositoryPath, verdict: Verdict) -> Event {
    Event::Answered { path, verdict }
}

fn fetched(path: RepositoryPath, verdict: Verdict) -> Event {
    Event::Fetched { path, verdict, by_id: ById::default() }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        let lost = || {
            let fault = Fault::ours("internal error", "the job panicked");
            (self.lost)(self.path.clone(), Verdict::Failed(Arc::new(fault)))
        };
        let event = self.event.take().unwrap_or_else(lost);
        let verdict = match &event {
            Event::Answered { verdict, .. } | Event::Fetched { verdict, .. } => Some(verdict),
            _ => None,
        };
        self.work.ended(verdict, self.started.elapsed());
        let (requests, bytes) = self.progress.take_traffic();
        self.counts.requests.add(requests);
        self.counts.received_bytes.add(bytes);
        let _ = self.events.send(event);
    }
}

/// Asks for references.
pub(super) fn ask(shared: &Shared, events: &flume::Sender<Event>, path: &RepositoryPath) {
    let (counts, progress) = (&shared.counts, shared.begin(path));
    let context = Context { stop: shared.stop.clone(), progress: progress.clone() };
    let work = &counts.questions;
    let mut report =
        Report { counts, work, progress, started: Instant::now(), events, path, event: None, lost: answered };
    let spelling = answered_before(&shared.store, &*shared.upstream, path);
    report.event = Some(match shared.upstream.ask(&spelling, &context) {
        Ok(mut asked) => {
            asked.advertised_mut().show_only(&shared.config.shown(path.as_str()));
            let advertised = asked.advertised();
            if advertised.skipped > 0 {
                let (skipped, examples) = (advertised.skipped, &advertised.examples);
                tracing::warn!(repository = %path, skipped, ?examples, "references left out: malformed names, or no object to it");
            }
            context.progress.enter(Phase::Waiting);
            Event::Asked { path: path.clone(), asked, progress: context.progress }
        }
        Err(error) => answered(path.clone(), told(path, &error)),
    });
}

/// Fetches what the upstream told, proves it and publishes it.
pub(super) fn fetch(shared: &Shared, events: &flume::Sender<Event>, path: &RepositoryPath, coming: Coming) {
    let Coming { mut asked, progress, overtaken, groups, unwanted, .. } = coming;
    let (counts, started) = (&shared.counts, Instant::now());
    let (work, lost) = (&counts.fetches, fetched as _);
    let mut report = Report { counts, work, progress: progress.clone(), started, events, path, event: None, lost };
    let mut by_id = ById::default();
    let context = Context { stop: shared.stop.clone(), progress: progress.clone() };
    let brought = bring(&shared.store, &*shared.upstream, path, &mut *asked, &context, None, &unwanted);
    let verdict = match brought {
        Ok(snapshot) => {
            by_id::bring_overtaken(shared, path, &mut *asked, &snapshot, &overtaken, &context);
            by_id = by_id::bring_wanted(shared, path, &mut *asked, &groups, &context);
            let generation = snapshot.generation.n;
            let (bytes, elapsed) = (progress.bytes(), started.elapsed());
            tracing::info!(repository = %path, generation, bytes, ?elapsed, "synchronised");
            Verdict::Verified
        }
        Err(error) => told(path, &error),
    };
    progress.enter(Phase::Done);
    report.event = Some(Event::Fetched { path: path.clone(), verdict, by_id });
}

/// The spelling of `path`, which is canonical, that the upstream has answered to before: that of the mirrored repository.
pub(super) fn answered_before(store: &Store, upstream: &dyn Upstream, path: &RepositoryPath) -> RepositoryPath {
    let mirrored = upstream::mirrored(store, upstream, path);
    mirrored.and_then(|repository| repository.path().parse().ok()).unwrap_or_else(|| path.clone())
}

/// From what the upstream told to the publication. What `seed` brings need not come from the upstream. `unwanted` is raised
/// before a repository is removed from here.
pub(super) fn bring(
    store: &Store,
    upstream: &dyn Upstream,
    path: &RepositoryPath,
    asked: &mut dyn Asked,
    context: &Context,
    seed: Option<Seed>,
    unwanted: &AtomicBool,
) -> Result<Arc<Snapshot>, UpstreamError> {
    let Context { stop, progress } = context;
    let repository = match upstream::mirrored(store, upstream, path) {
        Some(repository) => repository,
        // It was here when this was ordered: it is not made anew.
        None if unwanted.load(Relaxed) => return Err(of_store(StoreError::Removed)),
        None => store.create(asked.path().unwrap_or(path).as_str()).map_err(of_store)?,
    };
    let _unpublished = Unpublished { store, path: repository.path() };
    let limits = IngestLimits::default();
    let mut quarantine = repository.quarantine(limits).map_err(of_store)?;
    quarantine.count_in(progress.tally().clone());
    let refs = asked.advertised().refs.clone();
    let snapshot = repository.snapshot();
    let source = seed.as_ref().map(|seed| seed.source().to_owned());
    let planted = seed.map(|seed| seed.plant(&mut quarantine, context)).transpose()?;
    let here = snapshot.as_ref().map(|snapshot| Have { refs: &snapshot.refs, objects: Some(&snapshot.objects) });
    let have = planted.as_ref().map(|refs| Have { refs, objects: None }).or(here);
    asked.fetch(have, &mut quarantine, limits.pack_bytes)?;
    progress.enter(Phase::Verifying);
    let verified = quarantine.verify(refs.as_ref().clone(), stop).map_err(of_verify);
    let verified = verified.map_err(|error| match &source {
        Some(source) => seed::of_both(source, error),
        None => error,
    })?;
    if stop.load(Relaxed) {
        return Err(UpstreamError::Stopped);
    }
    progress.enter(Phase::Publishing);
    let findings = verified.findings();
    if let Some(first) = findings.first.first() {
        let (count, id, fault) = (findings.count, first.id, first.fault);
        tracing::info!(repository = %path, count, %id, fault, "cosmetic faults in new objects, mirrored as they are");
    }
    repository.publish(verified, Instant::now()).map_err(of_store)
}

/// Discards a repository whose first publication did not come about, by an error or a panic: no request may make the disk
/// grow that leads to nothing.
struct Unpublished<'a> {
    store: &'a Store,
    path: &'a str,
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.store.discard(self.path) {
            tracing::warn!(repository = self.path, %error, "an empty repository stays on disk until the next start");
        }
    }
}

pub(super) fn of_store(error: StoreError) -> UpstreamError {
    UpstreamError::Ours(error.to_string())
}

pub(super) fn of_verify(error: VerifyError) -> UpstreamError {
    match error {
        VerifyError::Missing(id) => UpstreamError::Broken(format!("object {id} is named but did not come")),
        VerifyError::Broken { id, detail } => UpstreamError::Broken(format!("object {id} is broken: {detail}")),
        VerifyError::Io(error) => UpstreamError::Ours(format!("verifying: {error}")),
        VerifyError::Interrupted => UpstreamError::Stopped,
    }
}

/// Logs an error and gives what the schedule has to know of it.
fn told(path: &RepositoryPath, error: &UpstreamError) -> Verdict {
    match error {
        UpstreamError::Missing | UpstreamError::Denied(_) | UpstreamError::Stopped => {
            tracing::debug!(repository = %path, %error, "not synchronised");
        }
        _ => tracing::warn!(repository = %path, %error, "not synchronised"),
    }
    error.verdict()
}
