//! What differs between the settings of before and those of now, for the log.

use super::allow::Allow;
use super::spec::{LogTarget, Spec};
use super::zones::{ZoneList, ZoneSpec};
use super::{EtcdApi, KubernetesEndpoints, NsPolicy};
use crate::answer::{Flatten, MassHold, Mode, PodNames};
use crate::dnssec::DenialKind;
use hickory_proto::rr::Name;
use log::LevelFilter;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Letters of a value that are told.
const MAX_VALUE: usize = 100;

/// The value of a setting, as operators write it.
trait Told {
    fn told(&self) -> String;
}

macro_rules! told_as {
    ($format:literal: $($kind:ty),*) => { $(impl Told for $kind {
        fn told(&self) -> String {
            format!($format, self)
        }
    })* };
}

told_as!("{}": bool, u8, u16, u32, usize, String, Name, SocketAddr, Allow);
told_as!("{:?}": Duration);

macro_rules! told_in_lower_case {
    ($($kind:ty),*) => { $(impl Told for $kind {
        fn told(&self) -> String {
            format!("{self:?}").to_lowercase()
        }
    })* };
}

told_in_lower_case!(
    EtcdApi,
    KubernetesEndpoints,
    Mode,
    NsPolicy,
    PodNames,
    Flatten,
    DenialKind,
    LogTarget,
    LevelFilter
);

impl Told for MassHold {
    fn told(&self) -> String {
        if self.time.is_zero() { "off".to_owned() } else { format!("{}%,{:?}", self.percent, self.time) }
    }
}

impl Told for PathBuf {
    fn told(&self) -> String {
        self.display().to_string()
    }
}

impl Told for ZoneList {
    fn told(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Only(zones) => zones.told(),
        }
    }
}

impl Told for BTreeMap<Name, ZoneSpec> {
    fn told(&self) -> String {
        let zones: Vec<_> = self.iter().map(|(zone, own)| format!("{zone} ({})", own.told())).collect();
        if zones.is_empty() { "none".to_owned() } else { zones.join(", ") }
    }
}

impl Told for ZoneSpec {
    /// What the zone sets itself.
    fn told(&self) -> String {
        let Self {
            mode,
            fallthrough,
            auto_ptr,
            ttl,
            min_ttl,
            hostmaster,
            local,
            hold_deletions,
            hold_mass_deletion,
        } = self;
        let told = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
        let fields = [
            told("mode", mode.as_ref().map(Told::told)),
            told("fallthrough", fallthrough.as_ref().map(Told::told)),
            told("auto_ptr", auto_ptr.as_ref().map(Told::told)),
            told("ttl", ttl.as_ref().map(Told::told)),
            told("min_ttl", min_ttl.as_ref().map(Told::told)),
            told("hostmaster", hostmaster.as_ref().map(Told::told)),
            told("local", local.as_ref().map(Told::told)),
            told("hold_deletions", hold_deletions.as_ref().map(Told::told)),
            told("hold_mass_deletion", hold_mass_deletion.as_ref().map(Told::told)),
        ];
        fields.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl<T: Told> Told for Option<T> {
    fn told(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Told::told)
    }
}

impl<T: Told> Told for Vec<T> {
    fn told(&self) -> String {
        let items: Vec<_> = self.iter().map(Told::told).collect();
        if items.is_empty() { "none".to_owned() } else { items.join(",") }
    }
}

impl Spec {
    /// The settings of which `after` has another value, each with both, such as `ttl 3600 → 60`. A password is not told.
    pub fn differences(&self, after: &Self) -> Vec<String> {
        macro_rules! differences {
            ($($name:literal $($field:ident).+),*) => {
                [$((self.$($field).+ != after.$($field).+).then(|| changed($name, &self.$($field).+, &after.$($field).+))),*]
            };
        }
        let told = differences!(
            "addr" listen, "systemd" systemd, "nameservers" nameservers, "machines" machines,
            "etcd-api" etcd_api, "v2-also" v2_also,
            "dnssec" dnssec, "local" local, "zones" zones, "exact" exact, "fallthrough" fallthrough, "auto-ptr" auto_ptr, "tls-key" tls_key, "tls-pem" tls_pem, "ca-cert" ca_cert, "username" username,
            "rtimeout" read_timeout, "round-robin" round_robin, "flatten" flatten, "ns-rotate" ns_rotate,
            "ns-policy" ns_policy, "discover" discover, "stubzones" stub_zones, "verbose" verbose,
            "hostmaster" hostmaster, "ttl" ttl, "min-ttl" min_ttl, "hold-deletions" hold_deletions, "hold-mass-deletion" hold_mass_deletion, "priority" priority, "scache" scache,
            "denial" denial, "rcache" rcache, "rcache-ttl" rcache_ttl, "ndots" ndots, "filter-aaaa" filter_aaaa, "no-rec" no_rec,
            "path-prefix" path_prefix, "records" records, "records-links" records_links, "state-dir" state_dir,
            "env-file" env_file, "conf-dir" conf_dir, "strict" strict, "log" log, "log-level" log_level, "resolv-conf" resolv_conf,
            "hide-identity" hide_identity, "trust-ad" trust_ad, "allow" allow,
            "rebind-protection" rebind_protection, "workers" workers,
            "kubernetes" kubernetes.is_on, "master" kubernetes.master, "kubeconfig" kubernetes.kubeconfig,
            "kubernetes-domain" kubernetes.domains, "kubernetes-multicluster" kubernetes.multicluster,
            "kubernetes-ttl" kubernetes.ttl, "kubernetes-endpoints" kubernetes.endpoints,
            "kubernetes-pods" kubernetes.pods, "kubernetes-endpoint-pod-names" kubernetes.endpoint_pod_names,
            "kubernetes-ignore-empty-services" kubernetes.ignore_empty_services, "kubernetes-zonal" kubernetes.zonal,
            "kubernetes-namespaces" kubernetes.namespaces, "kubernetes-namespace-labels" kubernetes.namespace_labels,
            "kubernetes-labels" kubernetes.labels, "kubernetes-forward" kubernetes.forward
        );
        let secret = (self.password != after.password).then(|| "password".to_owned());
        let of_domain = |spec: &Self| -> Vec<_> {
            std::iter::once(&spec.domain).chain(&spec.other_domains).cloned().collect()
        };
        let (before, now) = (of_domain(self), of_domain(after));
        let domains = (before != now).then(|| changed("domain", &before, &now));
        [domains].into_iter().chain(told).chain([secret]).flatten().collect()
    }
}

fn changed(name: &str, before: &impl Told, after: &impl Told) -> String {
    let short = |text: String| match text.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    format!("{name} {} → {}", short(before.told()), short(after.told()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::input::SettingInput;
    use crate::config::origin::SettingOrigin;
    use crate::config::settings::flags;

    #[test]
    fn each_setting_that_changes_is_told_with_both_values() {
        let before = Spec::default();
        let after = Spec {
            ttl: 60,
            read_timeout: Duration::from_millis(500),
            nameservers: Some(vec![([192, 0, 2, 1], 53).into()]),
            password: Some("geheim".to_owned()),
            ..Spec::default()
        };
        assert_eq!(
            before.differences(&after),
            ["nameservers none → 192.0.2.1:53", "rtimeout 2s → 500ms", "ttl 3600 → 60", "password"]
        );
        assert_eq!(before.differences(&before), [""; 0]);
    }

    #[test]
    fn zones_are_told_with_what_they_set() {
        let zone = |spec: ZoneSpec| BTreeMap::from([(Name::from_ascii("a.example.").expect("a name"), spec)]);
        let before = Spec { zones: zone(ZoneSpec::default()), ..Spec::default() };
        let own = ZoneSpec { mode: Some(Mode::Exact), ttl: Some(60), ..ZoneSpec::default() };
        let after = Spec { zones: zone(own), ..Spec::default() };
        assert_eq!(before.differences(&after), ["zones a.example. () → a.example. (mode exact, ttl 60)"]);
    }

    #[test]
    fn no_setting_is_missing() {
        for setting in flags() {
            let (before, mut after) = (Spec::default(), Spec::default());
            let set = (setting.set)(&mut after, SettingInput::Text(setting.example), &SettingOrigin::Default);
            if set.is_ok() && after != before {
                let told = before.differences(&after);
                let name = told.first().map(|told| told.split(' ').next().unwrap_or_default());
                // One flag is another name of a setting.
                let expected = if setting.name == "etcd3" { "etcd-api" } else { setting.name };
                assert_eq!(name, Some(expected), "{told:?}");
            }
        }
    }
}
