//! Plans that are kept when nobody sends them any more, for who orders the same again.
//!
//! What is kept is a plan without its packs ([`Outline`]): a pack that has left the layout is kept neither on the disk nor
//! in memory, and an order finds only what was planned on the very objects that it is answered from. The key is the whole
//! order, compared, not only hashed. An order has to come a second time before its plan is kept: a clone of a commit that
//! nobody else wants leaves nothing but eight bytes here.
//!
//! Not a shard's: workers share it, under the lock of [`super::flights`].

use super::greedy_dual::GreedyDual;
use heliostat_core::{
    graph::{Boundary, Query},
    limits::{KEPT_PLANS_FILES_MAX, KEPT_PLANS_MAX, ORDERS_SEEN_MAX},
    objects::Database,
    pack::{Outline, Plan},
    protocol::PackOrder,
    store::RepositoryId,
};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

/// A plan takes at most this part of all room: one clone of a giant does not push out everything else.
const SHARE: u64 = 4;
/// What an entry takes besides what is counted exactly.
const ENTRY_BYTES: u64 = 512;

/// Which order, of which objects.
#[derive(Clone)]
pub struct Key {
    /// A plan is of these objects. Weak, and never dead and replaced at the same address while this stands.
    pub objects: Weak<Database>,
    /// The frames and the progress do not change the plan.
    pub order: Arc<PackOrder>,
    /// Of the repository and the order.
    hash: u64,
}

/// Makes keys that nobody can make collide who does not know the process's memory.
#[derive(Default)]
pub struct Keys(RandomState);

/// The plans, and the orders that came once.
pub struct AnswerCache {
    bytes_max: u64,
    seen: Seen,
    last: u64,
    entries: HashMap<u64, Entry>,
    by_hash: HashMap<u64, Vec<u64>>,
    policy: GreedyDual,
}

struct Entry {
    key: Key,
    outline: Arc<Outline>,
}

/// Hashes of orders that have come, in two halves: when the younger is full the older is forgotten.
#[derive(Default)]
struct Seen {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Keys {
    /// The key of an order.
    pub fn key(&self, repository: RepositoryId, objects: &Arc<Database>, order: Arc<PackOrder>) -> Key {
        let Query { wants, haves, claimed, client_shallow, boundary, filter, include_tags } = &order.query;
        let Boundary { shallow, unshallow } = boundary;
        let mut state = self.0.build_hasher();
        repository.hash(&mut state);
        (wants, haves, claimed, client_shallow, shallow, unshallow, include_tags).hash(&mut state);
        (order.encoding.ofs_delta, order.encoding.thin_pack).hash(&mut state);
        // A filter has no hash of its own; those that share one are told apart when they are compared.
        filter.is_some().hash(&mut state);
        if let Some(filter) = filter {
            filter.to_string().hash(&mut state);
        }
        let hash = state.finish();
        Key { objects: Arc::downgrade(objects), order, hash }
    }
}

impl Key {
    /// Whether one plan answers both.
    pub fn is(&self, other: &Self) -> bool {
        self.hash == other.hash
            && Weak::ptr_eq(&self.objects, &other.objects)
            && self.order.encoding == other.order.encoding
            && self.order.query == other.order.query
    }

    fn bytes(&self) -> u64 {
        let Query { wants, haves, claimed, client_shallow, boundary, filter: _, include_tags } = &self.order.query;
        let Boundary { shallow, unshallow } = boundary;
        // A tree of ids takes about twice their bytes.
        let ids = wants.len() + haves.len() + unshallow.len() + shallow.len() + 2 * include_tags.len();
        20 * (ids + 2 * (claimed.len() + client_shallow.len())) as u64
    }
}

impl AnswerCache {
    /// A cache of so many bytes; 0: nothing is kept.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            seen: Seen::default(),
            last: 0,
            entries: HashMap::new(),
            by_hash: HashMap::new(),
            policy: GreedyDual::default(),
        }
    }

    /// Notes that an order has come. Tells whether it had come before.
    pub fn note(&mut self, key: &Key) -> bool {
        self.bytes_max > 0 && self.seen.note(key.hash)
    }

    /// The plan of an order, if it is kept.
    pub fn find(&mut self, key: &Key, objects: &Database) -> Option<Plan> {
        let names = self.by_hash.get(&key.hash)?.iter().copied();
        let name = names.into_iter().find(|name| self.entries.get(name).is_some_and(|entry| entry.key.is(key)))?;
        let outline = &self.entries.get(&name)?.outline;
        let plan = outline.on(objects).filter(|_| !outline.is_damaged());
        match plan {
            Some(_) => self.policy.used(name),
            None => {
                self.policy.remove(name);
                self.drop_entry(name);
            }
        }
        plan
    }

    /// Keeps a plan that took `cost` to make, unless it is kept already or too large. Gives how many others went for it.
    pub fn keep(&mut self, key: &Key, plan: &Plan, cost: Duration) -> usize {
        self.forget(|objects, outline| objects.strong_count() > 0 && !outline.is_outdated());
        let outline = plan.outline();
        let bytes = ENTRY_BYTES + key.bytes() + outline.kept_bytes();
        let known = self.by_hash.get(&key.hash).into_iter().flatten();
        let is_kept = known.filter_map(|name| self.entries.get(name)).any(|entry| entry.key.is(key));
        if is_kept || bytes > self.bytes_max / SHARE || outline.files.len() > KEPT_PLANS_FILES_MAX {
            return 0;
        }
        self.last += 1;
        let entry = Entry { key: key.clone(), outline: outline.clone() };
        self.entries.insert(self.last, entry);
        self.by_hash.entry(key.hash).or_default().push(self.last);
        self.policy.insert(self.last, bytes, cost);
        self.make_room(self.last)
    }

    /// Lets go of what `stays` says no to.
    pub fn forget(&mut self, stays: impl Fn(&Weak<Database>, &Outline) -> bool) {
        let goes = |(name, entry): (&u64, &Entry)| (!stays(&entry.key.objects, &entry.outline)).then_some(*name);
        let gone: Vec<u64> = self.entries.iter().filter_map(goes).collect();
        for name in gone {
            self.policy.remove(name);
            self.drop_entry(name);
        }
    }

    /// How many plans there are, and how many bytes they take.
    pub fn size(&self) -> (usize, u64) {
        (self.entries.len(), self.policy.bytes())
    }

    /// Others than `newest` go until all have room.
    fn make_room(&mut self, newest: u64) -> usize {
        let mut evicted = 0;
        loop {
            let too_many = self.policy.bytes() > self.bytes_max || self.entries.len() > KEPT_PLANS_MAX;
            if !too_many && self.files() <= KEPT_PLANS_FILES_MAX {
                return evicted;
            }
            let entries = &self.entries;
            let helps = |name| too_many || entries.get(&name).is_some_and(|entry| !entry.outline.files.is_empty());
            let Some(name) = self.policy.evict(|name| name != newest && helps(name)) else { return evicted };
            self.drop_entry(name);
            evicted += 1;
        }
    }

    /// Open files of all plans; several share the files of a repository.
    fn files(&self) -> usize {
        let files = self.entries.values().flat_map(|entry| &entry.outline.files);
        files.map(Arc::as_ptr).collect::<HashSet<_>>().len()
    }

    fn drop_entry(&mut self, name: u64) {
        let Some(entry) = self.entries.remove(&name) else { return };
        if let Some(names) = self.by_hash.get_mut(&entry.key.hash) {
            names.retain(|other| *other != name);
            if names.is_empty() {
                self.by_hash.remove(&entry.key.hash);
            }
        }
    }
}

impl Seen {
    fn note(&mut self, hash: u64) -> bool {
        let known = self.young.contains(&hash) || self.old.contains(&hash);
        if self.young.insert(hash) && self.young.len() >= ORDERS_SEEN_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heliostat_core::{
        ObjectId,
        graph::Filter,
        pack::{Encoding, Framing},
    };

    const ROOM: u64 = 64 << 10;

    struct Desk {
        cache: AnswerCache,
        keys: Keys,
        objects: Arc<Database>,
    }

    impl Desk {
        fn new(bytes_max: u64) -> Self {
            let objects = Arc::new(Database::new(Vec::new()));
            Self { cache: AnswerCache::new(bytes_max), keys: Keys::default(), objects }
        }

        fn key(&self, query: Query) -> Key {
            let encoding = Encoding::default();
            let order = PackOrder { query, encoding, framing: Framing::SideBand64k, progress: false };
            self.keys.key(RepositoryId(1), &self.objects, Arc::new(order))
        }

        /// Keeps a plan of so many bytes for the clone of one commit.
        fn keep(&mut self, commit: u8, bytes: usize, milliseconds: u64) -> usize {
            let key = self.key(wanting(&[commit]));
            let mut outline = Arc::new(Outline::default());
            Arc::get_mut(&mut outline).unwrap().inline = vec![0; bytes];
            let plan = outline.on(&self.objects).unwrap();
            self.cache.keep(&key, &plan, Duration::from_millis(milliseconds))
        }

        fn has(&mut self, commit: u8) -> bool {
            let key = self.key(wanting(&[commit]));
            self.cache.find(&key, &self.objects).is_some()
        }
    }

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[byte; 20])
    }

    fn wanting(commits: &[u8]) -> Query {
        Query { wants: commits.iter().copied().map(id).collect(), ..Query::default() }
    }

    /// Whatever can change the answer is in the key.
    #[test]
    fn each_part_of_an_order_counts() {
        let desk = Desk::new(ROOM);
        let plain = || wanting(&[1, 2]);
        let boundary = |shallow: &[u8], unshallow: &[u8]| Boundary {
            shallow: shallow.iter().copied().map(id).collect(),
            unshallow: unshallow.iter().copied().map(id).collect(),
        };
        let filter = |text: &[u8]| Some(Filter::parse(text).unwrap());
        let queries = [
            plain(),
            wanting(&[1]),
            wanting(&[1, 3]),
            Query { haves: vec![id(3)], ..plain() },
            Query { claimed: [id(3)].into(), ..plain() },
            Query { client_shallow: [id(3)].into(), ..plain() },
            Query { boundary: boundary(&[3], &[]), ..plain() },
            Query { boundary: boundary(&[], &[3]), ..plain() },
            Query { filter: filter(b"blob:none"), ..plain() },
            Query { filter: filter(b"tree:0"), ..plain() },
            Query { include_tags: vec![(id(3), id(4))], ..plain() },
        ];
        for (at, one) in queries.iter().enumerate() {
            for (other, two) in queries.iter().enumerate() {
                let (one, two) = (desk.key(one.clone()), desk.key(two.clone()));
                assert_eq!((one.is(&two), one.hash == two.hash), (at == other, at == other), "{at} and {other}");
            }
        }
        let key = desk.key(plain());
        let mut order = PackOrder::clone(&key.order);
        (order.framing, order.progress) = (Framing::Bare, true);
        assert!(desk.keys.key(RepositoryId(1), &desk.objects, Arc::new(order.clone())).is(&key), "the same bytes");
        order.encoding.thin_pack = true;
        assert!(!desk.keys.key(RepositoryId(1), &desk.objects, Arc::new(order)).is(&key));
        let elsewhere = Arc::new(Database::new(Vec::new()));
        assert!(!desk.keys.key(RepositoryId(1), &elsewhere, key.order.clone()).is(&key));
    }

    #[test]
    fn an_order_has_to_come_twice_and_few_are_remembered() {
        let mut desk = Desk::new(ROOM);
        let keys: Vec<_> = (0..3).map(|commit| desk.key(wanting(&[commit]))).collect();
        let seen: Vec<_> = [0, 1, 0, 1, 2].iter().map(|at| desk.cache.note(&keys[*at])).collect();
        assert_eq!(seen, [false, false, true, true, false]);

        let mut seen = Seen::default();
        for hash in 0..4 * ORDERS_SEEN_MAX as u64 {
            assert!(!seen.note(hash));
            assert!(seen.note(hash));
            assert!(seen.young.len() + seen.old.len() <= ORDERS_SEEN_MAX);
        }
        assert!(seen.note(4 * ORDERS_SEEN_MAX as u64 - 2) && !seen.note(0), "the latest are");
        let mut off = Desk::new(0);
        assert!(!(off.cache.note(&keys[0]) || off.cache.note(&keys[0])) && off.keep(1, 0, 1) == 0 && !off.has(1));
    }

    #[test]
    fn it_is_bounded_and_the_cheap_go_first() {
        let mut desk = Desk::new(ROOM);
        for commit in 0..8 {
            desk.keep(commit, 6_000, if commit % 2 == 0 { 100 } else { 1 });
        }
        assert!((0..8).all(|commit| desk.has(commit)));
        assert_eq!(desk.keep(8, 10_000, 50) + desk.keep(9, 10_000, 50), 2);
        assert!((0..8).step_by(2).all(|commit| desk.has(commit)));
        assert!(desk.has(9) && !desk.has(1) && !desk.has(3));
        assert!(desk.cache.size().1 <= ROOM);
        assert_eq!((desk.keep(20, ROOM as usize / 4, 1_000_000), desk.has(20)), (0, false), "too large a part");
        let before = desk.cache.size();
        desk.keep(0, 6_000, 100);
        assert_eq!(desk.cache.size(), before, "kept already");
    }

    /// An order that lists a million ids takes room, too.
    #[test]
    fn orders_are_counted() {
        let mut desk = Desk::new(ROOM);
        let key = desk.key(wanting(&[7; 1_000]));
        let plan = Arc::new(Outline::default()).on(&desk.objects).unwrap();
        desk.cache.keep(&key, &plan, Duration::from_millis(1));
        assert_eq!(desk.cache.size().0, 0, "20,000 bytes are more than a quarter");
    }

    #[test]
    fn what_nobody_can_order_any_more_goes() {
        let mut desk = Desk::new(ROOM);
        desk.keep(1, 1_000, 1);
        desk.keep(2, 1_000, 1);
        desk.objects = Arc::new(Database::new(Vec::new()));
        assert!(!desk.has(1));
        desk.keep(1, 1_000, 1);
        assert!(desk.has(1) && desk.cache.size().0 == 1);
        assert_eq!(desk.cache.by_hash.len(), 1);
    }
}
