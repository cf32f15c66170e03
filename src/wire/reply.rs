//! What a reply says, before it is written.

use super::forwarded::{ForwardedRecords, Section};
use crate::answer::{Answer, Ede, SharedAuthority};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType};
use std::sync::Arc;

/// How a reply travels, and what fits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram of at most so many octets.
    Udp {
        /// The greatest size the client takes.
        limit: usize,
    },
    /// A stream: 65,535 octets, and no other transport if that is too little.
    Tcp,
}

impl Transport {
    /// The most octets of a message.
    pub fn limit(self) -> usize {
        match self {
            Self::Udp { limit } => limit.min(usize::from(u16::MAX)),
            Self::Tcp => usize::from(u16::MAX),
        }
    }
}

/// What a reply says, whoever it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The response code, extended ones included.
    pub rcode: ResponseCode,
    /// AA.
    pub authoritative: bool,
    /// RA.
    pub recursion_available: bool,
    /// AD.
    pub authentic_data: bool,
    /// TC, where the reply came truncated.
    pub truncated: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The beginning of the authority section, if many replies share it.
    pub shared_authority: Option<Arc<SharedAuthority>>,
    /// The authority section, or what follows its shared beginning.
    pub authorities: Vec<Record>,
    /// The additional section, without OPT.
    pub additionals: Vec<Record>,
    /// Extended errors: INFO-CODE and EXTRA-TEXT.
    pub errors: Vec<Ede>,
    /// The records of an upstream, in the place of those of the three sections.
    pub forwarded: Option<ForwardedRecords>,
    /// More than any message holds.
    pub too_large: bool,
    /// The work of an own answer was spent before it was complete.
    pub too_costly: bool,
    /// It has data that only the layer has which is [leaving](crate::tree::Layer::LEAVING).
    pub is_of_leaving: bool,
    /// Absence is denied compactly, with NXDOMAIN because the client understands (RFC 9824 §5.1).
    pub compact: bool,
}

impl Reply {
    /// A reply without records.
    pub fn empty(rcode: ResponseCode) -> Self {
        Self {
            rcode,
            authoritative: false,
            recursion_available: true,
            authentic_data: false,
            truncated: false,
            answers: Vec::new(),
            shared_authority: None,
            authorities: Vec::new(),
            additionals: Vec::new(),
            errors: Vec::new(),
            forwarded: None,
            too_large: false,
            too_costly: false,
            is_of_leaving: false,
            compact: false,
        }
    }

    /// Whether the answer section has records.
    pub fn has_answers(&self) -> bool {
        let forwarded = || {
            self.forwarded.as_ref().is_some_and(|records| records.section(Section::Answer).next().is_some())
        };
        !self.answers.is_empty() || forwarded()
    }

    /// Whether the authority section has records of a type.
    pub fn has_authority(&self, rtype: RecordType) -> bool {
        let forwarded = self.forwarded.iter().flat_map(|records| records.section(Section::Authority));
        self.authorities
            .iter()
            .map(Record::record_type)
            .chain(forwarded.map(|record| record.rtype))
            .any(|one| one == rtype)
    }

    /// Drops what an upstream gives beside its answer: name servers, and the additional section. What a denial needs stays.
    pub fn drop_what_nobody_asked_for(&mut self) {
        let is_of_denial = |rtype| matches!(rtype, RecordType::SOA | RecordType::NSEC | RecordType::NSEC3);
        // A signature begins with the type that it is of (RFC 4034 §3.1).
        let signed =
            |data: &[u8]| data.first_chunk().map(|rtype| RecordType::from(u16::from_be_bytes(*rtype)));
        if let Some(records) = &mut self.forwarded {
            records.retain(|record| match (record.section, record.rtype) {
                (Section::Answer, _) => true,
                (Section::Authority, RecordType::RRSIG) => signed(record.data).is_some_and(is_of_denial),
                (Section::Authority, rtype) => is_of_denial(rtype),
                (Section::Additional, _) => false,
            });
        }
    }

    /// Whether it is a stale answer (RFC 8767).
    pub fn is_stale(&self) -> bool {
        self.errors.first().is_some_and(|error| error.code == Ede::STALE)
    }

    /// A reply without records that says why.
    pub fn failure(rcode: ResponseCode, error: Ede) -> Self {
        Self { errors: vec![error], ..Self::empty(rcode) }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self {
            authoritative: answer.authoritative,
            answers: answer.answers,
            shared_authority: answer.shared_authority,
            authorities: answer.authorities,
            additionals: answer.additionals,
            errors: answer.ede.into_iter().collect(),
            too_large: answer.too_large,
            too_costly: answer.too_costly,
            is_of_leaving: answer.is_of_leaving,
            ..Self::empty(answer.rcode)
        }
    }
}
