//! Ids that clients want and nothing here leads to: which of them the upstream has been found not to give, and how often it
//! is asked. Random ids are many, and none must become load.

use super::Bucket;
use crate::{
    ObjectId,
    limits::{ABSENT_IDS_MAX, ABSENT_TIME, WANTED_SYNCS_BURST, WANTED_SYNCS_PER_SECOND},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// What is remembered, of all repositories.
pub struct Wanted {
    rate: Bucket,
    /// In the order in which they were found out. An entry may be stale.
    order: VecDeque<(Duration, Arc<str>, ObjectId)>,
    repositories: HashMap<Arc<str>, Absent>,
}

struct Absent {
    /// Of the references that the upstream had then.
    digest: [u8; 32],
    /// And when each was found out.
    ids: HashMap<ObjectId, Duration>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            rate: Bucket::new(WANTED_SYNCS_PER_SECOND, WANTED_SYNCS_BURST),
            order: VecDeque::new(),
            repositories: HashMap::new(),
        }
    }
}

impl Wanted {
    /// Whether the upstream may be asked once more at `now`: for all who want something of one repository.
    pub fn may_ask(&mut self, now: Duration) -> bool {
        self.rate.take(now)
    }

    /// Whether one of `ids` is known not to be given.
    pub fn is_absent(&mut self, now: Duration, path: &str, ids: &[ObjectId]) -> bool {
        self.forget_old(now);
        self.repositories.get(path).is_some_and(|absent| ids.iter().any(|id| absent.ids.contains_key(id)))
    }

    /// The upstream has references of this digest: if they are others than before, what was absent may be there.
    pub fn told(&mut self, path: &str, digest: &[u8; 32]) {
        if self.repositories.get(path).is_some_and(|absent| absent.digest != *digest) {
            self.repositories.remove(path);
        }
    }

    /// It does not give `ids`, while its references have this digest.
    pub fn refused(&mut self, now: Duration, path: &Arc<str>, digest: &[u8; 32], ids: &[ObjectId]) {
        self.told(path, digest);
        for id in ids {
            let absent = self.repositories.entry(path.clone());
            let absent = absent.or_insert_with(|| Absent { digest: *digest, ids: HashMap::new() });
            if absent.ids.insert(*id, now) != Some(now) {
                self.order.push_back((now, path.clone(), *id));
            }
        }
        self.forget_old(now);
    }

    fn forget_old(&mut self, now: Duration) {
        let is_over = |at: Duration| now.saturating_sub(at) >= ABSENT_TIME;
        while self.order.len() > ABSENT_IDS_MAX || self.order.front().is_some_and(|(at, ..)| is_over(*at)) {
            let Some((at, path, id)) = self.order.pop_front() else { return };
            if let Some(absent) = self.repositories.get_mut(&path)
                && absent.ids.get(&id) == Some(&at)
            {
                absent.ids.remove(&id);
                if absent.ids.is_empty() {
                    self.repositories.remove(&path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(number: u32) -> ObjectId {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        ObjectId::from_bytes_or_panic(&bytes)
    }

    #[test]
    fn what_is_absent_is_remembered_until_the_references_change_or_its_time_is_over() {
        let (mut wanted, path): (_, Arc<str>) = (Wanted::default(), "team/app.git".into());
        wanted.refused(SECOND, &path, &[1; 32], &[id(1), id(2)]);
        assert!(wanted.is_absent(SECOND, &path, &[id(9), id(2)]));
        assert!(!wanted.is_absent(SECOND, &path, &[id(9)]) && !wanted.is_absent(SECOND, "team/other.git", &[id(1)]));
        wanted.told(&path, &[1; 32]);
        assert!(wanted.is_absent(SECOND, &path, &[id(1)]));
        wanted.told(&path, &[2; 32]);
        assert!(!wanted.is_absent(SECOND, &path, &[id(1)]));
        wanted.refused(2 * SECOND, &path, &[2; 32], &[id(1)]);
        assert!(wanted.is_absent(ABSENT_TIME + SECOND, &path, &[id(1)]));
        assert!(!wanted.is_absent(ABSENT_TIME + 2 * SECOND, &path, &[id(1)]));
        assert!(wanted.order.is_empty() && wanted.repositories.is_empty());
    }

    #[test]
    fn random_ids_fill_no_memory_and_are_no_load() {
        let mut wanted = Wanted::default();
        let paths: Vec<Arc<str>> = (0..10).map(|n| format!("team/{n}.git").into()).collect();
        let mut asked = 0;
        for number in 0..100_000 {
            let now = Duration::from_millis(u64::from(number) / 100);
            let path = &paths[number as usize % 10];
            asked += u32::from(wanted.may_ask(now));
            wanted.refused(now, path, &[1; 32], &[id(number)]);
            let remembered: usize = wanted.repositories.values().map(|absent| absent.ids.len()).sum();
            assert!(wanted.order.len() <= ABSENT_IDS_MAX && remembered <= ABSENT_IDS_MAX);
        }
        assert!(wanted.is_absent(SECOND, &paths[9], &[id(99_999)]));
        assert!(asked <= WANTED_SYNCS_BURST + WANTED_SYNCS_PER_SECOND, "{asked} in a second");
    }
}
