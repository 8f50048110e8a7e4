//! Who may connect, and how many bytes of request bodies may be held: counters that all shards share, without a lock.
//!
//! Addresses are counted in a fixed number of buckets, hashed with a key of this process. Two addresses may share a
//! bucket and its bound; that costs memory that does not grow, and needs bad luck and two busy addresses to be felt.

use crate::{config::Limits, shard::Door};
use heliostat_core::limits::{
    ADMIN_CONNECTIONS_MAX, DESCRIPTORS_RESERVED, HTTP_CONNECTIONS_ADDRESS_SHARE, HTTP_PARTING_MAX,
    REQUEST_BYTES_IN_FLIGHT_MAX,
};
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

const BUCKETS: usize = 1 << 14;

/// The counters.
pub struct Admission {
    connections: AtomicU32,
    connections_max: u32,
    admin_connections: AtomicU32,
    parting: AtomicU32,
    per_address_max: u32,
    addresses: Box<[AtomicU32]>,
    key: RandomState,
    request_bytes: AtomicU64,
}

/// A connection that was let in; counts down when dropped.
pub struct Entry {
    admission: Arc<Admission>,
    door: Door,
}

/// A connection that was turned away and stays for a moment; counts down when dropped.
pub struct Parting {
    admission: Arc<Admission>,
}

/// One of the places of an address; given back when dropped. A connection has it, or a request where one connection carries
/// those of many clients.
pub struct Place {
    admission: Arc<Admission>,
    bucket: usize,
}

/// Bytes of one request's body that are held in memory; given back when dropped.
pub struct Held {
    admission: Arc<Admission>,
    bytes: u64,
}

impl Admission {
    /// Counters for a process that may have `descriptors` open.
    pub fn new(descriptors: u64, limits: &Limits) -> Self {
        let room = u32::try_from(descriptors.saturating_sub(DESCRIPTORS_RESERVED)).unwrap_or(u32::MAX);
        let connections_max = limits.connections.min(room.max(16));
        Self {
            connections: AtomicU32::new(0),
            connections_max,
            admin_connections: AtomicU32::new(0),
            parting: AtomicU32::new(0),
            per_address_max: limits
                .connections_per_address
                .unwrap_or(connections_max.div_ceil(HTTP_CONNECTIONS_ADDRESS_SHARE))
                .min(connections_max),
            addresses: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            key: RandomState::new(),
            request_bytes: AtomicU64::new(0),
        }
    }

    /// Lets a connection in by `door`, or does not. Each has a count of its own: the admin port has to answer when the main one
    /// is full.
    pub fn enter(self: &Arc<Self>, door: Door) -> Option<Entry> {
        let max = if door == Door::Main { self.connections_max } else { ADMIN_CONNECTIONS_MAX };
        count_up(self.of(door), max).then(|| Entry { admission: self.clone(), door })
    }

    fn of(&self, door: Door) -> &AtomicU32 {
        match door {
            Door::Main => &self.connections,
            Door::Admin => &self.admin_connections,
        }
    }

    /// Lets a connection that was turned away stay for a moment, or does not.
    pub fn part(self: &Arc<Self>) -> Option<Parting> {
        count_up(&self.parting, HTTP_PARTING_MAX).then(|| Parting { admission: self.clone() })
    }

    /// A place of `address`, if it has one left.
    pub fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let bucket = self.bucket(address);
        count_up(&self.addresses[bucket], self.per_address_max).then(|| Place { admission: self.clone(), bucket })
    }

    /// Connections that there may be.
    pub fn connections_max(&self) -> u32 {
        self.connections_max
    }

    /// An account for the body of one request, empty.
    pub fn hold(self: &Arc<Self>) -> Held {
        Held { admission: self.clone(), bytes: 0 }
    }

    /// Connections now.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    fn bucket(&self, address: IpAddr) -> usize {
        usize::try_from(self.key.hash_one(neighbourhood(address)) % BUCKETS as u64).unwrap_or(0)
    }
}

/// Addresses that are one client where clients are counted, as a number.
pub fn neighbourhood(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        // A /64 is one customer; its holder has all the addresses in it.
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(0) | 1 << 63,
    }
}

fn count_up(counter: &AtomicU32, max: u32) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then_some(n + 1)).is_ok()
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.admission.of(self.door).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        self.admission.parting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.addresses[self.bucket].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Held {
    /// Holds `bytes` altogether; false if all requests together would hold too much.
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let held = &self.admission.request_bytes;
        let grown = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            n.checked_add(more).filter(|&n| n <= REQUEST_BYTES_IN_FLIGHT_MAX)
        });
        if grown.is_ok() {
            self.bytes += more;
        }
        grown.is_ok()
    }

    /// Holds nothing any more.
    pub fn shrink_to_nothing(&mut self) {
        self.admission.request_bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to_nothing();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_in_all_and_per_address() {
        let admission = Arc::new(Admission::new(DESCRIPTORS_RESERVED + 20, &Limits::default()));
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let enter = |n: u8| Some((admission.enter(Door::Main)?, admission.place(address(n))?));
        let mut held: Vec<_> = (0..10).map(|_| enter(1).expect("room")).collect();
        assert!(enter(1).is_none(), "half of all is one address's share");
        let mut n = 1;
        while held.len() < 20 {
            n += 1;
            held.extend(enter(n));
        }
        assert!(enter(250).is_none());
        let admin: Vec<_> = (0..2 * ADMIN_CONNECTIONS_MAX).filter_map(|_| admission.enter(Door::Admin)).collect();
        assert_eq!(admin.len(), ADMIN_CONNECTIONS_MAX as usize);
        drop(admin);
        assert!(enter(250).is_none() && admission.enter(Door::Admin).is_some());
        held.truncate(5);
        assert!(enter(1).is_some());
        drop(held);
        assert_eq!(admission.connections(), 0);
        assert!(admission.addresses.iter().all(|n| n.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn few_stay_who_were_turned_away() {
        let admission = Arc::new(Admission::new(u64::MAX, &Limits::default()));
        let staying: Vec<_> = std::iter::from_fn(|| admission.part()).take(10_000).collect();
        assert_eq!(staying.len(), HTTP_PARTING_MAX as usize);
        drop(staying);
        assert!(admission.part().is_some());
    }

    #[test]
    fn what_the_configuration_says_holds_where_there_is_room() {
        for (descriptors, connections, per_address, expected) in [
            (u64::MAX, 40, None, (40, 20)),
            (u64::MAX, 40, Some(3), (40, 3)),
            (DESCRIPTORS_RESERVED + 30, 40, Some(35), (30, 30)),
            (0, 40, None, (16, 8)),
            (u64::MAX, 1, None, (1, 1)),
        ] {
            let limits = Limits { connections, connections_per_address: per_address, ..Limits::default() };
            let admission = Admission::new(descriptors, &limits);
            assert_eq!((admission.connections_max, admission.per_address_max), expected);
        }
    }

    #[test]
    fn neighbours_in_ipv6_are_one_address() {
        let admission = Admission::new(u64::MAX, &Limits::default());
        let bucket = |text: &str| admission.bucket(text.parse().unwrap());
        assert_eq!(bucket("2001:db8::1"), bucket("2001:db8::ffff:2"));
        assert_eq!(bucket("::ffff:10.0.0.1"), bucket("10.0.0.1"));
    }

    #[test]
    fn request_bytes_are_bounded_together() {
        let admission = Arc::new(Admission::new(1_000, &Limits::default()));
        let (mut a, mut b) = (admission.hold(), admission.hold());
        assert!(a.grow_to(REQUEST_BYTES_IN_FLIGHT_MAX - 10) && b.grow_to(10) && b.grow_to(10));
        assert!(!b.grow_to(11));
        drop(a);
        assert!(b.grow_to(11));
        b.shrink_to_nothing();
        assert_eq!(admission.request_bytes.load(Ordering::Relaxed), 0);
        assert!(b.grow_to(11));
        drop(b);
        assert_eq!(admission.request_bytes.load(Ordering::Relaxed), 0);
    }
}
