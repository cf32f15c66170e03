//! CachedReply replies: octets that were sent before and may be sent again.

use super::HEADER;
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
    /// The serial that the tree must still have, if the reply holds it.
    pub serial: Option<u32>,
    /// First second at which the reply may be sent, in Unix time.
    pub from: u64,
    /// First second at which it may no longer be sent, in Unix time.
    pub until: u64,
    /// Whether the TTLs count down from `from` on, as those of an upstream do.
    pub ages: bool,
    /// Whether the addresses of each RRset are shuffled each time the reply is sent.
    pub rotates: bool,
}

/// A reply to one question, whoever asks it.
#[derive(Debug)]
pub struct CachedReply<T> {
    /// The key of the question, octets 3 to 12 of the reply, and all behind its question, or behind the shared authority section.
    octets: Box<[u8]>,
    key: usize,
    /// What stands behind the question in common with other replies.
    shared: Option<Arc<EncodedAuthority>>,
    validity: Validity,
    /// The latest version of the tree at which the dependencies were found unchanged.
    checked: u64,
    places: Places,
    /// What else the owner wants to know about it.
    pub note: T,
}

/// Where a reply differs from time to time, counted from the end of the question.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    ttls: Box<[u16]>,
    addresses: Box<[Rotation]>,
}

/// The addresses of one RRset.
#[derive(Debug, PartialEq, Eq)]
struct Rotation {
    /// Octets of each.
    len: usize,
    at: Box<[u16]>,
}

/// Octets of the header behind the id.
const HEAD: usize = HEADER - 2;

impl<T> CachedReply<T> {
    /// Takes a reply that is sent now; `question_end` as in the query. `None` if the reply has another form than
    /// ours have.
    pub fn new(key: &[u8], reply: &[u8], question_end: usize, validity: Validity, note: T) -> Option<Self> {
        let head = reply.get(2..HEADER)?;
        let tail = reply.get(question_end..)?;
        let places = Places::of(reply, question_end, &validity)?;
        let octets = [key, head, tail].concat().into();
        Some(Self { octets, key: key.len(), shared: None, checked: validity.version, validity, places, note })
    }

    /// Takes what the reply has in common with others from there. `question_end` as in the query.
    pub fn sharing(mut self, shared_authority: Option<Arc<SharedAuthority>>, question_end: usize) -> Self {
        let shared = shared_authority.filter(|_| self.places == Places::default());
        let Some(written) = shared.as_deref().and_then(EncodedAuthority::of) else { return self };
        let front = self.key + HEAD;
        let (behind, tail) = self.octets.split_at(front);
        // As it would be placed, behind the question.
        let mut placed = vec![0; question_end + written.octets.len()];
        let same = written
            .copy_into(&mut placed, question_end)
            .and_then(|end| tail.strip_prefix(&placed[question_end..end]));
        if let Some(rest) = same {
            self.octets = [behind, rest].concat().into();
            self.shared = Some(Arc::clone(written));
        }
        self
    }

    /// The key of its question.
    pub fn key(&self) -> &[u8] {
        &self.octets[..self.key]
    }

    /// About the memory it takes at most, in octets: what it has in common with others counts for each, because the others
    /// may go before it.
    pub fn size(&self) -> usize {
        let rotations = self.places.addresses.iter().map(|set| size_of::<Rotation>() + 2 * set.at.len());
        let slots = self.validity.slots.capacity() * size_of::<VersionSlot>();
        let shared = self.shared.as_ref().map_or(0, |written| written.octets.len());
        size_of::<Self>()
            + self.octets.len()
            + shared
            + slots
            + 2 * self.places.ttls.len()
            + rotations.sum::<usize>()
    }

    /// Whether the reply may be sent at a time (Unix time, in seconds), while `tree` is served.
    pub fn is_valid(&mut self, tree: &Tree, now: u64) -> bool {
        if !(self.validity.from..self.validity.until).contains(&now) {
            return false;
        }
        if self.checked == tree.version() {
            return true;
        }
        let same_serial = self.validity.serial.is_none_or(|serial| serial == tree.serial());
        let unchanged = tree.versions().is_some_and(|versions| {
            // A reply that was made from a later tree than this one: the slots already hold changes after this tree.
            tree.version() >= self.validity.version
                && self.validity.slots.iter().all(|slot| versions.unchanged(*slot, self.validity.version))
        });
        self.checked = if same_serial && unchanged { tree.version() } else { self.checked };
        same_serial && unchanged
    }

    /// Makes the reply out of the query in a buffer, header and question of which end at `question_end`; gives its
    /// octets, or `None` if the buffer is too short.
    pub fn write(&self, buffer: &mut [u8], question_end: usize, now: u64, rng: &mut Rng) -> Option<usize> {
        let (head, tail) = self.octets[self.key..].split_at(HEAD);
        let start = match &self.shared {
            Some(written) => written.copy_into(buffer, question_end)?,
            None => question_end,
        };
        let len = start + tail.len();
        buffer.get_mut(2..HEADER)?.copy_from_slice(head);
        let out = buffer.get_mut(start..len)?;
        out.copy_from_slice(tail);
        if self.validity.ages && now > self.validity.from {
            let age = u32::try_from(now - self.validity.from).unwrap_or(u32::MAX);
            for at in &self.places.ttls {
                count_down(out, usize::from(*at), age);
            }
        }
        for set in &self.places.addresses {
            rng.shuffle(set.at.len(), |a, b| swap(out, set.at[a], set.at[b], set.len));
        }
        Some(len)
    }
}

fn count_down(octets: &mut [u8], at: usize, age: u32) {
    if let Some(ttl) = octets.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *ttl = u32::from_be_bytes(*ttl).saturating_sub(age).to_be_bytes();
    }
}

fn swap(octets: &mut [u8], a: u16, b: u16, len: usize) {
    let (a, b) = (usize::from(a.min(b)), usize::from(a.max(b)));
    if a < b {
        let (before, behind) = octets.split_at_mut(b);
        before[a..a + len].swap_with_slice(&mut behind[..len]);
    }
}

impl Places {
    /// Walks a reply. `None` if that is not possible.
    fn of(reply: &[u8], question_end: usize, validity: &Validity) -> Option<Self> {
        let mut places = (Vec::new(), Vec::<Rotation>::new());
        if !validity.ages && !validity.rotates {
            return Some(Self::default());
        }
        let count = |at: usize| Some(u16::from_be_bytes([*reply.get(at)?, *reply.get(at + 1)?]));
        let answers = count(6)?;
        let all = u32::from(answers) + u32::from(count(8)?) + u32::from(count(10)?);
        let mut at = question_end;
        let mut last = None;
        for number in 0..all {
            let owner = at;
            at = name_end(reply, at)?;
            let fixed = reply.get(at..at + 10)?;
            let rtype = u16::from_be_bytes([fixed[0], fixed[1]]);
            let len = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
            let data = at + 10;
            if validity.ages && rtype != 41 {
                places.0.push(u16::try_from(at + 4 - question_end).ok()?);
            }
            let is_address = matches!((rtype, len), (1, 4) | (28, 16));
            let set = (owner_of(reply, owner)?, rtype);
            if validity.rotates && is_address && number < u32::from(answers) {
                let place = u16::try_from(data - question_end).ok()?;
                match places.1.last_mut().filter(|_| last == Some(set)) {
                    Some(rotation) => {
                        let mut all = std::mem::take(&mut rotation.at).into_vec();
                        all.push(place);
                        rotation.at = all.into();
                    }
                    None => places.1.push(Rotation { len, at: Box::new([place]) }),
                }
            }
            last = Some(set);
            at = data + len;
        }
        places.1.retain(|rotation| rotation.at.len() > 1);
        (at == reply.len()).then(|| Self { ttls: places.0.into(), addresses: places.1.into() })
    }
}

/// Where the name ends that begins at a place.
fn name_end(reply: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*reply.get(at)?) {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + len,
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Where the name that begins at a place stands: there, or where its pointers lead. In our replies the owners of an RRset
/// lead to the same place.
fn owner_of(reply: &[u8], mut at: usize) -> Option<usize> {
    while let high @ 192.. = *reply.get(at)? {
        let to = usize::from(u16::from_be_bytes([high & 0x3f, *reply.get(at + 1)?]));
        // Pointers lead back (RFC 1035 §4.1.4), so this ends.
        at = Some(to).filter(|to| *to < at)?;
    }
    Some(at)
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
        let question = question_key(packet, &mut key).expect("plain");
        let octets = encode(&request(packet), reply, Transport::Udp { limit: 512 });
        let cached = CachedReply::new(&key[..question.len], &octets, question.question_end, validity, ());
        (cached.expect("a reply of ours"), question.question_end)
    }

    fn send(cached: &CachedReply<()>, packet: &[u8], end: usize, now: u64, rng: &mut Rng) -> Vec<u8> {
        let mut buffer = [packet, &[0xff; 600]].concat();
        let len = cached.write(&mut buffer, end, now, rng).expect("room");
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
        let (mut dated, _) = cached(&packet, &reply(1), Validity { serial: Some(50), ..validity });
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
