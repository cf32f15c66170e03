//! The reply cache: a bounded number of replies to send once more, those that are asked for most.
//!
//! One worker owns a cache, so nothing is locked. A reply is cached when its question comes a second time within a while,
//! so questions that never come again leave the cache alone. A new reply takes the place of one that was not asked for
//! since its set was weighed last; replies that are asked for again and again stay, whatever comes by.

use super::CachedReply;
use super::cached_reply::{NotSent, Served, Validity};
use super::question_key::{MAX_QUESTION_KEY, QuestionKey, question_key};
use crate::answer::{Rng, SharedAuthority, SiteFreshness};
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Replies of one set, which can take each other's place; also the number of questions asked once that a set remembers.
const WAYS: usize = 8;

/// Minimum and maximum number of sets, powers of two.
const SETS: (usize, usize) = (1_024, 8_192);

/// Octets of the memory of all replies for each set: as many as eight of the smallest replies take.
const OCTETS_OF_SET: usize = 2_048;

/// Maximum number of sets that are weighed to make room for one reply.
const MAX_WEIGHED_SETS: usize = 64;

/// Default bound of the memory of all replies in a cache, in octets.
const DEFAULT_CAPACITY: usize = 16 << 20;

/// Maximum of the hits that are counted for a reply: more say nothing new.
const MAX_HITS: u8 = 15;

/// What it takes to send a reply again, once its octets are known.
#[derive(Debug)]
pub struct CacheHint<T> {
    /// When the reply may be sent again.
    pub validity: Validity,
    /// The freshness of the tree that the reply was made from. The cache does not look at it: its owner clears the cache
    /// whenever the freshness changes.
    pub freshness: SiteFreshness,
    /// The beginning of the authority section, if the reply shares it with others.
    pub shared_authority: Option<Arc<SharedAuthority>>,
    /// The most octets that the client of this reply is sent over UDP.
    pub max_reply: u16,
    /// The owner's note, such as what to count each time the reply is sent.
    pub note: T,
}

/// Replies by their question keys; `T` is the owner's note on each.
#[derive(Debug)]
pub struct ReplyCache<T> {
    sets: Vec<Set<T>>,
    /// The set that is weighed next when the memory is used up.
    hand: usize,
    octets: usize,
    capacity: usize,
    hasher: RandomState,
    rng: Rng,
}

/// What became of a query that is looked for among the cached replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked<T> {
    /// Its reply is in the buffer: its length, and the owner's note.
    Sent(usize, T),
    /// Its reply is not cached.
    Missed(Missed),
    /// It has no question key.
    Odd,
}

/// A question whose reply is not cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// What was read from the packet.
    pub question: QuestionKey,
    hash: KeyHash,
}

/// The hash of a question key: its set and its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyHash(u64);

#[derive(Debug)]
struct Set<T> {
    tags: [u32; WAYS],
    hits: [u8; WAYS],
    /// Tags of questions that were asked once, and the index of the next one.
    asked_once: [u32; WAYS],
    next: usize,
    replies: [Option<Box<CachedReply<T>>>; WAYS],
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        let replies = [const { None }; WAYS];
        Self { tags: [0; WAYS], hits: [0; WAYS], asked_once: [0; WAYS], next: 0, replies }
    }
}

impl KeyHash {
    /// The set, of a number of sets that is a power of two.
    fn set(self, sets: usize) -> usize {
        usize::try_from(self.0 & (sets as u64 - 1)).unwrap_or(0)
    }

    fn tag(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }
}

impl<T: Copy> Default for ReplyCache<T> {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY, 0)
    }
}

impl<T: Copy> ReplyCache<T> {
    /// A cache whose replies take at most `capacity` octets; `seed` is for the order of addresses.
    pub fn new(capacity: usize, seed: u64) -> Self {
        let (least, most) = SETS;
        let sets = (capacity / OCTETS_OF_SET).next_power_of_two().clamp(least, most);
        Self {
            sets: std::iter::repeat_with(Set::default).take(sets).collect(),
            hand: 0,
            octets: 0,
            capacity,
            hasher: RandomState::default(),
            rng: Rng::new(seed),
        }
    }

    /// Turns the query in the first `len` octets of a buffer into its reply, if the reply is cached, may be sent while this is
    /// served, and fits the buffer. `max_reply` is the most octets that the client is sent.
    ///
    /// A reply that is not valid any more is dropped. `key` gets the question's key.
    #[inline]
    pub fn answer(
        &mut self,
        buffer: &mut [u8],
        len: usize,
        max_reply: u16,
        served: Served<'_>,
        key: &mut [u8; MAX_QUESTION_KEY],
    ) -> Looked<T> {
        let Some(question) = question_key(&buffer[..len], max_reply, key) else {
            return Looked::Odd;
        };
        let key = &key[..question.len];
        let hash = KeyHash(self.hasher.hash_one(key));
        let missed = Looked::Missed(Missed { question, hash });
        let at = hash.set(self.sets.len());
        let set = &mut self.sets[at];
        let Some(way) = set.find(hash, key) else { return missed };
        let Some(reply) = set.replies[way].as_deref_mut() else { return missed };
        match reply.send(buffer, question.question_end, served, &mut self.rng) {
            Ok(written) => {
                set.hits[way] = (set.hits[way] + 1).min(MAX_HITS);
                Looked::Sent(written, reply.note)
            }
            Err(NotSent::NotValid) => {
                self.octets -= reply.size();
                set.replies[way] = None;
                // The next reply to this question is cached at once.
                set.remember(hash);
                missed
            }
            Err(NotSent::TooLong) => missed,
        }
    }

    /// Whether a question that was missed was asked before a while ago, so that its reply is to be [kept](Self::keep).
    pub fn was_asked(&self, missed: Missed) -> bool {
        self.sets[missed.hash.set(self.sets.len())].asked_once.contains(&missed.hash.tag())
    }

    /// Remembers that a question was asked.
    pub fn remember(&mut self, missed: Missed) {
        let at = missed.hash.set(self.sets.len());
        self.sets[at].remember(missed.hash);
    }

    /// Caches the reply to a question that was missed, which has this key, if there is room among replies that are asked for
    /// more.
    pub fn keep(&mut self, missed: Missed, key: &[u8; MAX_QUESTION_KEY], reply: &[u8], hint: CacheHint<T>) {
        let Missed { question: QuestionKey { len, question_end, .. }, hash } = missed;
        let CacheHint { validity, shared_authority, note, .. } = hint;
        if let Some(reply) = CachedReply::new(&key[..len], reply, question_end, validity, note) {
            self.insert(hash, reply.sharing(shared_authority, question_end));
        }
    }

    /// Caches the reply to a query, if the query was asked before and there is room among replies that are asked for more.
    pub fn offer(&mut self, query: &[u8], reply: &[u8], hint: CacheHint<T>) {
        let mut key = [0; MAX_QUESTION_KEY];
        let Some(question) = question_key(query, hint.max_reply, &mut key) else { return };
        let missed = Missed { question, hash: KeyHash(self.hasher.hash_one(&key[..question.len])) };
        if self.was_asked(missed) {
            self.keep(missed, &key, reply, hint);
        } else {
            self.remember(missed);
        }
    }

    fn insert(&mut self, hash: KeyHash, reply: CachedReply<T>) {
        let size = reply.size();
        self.make_room(size);
        let at = hash.set(self.sets.len());
        let set = &mut self.sets[at];
        let same = set.find(hash, reply.key());
        let free = || set.replies.iter().position(Option::is_none);
        let not_asked_for = || set.hits.iter().position(|hits| *hits == 0);
        let Some(way) = same.or_else(free).or_else(not_asked_for) else {
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

    /// Drops replies that were not asked for since their set was weighed last, until `size` octets are free or enough sets
    /// were weighed.
    fn make_room(&mut self, size: usize) {
        for _ in 0..MAX_WEIGHED_SETS {
            if self.octets + size <= self.capacity {
                break;
            }
            self.hand = (self.hand + 1) % self.sets.len();
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

    /// The bound of the memory of all replies, in octets.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

impl<T> Set<T> {
    /// Remembers that a question was asked once.
    fn remember(&mut self, hash: KeyHash) {
        self.asked_once[self.next] = hash.tag();
        self.next = (self.next + 1) % WAYS;
    }

    /// Takes one hit from each reply.
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
    use crate::tree::Tree;

    /// A query for a name that only has this number, in a buffer with room for its reply.
    fn buffer(number: u32) -> (Vec<u8>, usize) {
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8];
        query.extend(format!("{number:08x}").bytes());
        query.extend([0, 0, 1, 0, 1]);
        let len = query.len();
        query.resize(5_000, 0);
        (query, len)
    }

    /// Asks for the reply to a question as a worker does; `true` if it was cached.
    fn ask(cache: &mut ReplyCache<u32>, tree: &Tree, number: u32, octets: usize) -> bool {
        let (mut buffer, len) = buffer(number);
        let query = buffer[..len].to_vec();
        if let Looked::Sent(_, note) =
            cache.answer(&mut buffer, len, 4_096, Served { tree, now: 1 }, &mut [0; MAX_QUESTION_KEY])
        {
            assert_eq!(note, number);
            return true;
        }
        let validity = Validity { until: 10, ..Validity::default() };
        let reply = [query.clone(), vec![0; octets]].concat();
        let hint = CacheHint {
            validity,
            freshness: SiteFreshness::default(),
            shared_authority: None,
            max_reply: 4_096,
            note: number,
        };
        cache.offer(&query, &reply, hint);
        false
    }

    #[test]
    fn what_is_asked_twice_is_cached() {
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
        let (mut query, len) = buffer(1);
        let looked =
            cache.answer(&mut query, len, 4_096, Served { tree: &tree, now: 10 }, &mut [0; MAX_QUESTION_KEY]);
        assert!(matches!(looked, Looked::Missed(_)), "its time is over");
        assert_eq!(cache.octets(), 0);
        assert!(!ask(&mut cache, &tree, 1, 0));
        assert!(ask(&mut cache, &tree, 1, 0), "the next one is cached");
    }

    #[test]
    fn a_reply_that_does_not_fit_is_left_to_the_full_path() {
        let (mut cache, tree) = (ReplyCache::default(), Tree::new());
        for _ in 0..3 {
            ask(&mut cache, &tree, 1, 100);
        }
        let (mut query, len) = buffer(1);
        let (served, key) = (Served { tree: &tree, now: 1 }, &mut [0; MAX_QUESTION_KEY]);
        assert!(matches!(cache.answer(&mut query[..len + 99], len, 4_096, served, key), Looked::Missed(_)));
        assert_eq!(cache.answer(&mut query, len, 4_096, served, key), Looked::Sent(len + 100, 1));
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
            // Names that never come again, and names that come twice, five and two for each popular one.
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
