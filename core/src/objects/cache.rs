//! Objects kept in memory because deltas are likely to need them: bounded by bytes, evicted by the clock algorithm.

use super::Kind;
use std::collections::HashMap;

/// The entry of a pack: the pack's serial and the entry's offset.
pub(super) type Key = (u64, u64);

/// A bounded cache of resolved entries.
pub(super) struct BaseCache {
    slots: Vec<Slot>,
    by_key: HashMap<Key, usize>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    bytes_max: usize,
}

struct Slot {
    key: Key,
    kind: Kind,
    data: Vec<u8>,
    used: bool,
    referenced: bool,
}

/// What an entry costs besides its data, roughly: slot, map entry, allocator.
const OVERHEAD_BYTES: usize = 128;

impl BaseCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { slots: Vec::new(), by_key: HashMap::new(), free: Vec::new(), hand: 0, bytes: 0, bytes_max }
    }

    /// The entry, if it is kept.
    pub(super) fn get(&mut self, key: Key) -> Option<(Kind, &[u8])> {
        let slot = self.slots.get_mut(*self.by_key.get(&key)?)?;
        slot.referenced = true;
        Some((slot.kind, &slot.data))
    }

    /// Keeps an entry, if it is not so large that it would push out most others.
    pub(super) fn insert(&mut self, key: Key, kind: Kind, data: Vec<u8>) {
        let cost = data.capacity() + OVERHEAD_BYTES;
        if cost > self.bytes_max / 4 || self.by_key.contains_key(&key) {
            return;
        }
        while self.bytes + cost > self.bytes_max {
            self.evict_one();
        }
        self.bytes += cost;
        let slot = Slot { key, kind, data, used: true, referenced: false };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.by_key.insert(key, at);
    }

    /// Ends: every turn of the hand clears the marks it passes, and something is kept whenever `bytes` is not 0.
    fn evict_one(&mut self) {
        loop {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            let Some(slot) = self.slots.get_mut(self.hand) else { return };
            if !slot.used {
                continue;
            }
            if std::mem::take(&mut slot.referenced) {
                continue;
            }
            slot.used = false;
            self.bytes -= slot.data.capacity() + OVERHEAD_BYTES;
            slot.data = Vec::new();
            self.by_key.remove(&slot.key);
            self.free.push(self.hand);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bytes_and_keeps_what_is_used() {
        let mut cache = BaseCache::new(10_000);
        cache.insert((0, 0), Kind::Tree, vec![7; 500]);
        for offset in 1..1000 {
            assert!(cache.get((0, 0)).is_some(), "used before every insertion, gone at {offset}");
            cache.insert((0, offset), Kind::Blob, vec![1; 300]);
            assert!(cache.bytes <= 10_000);
        }
        assert!(cache.get((0, 1)).is_none());
        assert!(cache.slots.len() < 50);
        cache.insert((1, 0), Kind::Blob, vec![0; 5_000]);
        assert!(cache.get((1, 0)).is_none(), "larger than a quarter");
    }
}
