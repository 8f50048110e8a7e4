//! The grants that one shard keeps at hand: a caller who was let in a moment ago costs no lock and no message.
//!
//! Plain fields of one shard. Each is good until the time that the common memory has set, and all of them only while the
//! epoch stands still: whoever makes something forgotten moves it, and every shard sees it at its next look.

use heliostat_core::{
    limits::RIGHTS_GRANTS_PER_SHARD_MAX,
    rights::{Key, Memory},
};
use std::time::Duration;

/// One shard's.
pub struct ShardMemory {
    epoch: u64,
    grants: Memory<Duration>,
}

impl Default for ShardMemory {
    fn default() -> Self {
        Self { epoch: 0, grants: Memory::new(RIGHTS_GRANTS_PER_SHARD_MAX) }
    }
}

impl ShardMemory {
    /// Whether `key` is known to be granted at `now`, in this `epoch`.
    pub fn knows(&mut self, epoch: u64, now: Duration, key: &Key) -> bool {
        self.enter(epoch);
        match self.grants.get(key) {
            Some(until) if now < *until => true,
            Some(_) => {
                self.grants.remove(key);
                false
            }
            None => false,
        }
    }

    /// Keeps a grant that was given in `epoch` and holds `until` then.
    pub fn keep(&mut self, epoch: u64, key: Key, until: Duration) {
        // One that was on its way when the epoch moved would be from before.
        if epoch >= self.epoch {
            self.enter(epoch);
            self.grants.insert(key, until);
        }
    }

    fn enter(&mut self, epoch: u64) {
        if epoch != self.epoch {
            self.grants.clear();
            self.epoch = epoch;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heliostat_core::rights::{Action, Keyring};

    #[test]
    fn a_grant_ends_with_its_time_or_its_epoch() {
        let key = Keyring::new([0; 32]).key(None, &"a".parse().unwrap(), Action::Read);
        let at = Duration::from_secs;
        let mut memory = ShardMemory::default();
        assert!(!memory.knows(0, at(1), &key));
        memory.keep(0, key, at(10));
        assert!(memory.knows(0, at(9), &key));
        assert!(!memory.knows(0, at(10), &key));
        memory.keep(0, key, at(10));
        assert!(!memory.knows(1, at(9), &key), "the epoch has moved");
        memory.keep(0, key, at(10));
        assert!(!memory.knows(1, at(9), &key), "it was on its way");
        memory.keep(1, key, at(10));
        assert!(memory.knows(1, at(9), &key));
    }
}
