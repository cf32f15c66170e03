//! One service in the encoding of a snapshot.

use crate::service::{Host, Key, Service};
use crate::tree::{Entry, Lease};
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// A service, its key and its lease. The order of the fields is part of the format: another order needs a new version.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredService<'a> {
    /// Whether the key has services before this one, which the store spells otherwise.
    pub(super) is_further: bool,
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
    /// The id of the lease, and its end in seconds of Unix time.
    lease: Option<(i64, u64)>,
}

/// The host of a service. A name is in wire format.
#[derive(Debug, Serialize, Deserialize)]
enum StoredHost<'a> {
    None,
    V4([u8; 4]),
    V6([u8; 16]),
    #[serde(borrow)]
    Name(HostOctets<'a>),
}

/// Octets: borrowed from the file when they are read, owned when they are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct HostOctets<'a>(#[serde(borrow)] std::borrow::Cow<'a, [u8]>);

/// Leases by id: all services of one lease share it.
pub(super) type LeasesById = HashMap<i64, Arc<Lease>>;

impl<'a> StoredService<'a> {
    /// The encoding of an entry; `None` if its host cannot be written, which is never so: it was read from a name.
    pub(super) fn new(is_further: bool, key: &'a Key, entry: &'a Entry) -> Option<Self> {
        let service = &entry.service;
        let host = match &service.host {
            Host::None => StoredHost::None,
            Host::V4(ip) => StoredHost::V4(ip.octets()),
            Host::V6(ip) => StoredHost::V6(ip.octets()),
            Host::Name(name) => StoredHost::Name(HostOctets(name.to_bytes().ok()?.into())),
        };
        Some(Self {
            is_further,
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

    /// The entry and its key; `None` if the key or the host is no name.
    pub(super) fn entry(&self, leases: &mut LeasesById) -> Option<(Key, Entry)> {
        let host = match &self.host {
            StoredHost::None => Host::None,
            StoredHost::V4(octets) => Host::V4((*octets).into()),
            StoredHost::V6(octets) => Host::V6((*octets).into()),
            StoredHost::Name(HostOctets(wire)) => Host::Name(Box::new(Name::from_bytes(wire).ok()?)),
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
