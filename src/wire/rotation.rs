//! The order of the records of an RRset in a cached reply: it is random each time that the reply is sent.
//!
//! Data of equal length change places where they stand. Data of different lengths are copied in another order. Both need
//! data to which no compression pointer leads, as [`encode`](super::encode()) writes them while there is room.

use super::rewrites::RecordAt;
use crate::answer::Rng;
use std::ops::Range;

/// Maximum number of records of one RRset whose data have different lengths. Larger sets are not cached here, and so
/// shuffled on the full path; a reply over UDP has room for them only if their data are tiny.
const MAX_SPANS: usize = 128;

/// Octets from the end of one record's data to the length of the data of the next one of the set: a pointer to the owner
/// name, or the root's name; type, class, TTL.
const MAX_BETWEEN: usize = 10;

/// The records of one RRset, to be put into a random order. Offsets count from the end of the question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// Data of the same length.
    Equal {
        /// Octets of the data of each record.
        len: usize,
        /// Where the data begin.
        offsets: Box<[u16]>,
    },
    /// Data of different lengths, each with the two octets of its length before it.
    Different {
        /// Where these begin and end.
        spans: Box<[(u16, u16)]>,
    },
}

impl Rotation {
    /// Puts the records of the set into a random order. `reply` is the reply in the order in which it is cached, from the
    /// end of the question on, and `out` is a copy of it in which TTLs may have been counted down.
    #[inline(never)]
    pub(super) fn apply(&self, reply: &[u8], out: &mut [u8], rng: &mut Rng) {
        match self {
            Self::Equal { len, offsets } => {
                rng.shuffle(offsets.len(), |a, b| swap(out, offsets[a], offsets[b], *len));
            }
            Self::Different { spans } => copy_shuffled(spans, reply, out, rng),
        }
    }

    /// Octets of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        let behind = match self {
            Self::Equal { offsets, .. } => 2 * offsets.len(),
            Self::Different { spans } => 4 * spans.len(),
        };
        size_of::<Self>() + behind
    }
}

fn swap(octets: &mut [u8], a: u16, b: u16, len: usize) {
    let (a, b) = (usize::from(a.min(b)), usize::from(a.max(b)));
    if a < b {
        let (before, behind) = octets.split_at_mut(b);
        before[a..a + len].swap_with_slice(&mut behind[..len]);
    }
}

/// Copies the data of records in a random order to where they stand in `out`, with what is between them. Not inlined: its
/// arrays would cost every reply their room on the stack.
#[inline(never)]
fn copy_shuffled(spans: &[(u16, u16)], reply: &[u8], out: &mut [u8], rng: &mut Rng) {
    let mut order: [u8; MAX_SPANS] = std::array::from_fn(|at| u8::try_from(at).unwrap_or(0));
    let order = &mut order[..spans.len().min(MAX_SPANS)];
    rng.shuffle(order.len(), |a, b| order.swap(a, b));
    let range = |span: (u16, u16)| usize::from(span.0)..usize::from(span.1);
    let [first, second, ..] = *spans else { return };
    // The same between all records of the set, since they have the same owner, type, class and TTL.
    let mut between = [0; MAX_BETWEEN];
    let between_len = usize::from(second.0 - first.1).min(MAX_BETWEEN);
    let between = &mut between[..between_len];
    between.copy_from_slice(&out[usize::from(first.1)..usize::from(first.1) + between_len]);
    let mut at = usize::from(first.0);
    for (number, which) in order.iter().enumerate() {
        if number > 0 {
            out[at..at + between.len()].copy_from_slice(between);
            at += between.len();
        }
        let data = &reply[range(spans[usize::from(*which)])];
        out[at..at + data.len()].copy_from_slice(data);
        at += data.len();
    }
}

/// Collects the RRsets of an answer section, whose records stand together.
#[derive(Default)]
pub(super) struct Rotations {
    sets: Vec<Vec<Range<usize>>>,
    /// Owner, type, class and end of the record before.
    last: Option<((usize, u16, u16), usize)>,
}

impl Rotations {
    /// Adds a record whose set may be shuffled.
    pub(super) fn add(&mut self, record: &RecordAt) {
        let set = (record.owner, record.rtype, record.class);
        let is_next = self.last.is_some_and(|(last, end)| {
            // What stands between two records of a set takes a pointer and ten octets, or else they are no such set.
            last == set && record.data.start - end <= MAX_BETWEEN + 2
        });
        match self.sets.last_mut().filter(|_| is_next) {
            Some(set) => set.push(record.data.clone()),
            None => self.sets.push(vec![record.data.clone()]),
        }
        self.last = Some((set, record.data.end));
    }

    /// The sets of several records; `None` if one of them cannot be shuffled. `pointers` is where all pointers of the reply
    /// lead.
    pub(super) fn finish(
        self,
        reply: &[u8],
        question_end: usize,
        pointers: &[usize],
    ) -> Option<Box<[Rotation]>> {
        let sets = self.sets.into_iter().filter(|set| set.len() > 1);
        sets.map(|set| rotation(&set, reply, question_end, pointers)).collect()
    }
}

fn rotation(set: &[Range<usize>], reply: &[u8], question_end: usize, pointers: &[usize]) -> Option<Rotation> {
    let offset = |at: usize| u16::try_from(at.checked_sub(question_end)?).ok();
    let (first, last) = (set.first()?, set.last()?);
    let len = first.len();
    if set.iter().all(|data| data.len() == len) {
        let leads_into = |data: &Range<usize>| pointers.iter().any(|at| data.contains(at));
        let offsets = set.iter().map(|data| offset(data.start).filter(|_| !leads_into(data)));
        return Some(Rotation::Equal { len, offsets: offsets.collect::<Option<_>>()? });
    }
    let moving = first.start - 2..last.end;
    if set.len() > MAX_SPANS || pointers.iter().any(|at| moving.contains(at)) {
        return None;
    }
    let between = |pair: &[Range<usize>]| reply.get(pair[0].end..pair[1].start - 2);
    let same = between(&set[..2])?;
    if same.len() > MAX_BETWEEN || !set.windows(2).all(|pair| between(pair) == Some(same)) {
        return None;
    }
    let spans = set.iter().map(|data| Some((offset(data.start - 2)?, offset(data.end)?)));
    Some(Rotation::Different { spans: spans.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        CachedReply, MAX_QUESTION_KEY, Reply, Screened, Transport, Validity, encode, question_key, screen,
    };
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{A, CNAME, MX, NS, PTR, SRV, TXT};
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use std::collections::{BTreeSet, HashMap};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    /// Three sets of data of each type: names of one length, names of different lengths, and ends that are the same.
    fn sets() -> Vec<Vec<RData>> {
        let hosts = [
            ["a.example.org.", "b.example.org.", "c.example.org."],
            ["a.example.org.", "bbbb.example.org.", "cc.cc.example.org."],
            ["mail.other.example.", "x.mail.other.example.", "yy.other.example."],
        ];
        let of = |make: &dyn Fn(&str) -> RData| hosts.map(|set| set.map(make).to_vec());
        let sets = [
            of(&|host| RData::SRV(SRV::new(1, 2, 3, name(host)))),
            of(&|host| RData::MX(MX::new(10, name(host)))),
            of(&|host| RData::NS(NS(name(host)))),
            of(&|host| RData::TXT(TXT::new(vec![host.to_owned(), String::new()]))),
            of(&|host| RData::A(A([10, 0, 0, host.as_bytes()[0]].into()))),
        ];
        sets.concat()
    }

    /// A reply with a CNAME before a set at the name that it leads to, and an address of each host of the set behind.
    fn reply(set: &[RData], alias: bool) -> Reply {
        let mut reply = Reply::empty(ResponseCode::NoError);
        let owner = name(if alias { "www.example.net." } else { "q.example.org." });
        if alias {
            reply.answers.push(Record::from_rdata(
                name("q.example.org."),
                60,
                RData::CNAME(CNAME(owner.clone())),
            ));
        }
        reply.answers.extend(set.iter().map(|data| Record::from_rdata(owner.clone(), 40, data.clone())));
        for host in ["mail.other.example.", "bbbb.example.org."] {
            reply.additionals.push(Record::from_rdata(name(host), 50, RData::A(A([192, 0, 2, 1].into()))));
        }
        reply
    }

    /// The reply as it is cached, and the query for it.
    fn cached(reply: &Reply, limit: usize) -> (Option<CachedReply<()>>, Vec<u8>, Vec<u8>, usize) {
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name("q.example.org."), RecordType::ANY));
        let packet = message.to_vec().expect("a query");
        let Screened::Ask(request) = screen(&packet) else { panic!("a question") };
        let octets = encode(&request, reply, Transport::Udp { limit });
        let mut key = [0; MAX_QUESTION_KEY];
        let question = question_key(&packet, 4_096, &mut key).expect("plain");
        let validity = Validity { rotates: true, ages: true, until: 100, ..Validity::default() };
        let cached = CachedReply::new(&key[..question.len], &octets, question.question_end, validity, ());
        (cached, packet, octets, question.question_end)
    }

    fn send(cached: &CachedReply<()>, packet: &[u8], end: usize, rng: &mut Rng) -> Message {
        let mut buffer = [packet, &[0xff; 1_000]].concat();
        let len = cached.write(&mut buffer, end, 5, rng).expect("it fits");
        Message::from_vec(&buffer[..len]).expect("a reply")
    }

    #[test]
    fn every_order_of_every_set_is_equally_likely() {
        const TIMES: u32 = 1_200;
        let mut rng = Rng::new(3);
        for set in sets() {
            for alias in [false, true] {
                for reply in [reply(&set, alias), reply(&set, alias).forwarded()] {
                    let (cached, packet, octets, end) = cached(&reply, 512);
                    let cached = cached.unwrap_or_else(|| panic!("not cached: {set:?}"));
                    let whole = Message::from_vec(&octets).expect("a reply");
                    let mut orders = HashMap::<Vec<String>, u32>::new();
                    for _ in 0..TIMES {
                        let sent = send(&cached, &packet, end, &mut rng);
                        let (front, set) = sent.answers.split_at(usize::from(alias));
                        assert!(front.iter().all(|record| record.record_type() == RecordType::CNAME));
                        assert!(
                            sent.answers
                                .iter()
                                .all(|r| r.ttl == if r.record_type() == RecordType::CNAME { 55 } else { 35 })
                        );
                        assert_eq!(sent.additionals.len(), whole.additionals.len());
                        for (one, other) in sent.additionals.iter().zip(&whole.additionals) {
                            assert_eq!((&one.name, &one.data, one.ttl), (&other.name, &other.data, 45));
                        }
                        *orders
                            .entry(set.iter().map(|r| format!("{} {}", r.name, r.data)).collect())
                            .or_default() += 1;
                    }
                    assert_eq!(orders.len(), 6, "{set:?}");
                    let records: BTreeSet<Vec<_>> = orders
                        .keys()
                        .map(|order| {
                            let mut order = order.clone();
                            order.sort();
                            order
                        })
                        .collect();
                    assert_eq!(records.len(), 1, "the same records in each order");
                    let expected = f64::from(TIMES) / 6.0;
                    let chi: f64 =
                        orders.values().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
                    // 5 degrees of freedom: more than 25.7 comes by chance once in 10,000 seeds, and the seed is fixed.
                    assert!(chi < 25.7, "{chi} {set:?}");
                }
            }
        }
    }

    #[test]
    fn names_and_signatures_keep_their_order() {
        let ptr = ["a.example.org.", "b.example.org."].map(|host| RData::PTR(PTR(name(host))));
        let (cached, packet, octets, end) = cached(&reply(&ptr, false), 512);
        let cached = cached.expect("a reply of ours");
        let whole = Message::from_vec(&octets).expect("a reply");
        for seed in 0..20 {
            let sent = send(&cached, &packet, end, &mut Rng::new(seed));
            let data =
                |message: &Message| message.answers.iter().map(|r| r.data.to_string()).collect::<Vec<_>>();
            assert_eq!(data(&sent), data(&whole));
        }
    }

    #[test]
    fn a_reply_that_only_fits_with_compressed_data_is_written_so_and_not_cached() {
        let set: Vec<_> = (0..8)
            .map(|n| RData::MX(MX::new(10, name(&format!("mx{n}.a-long-name-of-a-provider.example.")))))
            .collect();
        let (movable, _, octets, _) = cached(&reply(&set, false), 512);
        assert!(movable.is_some() && octets.len() > 400, "{} octets", octets.len());
        let limit = octets.len() - 1;
        let (fixed, _, octets, _) = cached(&reply(&set, false), limit);
        assert!(fixed.is_none() && octets.len() < 350, "{} octets", octets.len());
        let message = Message::from_vec(&octets).expect("a reply");
        assert_eq!(
            (message.answers.len(), message.additionals.len(), message.metadata.truncation),
            (8, 2, false)
        );
    }
}
