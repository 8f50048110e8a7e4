//! Who is parked because nothing here leads to what it wants: waiting for the sync that asks the upstream for it by its id.
//! One sync serves all of a repository who are parked by then.

use super::arrivals::{Arrival, Want};
use crate::upstream::ById;
use heliostat_core::{
    fault::Fault,
    limits::{WANTED_IDS_MAX, WANTED_SYNCS_PAUSE},
    sync::Wanted,
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// All of them, by the path under which the schedule knows the repository.
#[derive(Default)]
pub(super) struct Wants {
    memory: Wanted,
    waiting: HashMap<Arc<str>, Vec<Want>>,
    /// Repositories whose waiting wants need a question, in the order of their turns; each at most once.
    turns: VecDeque<Arc<str>>,
    /// Those whose next question takes the waiting wants along.
    due: HashSet<Arc<str>>,
    /// When it is looked again whether the upstream may be asked.
    at: Option<Duration>,
}

impl Wants {
    /// Somebody wants what is not here.
    pub fn add(&mut self, now: Duration, path: &Arc<str>, want: Want) {
        if self.memory.is_absent(now, path, &want.ids) {
            return want.answer(Arrival::Refused);
        }
        self.put_back(path, vec![want]);
    }

    /// These have not been asked for yet.
    pub fn put_back(&mut self, path: &Arc<str>, wants: Vec<Want>) {
        let waiting = self.waiting.entry(path.clone()).or_default();
        waiting.extend(wants);
        waiting.retain(|want| !want.reply.is_canceled());
        if waiting.is_empty() {
            self.waiting.remove(path);
        } else if !self.due.contains(path) && !self.turns.contains(path) {
            self.turns.push_back(path.clone());
        }
    }

    /// A repository that the upstream is to be asked about now.
    pub fn poll(&mut self, now: Duration) -> Option<Arc<str>> {
        if self.at.is_some_and(|at| at > now) {
            return None;
        }
        self.at = None;
        while let Some(path) = self.turns.pop_front() {
            let waiting = self.waiting.get_mut(&path)?;
            waiting.retain(|want| !want.reply.is_canceled());
            if waiting.is_empty() {
                self.waiting.remove(&path);
                continue;
            }
            if !self.memory.may_ask(now) {
                self.turns.push_front(path);
                self.at = Some(now + WANTED_SYNCS_PAUSE);
                return None;
            }
            self.due.insert(path.clone());
            return Some(path);
        }
        None
    }

    /// When [`Wants::poll`] has something to do without another event.
    pub fn deadline(&self) -> Option<Duration> {
        self.at
    }

    /// The upstream has told references of this digest.
    pub fn told(&mut self, path: &str, digest: &[u8; 32]) {
        self.memory.told(path, digest);
    }

    /// What the fetch that follows is to ask for.
    pub fn take(&mut self, path: &Arc<str>) -> Vec<Want> {
        if !self.due.remove(path) {
            return Vec::new();
        }
        let mut wants = self.waiting.remove(path).unwrap_or_default();
        let mut ids = 0;
        let fit = wants.iter().take_while(|want| {
            ids += want.ids.len();
            ids <= WANTED_IDS_MAX
        });
        let later = wants.split_off(fit.count().max(1).min(wants.len()));
        if !later.is_empty() {
            self.put_back(path, later);
        }
        wants
    }

    /// The question was in vain.
    pub fn fail(&mut self, path: &str, why: &Arc<Fault>) {
        self.due.remove(path);
        self.turns.retain(|turn| **turn != *path);
        for want in self.waiting.remove(path).into_iter().flatten() {
            want.answer(Arrival::Failed(why.clone()));
        }
    }

    /// The fetch has ended that asked for `wants`, when the references had this digest.
    pub fn end(
        &mut self,
        now: Duration,
        path: &Arc<str>,
        digest: &[u8; 32],
        wants: Vec<Want>,
        arrival: &Arrival,
        by_id: &ById,
    ) {
        self.memory.refused(now, path, digest, &by_id.refused);
        let mut undecided = Vec::new();
        for want in wants {
            if !matches!(arrival, Arrival::Ended) {
                want.answer(arrival.clone());
            } else if want.ids.iter().any(|id| by_id.refused.contains(id)) {
                want.answer(Arrival::Refused);
            } else if want.ids.iter().all(|id| by_id.given.contains(id)) {
                want.answer(Arrival::Ended);
            } else {
                undecided.push(want);
            }
        }
        if !undecided.is_empty() {
            self.put_back(path, undecided);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_channel::oneshot;
    use heliostat_core::{ObjectId, limits::WANTED_SYNCS_BURST};

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[byte; 20])
    }

    fn want(bytes: &[u8]) -> (Want, oneshot::Receiver<Arrival>) {
        let (reply, receiver) = oneshot::channel();
        (Want { ids: bytes.iter().copied().map(id).collect(), reply }, receiver)
    }

    fn heard(receiver: &mut oneshot::Receiver<Arrival>) -> Option<Arrival> {
        receiver.try_recv().expect("not forgotten")
    }

    #[test]
    fn one_sync_serves_all_and_one_bad_id_fails_nobody_else() {
        let (mut wants, path): (_, Arc<str>) = (Wants::default(), "team/app.git".into());
        let [(a, mut good), (b, mut bad), (c, mut unknown)] = [want(&[1]), want(&[2, 3]), want(&[4])];
        for want in [a, b, c] {
            wants.add(Duration::ZERO, &path, want);
        }
        assert!(wants.take(&path).is_empty(), "a question that came before takes nothing along");
        assert_eq!(wants.poll(Duration::ZERO).as_deref(), Some("team/app.git"));
        assert_eq!(wants.poll(Duration::ZERO), None);
        let taken = wants.take(&path);
        assert_eq!(taken.len(), 3);
        let by_id = ById { given: vec![id(1)], refused: vec![id(3)] };
        wants.end(Duration::ZERO, &path, &[0; 32], taken, &Arrival::Ended, &by_id);
        assert!(matches!(heard(&mut good), Some(Arrival::Ended)));
        assert!(matches!(heard(&mut bad), Some(Arrival::Refused)));
        assert!(heard(&mut unknown).is_none(), "it is asked for again");
        assert_eq!(wants.poll(Duration::ZERO).as_deref(), Some("team/app.git"));

        let (again, mut refused) = want(&[3]);
        wants.add(Duration::ZERO, &path, again);
        assert!(matches!(heard(&mut refused), Some(Arrival::Refused)), "remembered");
        wants.fail(&path, &Arc::new(Fault::upstream("away", "away")));
        assert!(matches!(heard(&mut unknown), Some(Arrival::Failed(_))));
        assert!(wants.waiting.is_empty() && wants.turns.is_empty() && wants.due.is_empty());
    }

    #[test]
    fn who_has_gone_is_not_asked_for_and_nobody_asks_too_often() {
        let mut wants = Wants::default();
        for number in 0..100 {
            let path: Arc<str> = format!("team/{number}.git").into();
            let (gone, receiver) = want(&[number]);
            wants.add(Duration::ZERO, &path, gone);
            drop(receiver);
        }
        assert_eq!(wants.poll(Duration::ZERO), None);
        assert!(wants.waiting.is_empty(), "nothing is left of them");
        let mut receivers = Vec::new();
        for number in 0..100 {
            let (want, receiver) = want(&[number]);
            wants.add(Duration::ZERO, &format!("team/{number}.git").into(), want);
            receivers.push(receiver);
        }
        let asked = std::iter::from_fn(|| wants.poll(Duration::ZERO)).count();
        assert_eq!(asked, WANTED_SYNCS_BURST as usize);
        let later = wants.deadline().expect("it is looked again");
        assert_eq!(std::iter::from_fn(|| wants.poll(later)).count(), 1);
    }
}
