//! A service: the JSON value that announces where something runs, and the store key that names it.
//!
//! Owns the meaning of values and keys as SkyDNS 2 gave it to them; refuses values and keys whose meaning would have to be
//! guessed. Knows no store and no tree.

mod a_label;
mod host;
mod key;
mod value;

pub(crate) use key::name_of;

pub use a_label::with_a_labels;
pub use host::HostError;
pub use key::{Key, KeyError, KeyTarget, KeyWarning, Keyspace};
pub use value::ValueError;

use hickory_proto::rr::Name;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Greatest TTL that may be served, in seconds (RFC 2181 §8: 2^31 - 1).
pub const MAX_TTL: u32 = i32::MAX as u32;

/// What one key of the store announces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Where the service runs.
    pub host: Host,
    /// Port; 0 if the value gives none.
    pub port: u16,
    /// SRV priority and MX preference; 0 means the site's default.
    pub priority: u16,
    /// Share of the queries among the services of one priority; 0 means 100.
    pub weight: u64,
    /// TTL in whole seconds; 0 means the site's default.
    pub ttl: u32,
    /// Text of the TXT record.
    pub text: Option<Box<str>>,
    /// Group of the service. A subtree answer has only services of one group, and services without a group.
    pub group: Option<Box<str>>,
    /// Labels to drop from the left of a target name made from the key.
    pub target_strip: u8,
    /// Whether the service is a mail exchanger as well.
    pub mail: bool,
}

/// Where a service runs: `host` of its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Host {
    /// No host: the service has at most a text.
    #[default]
    None,
    /// An IPv4 address; the value may write it as an IPv4-mapped IPv6 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// A domain name, absolute, in the letter case of the value.
    Name(Box<Name>),
}

impl Service {
    /// Whether SkyDNS takes two services for one: equal host, port, priority, weight and text.
    pub fn announces_same(&self, other: &Self) -> bool {
        self.host == other.host
            && self.port == other.port
            && self.priority == other.priority
            && self.weight == other.weight
            && self.text == other.text
    }

    /// The weight with its default: 100 if the value gives none.
    pub fn effective_weight(&self) -> u64 {
        if self.weight == 0 { 100 } else { self.weight }
    }
}
