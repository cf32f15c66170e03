//! Tenants: the parts of a store that different people write to, as far as limits have to tell them apart.

use crate::service::Key;
use std::collections::HashSet;

/// Labels of the domain if a key is in none that is known, as `skydns.local` has.
const OUTSIDE: usize = 2;

/// Which labels of a key name a tenant: those of the zone that it is in, and one more.
///
/// Nothing that is answered depends on it. Where several teams announce services, each has a label below the domain
/// (`/skydns/local/skydns/east/…`), and what one of them does wrong must not hide what another does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tenants {
    /// The apexes of the zones, as the paths of their keys below the prefix.
    apexes: HashSet<Vec<u8>>,
}

impl Tenants {
    /// The tenants of zones.
    pub(super) fn of_zones<'k>(apexes: impl Iterator<Item = &'k Key>) -> Self {
        Self { apexes: apexes.map(|apex| apex.labels().collect::<Vec<_>>().join(&b'/')).collect() }
    }

    /// The part of a key of the store that names its tenant: the path prefix, whose length is that of `root`, and the labels of
    /// the tenant, without the slash behind them.
    ///
    /// A key without a label below the tenant's would be a tenant of its own, and whoever writes many of these would be many.
    /// All keys at one place are one tenant: for those right below the domain it is the domain.
    pub(super) fn tenant_of<'k>(&self, root: &str, key: &'k [u8]) -> &'k [u8] {
        let inner = key.get(root.len()..).unwrap_or_default();
        let slashes =
            || inner.iter().enumerate().filter(|(_, octet)| **octet == b'/').map(|(index, _)| index);
        let above = || key.iter().rposition(|octet| *octet == b'/').filter(|end| *end > 0);
        let end = slashes().nth(self.apex_labels(inner, slashes())).map(|index| root.len() + index);
        &key[..end.or_else(above).unwrap_or(key.len())]
    }

    /// The number of labels of the zone that a key below the prefix is in; `ends` are those of its labels.
    fn apex_labels(&self, inner: &[u8], ends: impl Iterator<Item = usize>) -> usize {
        let inner = inner.to_ascii_lowercase();
        let ends = (1..).zip(ends.chain([inner.len()]));
        let apexes = ends.filter(|(_, end)| self.apexes.contains(&inner[..*end]));
        let root = self.apexes.contains(&b""[..]).then_some(0);
        apexes.last().map(|(labels, _)| labels).or(root).unwrap_or(OUTSIDE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::Name;

    fn tenants(apexes: &[&str]) -> Tenants {
        let apexes: Vec<_> =
            apexes.iter().map(|apex| Key::from_name(&Name::from_ascii(apex).expect("a name"))).collect();
        Tenants::of_zones(apexes.iter())
    }

    #[test]
    fn a_tenant_is_the_label_below_the_domain() {
        let site = tenants(&["skydns.local.", "corp.", "a.b.example.", "b.example."]);
        for (tenants, key, expected) in [
            (&site, "/a/b/local/skydns/east/rails/1", "/a/b/local/skydns/east"),
            (&site, "/a/b/Local/skydns/east/rails/1", "/a/b/Local/skydns/east"),
            (&site, "/a/b/local/skydns/east/", "/a/b/local/skydns/east"),
            (&site, "/a/b/local/skydns/east", "/a/b/local/skydns"),
            (&site, "/a/b/local/other", "/a/b/local"),
            (&site, "/a/b/local/other/x/y", "/a/b/local/other/x"),
            (&site, "/a/b/config", "/a/b"),
            (&site, "/a", "/a"),
            (&site, "/a/b/corp/east/rails/1", "/a/b/corp/east"),
            (&site, "/a/b/example/b/c/d/e", "/a/b/example/b/c"),
            (&site, "/a/b/example/b/a/d/e", "/a/b/example/b/a/d"),
            (&Tenants::default(), "/a/b/local/skydns/east/rails/1", "/a/b/local/skydns/east"),
            (&tenants(&["."]), "/a/b/local/skydns/east", "/a/b/local"),
        ] {
            let tenant = tenants.tenant_of("/a/b/", key.as_bytes());
            assert_eq!(String::from_utf8_lossy(tenant), expected, "{key}");
        }
    }
}
