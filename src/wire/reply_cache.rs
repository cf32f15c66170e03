//! The reply cache: a bounded number of replies to send once more, those that are asked for most.
//!
//! One worker owns it, so nothing is locked. A reply gets a place when its question came a second time within a while, so
//! questions that never come again leave it alone. A new reply takes the place of one that nobody asked for since it was
//! last weighed; those that are asked for again and again stay, whatever comes by.

use super::CachedReply;
use crate::tree::Tree;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;

/// Replies that may take each other's place, and questions asked once that are remembered with them.
const WAYS: usize = 8;

/// Sets of so many.
const SETS: usize = 4_096;

/// Most sets that are weighed to make room for one reply.
const MAX_WEIGHED_SETS: usize = 64;

/// Default bound of the memory of all replies in a cache, in octets.
const DEFAULT_CAPACITY: usize = 16 << 20;

/// More questions than that say nothing new about a reply.
const MAX_HITS: u8 = 15;

/// CachedReply replies by the keys of their questions.
#[derive(Debug)]
pub struct ReplyCache<T> {
    sets: Vec<Set<T>>,
    /// The set that is weighed next when the memory is used up.
    hand: usize,
    octets: usize,
    capacity: usize,
    hasher: RandomState,
}

/// The hash of a question key, by which its set and its tag are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash {
    hash: u64,
}

#[derive(Debug)]
struct Set<T> {
    tags: [u32; WAYS],
    hits: [u8; WAYS],
    /// Questions that were asked once, and the place of the next one.
    once: [u32; WAYS],
    next: usize,
    replies: [Option<Box<CachedReply<T>>>; WAYS],
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { tags: [0; WAYS], hits: [0; WAYS], once: [0; WAYS], next: 0, replies: [const { None }; WAYS] }
    }
}

impl KeyHash {
    fn set(self) -> usize {
        usize::try_from(self.hash % SETS as u64).unwrap_or(0)
    }

    fn tag(self) -> u32 {
        u32::try_from(self.hash >> 32).unwrap_or(0)
    }
}

impl<T> Default for ReplyCache<T> {
    fn default() -> Self {
        Self {
            sets: std::iter::repeat_with(Set::default).take(SETS).collect(),
            hand: 0,
            octets: 0,
            capacity: DEFAULT_CAPACITY,
            hasher: RandomState::default(),
        }
    }
}

impl<T> ReplyCache<T> {
    /// A cache whose replies take at most `capacity` octets.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// The hash of a question key.
    pub fn hash_key(&self, key: &[u8]) -> KeyHash {
        KeyHash { hash: self.hasher.hash_one(key) }
    }

    /// The reply to the question of a key, if it may be sent now (Unix time, in seconds) and with this tree. One that may
    /// not is dropped.
    pub fn find(&mut self, hash: KeyHash, key: &[u8], tree: &Tree, now: u64) -> Option<&CachedReply<T>> {
        let set = &mut self.sets[hash.set()];
        let way = set.find(hash, key)?;
        let reply = set.replies[way].as_mut()?;
        if !reply.is_valid(tree, now) {
            self.octets -= reply.size();
            set.replies[way] = None;
            // It was wanted before.
            set.note(hash);
            return None;
        }
        set.hits[way] = (set.hits[way] + 1).min(MAX_HITS);
        set.replies[way].as_deref()
    }

    /// Whether the reply to a question is worth caching: it was asked before.
    pub fn wants(&mut self, hash: KeyHash) -> bool {
        let set = &mut self.sets[hash.set()];
        let before = set.once.contains(&hash.tag());
        if !before {
            set.note(hash);
        }
        before
    }

    /// Takes a reply if there is room for it among those that are wanted more.
    pub fn put(&mut self, hash: KeyHash, reply: CachedReply<T>) {
        let size = reply.size();
        self.make_room(size);
        let set = &mut self.sets[hash.set()];
        let same = set.find(hash, reply.key());
        let free = || set.replies.iter().position(Option::is_none);
        let place = same.or_else(free).or_else(|| set.hits.iter().position(|hits| *hits == 0));
        let Some(way) = place else {
            set.age();
            return;
        };
        let freed = set.replies[way].as_ref().map_or(0, |reply| reply.size());
        if self.octets - freed + size <= self.capacity {
            self.octets = self.octets - freed + size;
            set.tags[way] = hash.tag();
            set.hits[way] = 0;
            set.replies[way] = Some(Box::new(reply));
        }
    }

    /// Drops replies that nobody asked for since they were last weighed, until so many octets are free or enough was
    /// looked at.
    fn make_room(&mut self, size: usize) {
        for _ in 0..MAX_WEIGHED_SETS {
            if self.octets + size <= self.capacity {
                break;
            }
            self.hand = (self.hand + 1) % SETS;
            let set = &mut self.sets[self.hand];
            for way in 0..WAYS {
                if set.hits[way] == 0
                    && let Some(reply) = set.replies[way].take()
                {
                    self.octets -= reply.size();
                }
            }
            set.age();
        }
    }

    /// Drops all replies.
    pub fn clear(&mut self) {
        for set in &mut self.sets {
            *set = Set::default();
        }
        self.octets = 0;
    }

    /// Octets that the replies take.
    pub fn octets(&self) -> usize {
        self.octets
    }
}

impl<T> Set<T> {
    /// Remembers that a question was asked.
    fn note(&mut self, hash: KeyHash) {
        self.once[self.next] = hash.tag();
        self.next = (self.next + 1) % WAYS;
    }

    fn age(&mut self) {
        self.hits.iter_mut().for_each(|hits| *hits = hits.saturating_sub(1));
    }

    fn find(&self, hash: KeyHash, key: &[u8]) -> Option<usize> {
        let tag = hash.tag();
        let is_it = |way: &usize| {
            self.tags[*way] == tag && self.replies[*way].as_ref().is_some_and(|reply| reply.key() == key)
        };
        (0..WAYS).find(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Validity;

    /// Asks for the reply to a question as a worker does; `true` if it was there.
    fn ask(cache: &mut ReplyCache<u32>, tree: &Tree, number: u32, octets: usize) -> bool {
        let key = number.to_be_bytes();
        let hash = cache.hash_key(&key);
        if let Some(reply) = cache.find(hash, &key, tree, 1) {
            assert_eq!(reply.note, number);
            return true;
        }
        if cache.wants(hash) {
            let validity = Validity { until: 10, ..Validity::default() };
            let reply = vec![0; 12 + octets];
            cache.put(hash, CachedReply::new(&key, &reply, 12, validity, number).expect("a reply of ours"));
        }
        false
    }

    #[test]
    fn what_is_asked_twice_is_kept() {
        let (mut cache, tree) = (ReplyCache::default(), Tree::new());
        assert_eq!([1, 1, 1, 2, 1].map(|n| ask(&mut cache, &tree, n, 0)), [false, false, true, false, true]);
        assert!(cache.octets() > 0);
        cache.clear();
        assert_eq!(cache.octets(), 0);
        assert!(!ask(&mut cache, &tree, 1, 0));
    }

    #[test]
    fn a_reply_that_is_not_valid_is_made_again_at_once() {
        let (mut cache, tree) = (ReplyCache::default(), Tree::new());
        for _ in 0..3 {
            ask(&mut cache, &tree, 1, 0);
        }
        let key = 1u32.to_be_bytes();
        let hash = cache.hash_key(&key);
        assert!(cache.find(hash, &key, &tree, 10).is_none(), "its time is over");
        assert_eq!(cache.octets(), 0);
        assert!(cache.wants(hash));
    }

    #[test]
    fn floods_do_not_push_out_what_is_popular() {
        let (mut cache, tree) = (ReplyCache::default(), Tree::new());
        let popular = 0..2_000;
        for n in popular.clone().cycle().take(3 * 2_000) {
            ask(&mut cache, &tree, n, 0);
        }
        let mut next = 1_000_000;
        for round in 0..100 {
            // MetricNames that never come again, and names that come twice, five and two for each popular one.
            for _ in 0..10_000 {
                ask(&mut cache, &tree, next, 0);
                next += 1;
            }
            for _ in 0..4_000 {
                ask(&mut cache, &tree, next, 0);
                ask(&mut cache, &tree, next, 0);
                next += 1;
            }
            let there = popular.clone().filter(|n| ask(&mut cache, &tree, *n, 0)).count();
            assert!(there >= 1_980, "round {round}: {there}");
        }
    }

    #[test]
    fn the_memory_is_bounded_and_new_names_get_in() {
        let (mut cache, tree) = (ReplyCache::default(), Tree::new());
        for n in 0..20_000 {
            ask(&mut cache, &tree, n, 4_000);
            ask(&mut cache, &tree, n, 4_000);
        }
        assert!(
            cache.octets() <= DEFAULT_CAPACITY && cache.octets() > DEFAULT_CAPACITY / 2,
            "{}",
            cache.octets()
        );
        // The names of before are forgotten for those of now.
        for _ in 0..50 {
            for n in 100_000..101_000 {
                ask(&mut cache, &tree, n, 4_000);
            }
        }
        let there = (100_000..101_000).filter(|n| ask(&mut cache, &tree, *n, 4_000)).count();
        assert!(there > 900, "{there}");
        cache.clear();
        assert_eq!(cache.octets(), 0);
    }
}
