//! Names of zones in settings: domain names, and prefixes of addresses, which mean reverse zones.

use super::input::{SettingError, SettingInput};
use super::refused::Instead;
use super::settings::Setting;
use hickory_proto::rr::Name;
use serde_json::Value;
use std::collections::HashSet;
use std::net::IpAddr;

/// The setting of the domains, of which one that cannot be used costs itself if there is no last good value.
const DOMAIN: &str = "domain";

/// What is used in the place of a list of domains of which some cannot be used.
pub(super) const REST_IS_SERVED: Instead = Instead::Told("the other domains of the list are served");

/// Maximum number of zones.
const MAX_ZONES: usize = 10_000;

/// The zones that the items of a list name, each once, in their order and in lower case.
///
/// An item is a domain name, `.`, or a prefix such as `10.0.0.0/8`, which means the reverse zones of its addresses.
///
/// # Errors
/// An item is none of these, or there are too many zones.
pub(super) fn zones(items: &[&str]) -> Result<Vec<Name>, SettingError> {
    let (mut zones, mut seen) = (Vec::new(), HashSet::new());
    for item in items {
        for zone in zones_of(item)? {
            if seen.insert(zone.clone()) {
                zones.push(zone);
            }
        }
        if zones.len() > MAX_ZONES {
            return Err(SettingError::TooManyZones(MAX_ZONES));
        }
    }
    Ok(zones)
}

/// A list of the setting of the domains without the items that are no zones, as a text, and why they are none; `None` if no
/// item is left, or all are, and for all other settings.
pub(super) fn usable(setting: &Setting, input: SettingInput<'_>) -> Option<(String, String)> {
    if setting.name != DOMAIN {
        return None;
    }
    let items: Vec<_> = match input {
        SettingInput::Json(Value::Array(items)) => {
            items.iter().map(|item| SettingInput::Json(item).text()).collect()
        }
        _ => input.list().ok()?.into_iter().map(Ok).collect(),
    };
    let (mut good, mut problems) = (Vec::new(), Vec::new());
    for item in items {
        match item.and_then(|item| zones_of(item).map(|_| item)) {
            Ok(item) => good.push(item),
            Err(problem) => problems.push(problem.to_string()),
        }
    }
    let is_partly = !good.is_empty() && !problems.is_empty();
    is_partly.then(|| (good.join(","), problems.join("; ")))
}

/// The zones that one item names.
pub(super) fn zones_of(item: &str) -> Result<Vec<Name>, SettingError> {
    if item == "." {
        return Ok(vec![Name::root()]);
    }
    if let Some((address, len)) = item.split_once('/')
        && let Ok(address) = address.parse::<IpAddr>()
    {
        return reverse_zones(address, len).ok_or_else(|| SettingError::Prefix(item.to_owned()));
    }
    let name = SettingInput::Text(item).name()?;
    Ok(name.map(|name| name.to_lowercase()).into_iter().collect())
}

/// The reverse zones of a prefix: one for each value of the first octet, or digit of IPv6, that the prefix does not fill
/// (RFC 1035 §3.5, RFC 3596 §2.5). `None` if the length is none, or bits behind it are set.
fn reverse_zones(address: IpAddr, len: &str) -> Option<Vec<Name>> {
    let len: u32 = len.parse().ok()?;
    let (bits, width, step, top) = match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32, 8, "in-addr"),
        IpAddr::V6(v6) => (u128::from(v6), 128, 4, "ip6"),
    };
    if len > width || bits.checked_shl(128 - width + len).unwrap_or(0) != 0 {
        return None;
    }
    let whole = len.div_ceil(step) * step;
    let count = 1_u128 << (whole - len);
    let zone = |number: u128| {
        let bits = bits | number.checked_shl(width - whole).unwrap_or(0);
        let label = |at: u32| {
            let part = (bits >> (width - (at + 1) * step)) & ((1 << step) - 1);
            if step == 8 { format!("{part}") } else { format!("{part:x}") }
        };
        let labels = (0..whole / step).rev().map(label).chain([top.to_owned(), "arpa".to_owned()]);
        let mut name = Name::from_labels(labels.collect::<Vec<_>>().iter().map(String::as_bytes)).ok()?;
        name.set_fqdn(true);
        Some(name)
    };
    (0..count).map(zone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(text: &str) -> Result<Vec<String>, String> {
        let items: Vec<_> = text.split(',').collect();
        let zones = super::zones(&items).map_err(|error| error.to_string())?;
        Ok(zones.iter().map(Name::to_ascii).collect())
    }

    #[test]
    fn a_prefix_is_the_reverse_zones_of_its_addresses() {
        for (prefix, expected) in [
            ("10.0.0.0/8", vec!["10.in-addr.arpa."]),
            ("192.168.0.0/16", vec!["168.192.in-addr.arpa."]),
            ("192.0.2.0/24", vec!["2.0.192.in-addr.arpa."]),
            ("10.1.2.0/23", vec!["2.1.10.in-addr.arpa.", "3.1.10.in-addr.arpa."]),
            ("192.0.2.254/31", vec!["254.2.0.192.in-addr.arpa.", "255.2.0.192.in-addr.arpa."]),
            ("192.0.2.1/32", vec!["1.2.0.192.in-addr.arpa."]),
            ("0.0.0.0/0", vec!["in-addr.arpa."]),
            ("2001:db8::/32", vec!["8.b.d.0.1.0.0.2.ip6.arpa."]),
            ("fd00::/7", Vec::new()),
            ("fc00::/7", vec!["c.f.ip6.arpa.", "d.f.ip6.arpa."]),
            ("::/0", vec!["ip6.arpa."]),
        ] {
            assert_eq!(zones(prefix).unwrap_or_default(), expected, "{prefix}");
        }
        let sixteen = zones("172.16.0.0/12").expect("zones");
        assert_eq!(
            (sixteen.len(), &*sixteen[0], &*sixteen[15]),
            (16, "16.172.in-addr.arpa.", "31.172.in-addr.arpa.")
        );
        assert_eq!(zones("2001:db8::/128").expect("a zone")[0].split('.').count(), 35);
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for wrong in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "2001:db8::1/32", "10.0.0.0/-1"]
        {
            assert!(
                zones(wrong).expect_err(wrong).contains(&format!("\"{wrong}\" is not a prefix")),
                "{wrong}"
            );
        }
        assert!(zones("a..b").expect_err("no name").contains("is not a domain name"));
        let many: Vec<_> = (0..=MAX_ZONES).map(|n| format!("z{n}.example")).collect();
        assert!(zones(&many.join(",")).expect_err("too many").contains("10000"));
    }

    #[test]
    fn each_zone_counts_once() {
        assert_eq!(
            zones("Site.example,b.site.example.,site.example,10.in-addr.arpa,10.0.0.0/8,.").expect("zones"),
            ["site.example.", "b.site.example.", "10.in-addr.arpa.", "."]
        );
    }
}
