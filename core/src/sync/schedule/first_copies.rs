//! First mirrors that callers have begun: bounded for each source and in all, from the question to the publication.
//!
//! Each may hold an advertisement in memory and a place in line for a fetch, of which there are so few that one source could
//! take them from everybody: [`Policy::moved_max`] ends questions about all repositories, those that are mirrored too.

use super::{Policy, Schedule};
use crate::rights::{Payers, Source};
use std::{collections::HashMap, sync::Arc};

/// Those that are under way, by who began them.
#[derive(Default)]
pub(super) struct FirstCopies {
    of_source: HashMap<Source, usize>,
    in_all: usize,
}

impl FirstCopies {
    /// Whether there may be one more for `payers`, or the words for who can't have it.
    fn has_room(&self, policy: &Policy, payers: Payers) -> Result<(), &'static str> {
        let has_its_share =
            |source| self.of_source.get(&source).is_some_and(|count| *count >= policy.first_copies_per_source.max(1));
        if payers.iter().any(has_its_share) {
            return Err("too many repositories that are not mirrored yet are being fetched for you, try again");
        }
        if self.in_all >= policy.first_copies.max(1) {
            return Err("too many repositories that are not mirrored yet are being fetched, try again");
        }
        Ok(())
    }

    fn begin(&mut self, payers: Payers) {
        for source in payers.iter() {
            *self.of_source.entry(source).or_default() += 1;
        }
        self.in_all += 1;
    }

    fn end(&mut self, payers: Payers) {
        self.in_all -= 1;
        for source in payers.iter() {
            if let Some(count) = self.of_source.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    self.of_source.remove(&source);
                }
            }
        }
    }
}

impl Schedule {
    /// Whether `payers` may begin another one. Asked before anything is taken that others need too: who has its share takes
    /// nothing from them by asking for more.
    pub(super) fn may_begin_first_copy(&self, payers: Option<Payers>) -> Result<(), &'static str> {
        payers.map_or(Ok(()), |payers| self.first_copies.has_room(&self.policy, payers))
    }

    /// Somebody wants what nothing is done for yet. Who asks as the operator does does not pay, and has no bound.
    pub(super) fn begin_first_copy(&mut self, path: &Arc<str>, payers: Option<Payers>) -> Result<(), &'static str> {
        let Some(repository) = self.repositories.get_mut(path) else { return Ok(()) };
        if repository.known || !repository.is_idle() || repository.first_copy_of.is_some() {
            return Ok(());
        }
        if let Some(payers) = payers {
            self.first_copies.has_room(&self.policy, payers)?;
            self.first_copies.begin(payers);
            repository.first_copy_of = Some(payers);
        }
        Ok(())
    }

    /// Something has ended: perhaps the first copy has, one way or the other.
    pub(super) fn end_first_copy(&mut self, path: &Arc<str>) {
        let Some(repository) = self.repositories.get_mut(path) else { return };
        if (repository.known || repository.is_idle())
            && let Some(payers) = repository.first_copy_of.take()
        {
            self.first_copies.end(payers);
        }
    }

    /// How many first copies are under way, and of how many sources, for tests.
    #[cfg(test)]
    pub(in crate::sync) fn first_copies(&self) -> (usize, usize) {
        (self.first_copies.in_all, self.first_copies.of_source.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{
        Effect, Need, Verdict,
        tests::{effects, failed, policy},
    };
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    /// From the question to the publication, or to the end of what has failed; refused, nothing is left of it.
    #[test]
    fn first_copies_are_bounded_for_each_source_and_in_all() {
        let mut schedule = Schedule::new(policy(), 1);
        let Policy { first_copies: in_all, first_copies_per_source: of_one, .. } = policy();
        let path = |source: u64, number: usize| -> Arc<str> { format!("{source}/{number}.git").into() };
        let ask = |schedule: &mut Schedule, source: u64, number: usize| {
            schedule.ask(
                SECOND,
                &path(source, number),
                1,
                Need::References,
                Some(Payers { address: Source(source), credential: None }),
            );
            let (_, answers) = effects(schedule, SECOND);
            match &answers[..] {
                [] => None,
                [(_, Verdict::Failed(fault))] => Some(fault.public.contains("for you")),
                other => panic!("{other:?}"),
            }
        };
        for source in 0..2 {
            assert!((0..of_one).all(|number| ask(&mut schedule, source, number).is_none()));
            assert_eq!(ask(&mut schedule, source, of_one), Some(true));
            assert_eq!(ask(&mut schedule, source, 0), None, "it is under way");
        }
        assert_eq!(2 * of_one, in_all);
        assert_eq!(ask(&mut schedule, 2, 0), Some(false));
        // The operator has no bound.
        schedule.ask(SECOND, &"operator.git".into(), 1, Need::References, None);
        assert!(effects(&mut schedule, SECOND).1.is_empty());
        // One that the upstream does not have has ended; one that is found goes on, until its fetch has ended, well or not.
        schedule.answered(SECOND, &path(0, 0), Verdict::Missing);
        schedule.moved(SECOND, &path(0, 1), false);
        schedule.moved(SECOND, &path(0, 2), false);
        let mut ended = Vec::new();
        while let Some(effect) = schedule.poll(SECOND) {
            if let Effect::Fetch(path) = effect {
                ended.push(path);
            }
        }
        assert_eq!(ended, [path(0, 1)], "one first mirror at a time");
        assert_eq!(schedule.first_copies(), (in_all - 1, 2));
        schedule.fetched(SECOND, &path(0, 1), Verdict::Verified);
        assert_eq!(schedule.first_copies(), (in_all - 2, 2));
        while schedule.poll(SECOND).is_some() {}
        schedule.fetched(SECOND, &path(0, 2), failed());
        assert_eq!(schedule.first_copies(), (in_all - 3, 1));
        assert_eq!(ask(&mut schedule, 0, 7), None);
    }

    /// Nor is what all share in asking about what is unknown used up by who has its share already.
    #[test]
    fn who_has_its_share_takes_nothing_by_asking_for_more() {
        let mut schedule = Schedule::new(policy(), 1);
        let mut ask = |source: u64, number: u32| {
            let (path, payers) =
                (format!("{source}/{number}.git").into(), Payers { address: Source(source), credential: None });
            schedule.ask(SECOND, &path, 1, Need::References, Some(payers));
            effects(&mut schedule, SECOND).1.is_empty()
        };
        let begun = (0..2 * policy().unknown_burst).filter(|number| ask(1, *number)).count();
        assert_eq!(begun, policy().first_copies_per_source);
        assert!(ask(2, 0));
    }

    /// A credential that is made up anew each time gets an address nothing, nor do many addresses get it for one credential.
    #[test]
    fn an_address_pays_whatever_it_brings_and_a_credential_wherever_it_comes_from() {
        for (of_address, of_credential) in [(1, 0), (0, 1)] {
            let mut schedule = Schedule::new(policy(), 1);
            for number in 0..=policy().first_copies_per_source {
                let change = number as u64;
                let payers = Payers {
                    address: Source(1_000 + change * of_credential),
                    credential: Some(Source(2_000 + change * of_address)),
                };
                let path: Arc<str> = format!("{number}.git").into();
                schedule.ask(SECOND, &path, 1, Need::References, Some(payers));
                let (_, answers) = effects(&mut schedule, SECOND);
                assert_eq!(answers.len(), usize::from(number == policy().first_copies_per_source), "{payers:?}");
            }
            assert_eq!(schedule.first_copies().0, policy().first_copies_per_source);
            for number in 0..policy().first_copies_per_source {
                schedule.answered(SECOND, &format!("{number}.git").into(), Verdict::Missing);
            }
            while schedule.poll(SECOND).is_some() {}
            assert_eq!(schedule.first_copies(), (0, 0), "nothing is left of them");
        }
    }
}
