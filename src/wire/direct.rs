//! Writing direct answers: from the tree into the packet.

use super::HEADER;
use super::encode::opt_without_options;
use super::question_key::QuestionKey;
use super::shared_authority::EncodedAuthority;
use crate::answer::{DirectAnswer, DirectData, Rng, SharedAuthority};
use crate::service::Host;
use crate::tree::{Entry, FewService};
use hickory_proto::rr::RecordType;

/// A compression pointer to the name in the question.
const QNAME: [u8; 2] = [0xc0, 12];

/// Class IN.
const IN: [u8; 2] = [0, 1];

/// Response codes.
const NO_ERROR: u8 = 0;
const NX_DOMAIN: u8 = 3;

/// What a direct reply says besides the answer.
#[derive(Clone, Copy, Debug)]
pub struct DirectForm<'a> {
    /// The question, as it was read from the packet.
    pub question: QuestionKey,
    /// Its name in lower case.
    pub name: &'a [u8],
    /// The authority section, for a denial.
    pub authority: Option<&'a SharedAuthority>,
}

/// A reply that is being written, without the header and the question.
struct DirectWriter<'w> {
    out: &'w mut [u8],
    at: usize,
}

/// Turns the query in a buffer into the reply, and returns its length; `None`, and the query is as it was, if the reply is
/// larger than it may be. `room` is memory to write in; `rng` shuffles the records.
pub fn write_directly(
    buffer: &mut [u8],
    form: DirectForm<'_>,
    answer: &mut DirectAnswer<'_>,
    room: &mut [u8],
    rng: Option<&mut Rng>,
) -> Option<usize> {
    let DirectForm { question, name, authority } = form;
    let end = question.question_end;
    let limit = usize::from(question.limit).min(buffer.len());
    let mut writer = DirectWriter { out: room.get_mut(..limit)?, at: end };
    if let Some(rng) = rng {
        rng.shuffle(answer.services.len(), |a, b| answer.services.swap(a, b));
    }
    let rtype = RecordType::from(question.rtype);
    for service in &answer.services {
        writer.answer(service, rtype, answer, name)?;
    }
    let mut counts = [1, answer.services.len(), 0, 0];
    if let Some(authority) = authority {
        writer.at = EncodedAuthority::of(authority)?.copy_into(writer.out, writer.at)?;
        counts[2] = authority.records().len();
    }
    if rtype == RecordType::SRV {
        for service in &answer.services {
            writer.address(service, answer)?;
        }
        counts[3] = answer.services.len();
    }
    if question.has_opt {
        writer.put(&opt_without_options(question.dnssec_ok))?;
        counts[3] += 1;
    }
    let len = writer.at;
    buffer[end..len].copy_from_slice(&room[end..len]);
    let header = buffer.first_chunk_mut::<HEADER>()?;
    // QR and AA beside RD; RA beside CD.
    header[2] = 0x84 | header[2] & 0x01;
    header[3] = 0x80 | header[3] & 0x10 | if answer.denies_name { NX_DOMAIN } else { NO_ERROR };
    for (place, count) in header[4..].chunks_exact_mut(2).zip(counts) {
        place.copy_from_slice(&u16::try_from(count).ok()?.to_be_bytes());
    }
    Some(len)
}

impl DirectWriter<'_> {
    fn put(&mut self, octets: &[u8]) -> Option<()> {
        let end = self.at + octets.len();
        self.out.get_mut(self.at..end)?.copy_from_slice(octets);
        self.at = end;
        Some(())
    }

    /// Writes type, class, TTL and the length of the data, behind an owner name.
    fn fixed(&mut self, rtype: RecordType, ttl: u32, len: usize) -> Option<()> {
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&u16::from(rtype).to_be_bytes());
        fixed[2..4].copy_from_slice(&IN);
        fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
        fixed[8..].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
        self.put(&fixed)
    }

    /// Writes the record of a service in the answer section.
    fn answer<'a>(
        &mut self,
        service: &FewService<'a>,
        rtype: RecordType,
        answer: &DirectAnswer<'a>,
        name: &[u8],
    ) -> Option<()> {
        self.put(&QNAME)?;
        match answer.data(service.entry, rtype)? {
            DirectData::A(address) => {
                self.fixed(rtype, answer.ttl, 4)?;
                self.put(&address.octets())
            }
            DirectData::Aaaa(address) => {
                self.fixed(rtype, answer.ttl, 16)?;
                self.put(&address.octets())
            }
            DirectData::Srv(priority, weight, port) => {
                let label = service.label.map_or(0, |label| 1 + label.len());
                self.fixed(rtype, answer.ttl, 6 + label + name.len())?;
                [priority, weight, port]
                    .into_iter()
                    .try_for_each(|number| self.put(&number.to_be_bytes()))?;
                self.label(service)?;
                self.put(name)
            }
            DirectData::Txt(text) => {
                let strings = text.as_bytes().chunks(255);
                self.fixed(rtype, answer.ttl, text.len() + strings.len())?;
                strings.into_iter().try_for_each(|string| self.string(string))
            }
        }
    }

    /// Writes the address of a service in the additional section.
    fn address(&mut self, service: &FewService<'_>, answer: &DirectAnswer<'_>) -> Option<()> {
        self.label(service)?;
        self.put(&QNAME)?;
        let entry: &Entry = service.entry;
        let ttl = answer.ttl_of(entry)?;
        match &entry.service.host {
            Host::V4(address) => {
                self.fixed(RecordType::A, ttl, 4)?;
                self.put(&address.octets())
            }
            Host::V6(address) => {
                self.fixed(RecordType::AAAA, ttl, 16)?;
                self.put(&address.octets())
            }
            Host::None | Host::Name(_) => None,
        }
    }

    /// Writes the label of a service's key below the name in the question.
    fn label(&mut self, service: &FewService<'_>) -> Option<()> {
        service.label.map_or(Some(()), |label| self.string(label))
    }

    /// Writes a label, or a character string (RFC 1035 §3.3).
    fn string(&mut self, octets: &[u8]) -> Option<()> {
        self.put(&[u8::try_from(octets.len()).ok()?])?;
        self.put(octets)
    }
}
