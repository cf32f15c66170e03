//! What a site serves: its zones, and the settings that are not those of a zone.

use super::flatten::Flatten;
use super::zone::Zone;
use super::zones::Zones;
use crate::service::Service;
use hickory_proto::rr::Name;

/// What a site serves, ready for answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The zones.
    pub zones: Zones,
    /// SRV priority and MX preference of services that have none of their own.
    pub priority: u16,
    /// Whether the records of each RRset are shuffled.
    pub round_robin: bool,
    /// Which names have a CNAME.
    pub flatten: Flatten,
    /// Minimum number of labels of a name whose addresses are looked up upstream.
    pub ndots: u8,
    /// Whether names of others have no IPv6 addresses for clients.
    pub filters_aaaa: bool,
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
    /// A site with one zone, and SkyDNS's defaults for all else.
    pub fn new(zone: Zone) -> Self {
        Self {
            zones: Zones::new(zone, []),
            priority: 10,
            round_robin: true,
            flatten: Flatten::Auto,
            ndots: 2,
            filters_aaaa: false,
            denies_home_arpa: false,
            identity: None,
        }
    }

    /// The zone that a name is in, or the first one for a name outside: where a setting of a zone is needed.
    pub fn zone_of(&self, name: &Name) -> &Zone {
        self.zones.of(name).unwrap_or_else(|| self.zones.first())
    }

    /// Whether a name is in one of the zones.
    ///
    /// No name is in the zone `.`: that has the names of the store, and all others are those of others.
    pub fn contains(&self, name: &Name) -> bool {
        self.zones.of(name).is_some_and(|zone| !zone.is_root())
    }

    /// Whether a name is in a zone so that nobody else has it, be it missing or not.
    pub fn owns(&self, name: &Name) -> bool {
        self.zones.of(name).is_some_and(|zone| !zone.is_root() && !zone.falls_through)
    }

    /// Whether a name is in a zone that leaves it to upstreams if it is missing.
    pub fn falls_through(&self, name: &Name) -> bool {
        self.zones.of(name).is_some_and(|zone| zone.falls_through)
    }

    /// The name to look up instead of a name: for `local.dns.<domain>` the one that it leads to, else the name itself.
    pub fn resolve_local<'n>(&'n self, name: &'n Name) -> &'n Name {
        self.zones.of(name).map_or(name, |zone| zone.resolve_local(name))
    }

    /// The SRV priority or MX preference of a service.
    pub(super) fn priority_of(&self, service: &Service) -> u16 {
        if service.priority == 0 { self.priority } else { service.priority }
    }

    /// The name of a key without some labels from the left; the whole name if a name above its zone, or no label, would be
    /// left.
    pub(super) fn stripped(&self, name: Name, labels: u8) -> Name {
        let left = name.iter().count().saturating_sub(usize::from(labels));
        if labels == 0 || left == 0 {
            return name;
        }
        let mut stripped = name.trim_to(left);
        stripped.set_fqdn(true);
        let is_above = self.zones.of(&name).is_some_and(|zone| !zone.domain().zone_of(&stripped));
        if is_above { name } else { stripped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn labels_are_stripped_but_never_above_the_domain() {
        let name = |text| Name::from_str(text).expect("a name");
        let site = Site::new(Zone::new(&name("skydns.test.")));
        let expected = [
            (0, "bliep.blaat.skydns.test."),
            (1, "blaat.skydns.test."),
            (2, "skydns.test."),
            (3, "bliep.blaat.skydns.test."),
            (4, "bliep.blaat.skydns.test."),
            (255, "bliep.blaat.skydns.test."),
        ];
        for (labels, left) in expected {
            assert_eq!(site.stripped(name("bliep.blaat.skydns.test."), labels).to_ascii(), left);
        }
        // The name that `-local` leads to may be in no domain of ours.
        assert_eq!(site.stripped(name("a.example.org."), 1).to_ascii(), "example.org.");
        assert_eq!(site.stripped(name("a.example.org."), 3).to_ascii(), "a.example.org.");
    }
}
