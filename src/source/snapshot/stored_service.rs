//! One service in the encoding of a snapshot.

use crate::clock::{steady_time, unix_time};
use crate::service::{Host, Key, Service};
use crate::tree::{Entry, Lease};
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// A service with its source, from version 3 of the format on. The order of the fields is part of the format.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SourcedService<'a> {
    /// The [number](super::format::number_of) of the source.
    pub(super) source: u8,
    /// If it has a [lease of its own](Lease::of_key), how many seconds that had at first; else 0.
    pub(super) granted: u32,
    #[serde(borrow)]
    pub(super) service: StoredService<'a>,
}

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
    /// The id of the lease, and its end in seconds of Unix time; 0 if it was not known.
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

/// Translates the ends of leases between the clock of this start and Unix time, in which they are stored: the other clock
/// has no meaning after a restart of the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseClock {
    /// Unix time now, in seconds.
    pub(super) unix: u64,
    /// The same moment by the clock of leases.
    pub(super) steady: u64,
}

impl LeaseClock {
    pub(super) fn now() -> Self {
        Self { unix: unix_time(), steady: steady_time() }
    }

    /// The end of a lease in Unix time.
    fn stored(self, end: u64) -> u64 {
        match end {
            0 => 0,
            end => (self.unix.saturating_add(end)).saturating_sub(self.steady),
        }
    }

    /// The end of a lease of a snapshot of a time. When the snapshot was written the lease had some seconds left, at most as
    /// many as were granted; it has no more now, even if the date was set back since.
    fn restored(self, end: u64, as_of: u64) -> u64 {
        match end {
            0 => 0,
            end => self.steady.saturating_add(end.saturating_sub(self.unix).min(end.saturating_sub(as_of))),
        }
    }
}

/// The leases of a snapshot by id: all services of one lease share it.
#[derive(Debug)]
pub(super) struct RestoredLeases {
    by_id: HashMap<i64, Arc<Lease>>,
    clock: LeaseClock,
    /// When the store was last known to hold what the snapshot holds, in seconds of Unix time.
    as_of: u64,
}

impl RestoredLeases {
    pub(super) fn new(clock: LeaseClock, as_of: u64) -> Self {
        Self { by_id: HashMap::new(), clock, as_of }
    }

    fn lease(&mut self, (id, end): (i64, u64), granted: u32) -> Arc<Lease> {
        if granted > 0 {
            return Arc::new(Lease::of_key(self.clock.restored(end, self.as_of), granted));
        }
        let lease = self.by_id.entry(id).or_insert_with(|| Arc::new(Lease::new(id)));
        lease.set_end(self.clock.restored(end, self.as_of));
        Arc::clone(lease)
    }
}

impl<'a> StoredService<'a> {
    /// The encoding of an entry; `None` if its host cannot be written, which is never so: it was read from a name.
    pub(super) fn new(is_further: bool, key: &'a Key, entry: &'a Entry, clock: LeaseClock) -> Option<Self> {
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
            lease: entry
                .lease
                .as_ref()
                .filter(|lease| !lease.is_held())
                .map(|lease| (lease.id, clock.stored(lease.end()))),
        })
    }

    /// The entry and its key; see [`SourcedService::entry`].
    fn entry(&self, leases: &mut RestoredLeases, granted: u32) -> Option<(Key, Entry)> {
        let host = match &self.host {
            StoredHost::None => Host::None,
            StoredHost::V4(octets) => Host::V4((*octets).into()),
            StoredHost::V6(octets) => Host::V6((*octets).into()),
            StoredHost::Name(HostOctets(wire)) => Host::Name(Box::new(Name::from_bytes(wire).ok()?)),
        };
        let lease = self.lease.map(|lease| leases.lease(lease, granted));
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

impl<'a> SourcedService<'a> {
    /// The encoding of an entry; see [`StoredService::new`].
    pub(super) fn new(
        source: u8,
        is_further: bool,
        key: &'a Key,
        entry: &'a Entry,
        clock: LeaseClock,
    ) -> Option<Self> {
        let granted = entry.lease.as_ref().map_or(0, |lease| lease.granted());
        Some(Self { source, granted, service: StoredService::new(is_further, key, entry, clock)? })
    }

    /// The entry and its key; `None` if the key or the host is no name.
    pub(super) fn entry(&self, leases: &mut RestoredLeases) -> Option<(Key, Entry)> {
        self.service.entry(leases, self.granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_leases_go_to_unix_time_and_back() {
        // The host ran for a while after its date was set back by 1,000 s, so the two clocks differ.
        let clock = LeaseClock { unix: 100_000, steady: 101_000 };
        assert_eq!(clock.stored(101_060), 100_060);
        assert_eq!(clock.stored(100_990), 99_990, "an end that is over");
        assert_eq!(clock.stored(0), 0);
        let later = LeaseClock { unix: 100_010, steady: 100_010 };
        assert_eq!(later.restored(100_060, 100_000), 100_060);
        assert_eq!(later.restored(99_990, 100_000), 100_010);
        assert_eq!(later.restored(0, 100_000), 0);
        // The date is a year back: 60 s were left when the snapshot was written.
        let year_back = LeaseClock { unix: 1_000, steady: 1_000 };
        assert_eq!(year_back.restored(100_060, 100_000), 1_060);
    }
}
