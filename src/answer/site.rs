//! What a site serves: its domain, and the settings that are not those of a zone.

use super::flatten::Flatten;
use super::zone::Zone;

/// What a site serves, ready for answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The site's domain.
    pub zone: Zone,
    /// SRV priority and MX preference of services that have none of their own.
    pub priority: u16,
    /// Whether the records of each RRset are shuffled.
    pub round_robin: bool,
    /// Which names have a CNAME.
    pub flatten: Flatten,
    /// Minimum number of labels of a name whose addresses are looked up upstream.
    pub ndots: u8,
    /// Whether `home.arpa` is denied here, because the upstreams are not those of the local network (RFC 8375).
    pub denies_home_arpa: bool,
    /// What class CH says about this server; questions of that class are refused if `None`.
    pub identity: Option<Identity>,
}

/// The answers to `version.bind` and `hostname.bind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The program's version.
    pub version: String,
    /// The host's name.
    pub hostname: String,
}

impl Site {
    /// A site with a zone, and SkyDNS's defaults for all else.
    pub fn new(zone: Zone) -> Self {
        Self {
            zone,
            priority: 10,
            round_robin: true,
            flatten: Flatten::Auto,
            ndots: 2,
            denies_home_arpa: false,
            identity: None,
        }
    }
}
