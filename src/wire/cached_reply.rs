//! Cached replies: the octets of a reply that was sent, kept so that they can be sent to whoever asks the same question.
//!
//! Owns when such a reply is still valid, and what of it has to be written anew each time: the id and the question come
//! from the query, TTLs count down, the records of an RRset are shuffled.

use super::HEADER;
use super::rewrites::Rewrites;
use super::shared_authority::EncodedAuthority;
use crate::answer::{Rng, SharedAuthority};
use crate::tree::{Tree, VersionSlot};
use std::sync::Arc;

/// When a reply may be sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// The version of the tree that the reply was made from; see [`Tree::version`].
    pub version: u64,
    /// The version slots of the names that the reply depends on: they must not have changed since.
    pub slots: Vec<VersionSlot>,
    /// The number of changes of serials that the tree must still have, if the reply holds a serial.
    pub serial: Option<u64>,
    /// First second at which the reply may be sent, in Unix time.
    pub from: u64,
    /// First second at which it may no longer be sent, in Unix time.
    pub until: u64,
    /// Whether the TTLs count down from `from` on, as those of an upstream do.
    pub ages: bool,
    /// Whether the records of each RRset of the answer are shuffled each time the reply is sent.
    pub rotates: bool,
}

/// A reply to one question, to be sent to any client that asks it; `T` is what the owner of the cache notes about it.
#[derive(Debug)]
pub struct CachedReply<T> {
    /// The question key; octets 2 to 11 of the reply's header; the octets behind the question, or, if the reply begins with
    /// a shared authority section, behind that.
    octets: Box<[u8]>,
    /// Length of the question key.
    key_len: usize,
    /// The records right behind the question, if the reply shares them with others.
    shared: Option<Arc<EncodedAuthority>>,
    validity: Validity,
    /// The latest version of the tree at which the dependencies were found unchanged.
    checked: u64,
    rewrites: Rewrites,
    /// The owner's note, such as what to count when the reply is sent.
    pub note: T,
}

/// What is served when a reply is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Unix time in seconds.
    pub now: u64,
}

/// Why a cached reply was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// It is not valid any more.
    NotValid,
    /// It is longer than the buffer.
    TooLong,
}

/// Octets of the header behind the message id.
const HEAD: usize = HEADER - 2;

impl<T> CachedReply<T> {
    /// Takes a reply that is sent now; its question ends at the offset `question_end`. `None` if the reply has not the form
    /// that our own replies have.
    pub fn new(key: &[u8], reply: &[u8], question_end: usize, validity: Validity, note: T) -> Option<Self> {
        let head = reply.get(2..HEADER)?;
        let tail = reply.get(question_end..)?;
        let rewrites = Rewrites::of(reply, question_end, &validity)?;
        let octets = [key, head, tail].concat().into();
        let (key_len, checked) = (key.len(), validity.version);
        Some(Self { octets, key_len, shared: None, checked, validity, rewrites, note })
    }

    /// The same reply without its own copy of the records that it shares with others; the question of the reply ends at the
    /// offset `question_end`.
    pub fn sharing(mut self, shared: Option<Arc<SharedAuthority>>, question_end: usize) -> Self {
        // Offsets of rewrites count from the question, so they would be wrong behind records that are copied in.
        let shared = shared.filter(|_| self.rewrites == Rewrites::default());
        let Some(encoded) = shared.as_deref().and_then(EncodedAuthority::of) else { return self };
        let (front, tail) = self.octets.split_at(self.key_len + HEAD);
        let mut copy = vec![0; question_end + encoded.octets.len()];
        let rest = encoded
            .copy_into(&mut copy, question_end)
            .and_then(|end| tail.strip_prefix(&copy[question_end..end]));
        if let Some(rest) = rest {
            self.octets = [front, rest].concat().into();
            self.shared = Some(Arc::clone(encoded));
        }
        self
    }

    /// The question key.
    pub fn key(&self) -> &[u8] {
        &self.octets[..self.key_len]
    }

    /// Upper bound of the memory that the reply takes, in octets. Shared records count for each reply that holds them,
    /// because it may become the last one.
    pub fn size(&self) -> usize {
        let slots = self.validity.slots.capacity() * size_of::<VersionSlot>();
        let shared = self.shared.as_ref().map_or(0, |encoded| encoded.octets.len());
        size_of::<Self>() + self.octets.len() + shared + slots + self.rewrites.memory()
    }

    /// Whether the reply may be sent at a time (Unix time, in seconds), while `tree` is served.
    #[inline]
    pub fn is_valid(&mut self, tree: &Tree, now: u64) -> bool {
        if !(self.validity.from..self.validity.until).contains(&now) {
            return false;
        }
        if self.checked == tree.version() {
            return true;
        }
        let same_serial = self.validity.serial.is_none_or(|serial| serial == tree.serial_changes());
        let unchanged = tree.versions().is_some_and(|versions| {
            // A reply that was made from a later tree than this one: the slots already hold changes after this tree.
            tree.version() >= self.validity.version
                && self.validity.slots.iter().all(|slot| versions.unchanged(*slot, self.validity.version))
        });
        self.checked = if same_serial && unchanged { tree.version() } else { self.checked };
        same_serial && unchanged
    }

    /// Sends the reply if it may be sent: see [`is_valid`](Self::is_valid) and [`write`](Self::write).
    #[inline]
    pub fn send(
        &mut self,
        buffer: &mut [u8],
        question_end: usize,
        served: Served<'_>,
        rng: &mut Rng,
    ) -> Result<usize, NotSent> {
        if !self.is_valid(served.tree, served.now) {
            return Err(NotSent::NotValid);
        }
        self.write(buffer, question_end, served.now, rng).ok_or(NotSent::TooLong)
    }

    /// Turns the query in a buffer, whose question ends at `question_end`, into the reply, and returns the reply's length;
    /// `None` if the buffer is too short.
    pub fn write(&self, buffer: &mut [u8], question_end: usize, now: u64, rng: &mut Rng) -> Option<usize> {
        let (head, tail) = self.octets[self.key_len..].split_at(HEAD);
        let start = match &self.shared {
            Some(encoded) => encoded.copy_into(buffer, question_end)?,
            None => question_end,
        };
        let len = start + tail.len();
        buffer.get_mut(2..HEADER)?.copy_from_slice(head);
        let out = buffer.get_mut(start..len)?;
        out.copy_from_slice(tail);
        if self.validity.ages && now > self.validity.from {
            let age = u32::try_from(now - self.validity.from).unwrap_or(u32::MAX);
            for at in &self.rewrites.ttls {
                count_down(out, usize::from(*at), age);
            }
        }
        for set in &self.rewrites.rotations {
            set.apply(tail, out, rng);
        }
        Some(len)
    }
}

fn count_down(octets: &mut [u8], at: usize, age: u32) {
    if let Some(ttl) = octets.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *ttl = u32::from_be_bytes(*ttl).saturating_sub(age).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Answer, Rng};
    use crate::service::{Key, Service};
    use crate::tree::{Entry, Layer};
    use crate::wire::{Reply, Request, Screened, Transport, encode, question_key, screen};
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{A, CNAME};
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use std::collections::HashMap;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn query(asked: &str) -> Vec<u8> {
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name(asked), RecordType::A));
        message.to_vec().expect("a query")
    }

    fn request(packet: &[u8]) -> Request {
        match screen(packet) {
            Screened::Ask(request) => request,
            other => panic!("{other:?}"),
        }
    }

    /// A CNAME, and so many addresses at its end.
    fn reply(count: u8) -> Reply {
        let mut answer = Answer::empty(ResponseCode::NoError);
        let alias = RData::CNAME(CNAME(name("b.skydns.local.")));
        answer.answers.push(Record::from_rdata(name("a.skydns.local."), 60, alias));
        for n in 0..count {
            let address = RData::A(A([10, 0, 0, n].into()));
            answer.answers.push(Record::from_rdata(name("b.skydns.local."), 30, address));
        }
        answer.into()
    }

    fn cached(packet: &[u8], reply: &Reply, validity: Validity) -> (CachedReply<()>, usize) {
        let mut key = [0; super::super::MAX_QUESTION_KEY];
        let question = question_key(packet, 4_096, &mut key).expect("plain");
        let octets = encode(&request(packet), reply, Transport::Udp { limit: 512 });
        let cached = CachedReply::new(&key[..question.len], &octets, question.question_end, validity, ());
        (cached.expect("a reply of ours"), question.question_end)
    }

    fn send(cached: &CachedReply<()>, packet: &[u8], end: usize, now: u64, rng: &mut Rng) -> Vec<u8> {
        let mut buffer = [packet, &[0xff; 600]].concat();
        let len = cached.write(&mut buffer, end, now, rng).expect("it fits");
        buffer.truncate(len);
        buffer
    }

    #[test]
    fn a_cached_reply_is_the_reply_to_whoever_asks() {
        let (cached, end) = cached(&query("a.skydns.local."), &reply(3), Validity::default());
        let mut other = query("A.SkyDNS.Local.");
        other[0] = 0x77;
        let sent = send(&cached, &other, end, 5, &mut Rng::new(1));
        let full = encode(&request(&other), &reply(3), Transport::Udp { limit: 512 });
        let parsed = |octets: &[u8]| Message::from_vec(octets).expect("a reply");
        assert_eq!(parsed(&sent), parsed(&full));
        assert_eq!(parsed(&sent).queries[0].name().to_ascii(), "A.SkyDNS.Local.");
        let mut short = query("a.skydns.local.");
        assert_eq!(cached.write(&mut short, end, 5, &mut Rng::new(1)), None);
    }

    #[test]
    fn every_order_is_equally_likely() {
        let packet = query("a.skydns.local.");
        let validity = Validity { rotates: true, ..Validity::default() };
        let (cached, end) = cached(&packet, &reply(4), validity);
        let mut orders = HashMap::new();
        let mut rng = Rng::new(7);
        const TIMES: u32 = 24_000;
        for _ in 0..TIMES {
            let message = Message::from_vec(&send(&cached, &packet, end, 0, &mut rng)).expect("a reply");
            assert_eq!(message.answers[0].record_type(), RecordType::CNAME);
            let order: Vec<u8> = message.answers[1..]
                .iter()
                .map(|record| match record.data {
                    RData::A(A(address)) => address.octets()[3],
                    _ => panic!("{record}"),
                })
                .collect();
            *orders.entry(order).or_insert(0u32) += 1;
        }
        assert_eq!(orders.len(), 24);
        let expected = f64::from(TIMES) / 24.0;
        let chi: f64 = orders.values().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        // 23 degrees of freedom: more than 49.7 comes by chance once in a thousand seeds, and the seed is fixed.
        assert!(chi < 49.7, "{chi}");
    }

    #[test]
    fn ttls_count_down() {
        let packet = query("a.skydns.local.");
        let validity = Validity { ages: true, from: 100, until: 130, ..Validity::default() };
        let (cached, end) = cached(&packet, &reply(2), validity);
        let ttls = |now| {
            let sent = send(&cached, &packet, end, now, &mut Rng::new(1));
            let message = Message::from_vec(&sent).expect("a reply");
            message.answers.iter().map(|record| record.ttl).collect::<Vec<_>>()
        };
        assert_eq!(ttls(100), [60, 30, 30]);
        assert_eq!(ttls(129), [31, 1, 1]);
    }

    #[test]
    fn it_is_valid_until_its_dependencies_change() {
        let mut tree = Tree::tracked();
        let put = |tree: &mut Tree, at: &str, port: u16| {
            let service = Service::from_json(format!(r#"{{"port": {port}}}"#).as_bytes()).expect("a service");
            assert!(tree.put(&Key::from_name(&name(at)), Layer(0), Entry::new(service)));
        };
        put(&mut tree, "b.skydns.local.", 1);
        tree.set_serial(50);
        let slots = vec![
            VersionSlot::of_name(&name("a.skydns.local.")),
            VersionSlot::of_name(&name("b.skydns.local.")),
        ];
        let validity =
            Validity { version: tree.version(), slots, from: 10, until: 20, ..Validity::default() };
        let packet = query("a.skydns.local.");
        let (mut plain, _) = cached(&packet, &reply(1), validity.clone());
        let (mut dated, _) =
            cached(&packet, &reply(1), Validity { serial: Some(tree.serial_changes()), ..validity });
        assert_eq!([9, 10, 19, 20].map(|now| plain.is_valid(&tree, now)), [false, true, true, false]);
        put(&mut tree, "c.skydns.local.", 1);
        assert!(plain.is_valid(&tree, 10) && dated.is_valid(&tree, 10), "elsewhere");
        tree.set_serial(51);
        assert!(plain.is_valid(&tree, 10) && !dated.is_valid(&tree, 10), "the serial");
        put(&mut tree, "x.a.skydns.local.", 1);
        assert!(!plain.is_valid(&tree, 10), "below");
        let mut untracked = Tree::new();
        put(&mut untracked, "d.skydns.local.", 1);
        untracked.set_serial(50);
        let (mut plain, _) =
            cached(&packet, &reply(1), Validity { until: 20, version: 1, ..Validity::default() });
        assert!(!plain.is_valid(&untracked, 10), "nobody knows");
    }
}
