//! A memory of so many entries and no more: the oldest goes.

use super::Key;
use std::collections::{BTreeMap, HashMap};

/// What is remembered by key. Bounded; of two under one key the later stays.
#[derive(Debug)]
pub struct Memory<V> {
    entries: HashMap<Key, (u64, V)>,
    /// Oldest first.
    order: BTreeMap<u64, Key>,
    next: u64,
    max: usize,
}

impl<V> Memory<V> {
    /// Room for `max` entries.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), next: 0, max: max.max(1) }
    }

    /// What is remembered.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Remembers, and forgets the oldest if there is no room.
    pub fn insert(&mut self, key: Key, value: V) {
        self.remove(&key);
        if self.entries.len() >= self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.order.insert(self.next, key);
        self.entries.insert(key, (self.next, value));
        self.next += 1;
    }

    /// All that is remembered, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|(_, value)| value)
    }

    /// Forgets one, and gives it.
    pub fn remove(&mut self, key: &Key) -> Option<V> {
        let (age, value) = self.entries.remove(key)?;
        self.order.remove(&age);
        Some(value)
    }

    /// Forgets what `keeps` does not keep.
    pub fn retain(&mut self, mut keeps: impl FnMut(&V) -> bool) {
        let order = &mut self.order;
        self.entries.retain(|_, (age, value)| {
            let kept = keeps(value);
            if !kept {
                order.remove(age);
            }
            kept
        });
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::{Action, Keyring};

    #[test]
    fn the_oldest_goes_and_it_never_grows() {
        let ring = Keyring::new([0; 32]);
        let key = |n: u32| ring.key(Some(&n.to_le_bytes()), &"a".parse().unwrap(), Action::Read);
        let mut memory = Memory::new(3);
        for n in 0..1_000 {
            memory.insert(key(n), n);
            assert!(memory.len() <= 3 && memory.order.len() == memory.len());
        }
        assert_eq!([996, 997, 998, 999].map(|n| memory.get(&key(n)).copied()), [None, Some(997), Some(998), Some(999)]);
        // What is said again is young again.
        memory.insert(key(997), 1);
        memory.insert(key(5), 5);
        assert_eq!((memory.get(&key(997)), memory.get(&key(998))), (Some(&1), None));
        memory.retain(|value| *value == 1);
        assert_eq!((memory.len(), memory.order.len()), (1, 1));
        memory.remove(&key(997));
        assert!(memory.is_empty() && memory.order.is_empty());
    }
}
