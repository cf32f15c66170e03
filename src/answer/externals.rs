//! Names outside the tree: questions for upstreams that an answer depends on, and the results.

use super::local_denial::{few_labels_soa, has_few_labels};
use super::special_use::special_use_answer;
use super::zone::Zone;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::borrow::Cow;
use std::collections::HashMap;

/// Maximum number of names that are looked up for one answer; further ones count as failed.
pub const MAX_LOOKUPS: usize = 64;

/// A question for an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// The name; names that differ in letter case only are equal.
    pub name: Name,
    /// The type of the records that are wanted.
    pub rtype: RecordType,
}

/// What an upstream says of a name, with NOERROR or NXDOMAIN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalReply {
    /// The answer section.
    pub records: Vec<Record>,
    /// Whether the last name of the CNAMEs in the answer section does not exist (NXDOMAIN).
    pub is_denied: bool,
    /// The SOA of the authority section.
    pub soa: Option<Record>,
}

/// The results of look-ups upstream.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    /// The reply to each; `None` if the look-up failed.
    results: HashMap<Lookup, Option<ExternalReply>>,
    stale: bool,
}

/// What is known of a look-up.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack, and hardly ever owned")]
pub(super) enum External<'a> {
    /// It was not made yet.
    Pending,
    /// No upstream gave an answer: the name may exist all the same.
    Failed,
    /// The reply; owned if it is not an upstream's.
    Reply(Cow<'a, ExternalReply>),
}

impl Externals {
    /// The results before any look-up.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a reply with NOERROR or NXDOMAIN.
    pub fn insert(&mut self, lookup: Lookup, reply: ExternalReply) {
        self.results.insert(lookup, Some(reply));
    }

    /// Adds a look-up that failed: the name may exist all the same.
    pub fn insert_failure(&mut self, lookup: Lookup) {
        self.results.insert(lookup, None);
    }

    /// Notes that a result is older than its TTL.
    pub fn note_stale(&mut self) {
        self.stale = true;
    }

    /// Whether a result is older than its TTL.
    pub fn any_stale(&self) -> bool {
        self.stale
    }

    /// The result of a look-up.
    pub(super) fn result(&self, lookup: &Lookup) -> External<'_> {
        match self.results.get(lookup) {
            None => External::Pending,
            Some(None) => External::Failed,
            Some(Some(reply)) => External::Reply(Cow::Borrowed(reply)),
        }
    }

    /// Whether one more look-up may be made beside these and `pending` others.
    pub(super) fn allow_one_more(&self, pending: usize) -> bool {
        self.results.len() + pending < MAX_LOOKUPS
    }
}

/// What is said here of a name that upstreams are not asked for: a special-use name, or one of few labels.
pub(super) fn reply_without_upstreams(lookup: &Lookup, zone: &Zone) -> Option<ExternalReply> {
    let Lookup { name, rtype } = lookup;
    let of_few_labels =
        || ExternalReply { soa: Some(few_labels_soa(name, zone)), ..ExternalReply::default() };
    special_use_reply(lookup, zone, false).or_else(|| has_few_labels(name, *rtype, zone).then(of_few_labels))
}

/// What is said here of a name in `home.arpa` if no stub zone has it, and upstreams are not asked (RFC 8375).
pub fn home_arpa_reply(lookup: &Lookup, zone: &Zone) -> Option<ExternalReply> {
    special_use_reply(lookup, zone, true)
}

fn special_use_reply(lookup: &Lookup, zone: &Zone, is_home: bool) -> Option<ExternalReply> {
    let answer = special_use_answer(&Query::query(lookup.name.clone(), lookup.rtype), zone, is_home)?;
    let is_denied = answer.rcode == ResponseCode::NXDomain;
    Some(ExternalReply { records: answer.answers, is_denied, soa: answer.authorities.into_iter().next() })
}

/// The records of an upstream's answer that belong to the answer for a name, in chain order: the CNAMEs that lead from the
/// name, and the records of a type at their end.
///
/// All others are left out, and so are records of our own domain, since an upstream is no authority for them.
pub(super) fn chain_from(records: &[Record], name: &Name, rtype: RecordType, zone: &Zone) -> Vec<Record> {
    let mut chain = Vec::new();
    let mut owner = name.clone();
    while !zone.contains(&owner) && chain.len() <= records.len() {
        let at_owner = |wanted: RecordType| {
            let owner = owner.clone();
            records.iter().filter(move |record| record.name == owner && record.record_type() == wanted)
        };
        let Some(cname) = at_owner(RecordType::CNAME).next().filter(|_| rtype != RecordType::CNAME) else {
            chain.extend(at_owner(rtype).cloned());
            break;
        };
        chain.push(cname.clone());
        let RData::CNAME(target) = &cname.data else { break };
        owner = target.0.clone();
    }
    chain
}

/// The name of our own that such records lead back to: what it has is not in them.
pub(super) fn leads_back_to<'r>(chain: &'r [Record], zone: &Zone) -> Option<&'r Name> {
    match &chain.last()?.data {
        RData::CNAME(target) if zone.contains(&target.0) => Some(&target.0),
        _ => None,
    }
}
