//! Keeping the store's bytes below the limit: of the repositories that are mirrored because somebody asked for them, those
//! that nobody has asked for the longest go. What is evicted comes back when it is asked for.
//!
//! Never evicted is what no caller can bring back (`on_demand = false`), what is being read, what is being synchronised, and what was asked for a moment ago: a clone asks three
//! times. So the store may be above its limit for a while; it is looked at again after each publication and regularly.

use super::{Shared, driver::Event, purge};
use heliostat_core::store::MirroredRepository;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Whoever was asked for so recently stays.
const REST: Duration = Duration::from_secs(10);

/// Milliseconds since 1970: what [`MirroredRepository::note_asked`] counts in.
pub fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Evicts what has to go. Tells whether it is to be tried again soon.
pub(super) fn evict(shared: &Shared, events: &flume::Sender<Event>) -> bool {
    let all: Vec<(u64, Arc<MirroredRepository>)> =
        shared.store.all().into_iter().map(|repository| (repository.disk_bytes(), repository)).collect();
    let mut total: u64 = all.iter().map(|(bytes, _)| bytes).sum();
    shared.counts.store_bytes.set(usize::try_from(total).unwrap_or(usize::MAX));
    let Some(limit) = shared.config.store.bytes else { return false };
    let now = clock();
    for (_, repository) in &all {
        // One that came without being asked for, and those of a time before this was counted, count from here.
        if repository.asked() == 0 {
            repository.note_asked(now);
        }
    }
    let mut candidates = all;
    candidates.sort_by_key(|(_, repository)| repository.asked());
    for (bytes, repository) in candidates {
        if total <= limit {
            break;
        }
        let idle = Duration::from_millis(now.saturating_sub(repository.asked()));
        // Nobody who asks for it could bring it back.
        let comes_back = shared.config.rule(repository.path()).is_none_or(|rule| rule.on_demand);
        if !comes_back || idle < REST || repository.is_being_read() || shared.is_active(repository.path()) {
            continue;
        }
        match purge::remove(shared, events, &repository) {
            Ok(true) => {
                total = total.saturating_sub(bytes);
                shared.counts.evictions.one();
                shared.counts.evicted_bytes.add(bytes);
                tracing::info!(repository = repository.path(), bytes, ?idle, "evicted: the store is full");
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(repository = repository.path(), %error, "could not be evicted"),
        }
    }
    shared.counts.store_bytes.set(usize::try_from(total).unwrap_or(usize::MAX));
    if total > limit {
        tracing::debug!(total, limit, "the store is above its limit, and all in it is in use");
    }
    total > limit
}

impl Shared {
    /// Whether a sync of what lies here as `path` is under way.
    fn is_active(&self, path: &str) -> bool {
        let scheduled = path.parse().map(|path| self.scheduled_as(path));
        scheduled.is_ok_and(|path| self.lock_activities().contains_key(path.as_str()))
    }
}
