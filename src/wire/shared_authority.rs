//! Shared authority sections as octets: written once, then copied into every reply that begins with them.

use super::HEADER;
use super::writer::Writer;
use crate::answer::SharedAuthority;
use hickory_proto::rr::Name;
use std::sync::Arc;

/// Maximum length of the octets: beyond it a compression pointer might not reach (RFC 1035 §4.1.4).
const MAX_OCTETS: usize = 1 << 13;

/// Records of a shared authority section, as they are written behind a question for the closest encloser.
///
/// Behind the question for a longer name the records begin later by the difference in length, and so does every name
/// that a compression pointer among them refers to.
#[derive(Debug)]
pub(super) struct EncodedAuthority {
    /// The records.
    pub(super) octets: Box<[u8]>,
    /// Offsets of the compression pointers in `octets`.
    pointers: Box<[u16]>,
    /// Offset of the records in the message that they were written for.
    start: usize,
}

impl EncodedAuthority {
    /// The written form of shared records; `None` if it cannot serve all their messages.
    pub(super) fn of(shared: &SharedAuthority) -> Option<&Arc<Self>> {
        shared.encoded(|shared| Self::encode(shared).map(Arc::new))?.as_ref()
    }

    fn encode(shared: &SharedAuthority) -> Option<Self> {
        let mut writer = Writer::new();
        writer.octets.extend_from_slice(&[0; HEADER]);
        writer.name(shared.closest_encloser().iter());
        // Type and class.
        writer.octets.extend_from_slice(&[0; 4]);
        let start = writer.octets.len();
        writer.collect_pointers();
        if !writer.records(shared.records()) {
            return None;
        }
        let octets: Box<[u8]> = writer.octets.get(start..).filter(|octets| octets.len() < MAX_OCTETS)?.into();
        let offsets = writer.collected_pointers().iter().map(|pointer| u16::try_from(pointer - start));
        Some(Self { octets, pointers: offsets.collect::<Result<_, _>>().ok()?, start })
    }

    /// Copies the records into a message at an offset; returns the offset behind them, or `None` if there is no room.
    pub(super) fn copy_into(&self, message: &mut [u8], at: usize) -> Option<usize> {
        let end = at + self.octets.len();
        let records = message.get_mut(at..end)?;
        records.copy_from_slice(&self.octets);
        let shift = u16::try_from(at.checked_sub(self.start)?).ok()?;
        for pointer in &self.pointers {
            let octets = records.get_mut(usize::from(*pointer)..)?.first_chunk_mut::<2>()?;
            *octets = u16::from_be_bytes(*octets).checked_add(shift)?.to_be_bytes();
        }
        Some(end)
    }
}

/// Whether the written form can be part of a message without answers whose question has this name.
pub(super) fn serves(shared: &SharedAuthority, qname: &Name) -> bool {
    shared.closest_encloser().zone_of(qname)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Rng;
    use crate::wire::{
        CachedReply, ClientEdns, MAX_QUESTION_KEY, Reply, Request, Transport, Validity, encode, question_key,
    };
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{NULL, SOA};
    use hickory_proto::rr::{RData, Record, RecordType};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    /// A SOA and two proofs with signatures, as they stand before what is of one name.
    fn records() -> Vec<Record> {
        let names = ["ns.dns.skydns.local.", "hostmaster.skydns.local."].map(name);
        let [mname, rname] = names;
        let soa = RData::SOA(SOA::new(mname, rname, 7, 1, 2, 3, 30));
        let unknown = |code, octets: &[u8]| RData::Unknown { code, rdata: NULL::with(octets.to_vec()) };
        let mut records = vec![Record::from_rdata(name("skydns.local."), 30, soa)];
        records.push(Record::from_rdata(name("skydns.local."), 30, unknown(RecordType::RRSIG, &[0xc0; 90])));
        for owner in ["0123456789abcdef.skydns.local.", "fedcba9876543210.skydns.local."] {
            records.push(Record::from_rdata(name(owner), 30, unknown(RecordType::NSEC3, &[1, 0xc0, 0, 9])));
            records.push(Record::from_rdata(name(owner), 30, unknown(RecordType::RRSIG, &[0xff; 90])));
        }
        records
    }

    fn request(asked: &str) -> Request {
        let edns = ClientEdns { udp_size: 1232, dnssec_ok: true, compact_ok: false, stub_marker: false };
        Request {
            id: 7,
            recursion_desired: true,
            checking_disabled: false,
            authentic_data: false,
            query: Query::query(name(asked), RecordType::A),
            edns: Some(edns),
        }
    }

    fn replies(above: &str) -> (Reply, Reply) {
        let own = RData::Unknown { code: RecordType::NSEC3, rdata: NULL::with(vec![5, 6, 7]) };
        let own = Record::from_rdata(name("0000000000000000.skydns.local."), 30, own);
        let mut shared = Reply::empty(ResponseCode::NXDomain);
        shared.shared_authority = Some(Arc::new(SharedAuthority::new(name(above), records())));
        shared.authorities.push(own.clone());
        let mut whole = Reply::empty(ResponseCode::NXDomain);
        whole.authorities = records();
        whole.authorities.push(own);
        (shared, whole)
    }

    /// Names of all lengths, with ends that stand in the records as well, in any letter case.
    const ASKED: [&str; 6] = [
        "n.skydns.local.",
        "hostmaster.skydns.local.",
        "x.HOSTMASTER.SkyDNS.local.",
        "dns.skydns.local.",
        "a.very.long.name.that.is.nowhere.ns.dns.skydns.LOCAL.",
        "0123456789abcdef.skydns.local.",
    ];

    #[test]
    fn a_copied_preface_says_what_a_written_one_says() {
        for above in ["skydns.local.", "dns.skydns.local.", "ns.dns.skydns.local.", "other.example."] {
            let (shared, whole) = replies(above);
            assert!(
                EncodedAuthority::of(shared.shared_authority.as_ref().expect("a shared_authority")).is_some()
            );
            for asked in ASKED {
                for limit in [1232, 300, 100] {
                    let transport = Transport::Udp { limit };
                    let [a, b] = [&shared, &whole].map(|reply| {
                        Message::from_vec(&encode(&request(asked), reply, transport)).expect("a reply")
                    });
                    assert_eq!(a, b, "{asked} below {above} in {limit} octets");
                }
            }
        }
    }

    #[test]
    fn cached_replies_share_it() {
        let (shared, whole) = replies("skydns.local.");
        let shared_authority = shared.shared_authority.as_ref().expect("a shared_authority");
        for asked in ASKED {
            let mut query = Message::new(9, MessageType::Query, OpCode::Query);
            query.add_query(Query::query(name(asked), RecordType::A));
            let packet = query.to_vec().expect("a query");
            let mut key = [0; MAX_QUESTION_KEY];
            let question = question_key(&packet, 4_096, &mut key).expect("plain");
            let octets = encode(&request(asked), &shared, Transport::Udp { limit: 1232 });
            let cached = || {
                CachedReply::new(
                    &key[..question.len],
                    &octets,
                    question.question_end,
                    Validity::default(),
                    (),
                )
            };
            let plain = cached().expect("a reply of ours").size();
            let cached = cached()
                .expect("a reply of ours")
                .sharing(shared.shared_authority.clone(), question.question_end);
            let held = Arc::strong_count(EncodedAuthority::of(shared_authority).expect("written"));
            assert_eq!((held, cached.size()), (2, plain), "held by itself and this one, and counted");
            let mut buffer = [packet.as_slice(), &[0xaa; 1_500]].concat();
            let len = cached.write(&mut buffer, question.question_end, 1, &mut Rng::new(1)).expect("it fits");
            assert_eq!(buffer[2..len], octets[2..], "{asked}");
            let full = encode(&request(asked), &whole, Transport::Udp { limit: 1232 });
            let parsed = |octets: &[u8]| Message::from_vec(octets).expect("a reply").authorities;
            assert_eq!(parsed(&buffer[..len]), parsed(&full), "{asked}");
            let mut short = packet.clone();
            assert_eq!(cached.write(&mut short, question.question_end, 1, &mut Rng::new(1)), None);
        }
        let (other, _) = replies("other.example.");
        let octets = encode(&request(ASKED[0]), &whole, Transport::Udp { limit: 1232 });
        let end = octets.windows(4).position(|part| part == [0, 1, 0, 1]).expect("a question") + 4;
        let cached = CachedReply::new(&[1], &octets, end, Validity::default(), ()).expect("a reply of ours");
        let shared_authority = other.shared_authority.clone().expect("a shared_authority");
        let _cached = cached.sharing(other.shared_authority, end);
        assert_eq!(
            Arc::strong_count(EncodedAuthority::of(&shared_authority).expect("written")),
            1,
            "not what it begins with"
        );
    }
}
