//! The response cache: replies of upstreams, for as long as their TTLs allow.

use super::Ask;
use crate::wire::Reply;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use quick_cache::{Weighter, sync::Cache};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Octets that one place in the cache stands for: most replies are smaller, a larger one takes more
/// places, and so the memory is bounded as well as the number.
const PLACE: usize = 1_024;

/// See the module's text.
#[derive(Debug)]
pub(super) struct ResponseCache {
    entries: Option<Cache<Ask, Arc<Entry>, Places>>,
    /// Longest that a reply is kept, in seconds.
    longest: u32,
}

#[derive(Debug)]
struct Entry {
    reply: Reply,
    stored: Instant,
    lifetime: Duration,
    places: u64,
}

/// Counts the places that an entry takes.
#[derive(Clone, Debug)]
struct Places;

impl Weighter<Ask, Arc<Entry>> for Places {
    fn weight(&self, _: &Ask, entry: &Arc<Entry>) -> u64 {
        entry.places
    }
}

impl ResponseCache {
    /// A cache of so many replies, none of which is kept longer than so many seconds; 0 keeps none.
    pub(super) fn new(capacity: usize, longest: u32) -> Self {
        let entries = (capacity > 0).then(|| Cache::with_weighter(capacity, capacity as u64, Places));
        Self { entries, longest }
    }

    /// The reply to a question with its TTLs counted down, and the whole seconds that it is still kept for.
    pub(super) fn get(&self, ask: &Ask, now: Instant) -> Option<(Reply, u64)> {
        let entry = self.entries.as_ref()?.get(ask)?;
        let age_exact = now.saturating_duration_since(entry.stored);
        if age_exact >= entry.lifetime {
            return None;
        }
        let mut reply = entry.reply.clone();
        let age = u32::try_from(age_exact.as_secs()).unwrap_or(u32::MAX);
        for record in records(&mut reply) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some((reply, (entry.lifetime - age_exact).as_secs()))
    }

    /// Keeps a reply if it may be kept.
    pub(super) fn insert(&self, ask: &Ask, reply: &Reply, now: Instant) {
        let Some(entries) = &self.entries else { return };
        let Some(ttl) = lifetime(reply).map(|ttl| ttl.min(self.longest)).filter(|ttl| *ttl > 0) else {
            return;
        };
        let entry = Entry {
            reply: reply.clone(),
            stored: now,
            lifetime: Duration::from_secs(u64::from(ttl)),
            places: size(reply).div_ceil(PLACE) as u64,
        };
        entries.insert(ask.clone(), Arc::new(entry));
    }
}

fn records(reply: &mut Reply) -> impl Iterator<Item = &mut Record> {
    reply.answers.iter_mut().chain(&mut reply.authorities).chain(&mut reply.additionals)
}

/// About the memory of a reply: its frame, and the frame, owner name and data of each record.
fn size(reply: &Reply) -> usize {
    let records = reply.answers.iter().chain(&reply.authorities).chain(&reply.additionals);
    // Whatever the type, its data take about as much memory as on the wire; small names are in the frame.
    let memory =
        |record: &Record| size_of::<Record>() + record.to_bytes().map_or(usize::from(u16::MAX), |o| o.len());
    size_of::<Entry>() + records.map(memory).sum::<usize>()
}

/// How long a reply may be kept, in seconds; `None` if not at all.
///
/// The least TTL of its records; without an answer the SOA's, and not longer than its MINIMUM, and
/// without a SOA not at all (RFC 2308 §5).
fn lifetime(reply: &Reply) -> Option<u32> {
    if reply.truncated || !matches!(reply.rcode, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    let only_cnames = reply.answers.iter().all(|record| record.record_type() == RecordType::CNAME);
    let negative = if only_cnames || reply.rcode == ResponseCode::NXDomain {
        let soa = reply.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        });
        // A question for the CNAME itself is answered by one.
        match soa {
            None if reply.answers.is_empty() || reply.rcode == ResponseCode::NXDomain => return None,
            other => other,
        }
    } else {
        None
    };
    reply.answers.iter().chain(&reply.authorities).map(|record| record.ttl).chain(negative).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::{A, SOA};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn ask(text: &str) -> Ask {
        Ask {
            query: Query::query(name(text), RecordType::A),
            dnssec_ok: false,
            checking_disabled: false,
            recursion_desired: true,
            stub: false,
        }
    }

    fn address(ttl: u32) -> Reply {
        let mut reply = Reply::empty(ResponseCode::NoError);
        let rdata = RData::A(A([192, 0, 2, 1].into()));
        reply.answers.push(Record::from_rdata(name("a.example.org."), ttl, rdata));
        reply
    }

    fn negative(rcode: ResponseCode, soa: Option<(u32, u32)>) -> Reply {
        let mut reply = Reply::empty(rcode);
        if let Some((ttl, minimum)) = soa {
            let soa = SOA::new(name("example.org."), name("example.org."), 1, 1, 1, 1, minimum);
            reply.authorities.push(Record::from_rdata(name("example.org."), ttl, RData::SOA(soa)));
        }
        reply
    }

    #[tokio::test(start_paused = true)]
    async fn ttls_count_down_to_the_end() {
        let cache = ResponseCache::new(100, 60);
        let start = Instant::now();
        cache.insert(&ask("a.example.org."), &address(300), start);
        let ttl = |after: u64| {
            let reply = cache.get(&ask("A.Example.ORG."), start + Duration::from_secs(after));
            reply.map(|(reply, _)| reply.answers[0].ttl)
        };
        assert_eq!((ttl(0), ttl(59), ttl(60)), (Some(300), Some(241), None), "60 s is the bound");
        cache.insert(&ask("a.example.org."), &address(5), start);
        assert_eq!((ttl(4), ttl(5)), (Some(1), None), "records' own TTLs rule");
    }

    #[test]
    fn only_what_may_be_kept_is() {
        assert_eq!(lifetime(&address(9)), Some(9));
        assert_eq!(lifetime(&address(0)), Some(0));
        assert_eq!(lifetime(&negative(ResponseCode::NXDomain, Some((100, 7)))), Some(7));
        assert_eq!(lifetime(&negative(ResponseCode::NoError, Some((3, 70)))), Some(3));
        assert_eq!(lifetime(&negative(ResponseCode::NXDomain, None)), None);
        assert_eq!(lifetime(&negative(ResponseCode::ServFail, Some((9, 9)))), None);
        assert_eq!(lifetime(&Reply { truncated: true, ..address(9) }), None);
    }

    #[test]
    fn the_number_of_replies_is_bounded() {
        let cache = ResponseCache::new(100, 60);
        let now = Instant::now();
        let kept = |cache: &ResponseCache| {
            (0..10_000).filter(|n| cache.get(&ask(&format!("n{n}.example.org.")), now).is_some()).count()
        };
        for n in 0..10_000 {
            cache.insert(&ask(&format!("n{n}.example.org.")), &address(60), now);
        }
        assert!((50..=100).contains(&kept(&cache)));
        let off = ResponseCache::new(0, 60);
        off.insert(&ask("n1.example.org."), &address(60), now);
        assert_eq!(kept(&off), 0);
    }

    #[test]
    fn a_large_reply_takes_the_places_of_many() {
        let mut large = address(60);
        let rdata = hickory_proto::rr::rdata::NULL::with(vec![0; 60_000]);
        large.answers[0].data = RData::NULL(rdata);
        assert!(size(&large) > 60_000);
        let key = hickory_proto::rr::rdata::SSHFP::new(1u8.into(), 1u8.into(), vec![0; 60_000]);
        large.answers[0].data = RData::SSHFP(key);
        assert!(size(&large) > 60_000);
        assert!(size(&address(60)) <= PLACE);
    }
}
