//! Places for fetches that wait for their objects: so many in all, and of one repository no more than are free.
//!
//! So a storm on one repository takes half of them, one on another repository half of what is left, and who waits for a quiet
//! one finds a place. Repositories are counted in a fixed number of buckets, as addresses are (`http::admission`); two that
//! share one share its bound.

use heliostat_core::{RepositoryPath, limits::PARKED_MAX};
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

const BUCKETS: usize = 1 << 12;

/// All of the process, without a lock.
pub struct Places {
    taken: AtomicU32,
    of_repository: Box<[AtomicU32]>,
    key: RandomState,
}

/// One that is taken; given back when dropped.
pub struct Place {
    places: Arc<Places>,
    bucket: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            taken: AtomicU32::new(0),
            of_repository: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            key: RandomState::new(),
        }
    }
}

impl Places {
    /// A place for a fetch of `path`, if there is one.
    pub fn take(self: &Arc<Self>, path: &RepositoryPath) -> Option<Place> {
        let bucket = usize::try_from(self.key.hash_one(path.as_str()) % BUCKETS as u64).unwrap_or(0);
        let taken = count_up(&self.taken, PARKED_MAX)?;
        // Of those that were free before this one.
        if count_up(&self.of_repository[bucket], PARKED_MAX - (taken - 1)).is_none() {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place { places: self.clone(), bucket })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.of_repository[self.bucket].fetch_sub(1, Ordering::Relaxed);
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One more; how many there are then.
fn count_up(counter: &AtomicU32, max: u32) -> Option<u32> {
    let one_more = |n: u32| (n < max).then_some(n + 1);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|n| n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_on_one_repository_leaves_room_for_others() {
        let places = Arc::new(Places::default());
        let storm = |path: &str| -> Vec<Place> {
            let path = path.parse().unwrap();
            std::iter::from_fn(|| places.take(&path)).take(2 * PARKED_MAX as usize).collect()
        };
        // Of their own bucket, whatever the key of this process.
        let bucket = |path: &str| places.key.hash_one(path) % BUCKETS as u64;
        let quiet = (0..)
            .map(|n| format!("team/{n}.git"))
            .find(|path| !["storm.git", "second.git"].iter().any(|other| bucket(other) == bucket(path)));
        let first = storm("storm.git");
        assert_eq!(first.len(), PARKED_MAX as usize / 2);
        let second = storm("second.git");
        assert!(second.len() >= PARKED_MAX as usize / 4 - 1 || bucket("storm.git") == bucket("second.git"));
        assert!(places.take(&quiet.unwrap().parse().unwrap()).is_some());
        drop((first, second));
        assert_eq!(storm("storm.git").len(), PARKED_MAX as usize / 2, "all were given back");
    }

    #[test]
    fn all_together_are_bounded() {
        let places = Arc::new(Places::default());
        let taken: Vec<_> =
            (0..2 * PARKED_MAX).filter_map(|n| places.take(&format!("{n}.git").parse().unwrap())).collect();
        assert!(taken.len() <= PARKED_MAX as usize && taken.len() > PARKED_MAX as usize / 2, "{}", taken.len());
        drop(taken);
        assert!(places.of_repository.iter().chain([&places.taken]).all(|n| n.load(Ordering::Relaxed) == 0));
    }
}
