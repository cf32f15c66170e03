//! Names outside the tree: questions for upstreams that an answer depends on, and the results.

use super::local_denial::{few_labels_soa, has_few_labels};
use super::site::Site;
use super::special_use::special_use_answer;
use super::view::View;
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
    /// The answer section, with signatures if the client wants DNSSEC records.
    pub records: Vec<Record>,
    /// Whether the last name of the CNAMEs in the answer section does not exist (NXDOMAIN).
    pub is_denied: bool,
    /// Of the authority section: the SOA, and what proves a denial or a wildcard if the client wants DNSSEC records.
    pub authorities: Vec<Record>,
}

/// The results of look-ups upstream.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    /// The reply to each; `None` if the look-up failed.
    results: HashMap<Lookup, Option<ExternalReply>>,
    stale: bool,
}

/// What is known of a look-up.
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

    /// Adds the results of further look-ups.
    pub fn extend(&mut self, further: Self) {
        self.results.extend(further.results);
        self.stale |= further.stale;
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
pub(super) fn reply_without_upstreams(lookup: &Lookup, site: &Site) -> Option<ExternalReply> {
    let Lookup { name, rtype } = lookup;
    let of_few_labels =
        || ExternalReply { authorities: vec![few_labels_soa(name, site)], ..ExternalReply::default() };
    let is_filtered = site.filters_aaaa && *rtype == RecordType::AAAA;
    let is_denied = is_filtered || has_few_labels(name, *rtype, site);
    special_use_reply(lookup, site, false).or_else(|| is_denied.then(of_few_labels))
}

/// What is said here of a name in `home.arpa` if no stub zone has it, and upstreams are not asked (RFC 8375).
pub fn home_arpa_reply(lookup: &Lookup, site: &Site) -> Option<ExternalReply> {
    special_use_reply(lookup, site, true)
}

fn special_use_reply(lookup: &Lookup, site: &Site, is_home: bool) -> Option<ExternalReply> {
    let answer = special_use_answer(&Query::query(lookup.name.clone(), lookup.rtype), site, is_home)?;
    let is_denied = answer.rcode == ResponseCode::NXDomain;
    Some(ExternalReply { records: answer.answers, is_denied, authorities: answer.authorities })
}

/// The records of an upstream's answer that belong to the answer for a name, in chain order: the CNAMEs that lead from the
/// name, and the records of a type at their end, each RRset with its signatures, and signed DNAMEs that CNAMEs come from.
///
/// All others are left out, and so are records of names of ours, since an upstream is no authority for them.
pub(super) fn chain_from(records: &[Record], name: &Name, rtype: RecordType, view: &View<'_>) -> Vec<Record> {
    let mut chain = Vec::new();
    let mut owner = name.clone();
    while !view.is_ours(&owner) && chain.len() <= records.len() {
        let at_owner = |wanted: RecordType| {
            let owner = &owner;
            records.iter().filter(move |r| r.name == *owner && r.record_type() == wanted)
        };
        let Some(cname) = at_owner(RecordType::CNAME).next().filter(|_| rtype != RecordType::CNAME) else {
            chain.extend(at_owner(rtype).cloned());
            chain.extend(signatures(records, &owner, rtype));
            break;
        };
        for dname in records.iter().filter(|record| is_dname_above(record, &owner)) {
            let signatures = signatures(records, &dname.name, RecordType::DNAME);
            chain.extend(Some(dname.clone()).filter(|_| !signatures.is_empty()));
            chain.extend(signatures);
        }
        chain.push(cname.clone());
        chain.extend(signatures(records, &owner, RecordType::CNAME));
        let RData::CNAME(target) = &cname.data else { break };
        owner = target.0.clone();
    }
    chain
}

/// The signatures of an owner's RRset of a type.
fn signatures(records: &[Record], owner: &Name, covered: RecordType) -> Vec<Record> {
    records.iter().filter(|record| record.name == *owner && signs(record, covered)).cloned().collect()
}

/// The name of our own that such records lead back to: what it has is not in them.
pub(super) fn leads_back_to<'r>(chain: &'r [Record], view: &View<'_>) -> Option<&'r Name> {
    let last = chain.iter().rfind(|record| record.record_type() != RecordType::RRSIG)?;
    match &last.data {
        RData::CNAME(target) if view.is_ours(&target.0) => Some(&target.0),
        _ => None,
    }
}

/// Whether a record is a signature of an RRset of a type (RFC 4034 §3.1.1).
fn signs(record: &Record, covered: RecordType) -> bool {
    match &record.data {
        RData::Unknown { code: RecordType::RRSIG, rdata } => {
            rdata.anything.starts_with(&u16::from(covered).to_be_bytes())
        }
        _ => false,
    }
}

/// Whether a record is the DNAME of a name above `name`.
fn is_dname_above(record: &Record, name: &Name) -> bool {
    record.record_type() == RecordType::DNAME && record.name != *name && record.name.zone_of(name)
}
