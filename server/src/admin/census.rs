//! How repositories stand, in words of a closed list, and all of them counted.

use heliostat_core::store::{MirroredRepository, Store};
use std::time::Duration;

/// How one repository stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The upstream has confirmed it since the start, and has answered when it was asked last.
    Current,
    /// The upstream has not been asked since the start.
    Unasked,
    /// The upstream has moved on; what it has now is on its way.
    Moving,
    /// The upstream was asked in vain.
    Stale,
    /// The upstream refuses it, or has it no more: it is not served.
    Refused,
    /// What lies on the disk can't be read: it is not served.
    Damaged,
    /// It has never been published: its first copy is on its way.
    Arriving,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Current, Self::Unasked, Self::Moving, Self::Stale, Self::Refused, Self::Damaged, Self::Arriving];

    /// That of `mirrored`.
    pub fn of(mirrored: &MirroredRepository, now: Duration) -> Self {
        let standing = mirrored.standing();
        match mirrored.snapshot() {
            None if mirrored.has_been_published() => Self::Damaged,
            None => Self::Arriving,
            Some(_) if standing.refusal().is_some() => Self::Refused,
            Some(_) if standing.is_moving() => Self::Moving,
            Some(_) if standing.stale(now).is_some() => Self::Stale,
            Some(_) if standing.age(now).is_some() => Self::Current,
            Some(_) => Self::Unasked,
        }
    }

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Unasked => "unasked",
            Self::Moving => "moving",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::Arriving => "arriving",
        }
    }
}

/// All repositories, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// How many stand so, in the order of [`State::ALL`].
    pub states: [u64; State::ALL.len()],
    /// Bytes of the packs in use.
    pub pack_bytes: u64,
    /// Packs in use.
    pub packs: u64,
    /// The longest time that one of those that are served has not been confirmed for; one that has not been since the start
    /// counts from there.
    pub oldest_confirmation: Duration,
}

impl Census {
    /// Looks at every repository; not to be called on a shard.
    pub fn of(store: &Store, now: Duration) -> Self {
        let mut census = Self::default();
        for mirrored in store.all() {
            let state = State::of(&mirrored, now);
            census.states[state as usize] += 1;
            let Some(snapshot) = mirrored.snapshot() else { continue };
            let packs = snapshot.objects.packs();
            census.packs += packs.len() as u64;
            census.pack_bytes += packs.iter().map(|pack| pack.bytes().len() as u64).sum::<u64>();
            if state != State::Refused {
                let age = mirrored.standing().age(now).unwrap_or(now);
                census.oldest_confirmation = census.oldest_confirmation.max(age);
            }
        }
        census
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_listed_in_their_own_order() {
        for (at, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, at, "{}", state.word());
        }
    }
}
