//! What one source of requests may cost the upstream: buckets for credentials that fail and for paths that are unknown.
//!
//! Sources share a fixed number of buckets, so that their number costs no memory. Two may share one: that needs bad luck,
//! and a neighbour that guesses.

use crate::{limits::RIGHTS_SOURCES, sync::Bucket};
use std::time::Duration;

/// Where a request comes from: a number for the address, hashed by the driver under a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(pub u64);

/// Who pays for what a request leads to at the upstream: each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payers {
    /// The address it comes from, whatever it brings: credentials can be made up.
    pub address: Source,
    /// The credential that it brings, wherever it comes from.
    pub credential: Option<Source>,
}

impl Payers {
    /// Both, or the one.
    pub fn iter(self) -> impl Iterator<Item = Source> {
        std::iter::once(self.address).chain(self.credential)
    }
}

/// So many in the long run, so many at once.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Rate {
    pub(super) fn bucket(self) -> Bucket {
        Bucket::new(self.per_second, self.burst)
    }
}

/// The buckets of one kind of offence.
pub(super) struct Sources(Box<[Bucket]>);

impl Sources {
    pub(super) fn new(rate: Rate) -> Self {
        Self((0..RIGHTS_SOURCES).map(|_| rate.bucket()).collect())
    }

    /// Pays in advance; an error says when to come again.
    pub(super) fn take(&mut self, now: Duration, source: Source) -> Result<(), Duration> {
        let bucket = self.of(source);
        if bucket.take(now) { Ok(()) } else { Err(bucket.wait(now)) }
    }

    /// It was no offence.
    pub(super) fn give_back(&mut self, source: Source) {
        self.of(source).give_back();
    }

    fn of(&mut self, Source(number): Source) -> &mut Bucket {
        let index = usize::try_from(number % RIGHTS_SOURCES as u64).unwrap_or(0);
        &mut self.0[index]
    }
}
