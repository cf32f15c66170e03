//! The settings of the site's domain, and the names that follow from them.

use super::rrset::same_name;
use hickory_proto::rr::Name;

/// The settings of the site's domain, ready for answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The domain that this server is authoritative for, absolute, in lower case.
    domain: Name,
    /// `local.dns.<domain>`.
    local_name: Name,
    /// `dns.<domain>`.
    dns_name: Name,
    /// `ns.dns.<domain>`.
    ns_name: Name,
    /// The name of this host, which `local.dns.<domain>` leads to.
    pub local: Option<Name>,
    /// Mail address of the person responsible, as a name (RFC 1035 §8).
    pub hostmaster: Name,
    /// TTL of services that have none of their own, in seconds.
    pub ttl: u32,
    /// TTL of negative answers, in seconds (RFC 2308).
    pub min_ttl: u32,
    /// Whether answers are signed for clients that want it: then a name has either a CNAME or other data, and no data of
    /// upstreams.
    pub is_signed: bool,
    /// Whether the keys of a zone that has to be signed cannot be used: then nothing is answered for it.
    pub lacks_keys: bool,
}

/// The name of a question, as a zone sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocatedName<'n> {
    /// The name to look up in the tree: for `local.dns.<domain>` the one that it leads to.
    pub(super) tree_name: &'n Name,
    /// Whether the name of the question is the domain or below it.
    pub(super) is_in_domain: bool,
}

impl Zone {
    /// A zone with SkyDNS's defaults.
    ///
    /// A name below the domain that would exceed 255 octets is the domain itself instead.
    pub fn new(domain: &Name) -> Self {
        let mut domain = domain.to_lowercase();
        domain.set_fqdn(true);
        let below = |labels: &[&str]| {
            let name = Name::from_labels(labels.iter().map(|label| label.as_bytes()));
            name.and_then(|name| name.append_domain(&domain)).unwrap_or_else(|_| domain.clone())
        };
        Self {
            local_name: below(&["local", "dns"]),
            dns_name: below(&["dns"]),
            ns_name: below(&["ns", "dns"]),
            hostmaster: below(&["hostmaster"]),
            domain,
            local: None,
            ttl: 3600,
            min_ttl: 30,
            is_signed: false,
            lacks_keys: false,
        }
    }

    /// The domain, absolute, in lower case.
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// `dns.<domain>`, below which SkyDNS keeps its own data.
    pub fn dns_name(&self) -> &Name {
        &self.dns_name
    }

    /// `ns.dns.<domain>`, the primary name server (MNAME).
    pub fn ns_name(&self) -> &Name {
        &self.ns_name
    }

    /// `local.dns.<domain>`.
    pub fn local_name(&self) -> &Name {
        &self.local_name
    }

    /// Whether a name is the domain or below it, so that nobody else has it.
    ///
    /// No name is in the domain `.`: it has the names of the store, and all others are those of others.
    pub fn contains(&self, name: &Name) -> bool {
        !self.is_root() && self.domain.zone_of(name)
    }

    /// Whether the domain is `.`.
    pub fn is_root(&self) -> bool {
        self.domain.is_root()
    }

    /// Whether a name is the domain.
    pub fn is_apex(&self, name: &Name) -> bool {
        same_name(&self.domain, name)
    }

    /// The name to look up instead of a name: for `local.dns.<domain>` the one that it leads to, else the name itself.
    pub fn resolve_local<'n>(&'n self, name: &'n Name) -> &'n Name {
        match &self.local {
            Some(local) if same_name(name, &self.local_name) => local,
            _ => name,
        }
    }

    /// Where the name of a question is looked up, and whether it is in the domain.
    pub(super) fn locate<'n>(&'n self, name: &'n Name) -> LocatedName<'n> {
        match &self.local {
            Some(local) if same_name(name, &self.local_name) => {
                LocatedName { tree_name: local, is_in_domain: true }
            }
            _ => LocatedName { tree_name: name, is_in_domain: self.contains(name) },
        }
    }
}
