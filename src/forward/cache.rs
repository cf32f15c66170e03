//! The response cache: replies of upstreams.
//!
//! A reply is fresh for as long as its TTLs allow (RFC 1035 §3.2.1, RFC 2308 §5). An answer stays a day longer as a
//! stale answer, for when no upstream gives a new one (RFC 8767). A popular reply is due for a refresh before its TTL
//! ends. This module asks nobody: the caller runs the exchanges.

use super::message::UpstreamQuestion;
use super::shape::name_octets;
use crate::answer::Ede;
use crate::wire::{ForwardedRecord, ForwardedRecords, Reply, Section};
use crate::wire_name::is_in_zone;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use quick_cache::{Weighter, sync::Cache};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Octets of a reply that count as one of the `capacity` of the cache. Most replies are smaller; larger ones count
/// several times, so the memory is bounded as well as the number of replies.
const OCTETS_PER_WEIGHT: usize = 1_024;

/// How long after its TTL an answer may be served stale (RFC 8767 §5: one to three days).
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// TTL of a stale answer, in seconds (RFC 8767 §4).
const STALE_TTL: u32 = 30;

/// Pause before upstreams that failed to refresh an answer are asked for it again. RFC 8767 §5 allows 30 s.
const REFRESH_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Replies with a shorter lifetime are not refreshed before it ends.
const MIN_PREFETCH_LIFETIME: Duration = Duration::from_secs(10);

/// Minimum time before the end of its lifetime at which a popular reply is refreshed; a tenth of the lifetime if that
/// is longer.
const MIN_PREFETCH_LEAD: Duration = Duration::from_secs(2);

/// Hits that make a reply popular. Hits on the full path count alone: after two of them the worker answers from its own
/// cache for a while.
const POPULAR_HITS: u32 = 3;

/// The response cache; see the module's documentation.
#[derive(Debug)]
pub(super) struct ResponseCache {
    /// `None` if the cache is switched off.
    responses: Option<Cache<UpstreamQuestion, Arc<CachedResponse>, CacheWeight>>,
    /// Maximum time that a reply is fresh, in seconds.
    max_ttl: u32,
    /// Counts changes of the upstreams.
    generation: AtomicU64,
}

/// A reply in the cache.
#[derive(Debug)]
struct CachedResponse {
    reply: Reply,
    stored: Instant,
    /// The generation of the upstreams that were asked; those of stub zones have none.
    generation: Option<u64>,
    lifetime: Duration,
    weight: u64,
    hits: AtomicU32,
    /// Milliseconds since `stored` before which the reply is not refreshed again.
    retry_after: AtomicU64,
}

/// What the cache has for a question.
#[derive(Debug)]
pub(super) enum Cached {
    /// A reply whose TTLs have not ended.
    Fresh {
        /// The reply, with its TTLs counted down.
        reply: Reply,
        /// Whole seconds for which the caller may use the reply without asking the cache again.
        fresh_for: u64,
        /// Whether the caller is to refresh the reply. Only one of several callers gets `true`.
        refresh_due: bool,
    },
    /// An answer whose TTLs have ended, for when upstreams fail.
    Stale(StaleAnswer),
}

/// An answer whose TTLs have ended.
#[derive(Debug)]
pub(super) struct StaleAnswer(Arc<CachedResponse>);

impl StaleAnswer {
    /// Whether upstreams failed to refresh the answer a moment ago.
    pub(super) fn is_retry_paused(&self, now: Instant) -> bool {
        self.0.age(now) < self.0.retry_after.load(Ordering::Relaxed)
    }

    /// Notes that upstreams failed to refresh the answer.
    pub(super) fn pause_retry(&self, now: Instant) {
        self.0.retry_after.store(self.0.age(now) + millis(REFRESH_RETRY_PAUSE), Ordering::Relaxed);
    }

    /// The answer with the TTL of stale answers, and an extended error that says that it is stale.
    pub(super) fn reply(&self) -> Reply {
        let mut reply = self.0.reply.clone();
        set_ttls(&mut reply, |_| STALE_TTL);
        reply.errors.insert(0, Ede::new(Ede::STALE, "no upstream gives an answer"));
        reply
    }
}

impl CachedResponse {
    /// Milliseconds since the reply was stored.
    fn age(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.stored))
    }

    /// How long before the end of its lifetime the reply is refreshed.
    fn prefetch_lead(&self) -> Duration {
        if self.lifetime < MIN_PREFETCH_LIFETIME {
            Duration::ZERO
        } else {
            MIN_PREFETCH_LEAD.max(self.lifetime / 10)
        }
    }

    /// Whether the reply is to be refreshed; the caller that gets `true` has to do so.
    fn claim_refresh(&self, now: Instant) -> bool {
        let (age, retry_after) = (self.age(now), self.retry_after.load(Ordering::Relaxed));
        let claim = |from| {
            let until = age + millis(REFRESH_RETRY_PAUSE);
            self.retry_after.compare_exchange(from, until, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        self.hits.load(Ordering::Relaxed) >= POPULAR_HITS && age >= retry_after && claim(retry_after)
    }

    /// Whether the reply may be served stale. A denial may not, as the name may have been made since, unless the servers
    /// are those of a cluster.
    fn may_be_stale(&self, question: &UpstreamQuestion) -> bool {
        if question.stub.is_some_and(|stub| stub.keeps_denials) {
            return true;
        }
        let leads_on = |rtype| matches!(rtype, RecordType::CNAME | RecordType::DNAME | RecordType::RRSIG);
        self.reply.rcode == ResponseCode::NoError
            && answers(&self.reply).any(|record| !leads_on(record.rtype))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The weight of replies in the cache.
#[derive(Clone, Debug)]
struct CacheWeight;

impl Weighter<UpstreamQuestion, Arc<CachedResponse>> for CacheWeight {
    fn weight(&self, _: &UpstreamQuestion, response: &Arc<CachedResponse>) -> u64 {
        response.weight
    }
}

impl ResponseCache {
    /// A cache of at most `capacity` replies that are fresh for at most `max_ttl` seconds; with a capacity of 0 it is off.
    pub(super) fn new(capacity: usize, max_ttl: u32) -> Self {
        let responses = (capacity > 0).then(|| Cache::with_weighter(capacity, capacity as u64, CacheWeight));
        Self { responses, max_ttl, generation: AtomicU64::new(0) }
    }

    /// The reply to a question, fresh or stale.
    pub(super) fn get(&self, question: &UpstreamQuestion, now: Instant) -> Option<Cached> {
        let response = self.responses.as_ref()?.get(question)?;
        let age_exact = now.saturating_duration_since(response.stored);
        let is_expired = response.generation.is_some_and(|generation| generation != self.generation());
        if age_exact >= response.lifetime || is_expired {
            let may = response.may_be_stale(question) && age_exact < response.lifetime + MAX_STALE;
            return may.then_some(Cached::Stale(StaleAnswer(response)));
        }
        response.hits.fetch_add(1, Ordering::Relaxed);
        let fresh_for = response.lifetime - age_exact;
        let refresh_due = fresh_for <= response.prefetch_lead() && response.claim_refresh(now);
        let mut reply = response.reply.clone();
        let age = u32::try_from(age_exact.as_secs()).unwrap_or(u32::MAX);
        set_ttls(&mut reply, |ttl| ttl.saturating_sub(age));
        Some(Cached::Fresh {
            reply,
            fresh_for: fresh_for.saturating_sub(response.prefetch_lead()).as_secs(),
            refresh_due,
        })
    }

    /// The number of times that the upstreams have changed.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes all replies stale but those of stub zones, because the upstreams have changed.
    pub(super) fn expire(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Caches a reply if it may be cached; `generation` is that of when its upstreams were asked.
    pub(super) fn insert(&self, question: &UpstreamQuestion, reply: &Reply, generation: u64, now: Instant) {
        let Some(responses) = &self.responses else { return };
        let Some(ttl) =
            cacheable_for(question, reply).map(|ttl| ttl.min(self.max_ttl)).filter(|ttl| *ttl > 0)
        else {
            if !reply.truncated && matches!(reply.rcode, ResponseCode::NoError | ResponseCode::NXDomain) {
                // It says that what was kept for failures is not so any more, or not for sure.
                responses.remove(question);
            }
            return;
        };
        let response = CachedResponse {
            // What the cache gives again does not come from the authority itself (RFC 1035 §4.1.1).
            reply: Reply { authoritative: false, ..reply.clone() },
            stored: now,
            generation: question.stub.is_none().then_some(generation),
            lifetime: Duration::from_secs(u64::from(ttl)),
            weight: memory_of(reply).div_ceil(OCTETS_PER_WEIGHT) as u64,
            hits: AtomicU32::new(0),
            retry_after: AtomicU64::new(0),
        };
        responses.insert(question.clone(), Arc::new(response));
    }
}

fn set_ttls(reply: &mut Reply, ttl: impl Fn(u32) -> u32) {
    reply.forwarded.iter_mut().for_each(|records| records.set_ttls(&ttl));
}

fn answers(reply: &Reply) -> impl Iterator<Item = ForwardedRecord<'_>> {
    reply.forwarded.iter().flat_map(|records| records.section(Section::Answer))
}

fn authorities(reply: &Reply) -> impl Iterator<Item = ForwardedRecord<'_>> {
    reply.forwarded.iter().flat_map(|records| records.section(Section::Authority))
}

/// Octets of memory of a reply, estimated: its struct, its records, and the texts of its extended errors.
fn memory_of(reply: &Reply) -> usize {
    let errors: usize = reply.errors.iter().map(|error| size_of::<Ede>() + error.text.len()).sum();
    size_of::<CachedResponse>() + reply.forwarded.as_ref().map_or(0, ForwardedRecords::memory) + errors
}

/// How long a reply may be cached, in seconds; `None` if not at all.
///
/// The least TTL of its records. A negative reply counts the MINIMUM of its SOA record as well, and may not be cached
/// without the SOA record of a zone that the name is in (RFC 2308 §5).
fn cacheable_for(question: &UpstreamQuestion, reply: &Reply) -> Option<u32> {
    if reply.truncated || !matches!(reply.rcode, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    let records = reply.forwarded.as_ref()?;
    let rtype = question.query.query_type();
    let has_answer = answers(reply).any(|record| rtype == RecordType::ANY || record.rtype == rtype);
    let ttls = answers(reply).chain(authorities(reply)).map(|record| record.ttl);
    if has_answer && reply.rcode == ResponseCode::NoError {
        return ttls.min();
    }
    let asked = name_octets(question.query.name());
    let denied = records.chain_end(&asked);
    let soa = authorities(reply).filter(|record| is_in_zone(denied, record.owner));
    let negative = soa.filter_map(|record| Some(record.ttl.min(record.soa_minimum()?))).next()?;
    ttls.chain([negative]).min()
}

#[cfg(test)]
mod tests {
    use super::super::stub::StubId;
    use super::*;
    use hickory_proto::rr::rdata::{A, CNAME, SOA};
    use hickory_proto::rr::{Name, RData, Record};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn question_of(text: &str) -> UpstreamQuestion {
        UpstreamQuestion::own(name(text), RecordType::A)
    }

    fn address(ttl: u32) -> Reply {
        let mut reply = Reply::empty(ResponseCode::NoError);
        let rdata = RData::A(A([192, 0, 2, 1].into()));
        reply.answers.push(Record::from_rdata(name("a.example.org."), ttl, rdata));
        reply.forwarded()
    }

    fn negative(rcode: ResponseCode, soa: Option<(u32, u32)>) -> Reply {
        denial(rcode, &[], soa.map(|(ttl, minimum)| ("example.org.", ttl, minimum)))
    }

    /// A denial behind CNAMEs, with the SOA record of a zone.
    fn denial(rcode: ResponseCode, cnames: &[(&str, &str)], soa: Option<(&str, u32, u32)>) -> Reply {
        let mut reply = Reply::empty(rcode);
        for (owner, target) in cnames {
            reply.answers.push(Record::from_rdata(name(owner), 90, RData::CNAME(CNAME(name(target)))));
        }
        if let Some((zone, ttl, minimum)) = soa {
            let soa = SOA::new(name("example.org."), name("example.org."), 1, 1, 1, 1, minimum);
            reply.authorities.push(Record::from_rdata(name(zone), ttl, RData::SOA(soa)));
        }
        reply.forwarded()
    }

    /// The TTL of the first record.
    fn ttl_of(reply: &Reply) -> Option<u32> {
        reply.forwarded.as_ref().and_then(|records| records.iter().next()).map(|record| record.ttl)
    }

    #[tokio::test(start_paused = true)]
    async fn ttls_count_down_to_the_end() {
        let cache = ResponseCache::new(100, 60);
        let start = Instant::now();
        cache.insert(&question_of("a.example.org."), &address(300), 0, start);
        let ttl = |after: u64| match cache
            .get(&question_of("A.Example.ORG."), start + Duration::from_secs(after))
        {
            Some(Cached::Fresh { reply, .. }) => ttl_of(&reply),
            _ => None,
        };
        assert_eq!((ttl(0), ttl(59), ttl(60)), (Some(300), Some(241), None), "60 s is the bound");
        cache.insert(&question_of("a.example.org."), &address(5), 0, start);
        assert_eq!((ttl(4), ttl(5)), (Some(1), None), "records' own TTLs rule");
    }

    #[test]
    fn an_answer_may_be_served_stale_and_a_denial_may_not() {
        let cache = ResponseCache::new(100, 60);
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        cache.insert(&question_of("a.example.org."), &address(60), 0, start);
        cache.insert(
            &question_of("n.example.org."),
            &negative(ResponseCode::NXDomain, Some((60, 60))),
            0,
            start,
        );
        cache.insert(
            &question_of("o.example.org."),
            &negative(ResponseCode::NoError, Some((60, 60))),
            0,
            start,
        );
        for denied in ["n.example.org.", "o.example.org."] {
            assert!(matches!(cache.get(&question_of(denied), at(59)), Some(Cached::Fresh { .. })));
            assert!(cache.get(&question_of(denied), at(60)).is_none());
        }
        let mut stub = StubId::of_test(1);
        stub.keeps_denials = true;
        let of_cluster = UpstreamQuestion { stub: Some(stub), ..question_of("n.example.org.") };
        cache.insert(&of_cluster, &negative(ResponseCode::NXDomain, Some((60, 60))), 0, start);
        assert!(matches!(cache.get(&of_cluster, at(60)), Some(Cached::Stale(_))));
        let Some(Cached::Stale(stale)) = cache.get(&question_of("a.example.org."), at(60)) else {
            panic!("stale")
        };
        let reply = stale.reply();
        assert_eq!((ttl_of(&reply), reply.errors[0].code), (Some(30), Ede::STALE));
        assert!(!stale.is_retry_paused(at(60)));
        stale.pause_retry(at(60));
        assert!(stale.is_retry_paused(at(64)) && !stale.is_retry_paused(at(65)));
        assert!(cache.get(&question_of("a.example.org."), at(60 + 24 * 60 * 60)).is_none());
    }

    #[test]
    fn one_of_those_who_ask_for_a_popular_reply_refreshes_it() {
        let cache = ResponseCache::new(100, 100);
        let start = Instant::now();
        let get = |name: &str, millis: u64| match cache
            .get(&question_of(name), start + Duration::from_millis(millis))
        {
            Some(Cached::Fresh { fresh_for, refresh_due, .. }) => (fresh_for, refresh_due),
            other => panic!("{other:?}"),
        };
        cache.insert(&question_of("a.example.org."), &address(100), 0, start);
        assert_eq!(get("a.example.org.", 0), (90, false));
        assert_eq!(get("a.example.org.", 89_000), (1, false));
        assert_eq!(get("a.example.org.", 90_000), (0, true), "the third who asks");
        assert_eq!(get("a.example.org.", 90_001), (0, false), "one is enough");
        assert_eq!(get("a.example.org.", 95_000), (0, true), "until it is known that it failed");
        cache.insert(&question_of("b.example.org."), &address(100), 0, start);
        assert_eq!(get("b.example.org.", 95_000), (0, false), "nobody else asked for it");
        cache.insert(&question_of("c.example.org."), &address(9), 0, start);
        assert_eq!([0, 0, 0, 8_500].map(|at| get("c.example.org.", at).1), [false; 4], "too short");
    }

    #[test]
    fn only_cacheable_replies_are_cached() {
        let cacheable = |reply: &Reply| cacheable_for(&question_of("a.example.org."), reply);
        assert_eq!(cacheable(&address(9)), Some(9));
        assert_eq!(cacheable(&address(0)), Some(0));
        assert_eq!(cacheable(&negative(ResponseCode::NXDomain, Some((100, 7)))), Some(7));
        assert_eq!(cacheable(&negative(ResponseCode::NoError, Some((3, 70)))), Some(3));
        assert_eq!(cacheable(&negative(ResponseCode::NXDomain, None)), None);
        assert_eq!(cacheable(&negative(ResponseCode::NoError, None)), None);
        assert_eq!(cacheable(&negative(ResponseCode::ServFail, Some((9, 9)))), None);
        assert_eq!(cacheable(&Reply { truncated: true, ..address(9) }), None);
        assert_eq!(cacheable(&Reply::empty(ResponseCode::NoError)), None, "a failure of our own");
    }

    #[test]
    fn a_denial_is_cached_by_the_soa_of_a_zone_that_its_name_is_in() {
        let question = question_of("a.example.org.");
        let alias = [("a.example.org.", "b.example.net.")];
        for rcode in [ResponseCode::NoError, ResponseCode::NXDomain] {
            for (cnames, zone, cached) in [
                (&[][..], "example.org.", true),
                (&[], "A.Example.ORG.", true),
                (&[], ".", true),
                (&[], "other.example.org.", false),
                (&[], "x.a.example.org.", false),
                (&[], "ample.org.", false),
                (&alias, "example.net.", true),
                (&alias, "example.org.", false),
            ] {
                let reply = denial(rcode, cnames, Some((zone, 60, 30)));
                assert_eq!(
                    cacheable_for(&question, &reply),
                    cached.then_some(30),
                    "{rcode} {cnames:?} {zone}"
                );
            }
            assert_eq!(cacheable_for(&question, &denial(rcode, &alias, None)), None, "a CNAME alone");
        }
        let asked_for = UpstreamQuestion::own(name("a.example.org."), RecordType::CNAME);
        let cname = denial(ResponseCode::NoError, &alias, None);
        assert_eq!(cacheable_for(&asked_for, &cname), Some(90), "the answer to a question for the CNAME");
    }

    #[test]
    fn the_number_of_replies_is_bounded() {
        let cache = ResponseCache::new(100, 60);
        let now = Instant::now();
        let count = |cache: &ResponseCache| {
            (0..10_000)
                .filter(|n| cache.get(&question_of(&format!("n{n}.example.org.")), now).is_some())
                .count()
        };
        for n in 0..10_000 {
            cache.insert(&question_of(&format!("n{n}.example.org.")), &address(60), 0, now);
        }
        assert!((50..=100).contains(&count(&cache)));
        let off = ResponseCache::new(0, 60);
        off.insert(&question_of("n1.example.org."), &address(60), 0, now);
        assert_eq!(count(&off), 0);
    }

    #[test]
    fn replies_of_upstreams_that_are_gone_are_stale_but_not_those_of_stub_zones() {
        let (cache, now) = (ResponseCache::new(100, 60), Instant::now());
        let stub = UpstreamQuestion { stub: Some(StubId::of_test(1)), ..question_of("s.example.org.") };
        let state = |question: &UpstreamQuestion| match cache.get(question, now) {
            Some(Cached::Fresh { .. }) => "fresh",
            Some(Cached::Stale(_)) => "stale",
            None => "gone",
        };
        let before = cache.generation();
        for question in [&question_of("a.example.org."), &stub] {
            cache.insert(question, &address(60), before, now);
        }
        let denied = question_of("n.example.org.");
        cache.insert(&denied, &negative(ResponseCode::NXDomain, Some((60, 60))), before, now);
        cache.expire();
        let a = question_of("a.example.org.");
        assert_eq!([state(&a), state(&denied), state(&stub)], ["stale", "gone", "fresh"]);
        cache.insert(&a, &address(60), before, now);
        assert_eq!(state(&a), "stale", "the upstreams before were asked");
        cache.insert(&a, &address(60), cache.generation(), now);
        assert_eq!(state(&a), "fresh");
        let other = UpstreamQuestion { stub: Some(StubId::of_test(2)), ..stub };
        assert_eq!(state(&other), "gone", "the stub zone has other servers");
    }

    #[test]
    fn a_large_reply_weighs_as_many() {
        let mut large = Reply::empty(ResponseCode::NoError);
        let rdata = hickory_proto::rr::rdata::NULL::with(vec![0; 60_000]);
        large.answers.push(Record::from_rdata(name("a.example.org."), 60, RData::NULL(rdata)));
        assert!(memory_of(&large.forwarded()) > 60_000);
        assert!(memory_of(&address(60)) <= OCTETS_PER_WEIGHT);
    }
}
