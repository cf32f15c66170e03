//! One service as it stands in a snapshot.

use crate::service::{Host, Key, Service};
use crate::tree::{Entry, Lease};
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// A service, its key and its lease. The order of the fields is the format: another order is another version of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredService<'a> {
    /// Whether the key only becomes a name in lower case.
    pub(super) case_folded: bool,
    key: &'a [u8],
    host: StoredHost<'a>,
    port: u16,
    priority: u16,
    weight: u64,
    ttl: u32,
    text: Option<&'a str>,
    group: Option<&'a str>,
    target_strip: u8,
    mail: bool,
    /// Id and end, the latter in seconds of Unix time.
    lease: Option<(i64, u64)>,
}

/// A host. Its name is in wire format, which borrows from nowhere.
#[derive(Debug, Serialize, Deserialize)]
enum StoredHost<'a> {
    None,
    V4([u8; 4]),
    V6([u8; 16]),
    #[serde(borrow)]
    Name(Octets<'a>),
}

/// Octets that are borrowed when they are read and owned when they are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Octets<'a>(#[serde(borrow)] std::borrow::Cow<'a, [u8]>);

/// Leases by id: all records on one lease share it.
pub(super) type Leases = HashMap<i64, Arc<Lease>>;

impl<'a> StoredService<'a> {
    /// The record of an entry; `None` if its host cannot be written, which no entry's is.
    pub(super) fn new(case_folded: bool, key: &'a Key, entry: &'a Entry) -> Option<Self> {
        let service = &entry.service;
        let host = match &service.host {
            Host::None => StoredHost::None,
            Host::V4(ip) => StoredHost::V4(ip.octets()),
            Host::V6(ip) => StoredHost::V6(ip.octets()),
            Host::Name(name) => StoredHost::Name(Octets(name.to_bytes().ok()?.into())),
        };
        Some(Self {
            case_folded,
            key: key.as_wire(),
            host,
            port: service.port,
            priority: service.priority,
            weight: service.weight,
            ttl: service.ttl,
            text: service.text.as_deref(),
            group: service.group.as_deref(),
            target_strip: service.target_strip,
            mail: service.mail,
            lease: entry.lease.as_ref().map(|lease| (lease.id, lease.end())),
        })
    }

    /// The entry and its key; `None` if no service is like that.
    pub(super) fn entry(&self, leases: &mut Leases) -> Option<(Key, Entry)> {
        let host = match &self.host {
            StoredHost::None => Host::None,
            StoredHost::V4(octets) => Host::V4((*octets).into()),
            StoredHost::V6(octets) => Host::V6((*octets).into()),
            StoredHost::Name(Octets(wire)) => Host::Name(Box::new(Name::from_bytes(wire).ok()?)),
        };
        let lease = self.lease.map(|(id, end)| {
            let lease = leases.entry(id).or_insert_with(|| Arc::new(Lease::new(id)));
            lease.set_end(end);
            Arc::clone(lease)
        });
        let service = Service {
            host,
            port: self.port,
            priority: self.priority,
            weight: self.weight,
            ttl: self.ttl,
            text: self.text.map(Into::into),
            group: self.group.map(Into::into),
            target_strip: self.target_strip,
            mail: self.mail,
        };
        Some((Key::from_wire(self.key)?, Entry { service, lease }))
    }
}
