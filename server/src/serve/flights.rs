//! Plans that several clients share: whoever orders what is being planned or sent anyway gets that very plan.
//!
//! A fleet that clones one large repository at once costs one walk and one plan in memory, not one a client. No worker
//! waits for another: who orders a plan in the making leaves its address, and the maker delivers. The making ends early
//! once everyone who waits for it is gone. Nothing is kept for later: a plan that nobody sends any more is gone, and a
//! changed snapshot has other plans. The lock is taken by workers only, for as long as comparing orders takes.

use super::job::{Cache, Client, Crowd, Step};
use heliostat_core::{fault::Fault, objects::Database, pack::Plan, protocol::PackOrder};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicBool};

/// The plans in the making and in use.
#[derive(Default)]
pub struct SharedPlans(Mutex<Vec<Flight>>);

struct Flight {
    /// A plan is of these objects. Weak, and never dead and replaced at the same address while this stands.
    objects: Weak<Database>,
    order: Arc<PackOrder>,
    stage: Stage,
}

enum Stage {
    Making { crowd: Arc<Crowd>, addresses: Vec<flume::Sender<Step>> },
    Made(Weak<Plan>),
}

impl SharedPlans {
    /// Sees to it that `address` gets [`Step::Planned`]: at once if the plan is there; from another worker if it is being
    /// made; or else `make` makes it now, for all who order it meanwhile. Its argument is raised when all of them are gone.
    /// `announce` is called before that step can come, with whose plan it is, and takes no longer than sending a step does.
    pub fn deliver(
        &self,
        objects: &Arc<Database>,
        order: Arc<PackOrder>,
        client: &Client,
        address: &flume::Sender<Step>,
        announce: impl FnOnce(Cache),
        make: impl FnOnce(&PackOrder, &AtomicBool) -> Result<Plan, Fault>,
    ) {
        let mut flights = self.lock();
        flights.retain(|flight| !matches!(&flight.stage, Stage::Made(plan) if plan.strong_count() == 0));
        let mut same = flights.iter_mut().filter(|flight| {
            flight.objects.as_ptr() == Arc::as_ptr(objects)
                && flight.order.encoding == order.encoding
                && flight.order.query == order.query
        });
        let mut announce = Some(announce);
        let mut tell = |cache| announce.take().into_iter().for_each(|announce| announce(cache));
        let is_seen_to = same.any(|flight| match &mut flight.stage {
            Stage::Made(plan) => plan.upgrade().is_some_and(|plan| {
                tell(Cache::Shared);
                // Who is gone hears nothing, here and below.
                let _ = address.send(Step::Planned(Ok(plan)));
                true
            }),
            Stage::Making { crowd, addresses } => {
                client.join(crowd) && {
                    tell(Cache::Shared);
                    addresses.push(address.clone());
                    true
                }
            }
        });
        if is_seen_to {
            return;
        }
        let crowd = Arc::new(Crowd::default());
        client.begin(&crowd);
        flights.push(Flight {
            objects: Arc::downgrade(objects),
            order: order.clone(),
            stage: Stage::Making { crowd: crowd.clone(), addresses: vec![address.clone()] },
        });
        drop(flights);
        tell(Cache::Miss);

        let making = Making { plans: self, crowd: &crowd };
        let planned = make(&order, crowd.is_gone()).map(Arc::new);
        for address in making.land(planned.as_ref().ok()) {
            let _ = address.send(Step::Planned(planned.clone()));
        }
    }

    /// A panic under the lock leaves the flights whole: each change is one call.
    fn lock(&self) -> MutexGuard<'_, Vec<Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flight under way. Dropped by a panic, it lets go of its addresses: who waits hears that the worker is gone.
struct Making<'a> {
    plans: &'a SharedPlans,
    crowd: &'a Arc<Crowd>,
}

impl Making<'_> {
    /// Who waits. Later orders find the plan, or nothing if there is none.
    fn land(&self, plan: Option<&Arc<Plan>>) -> Vec<flume::Sender<Step>> {
        let mut flights = self.plans.lock();
        let own =
            |flight: &Flight| matches!(&flight.stage, Stage::Making { crowd, .. } if Arc::ptr_eq(crowd, self.crowd));
        let Some(at) = flights.iter().position(own) else { return Vec::new() };
        let stage = match plan {
            Some(plan) => std::mem::replace(&mut flights[at].stage, Stage::Made(Arc::downgrade(plan))),
            None => flights.swap_remove(at).stage,
        };
        match stage {
            Stage::Making { addresses, .. } => addresses,
            Stage::Made(_) => Vec::new(),
        }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.land(None);
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
    use std::cell::Cell;
    use std::{
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
        sync::atomic::Ordering,
    };

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
            Self { plans: SharedPlans::default(), objects: Arc::new(Database::new(Vec::new())) }
        }

        fn order(&self, caller: &Caller, make: impl FnOnce(&AtomicBool) -> Result<Plan, Fault>) {
            let make = |_: &PackOrder, stop: &AtomicBool| make(stop);
            let announce = |cache| {
                assert!(caller.steps.is_empty(), "announced before the plan comes");
                assert_eq!(caller.cache.replace(Some(cache)), None, "announced once");
            };
            self.plans.deliver(&self.objects, order(true), &caller.client, &caller.address, announce, make);
        }

        /// An order of somebody who leaves while it is made.
        fn serve(
            &self,
            client: &Arc<Client>,
            address: &flume::Sender<Step>,
            make: impl FnOnce(&AtomicBool) -> Result<Plan, Fault>,
        ) {
            self.plans.deliver(&self.objects, order(true), client, address, |_| (), |_, stop| make(stop));
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
        desk.plans.deliver(&desk.objects, order(false), &other.client, &other.address, |_| (), |_, _| Ok(empty()));
        assert!(!Arc::ptr_eq(&other.planned().unwrap().unwrap(), &plans[0]), "another encoding is another plan");
        let elsewhere = Arc::new(Database::new(Vec::new()));
        desk.plans.deliver(&elsewhere, order(true), &other.client, &other.address, |_| (), |_, _| Ok(empty()));
        assert!(!Arc::ptr_eq(&other.planned().unwrap().unwrap(), &plans[0]), "other objects are another plan");

        drop(plans);
        let mut made = false;
        let late = Caller::new();
        desk.order(&late, |_| {
            made = true;
            Ok(empty())
        });
        assert!(made && late.cache.get() == Some(Cache::Miss), "nothing is kept for later");
        assert_eq!(desk.plans.lock().len(), 1);
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
        assert!(desk.plans.lock().is_empty());
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
        assert!(desk.plans.lock().is_empty());
    }
}
