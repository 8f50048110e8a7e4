//! What is on its way from the upstream: found and waiting for its fetch, or being fetched; and who is parked until the
//! fetch ends. Owned by the one thread of the driver; others see it as [`Pending`].

use crate::upstream::{Asked, Progress};
use futures_channel::oneshot;
use heliostat_core::{ObjectId, fault::Fault, limits::OVERTAKEN_MAX, refs::RefTable, store::Snapshot};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// References that the upstream has confirmed and whose objects are still on their way here: a pending generation.
pub struct Pending {
    /// What the upstream had when it was asked last.
    pub refs: Arc<RefTable>,
    /// When that question was asked.
    pub asked_at: Duration,
    /// How far the fetch is that runs, or the one that is to run.
    pub progress: Arc<Progress>,
    /// Tips that are brought and that nothing here names yet: of `refs`, of what is being fetched, of what was overtaken.
    tips: Arc<HashSet<ObjectId>>,
}

impl Pending {
    /// The same, confirmed by a later question.
    pub(super) fn confirmed_again(&self, asked_at: Duration) -> Self {
        let Self { refs, progress, tips, .. } = self;
        Self { refs: refs.clone(), asked_at, progress: progress.clone(), tips: tips.clone() }
    }

    /// Whether `id` is a tip of what is on its way.
    #[must_use]
    pub fn brings(&self, id: &ObjectId) -> bool {
        self.tips.contains(id)
    }
}

/// What somebody hears who is parked.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// The fetch has ended, or there is none: look whether it has brought what is wanted.
    Ended,
    /// The upstream does not give it.
    Refused,
    /// The fetch has failed.
    Failed(Arc<Fault>),
}

/// Ids that somebody wants and that nothing here leads to.
pub(super) struct Want {
    pub ids: Vec<ObjectId>,
    pub reply: oneshot::Sender<Arrival>,
}

impl Want {
    /// Who wants it hears so, unless it is gone.
    pub fn answer(self, arrival: Arrival) {
        let _ = self.reply.send(arrival);
    }
}

/// Found, and waiting for its fetch.
pub(super) struct Coming {
    pub asked: Box<dyn Asked>,
    pub progress: Arc<Progress>,
    pub asked_at: Duration,
    /// What had been found before, was told to clients and has never been fetched: newest first.
    pub overtaken: Vec<Arc<RefTable>>,
    /// To be asked for by their ids.
    pub wants: Vec<Want>,
    /// The same ids, for the fetch.
    pub groups: Vec<Vec<ObjectId>>,
    /// Raised when the repository is purged or evicted: the fetch brings it to nobody any more.
    pub unwanted: Arc<AtomicBool>,
}

impl Coming {
    /// What was found, to be fetched with `wants`.
    pub fn new(asked: Box<dyn Asked>, progress: Arc<Progress>, asked_at: Duration, wants: Vec<Want>) -> Self {
        let (overtaken, groups, unwanted) = (Vec::new(), Vec::new(), Arc::default());
        Self { asked, progress, asked_at, overtaken, wants, groups, unwanted }
    }
}

/// What has become of a fetch.
pub(super) struct Ended {
    pub asked_at: Duration,
    pub refs: Arc<RefTable>,
    pub wants: Vec<Want>,
}

struct Running {
    refs: Arc<RefTable>,
    progress: Arc<Progress>,
    asked_at: Duration,
    overtaken: Vec<Arc<RefTable>>,
    wants: Vec<Want>,
    unwanted: Arc<AtomicBool>,
}

/// References whose objects could not be brought.
struct InVain {
    digest: [u8; 32],
    /// See [`IN_VAIN_MIN`].
    weight: u32,
    why: Arc<Fault>,
}

/// From here on what can't be brought is not told any more: an upstream that breaks off may do better the next time, what it
/// sends and is of no use will be so again.
const IN_VAIN_MIN: u32 = 2;

/// All of it, by the path under which the schedule knows the repository.
#[derive(Default)]
pub(super) struct Arrivals {
    /// Until the upstream has other references, or they have come.
    in_vain: HashMap<Arc<str>, InVain>,
    next: HashMap<Arc<str>, Coming>,
    running: HashMap<Arc<str>, Running>,
    parked: HashMap<Arc<str>, Vec<oneshot::Sender<Arrival>>>,
}

impl Arrivals {
    /// Whether anything of `path` is on its way.
    pub fn are_under_way(&self, path: &str) -> bool {
        self.next.contains_key(path) || self.running.contains_key(path)
    }

    /// The upstream has something else than what is here or than what is on its way, or something is wanted by its id. True:
    /// it is what is being fetched, and nothing is to follow.
    pub fn found(&mut self, path: &Arc<str>, mut coming: Coming) -> bool {
        let refs = &coming.asked.advertised().refs;
        if let Some(before) = self.next.remove(path) {
            let overtaken = before.asked.advertised().refs.clone();
            let told = std::iter::once(overtaken).chain(before.overtaken);
            coming.wants.extend(before.wants);
            coming.overtaken.extend(told.filter(|table| table.digest() != refs.digest()).take(OVERTAKEN_MAX));
        } else if let Some(running) = self.running.get_mut(path)
            && running.refs.digest() == refs.digest()
            && coming.wants.is_empty()
            && !running.unwanted.load(Relaxed)
        {
            running.asked_at = coming.asked_at;
            return true;
        }
        self.next.insert(path.clone(), coming);
        false
    }

    /// What is to be fetched now.
    pub fn begin(&mut self, path: &Arc<str>) -> Option<Coming> {
        let mut coming = self.next.remove(path)?;
        let wants = std::mem::take(&mut coming.wants);
        coming.groups = wants.iter().map(|want| want.ids.clone()).collect();
        let Coming { progress, asked_at, overtaken, .. } = &coming;
        let (progress, asked_at, overtaken) = (progress.clone(), *asked_at, overtaken.clone());
        let (refs, unwanted) = (coming.asked.advertised().refs.clone(), coming.unwanted.clone());
        let running = Running { refs, progress, asked_at, overtaken, wants, unwanted };
        self.running.insert(path.clone(), running);
        Some(coming)
    }

    /// What is being fetched of `path` is to be kept by nobody.
    pub fn give_up(&self, path: &str) {
        if let Some(running) = self.running.get(path) {
            running.unwanted.store(true, Relaxed);
        }
    }

    /// The fetch has ended. What it did not bring is brought by the one that follows, if one does.
    pub fn end(&mut self, path: &str, well: bool) -> Option<Ended> {
        let Running { refs, asked_at, overtaken, wants, .. } = self.running.remove(path)?;
        if let Some(next) = self.next.get_mut(path).filter(|_| !well) {
            next.overtaken.extend(std::iter::once(refs.clone()).chain(overtaken));
            next.overtaken.truncate(OVERTAKEN_MAX);
        }
        Some(Ended { asked_at, refs, wants })
    }

    /// The fetch of `refs` has failed; `is_outage`: since the upstream broke off.
    pub fn failed(&mut self, path: &Arc<str>, refs: &RefTable, why: Arc<Fault>, is_outage: bool) {
        let before = self.in_vain.get(path).filter(|before| before.digest == *refs.digest());
        let weight = before.map_or(0, |before| before.weight).saturating_add(if is_outage { 1 } else { IN_VAIN_MIN });
        self.in_vain.insert(path.clone(), InVain { digest: *refs.digest(), weight, why });
    }

    /// The upstream has these references now: what it had before, and could not be brought, is over.
    pub fn told(&mut self, path: &str, refs: &RefTable) {
        if self.in_vain.get(path).is_some_and(|before| before.digest != *refs.digest()) {
            self.in_vain.remove(path);
        }
    }

    /// Everything has come.
    pub fn settled(&mut self, path: &str) {
        self.in_vain.remove(path);
    }

    /// Why what is on its way will not come, if that is known by now. It is tried again all the same.
    pub fn in_vain(&self, path: &str) -> Option<&Arc<Fault>> {
        let (next, running) = (self.next.get(path), self.running.get(path));
        let refs = next.map(|next| &next.asked.advertised().refs).or(running.map(|running| &running.refs))?;
        let known = self.in_vain.get(path)?;
        (known.weight >= IN_VAIN_MIN && known.digest == *refs.digest()).then_some(&known.why)
    }

    /// How far it is.
    pub fn progress(&self, path: &str) -> Option<&Arc<Progress>> {
        let running = self.running.get(path).map(|running| &running.progress);
        running.or_else(|| self.next.get(path).map(|coming| &coming.progress))
    }

    /// The same for whoever serves, beside what is `here`.
    pub fn pending(&self, path: &str, here: Option<&Snapshot>) -> Option<Pending> {
        let (next, running) = (self.next.get(path), self.running.get(path));
        let refs = next.map(|next| &next.asked.advertised().refs).or(running.map(|running| &running.refs))?;
        let asked_at = next.map(|next| next.asked_at).or(running.map(|running| running.asked_at))?;
        let being_fetched =
            running.into_iter().flat_map(|running| std::iter::once(&running.refs).chain(&running.overtaken));
        let to_be_fetched = next.into_iter().flat_map(|next| &next.overtaken);
        let tables = std::iter::once(refs).chain(being_fetched).chain(to_be_fetched);
        let mut tips: HashSet<_> = tables.flat_map(|table| table.tips().chain(table.head_id())).collect();
        for id in here.iter().flat_map(|here| here.refs.tips()) {
            tips.remove(&id);
        }
        let (progress, tips) = (self.progress(path)?.clone(), Arc::new(tips));
        Some(Pending { refs: refs.clone(), asked_at, progress, tips })
    }

    /// `reply` hears when the fetch ends that runs or is to run; at once if there is none.
    pub fn park(&mut self, path: &Arc<str>, reply: oneshot::Sender<Arrival>) {
        if !self.are_under_way(path) {
            // Who is gone does not want to know, here and below.
            let _ = reply.send(Arrival::Ended);
            return;
        }
        let parked = self.parked.entry(path.clone()).or_default();
        // Now and then, so that those who left do not add up.
        if parked.len().is_power_of_two() {
            parked.retain(|reply| !reply.is_canceled());
        }
        parked.push(reply);
    }

    /// Everybody who is parked for `path` looks again.
    pub fn wake(&mut self, path: &str, arrival: &Arrival) {
        for reply in self.parked.remove(path).into_iter().flatten() {
            let _ = reply.send(arrival.clone());
        }
    }
}
