//! Plans that several clients share: whoever orders what is being planned or sent anyway gets that very plan, and whoever
//! orders what is ordered time and again gets one that was kept.
//!
//! A fleet that clones one large repository at once costs one walk and one plan in memory, not one a client. No worker
//! waits for another: who orders a plan in the making leaves its address, and the maker delivers. The making ends early
//! once everyone who waits for it is gone. From the second order on a plan is kept for later ([`AnswerCache`]); a changed
//! snapshot has other plans. The lock is taken by workers, and by whoever purges or reads the figures, never on a shard, and
//! for as long as comparing orders takes.

use super::{
    answer_cache::{AnswerCache, Key, Keys},
    job::{Cache, Client, Crowd, Step},
};
use heliostat_core::{fault::Fault, objects::Database, pack::Plan, protocol::PackOrder, store::RepositoryId};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// The plans in the making, in use, and kept.
pub struct SharedPlans {
    keys: Keys,
    shelf: Mutex<Shelf>,
}

/// What is under the lock.
struct Shelf {
    flights: Vec<Flight>,
    kept: AnswerCache,
    evicted: usize,
    /// How often plans were purged.
    purges: u64,
}

struct Flight {
    key: Key,
    stage: Stage,
}

enum Stage {
    Making {
        crowd: Arc<Crowd>,
        addresses: Vec<flume::Sender<Step>>,
        /// Whether it has been ordered before, or more than once.
        again: bool,
    },
    Made {
        plan: Weak<Plan>,
        cost: Duration,
    },
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Plans.
    pub plans: usize,
    /// What they take in memory and in files, in bytes.
    pub bytes: u64,
    /// Plans that went for others since the start.
    pub evicted: usize,
}

impl SharedPlans {
    /// With room for so many bytes of kept plans; 0: none is kept.
    pub fn new(kept_bytes_max: u64) -> Self {
        let kept = AnswerCache::new(kept_bytes_max);
        let shelf = Mutex::new(Shelf { flights: Vec::new(), kept, evicted: 0, purges: 0 });
        Self { keys: Keys::default(), shelf }
    }

    /// Sees to it that `address` gets [`Step::Planned`]: at once if the plan is there; from another worker if it is being
    /// made; or else `make` makes it now, for all who order it meanwhile. Its argument is raised when all of them are gone.
    /// `announce` is called before that step can come, with whose plan it is, and takes no longer than sending a step does.
    pub fn deliver(
        &self,
        (repository, objects): (RepositoryId, &Arc<Database>),
        order: Arc<PackOrder>,
        client: &Client,
        address: &flume::Sender<Step>,
        announce: impl FnOnce(Cache),
        make: impl FnOnce(&PackOrder, &AtomicBool) -> Result<Plan, Fault>,
    ) {
        let key = self.keys.key(repository, objects, order);
        let mut shelf = self.lock();
        let again = shelf.kept.note(&key);
        if let Some(plan) = shelf.kept.find(&key, objects) {
            drop(shelf);
            announce(Cache::Hit);
            // Who is gone hears nothing, here and below.
            let _ = address.send(Step::Planned(Ok(Arc::new(plan))));
            return;
        }
        let Shelf { flights, kept, evicted, purges } = &mut *shelf;
        flights.retain(|flight| !matches!(&flight.stage, Stage::Made { plan, .. } if plan.strong_count() == 0));
        let mut same = flights.iter_mut().filter(|flight| flight.key.is(&key));
        let mut announce = Some(announce);
        let mut tell = |cache| announce.take().into_iter().for_each(|announce| announce(cache));
        let is_seen_to = same.any(|flight| match &mut flight.stage {
            Stage::Made { plan, cost } => plan.upgrade().filter(|plan| !plan.is_damaged()).is_some_and(|plan| {
                *evicted += kept.keep(&key, &plan, *cost);
                tell(Cache::Shared);
                let _ = address.send(Step::Planned(Ok(plan)));
                true
            }),
            Stage::Making { crowd, addresses, again } => {
                client.join(crowd) && {
                    tell(Cache::Shared);
                    addresses.push(address.clone());
                    *again = true;
                    true
                }
            }
        });
        if is_seen_to {
            return;
        }
        let crowd = Arc::new(Crowd::default());
        client.begin(&crowd);
        let stage = Stage::Making { crowd: crowd.clone(), addresses: vec![address.clone()], again };
        flights.push(Flight { key: key.clone(), stage });
        let making = Making { plans: self, crowd: &crowd, purges: *purges };
        drop(shelf);
        tell(Cache::Miss);

        let began = Instant::now();
        let planned = make(&key.order, crowd.is_gone()).map(Arc::new);
        for address in making.land(planned.as_ref().ok(), began.elapsed()) {
            let _ = address.send(Step::Planned(planned.clone()));
        }
    }

    /// Lets go of the kept plans that `stays` says no to, of the objects that they are of. What is being made now is not kept
    /// either.
    pub fn purge(&self, stays: impl Fn(&Weak<Database>) -> bool) {
        let mut shelf = self.lock();
        shelf.purges += 1;
        shelf.kept.forget(|objects, outline| stays(objects) && !outline.is_outdated());
    }

    /// How much is kept.
    pub fn kept(&self) -> Kept {
        let shelf = self.lock();
        let (plans, bytes) = shelf.kept.size();
        Kept { plans, bytes, evicted: shelf.evicted }
    }

    /// A panic under the lock leaves the flights whole: each change is one call. What is kept may then be counted wrong, and
    /// is never wrong itself.
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flight under way. Dropped by a panic, it lets go of its addresses: who waits hears that the worker is gone.
struct Making<'a> {
    plans: &'a SharedPlans,
    crowd: &'a Arc<Crowd>,
    /// As it began.
    purges: u64,
}

impl Making<'_> {
    /// Who waits. Later orders find the plan, or nothing if there is none.
    fn land(&self, plan: Option<&Arc<Plan>>, cost: Duration) -> Vec<flume::Sender<Step>> {
        let mut shelf = self.plans.lock();
        let Shelf { flights, kept, evicted, purges } = &mut *shelf;
        let own =
            |flight: &Flight| matches!(&flight.stage, Stage::Making { crowd, .. } if Arc::ptr_eq(crowd, self.crowd));
        let Some(at) = flights.iter().position(own) else { return Vec::new() };
        let stage = match plan {
            Some(plan) => {
                let made = Stage::Made { plan: Arc::downgrade(plan), cost };
                let stage = std::mem::replace(&mut flights[at].stage, made);
                if matches!(stage, Stage::Making { again: true, .. }) && *purges == self.purges {
                    *evicted += kept.keep(&flights[at].key, plan, cost);
                }
                stage
            }
            None => flights.swap_remove(at).stage,
        };
        match stage {
            Stage::Making { addresses, .. } => addresses,
            Stage::Made { .. } => Vec::new(),
        }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.land(None, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::job::Interest;
    use heliostat_core::{
        graph::Query,
        pack::{Encoding, Framing, Outline},
    };
    use std::{
        cell::Cell,
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
        sync::atomic::Ordering,
    };

    const REPOSITORY: RepositoryId = RepositoryId(1);
    const ROOM: u64 = 1 << 20;

    fn order(ofs_delta: bool) -> Arc<PackOrder> {
        let encoding = Encoding { ofs_delta, thin_pack: false };
        Arc::new(PackOrder { query: Query::default(), encoding, framing: Framing::SideBand64k, progress: false })
    }

    fn empty() -> Plan {
        Arc::new(Outline::default()).on(&Database::new(Vec::new())).unwrap()
    }

    struct Caller {
        interest: Option<Interest>,
        client: Arc<Client>,
        address: flume::Sender<Step>,
        steps: flume::Receiver<Step>,
        cache: Cell<Option<Cache>>,
    }

    impl Caller {
        fn new() -> Self {
            let (interest, client) = Interest::new();
            let (address, steps) = flume::unbounded();
            Self { interest: Some(interest), client, address, steps, cache: Cell::default() }
        }

        /// What has been heard so far.
        fn planned(&self) -> Option<Result<Arc<Plan>, Fault>> {
            match self.steps.try_recv() {
                Ok(Step::Planned(planned)) => Some(planned),
                _ => None,
            }
        }
    }

    struct Desk {
        plans: SharedPlans,
        objects: Arc<Database>,
    }

    impl Desk {
        fn new() -> Self {
            Self::keeping(0)
        }

        fn keeping(bytes_max: u64) -> Self {
            Self { plans: SharedPlans::new(bytes_max), objects: Arc::new(Database::new(Vec::new())) }
        }

        fn order(&self, caller: &Caller, make: impl FnOnce(&AtomicBool) -> Result<Plan, Fault>) {
            let make = |_: &PackOrder, stop: &AtomicBool| make(stop);
            let announce = |cache| {
                assert!(caller.steps.is_empty(), "announced before the plan comes");
                assert_eq!(caller.cache.replace(Some(cache)), None, "announced once");
            };
            self.plans.deliver(
                (REPOSITORY, &self.objects),
                order(true),
                &caller.client,
                &caller.address,
                announce,
                make,
            );
        }

        /// An order of somebody who leaves while it is made.
        fn serve(
            &self,
            client: &Arc<Client>,
            address: &flume::Sender<Step>,
            make: impl FnOnce(&AtomicBool) -> Result<Plan, Fault>,
        ) {
            self.plans.deliver((REPOSITORY, &self.objects), order(true), client, address, |_| (), |_, stop| make(stop));
        }

        /// An order of what another is making.
        fn join(&self, caller: &Caller) {
            self.order(caller, |_| unreachable!("it is being made already"));
        }
    }

    #[test]
    fn one_plan_for_all_who_ask_meanwhile() {
        let desk = Desk::new();
        let callers: Vec<_> = (0..8).map(|_| Caller::new()).collect();
        desk.order(&callers[0], |_| {
            callers[1..].iter().for_each(|caller| desk.join(caller));
            assert!(callers.iter().all(|caller| caller.planned().is_none()));
            Ok(empty())
        });
        let plans: Vec<_> = callers.iter().map(|caller| caller.planned().unwrap().unwrap()).collect();
        assert!(plans.iter().all(|plan| Arc::ptr_eq(plan, &plans[0])));

        let announced: Vec<_> = callers.iter().map(|caller| caller.cache.get().unwrap()).collect();
        assert_eq!(announced, [&[Cache::Miss][..], &[Cache::Shared; 7]].concat());

        let late = Caller::new();
        desk.join(&late);
        assert_eq!(late.cache.get(), Some(Cache::Shared));
        assert!(Arc::ptr_eq(&late.planned().unwrap().unwrap(), &plans[0]), "it is still being sent");

        let other = Caller::new();
        let at = (REPOSITORY, &desk.objects);
        desk.plans.deliver(at, order(false), &other.client, &other.address, |_| (), |_, _| Ok(empty()));
        assert!(!Arc::ptr_eq(&other.planned().unwrap().unwrap(), &plans[0]), "another encoding is another plan");
        let elsewhere = Arc::new(Database::new(Vec::new()));
        let at = (REPOSITORY, &elsewhere);
        desk.plans.deliver(at, order(true), &other.client, &other.address, |_| (), |_, _| Ok(empty()));
        assert!(!Arc::ptr_eq(&other.planned().unwrap().unwrap(), &plans[0]), "other objects are another plan");

        drop(plans);
        let mut made = false;
        let late = Caller::new();
        desk.order(&late, |_| {
            made = true;
            Ok(empty())
        });
        assert!(made && late.cache.get() == Some(Cache::Miss), "nothing is kept where there is no room");
        assert_eq!(desk.plans.lock().flights.len(), 1);
    }

    #[test]
    fn all_who_wait_hear_why_there_is_no_plan() {
        let desk = Desk::new();
        let (first, second) = (Caller::new(), Caller::new());
        desk.order(&first, |_| {
            desk.join(&second);
            Err(Fault::ours("no room", "on the disk"))
        });
        for caller in [&first, &second] {
            assert_eq!(caller.planned().unwrap().err().unwrap().public, "no room");
        }
        assert!(desk.plans.lock().flights.is_empty());
    }

    #[test]
    fn the_making_goes_on_as_long_as_anyone_waits() {
        let desk = Desk::new();
        let (mut first, mut second, third) = (Caller::new(), Caller::new(), Caller::new());
        let (client, address) = (first.client.clone(), first.address.clone());
        desk.serve(&client, &address, |stop| {
            desk.join(&second);
            first.interest = None;
            assert!(!stop.load(Ordering::SeqCst), "the second still waits");
            second.interest = None;
            assert!(stop.load(Ordering::SeqCst));
            // Who comes now does not board what has been given up.
            desk.order(&third, |_| Ok(empty()));
            Err(Fault::client("given up"))
        });
        assert!(third.planned().unwrap().is_ok());
    }

    #[test]
    fn who_has_left_before_boarding_does_not_count() {
        let desk = Desk::new();
        let (mut first, mut second) = (Caller::new(), Caller::new());
        second.interest = None;
        let (client, address) = (first.client.clone(), first.address.clone());
        desk.serve(&client, &address, |stop| {
            desk.join(&second);
            first.interest = None;
            assert!(stop.load(Ordering::SeqCst));
            Err(Fault::client("given up"))
        });
    }

    #[test]
    fn a_panic_lets_go_of_all_who_wait() {
        let desk = Desk::new();
        let (first, second) = (Caller::new(), Caller::new());
        let Caller { client, address, steps, interest: _interest, .. } = first;
        let panic = catch_unwind(AssertUnwindSafe(|| {
            desk.serve(&client, &address, |_| {
                desk.join(&second);
                resume_unwind(Box::new("on purpose"))
            });
        }));
        assert!(panic.is_err());
        drop((address, second.address));
        assert!(steps.recv().is_err() && second.steps.recv().is_err());
        assert!(desk.plans.lock().flights.is_empty());
    }

    impl Desk {
        /// Orders, and tells whose plan came, and which.
        fn ordered(&self) -> (Cache, Arc<Plan>) {
            let caller = Caller::new();
            self.order(&caller, |_| Ok(empty()));
            (caller.cache.get().unwrap(), caller.planned().unwrap().unwrap())
        }
    }

    #[test]
    fn what_is_ordered_again_is_kept() {
        let desk = Desk::keeping(ROOM);
        let words: Vec<_> = (0..4).map(|_| desk.ordered().0).collect();
        assert_eq!(words, [Cache::Miss, Cache::Miss, Cache::Hit, Cache::Hit]);
        let (_, first) = desk.ordered();
        let (_, second) = desk.ordered();
        assert!(Arc::ptr_eq(first.outline(), second.outline()));
        assert_eq!(desk.plans.kept().plans, 1);

        let off = Desk::keeping(0);
        assert!((0..4).all(|_| off.ordered().0 == Cache::Miss));
    }

    /// Who joins while it is made, or while it is sent, has ordered it again.
    #[test]
    fn sharing_counts_as_ordering_again() {
        let desk = Desk::keeping(ROOM);
        let (first, second) = (Caller::new(), Caller::new());
        desk.order(&first, |_| {
            desk.join(&second);
            Ok(empty())
        });
        drop((first, second));
        assert_eq!(desk.ordered().0, Cache::Hit);

        let desk = Desk::keeping(ROOM);
        let (_, sending) = desk.ordered();
        assert_eq!(desk.ordered().0, Cache::Shared);
        drop(sending);
        assert_eq!(desk.ordered().0, Cache::Hit);
    }

    #[test]
    fn other_objects_have_other_plans() {
        let mut desk = Desk::keeping(ROOM);
        (0..2).for_each(|_| _ = desk.ordered());
        assert_eq!(desk.ordered().0, Cache::Hit);
        desk.objects = Arc::new(Database::new(Vec::new()));
        // The order has come before, whatever lay here then: its plan is kept at once, and the old one is let go.
        assert_eq!((desk.ordered().0, desk.plans.kept().plans), (Cache::Miss, 1));
        assert_eq!((desk.ordered().0, desk.plans.kept().plans), (Cache::Hit, 1));
    }

    #[test]
    fn what_is_purged_is_gone_and_does_not_come_back() {
        let desk = Desk::keeping(ROOM);
        (0..2).for_each(|_| _ = desk.ordered());
        desk.plans.purge(|objects| objects.as_ptr() == Arc::as_ptr(&desk.objects));
        assert_eq!(desk.ordered().0, Cache::Hit);
        desk.plans.purge(|_| false);
        assert_eq!(desk.plans.kept(), Kept { plans: 0, bytes: 0, evicted: 0 });
        // Begun before and ended after.
        let caller = Caller::new();
        desk.order(&caller, |_| {
            desk.plans.purge(|_| false);
            Ok(empty())
        });
        drop(caller);
        assert_eq!(desk.plans.kept().plans, 0);
        assert_eq!((desk.ordered().0, desk.ordered().0), (Cache::Miss, Cache::Hit));
    }
}
