//! Plans that several clients share: whoever asks for what is being planned or sent anyway gets that very plan.
//!
//! A fleet that clones one large repository at once costs one walk and one plan in memory, not one a client. Nothing is
//! kept for later: a plan that nobody sends any more is gone, and a changed snapshot has other plans. The lock is taken
//! by workers only, for as long as comparing queries takes; a worker that waits would have made the same plan.

use heliostat_core::{
    fault::Fault,
    graph::Query,
    objects::Database,
    pack::{Encoding, Plan},
    protocol::PackOrder,
};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How soon a worker that waits for another's plan sees that its own client is gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The plans in the making and in use.
#[derive(Default)]
pub struct SharedPlans {
    entries: Mutex<Vec<Entry>>,
    settled: Condvar,
}

struct Entry {
    /// A plan is of these objects. Weak, and never dead and replaced at the same address while this stands.
    objects: Weak<Database>,
    query: Query,
    encoding: Encoding,
    plan: Made,
}

enum Made {
    NotYet,
    Plan(Weak<Plan>),
}

impl SharedPlans {
    /// The plan of `order`: one that is there, or what `make` makes. Ends early once `stop` is raised.
    pub fn get(
        &self,
        objects: &Arc<Database>,
        order: &PackOrder,
        stop: &AtomicBool,
        make: impl FnOnce() -> Result<Plan, Fault>,
    ) -> Result<Arc<Plan>, Fault> {
        let is_it = |entry: &Entry| {
            entry.objects.as_ptr() == Arc::as_ptr(objects)
                && entry.encoding == order.encoding
                && entry.query == order.query
        };
        let mut entries = self.lock();
        loop {
            entries.retain(|entry| !matches!(&entry.plan, Made::Plan(plan) if plan.strong_count() == 0));
            match entries.iter().find(|entry| is_it(entry)).map(|entry| &entry.plan) {
                None => break,
                // Gone since just now: looked for again.
                Some(Made::Plan(plan)) => {
                    if let Some(plan) = plan.upgrade() {
                        return Ok(plan);
                    }
                }
                Some(Made::NotYet) => {
                    let waited = self.settled.wait_timeout(entries, LOOK_INTERVAL);
                    entries = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Fault::client("the request was given up"));
            }
        }
        entries.push(Entry {
            objects: Arc::downgrade(objects),
            query: order.query.clone(),
            encoding: order.encoding,
            plan: Made::NotYet,
        });
        drop(entries);

        let mut making = Making { shared: self, is_it, made: None };
        let plan = Arc::new(make()?);
        making.made = Some(plan.clone());
        Ok(plan)
    }

    /// A panic under the lock leaves the entries whole: each change is one call.
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry that is being made; settled however that ends, so that one of those who wait makes it instead.
struct Making<'a, F: Fn(&Entry) -> bool> {
    shared: &'a SharedPlans,
    is_it: F,
    made: Option<Arc<Plan>>,
}

impl<F: Fn(&Entry) -> bool> Drop for Making<'_, F> {
    fn drop(&mut self) {
        let mut entries = self.shared.lock();
        if let Some(at) = entries.iter().position(&self.is_it) {
            match &self.made {
                Some(plan) => entries[at].plan = Made::Plan(Arc::downgrade(plan)),
                None => _ = entries.swap_remove(at),
            }
        }
        self.shared.settled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heliostat_core::pack::Framing;
    use std::{sync::atomic::AtomicU32, thread};

    static NEVER: AtomicBool = AtomicBool::new(false);

    fn order(ofs_delta: bool) -> PackOrder {
        let encoding = Encoding { ofs_delta, thin_pack: false };
        PackOrder { query: Query::default(), encoding, framing: Framing::SideBand64k, progress: false }
    }

    fn empty() -> Plan {
        Plan {
            segments: Vec::new(),
            inline: Vec::new(),
            spool: None,
            packs: Vec::new(),
            objects: 0,
            copied: 0,
            deltas: 0,
            bytes: 0,
            trailer: None,
        }
    }

    #[test]
    fn one_plan_for_all_who_ask_meanwhile() {
        let (shared, objects, made) = (SharedPlans::default(), Arc::new(Database::new(Vec::new())), AtomicU32::new(0));
        let make = || {
            made.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(100));
            Ok(empty())
        };
        let plans: Vec<_> = thread::scope(|scope| {
            let ask = || shared.get(&objects, &order(true), &NEVER, make).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // A thread that came late enough to find its plan gone would have made another: all are held here.
        assert!(plans.iter().all(|plan| Arc::ptr_eq(plan, &plans[0])));
        assert_eq!(made.load(Ordering::Relaxed), 1);

        let other = shared.get(&objects, &order(false), &NEVER, make).unwrap();
        assert!(!Arc::ptr_eq(&other, &plans[0]), "another encoding is another plan");
        let elsewhere = Arc::new(Database::new(Vec::new()));
        let another = shared.get(&elsewhere, &order(true), &NEVER, make).unwrap();
        assert!(!Arc::ptr_eq(&another, &plans[0]), "other objects are another plan");

        drop((plans, other, another));
        shared.get(&objects, &order(true), &NEVER, make).unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 4, "nothing is kept for later");
        assert_eq!(shared.lock().len(), 1);
    }

    #[test]
    fn who_waits_for_one_that_fails_makes_it() {
        let (shared, objects) = (SharedPlans::default(), Arc::new(Database::new(Vec::new())));
        thread::scope(|scope| {
            let (begun, begin) = flume::bounded(0);
            let (shared, objects) = (&shared, &objects);
            let first = scope.spawn(move || {
                shared.get(objects, &order(true), &NEVER, || {
                    begun.send(()).unwrap();
                    thread::sleep(Duration::from_millis(100));
                    Err(Fault::client("gone"))
                })
            });
            begin.recv().unwrap();
            assert!(shared.get(objects, &order(true), &NEVER, || Ok(empty())).is_ok());
            assert!(first.join().unwrap().is_err());
        });
    }

    #[test]
    fn who_is_given_up_does_not_wait() {
        let (shared, objects) = (SharedPlans::default(), Arc::new(Database::new(Vec::new())));
        shared
            .get(&objects, &order(true), &NEVER, || {
                let given_up = AtomicBool::new(true);
                assert!(shared.get(&objects, &order(true), &given_up, || Ok(empty())).is_err());
                Ok(empty())
            })
            .unwrap();
    }
}
