//! Tenants: the parts of a store that different people write to, as far as limits have to tell them apart.

/// How many labels of a key name a tenant: those of the site's domain, and one more.
///
/// Nothing that is answered depends on it. Where several teams announce services, each has a label below the domain
/// (`/skydns/local/skydns/east/…`), and what one of them does wrong must not hide what another does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantDepth(usize);

impl TenantDepth {
    /// The depth for a domain of so many labels.
    pub fn below_domain(labels: usize) -> Self {
        Self(labels + 1)
    }

    /// The part of a key of the store that names its tenant: the path prefix, whose length is given, and the labels of the
    /// tenant, without the slash behind them.
    ///
    /// A key without a label below the tenant's would be a tenant of its own, and whoever writes many of these would be many.
    /// All keys at one place are one tenant: for those right below the domain it is the domain.
    pub(super) fn tenant_of<'k>(self, root: &str, key: &'k [u8]) -> &'k [u8] {
        let mut slashes = key.iter().enumerate().skip(root.len()).filter(|(_, octet)| **octet == b'/');
        let end = slashes.nth(self.0 - 1).map(|(index, _)| index);
        let above = || key.iter().rposition(|octet| *octet == b'/').filter(|end| *end > 0);
        &key[..end.or_else(above).unwrap_or(key.len())]
    }
}

impl Default for TenantDepth {
    /// The depth for a domain of two labels, as `skydns.local` has.
    fn default() -> Self {
        Self::below_domain(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_the_label_below_the_domain() {
        let of = |key: &str| {
            let tenant = TenantDepth::default().tenant_of("/a/b/", key.as_bytes());
            String::from_utf8_lossy(tenant).into_owned()
        };
        assert_eq!(of("/a/b/local/skydns/east/rails/1"), "/a/b/local/skydns/east");
        assert_eq!(of("/a/b/local/skydns/east/"), "/a/b/local/skydns/east");
        assert_eq!(of("/a/b/local/skydns/east"), "/a/b/local/skydns");
        assert_eq!(of("/a/b/local/other"), "/a/b/local");
        assert_eq!(of("/a/b/config"), "/a/b");
        assert_eq!(of("/a"), "/a");
    }
}
