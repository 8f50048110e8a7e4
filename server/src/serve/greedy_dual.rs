//! Which of the things that are kept goes first: the one whose making anew costs the least for each byte that it takes, with
//! age. This is GreedyDual-Size (Cao and Irani, "Cost-Aware WWW Proxy Caching Algorithms", 1997).
//!
//! Pure: it knows names, bytes and costs. A thing is worth its cost by its bytes, above a floor that rises to the worth of
//! whatever goes: so what has not been used since others went is overtaken by what has.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// The order in which things go.
#[derive(Default)]
pub struct GreedyDual {
    floor: u64,
    /// Worth and name, the least worth first; of equals, the oldest.
    order: BTreeSet<(u64, u64)>,
    things: HashMap<u64, Thing>,
    bytes: u64,
}

struct Thing {
    worth: u64,
    /// What using it lifts it above the floor by.
    gain: u64,
    bytes: u64,
}

impl GreedyDual {
    /// A thing comes, under a name that is new and above all names before.
    pub fn insert(&mut self, name: u64, bytes: u64, cost: Duration) {
        let gain = gain(bytes, cost);
        let worth = self.floor.saturating_add(gain);
        self.order.insert((worth, name));
        self.things.insert(name, Thing { worth, gain, bytes });
        self.bytes += bytes;
    }

    /// A thing is used.
    pub fn used(&mut self, name: u64) {
        if let Some(thing) = self.things.get_mut(&name) {
            self.order.remove(&(thing.worth, name));
            thing.worth = self.floor.saturating_add(thing.gain);
            self.order.insert((thing.worth, name));
        }
    }

    /// A thing goes for a reason of its own.
    pub fn remove(&mut self, name: u64) {
        if let Some(thing) = self.things.remove(&name) {
            self.order.remove(&(thing.worth, name));
            self.bytes -= thing.bytes;
        }
    }

    /// The least of those that `may_go`: it goes, because there is no room.
    pub fn evict(&mut self, may_go: impl Fn(u64) -> bool) -> Option<u64> {
        let (worth, name) = self.order.iter().copied().find(|(_, name)| may_go(*name))?;
        self.floor = self.floor.max(worth);
        self.remove(name);
        Some(name)
    }

    /// Bytes of all.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Nanoseconds for each KiB.
fn gain(bytes: u64, cost: Duration) -> u64 {
    let nanoseconds = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
    nanoseconds.saturating_mul(1 << 10) / bytes.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(things: &[(u64, u64, u64)]) -> GreedyDual {
        let mut policy = GreedyDual::default();
        for &(name, bytes, milliseconds) in things {
            policy.insert(name, bytes, Duration::from_millis(milliseconds));
        }
        policy
    }

    fn all(mut policy: GreedyDual) -> Vec<u64> {
        std::iter::from_fn(|| policy.evict(|_| true)).collect()
    }

    #[test]
    fn what_is_cheap_by_its_bytes_goes_first() {
        let policy = policy(&[(1, 1_000, 10), (2, 1_000, 5), (3, 100_000, 50), (4, 10, 1), (5, 1_000, 5)]);
        assert_eq!(policy.bytes(), 103_010);
        assert_eq!(all(policy), [3, 2, 5, 1, 4]);
    }

    #[test]
    fn what_is_not_used_grows_old() {
        let mut policy = policy(&[(1, 1_000, 30), (2, 1_000, 10)]);
        // Cheap things that are used come and go, until even the dear one has gone before the next of them.
        let mut gone = Vec::new();
        for name in 3..8 {
            gone.extend(policy.evict(|_| true));
            policy.insert(name, 1_000, Duration::from_millis(10));
        }
        assert_eq!(gone, [2, 3, 1, 4, 5]);
    }

    #[test]
    fn what_is_used_stays() {
        let mut policy = policy(&[(1, 1_000, 10), (2, 1_000, 10), (3, 1_000, 20)]);
        assert_eq!(policy.evict(|_| true), Some(1));
        policy.used(2);
        policy.used(9);
        assert_eq!(all(policy), [2, 3], "of equal worth the older");
    }

    #[test]
    fn only_what_may_go_goes() {
        let mut policy = policy(&[(1, 1_000, 1), (2, 1_000, 2), (3, 1_000, 3)]);
        assert_eq!(policy.evict(|name| name > 1), Some(2));
        assert_eq!(policy.evict(|_| false), None);
        policy.remove(1);
        policy.remove(1);
        assert_eq!(policy.bytes(), 1_000);
        assert_eq!(all(policy), [3]);
    }

    #[test]
    fn no_cost_and_no_size_are_too_large() {
        let policy = policy(&[(1, 0, u64::MAX), (2, u64::MAX / 4, 0), (3, 1, 1)]);
        assert_eq!(all(policy), [2, 3, 1]);
    }
}
