//! What the protocol machine may know of a mirrored repository: one snapshot, nothing hidden, nothing shallow. Nobody is
//! shown any of it without a [`Grant`].

use crate::auth::Grant;
use heliostat_core::{
    protocol::{Policy, View},
    refs::RefTable,
    store::Snapshot,
};
use std::{collections::BTreeSet, sync::atomic::AtomicBool};

/// Of answers that are given at once: nothing in them is long enough to be stopped.
pub static NEVER: AtomicBool = AtomicBool::new(false);

/// Which references an answer tells, or grants wants by.
#[derive(Clone, Copy)]
pub enum References<'a> {
    /// Those that are here; what is `pending` beside them is what a client has been told, perhaps.
    Here {
        /// What is on its way.
        pending: Option<&'a RefTable>,
    },
    /// What is pending, for who needs no objects.
    Pending(&'a RefTable),
}

/// Calls `use_it` with the view of `snapshot`, which is of the repository that is granted.
pub fn with_view<T>(
    _: &Grant,
    snapshot: &Snapshot,
    references: References<'_>,
    policy: &Policy,
    stop: &AtomicBool,
    use_it: impl FnOnce(&View<'_>) -> T,
) -> T {
    let (refs, pending) = match references {
        References::Here { pending } => (&*snapshot.refs, pending),
        References::Pending(refs) => (refs, None),
    };
    use_it(&View {
        refs,
        hidden: &[],
        recent: &snapshot.recent,
        pending,
        objects: &snapshot.objects,
        shallow: &BTreeSet::new(),
        policy,
        stop,
    })
}
