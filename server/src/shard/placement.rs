//! Which shard owns a repository, and which core a shard sits on.

use heliostat_core::store::RepositoryId;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The shard that plans for a repository: a pure function of its id, the same on every shard.
pub fn owner(repository: RepositoryId, shards: usize) -> usize {
    // Ids may count up: the multiplication (Fibonacci hashing) spreads neighbours, the shift takes the mixed bits.
    let mixed = repository.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(mixed).unwrap_or(0) % shards.max(1)
}

/// The cores that this process may use, in order. Empty if the kernel does not tell.
pub fn cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => Vec::new(),
    }
}

/// Puts the calling thread on `core`, and all threads that it starts.
pub fn pin(core: usize) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_spread_evenly() {
        for shards in [1, 2, 3, 8, 64] {
            let mut owned = vec![0u32; shards];
            for id in 0..6_400 {
                owned[owner(RepositoryId(id), shards)] += 1;
            }
            let fair = 6_400 / u32::try_from(shards).unwrap();
            assert!(owned.iter().all(|&n| n > fair / 2 && n < fair * 2), "{owned:?}");
        }
    }

    #[test]
    fn a_pinned_thread_stays_where_it_is_put() {
        let core = cores()[0];
        let seen = std::thread::spawn(move || {
            pin(core).unwrap();
            cores()
        });
        assert_eq!(seen.join().unwrap(), [core]);
    }
}
