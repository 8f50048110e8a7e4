//! What the protocol machine may know of a mirrored repository: one snapshot, nothing hidden, nothing shallow.

use heliostat_core::{
    protocol::{Policy, View},
    store::Snapshot,
};
use std::{collections::BTreeSet, sync::atomic::AtomicBool};

/// Of answers that are given at once: nothing in them is long enough to be stopped.
pub static NEVER: AtomicBool = AtomicBool::new(false);

/// Calls `use_it` with the view of `snapshot`.
pub fn with_view<T>(snapshot: &Snapshot, policy: &Policy, stop: &AtomicBool, use_it: impl FnOnce(&View<'_>) -> T) -> T {
    use_it(&View {
        refs: &snapshot.refs,
        hidden: &[],
        recent: &snapshot.recent,
        objects: &snapshot.objects,
        shallow: &BTreeSet::new(),
        policy,
        stop,
    })
}
