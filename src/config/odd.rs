//! Values that can be used, and that hardly anybody means; settings that do nothing, because another one is missing.

use super::kubernetes::KubernetesSpec;
use super::spec::Spec;
use super::variables::Variables;
use super::zones::ZoneList;
use crate::service::Keyspace;
use crate::shown::quoted;
use std::time::Duration;

/// No answer of another host comes sooner than this.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// Clients give up long before this.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Services move within this time: a day.
const LONGEST_TTL: u32 = 86_400;

/// Labels of names that people use outside of their own domain: example.org has two.
const USUAL_LABELS: u8 = 2;

impl Spec {
    /// Says which values are odd, and what they do.
    pub fn oddities(&self) -> Vec<String> {
        let mut odd = Vec::new();
        let timeout = self.read_timeout;
        if timeout < SHORTEST_TIMEOUT {
            odd.push(format!(
                "-rtimeout (read_timeout) is {timeout:?}, in which no upstream can answer (in the store, a number without a unit means nanoseconds)"
            ));
        } else if timeout > LONGEST_TIMEOUT {
            odd.push(format!(
                "-rtimeout (read_timeout) is {timeout:?}: clients give up before an upstream is given up"
            ));
        }
        if self.ttl > LONGEST_TTL {
            odd.push(format!(
                "-ttl is {} s: clients use the address of a service for so long after it has moved",
                self.ttl
            ));
        }
        if self.min_ttl > LONGEST_TTL {
            odd.push(format!("-min-ttl is {} s: clients do not see a new service for so long", self.min_ttl));
        }
        for domain in self.domains() {
            if domain.iter().count() == 1 && !domain.is_root() {
                odd.push(format!(
                    "-domain {domain} has one label: all names of this top-level domain are answered here"
                ));
            }
        }
        if self.ndots > USUAL_LABELS && !self.no_rec {
            odd.push(format!(
                "-ndots (SKYDNS_NDOTS) is {}: names with fewer labels, such as example.org, have no addresses",
                self.ndots
            ));
        }
        if let Some(twice) = self.named_for_two_scopes() {
            odd.push(format!(
                "-kubernetes-multicluster (SKYDNS_KUBERNETES_MULTICLUSTER) names {twice}, a domain of its own: there are the names of \
                 several clusters alone, and none of this one"
            ));
        }
        odd.extend(self.settings_of_other_zones());
        odd.extend(self.of_store());
        odd.extend(self.without_partner());
        odd
    }

    /// Says what is odd about where the store is.
    fn of_store(&self) -> Vec<String> {
        let mut odd = Vec::new();
        let prefix = &self.path_prefix;
        let inner = prefix.trim_matches('/');
        if inner.split('/').any(|level| matches!(level, "" | "." | "..")) && !inner.is_empty() {
            let keyspace = Keyspace::new(prefix);
            odd.push(format!(
                "-path-prefix (SKYDNS_PATH_PREFIX) is \"{}\": keys of the store begin with {}, as it is written",
                quoted(prefix),
                quoted(keyspace.root())
            ));
        }
        let has_no_port = |url: &&String| url.split_once("://").is_some_and(|(_, host)| !has_port(host));
        if let Some(url) = self.machines.iter().find(has_no_port) {
            let port = if url.starts_with("https://") { 443 } else { 80 };
            odd.push(format!(
                "-machines (ETCD_MACHINES): {} names no port, so that it is {port}; that of etcd is 2379",
                quoted(url)
            ));
        }
        odd
    }

    /// Says which settings do nothing, because another one that they need is not set.
    fn without_partner(&self) -> Vec<String> {
        let default = Self::default();
        // The members of etcd may have endpoints with TLS.
        let has_tls = self.discover || self.machines.iter().any(|url| url.starts_with("https://"));
        let uses_tls = self.ca_cert.is_some() || self.tls_pem.is_some() || self.tls_key.is_some();
        let uses_etcd = self.uses_etcd();
        let (of_cluster, default_of_cluster) = (&self.kubernetes, &default.kubernetes);
        // What forwarding to the cluster's servers takes as well.
        let (domains, forward) = (of_cluster.domains.clone(), of_cluster.forward.clone());
        let forwards = !forward.is_empty();
        let of_forwarding = KubernetesSpec { domains, forward, ..default_of_cluster.clone() };
        let details = if forwards { &of_forwarding } else { default_of_cluster };
        let has_user = self.username.is_some() || self.password.is_some();
        let falls_through = self.fallthrough != ZoneList::default()
            || self.zones.values().any(|zone| zone.fallthrough == Some(true));
        let rows = [
            (
                self.no_rec && falls_through && !self.stub_zones,
                "-fallthrough (SKYDNS_FALLTHROUGH) asks nobody with -no-rec: names that its zones lack are refused \
                 (REFUSED), and not denied",
            ),
            (
                uses_tls && uses_etcd && !has_tls,
                "-ca-cert, -tls-pem and -tls-key (ETCD_CACERT, ETCD_TLSPEM, ETCD_TLSKEY) do nothing: no endpoint of -machines \
                 (ETCD_MACHINES) begins with https://",
            ),
            (
                !uses_etcd && (uses_tls || has_user || self.discover),
                "settings of etcd do nothing: -records (SKYDNS_RECORDS) is set without -machines (ETCD_MACHINES), so that \
                 etcd is not asked",
            ),
            (
                !of_cluster.is_on && of_cluster != details,
                "-master, -kubeconfig and -kubernetes-… do nothing without -kubernetes (SKYDNS_KUBERNETES)",
            ),
            (
                of_cluster.is_on && forwards,
                "-kubernetes-forward (SKYDNS_KUBERNETES_FORWARD) does nothing with -kubernetes: the cluster is followed",
            ),
            (
                self.password.is_some() && self.username.is_none(),
                "-password (ETCD_PASSWORD) does nothing without -username (ETCD_USERNAME)",
            ),
            (
                self.username.is_some() && self.password.is_none(),
                "-username (ETCD_USERNAME) is set without -password (ETCD_PASSWORD): the empty password is used",
            ),
            (
                self.dnssec.is_empty() && (self.denial != default.denial || self.scache != default.scache),
                "-denial and -scache do nothing without -dnssec: the domain is not signed",
            ),
            (
                self.rcache == 0 && self.rcache_ttl != default.rcache_ttl,
                "-rcache-ttl does nothing with -rcache 0: there is no cache",
            ),
        ];
        rows.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| text.to_owned()).collect()
    }
}

/// Whether a host, of which IPv6 addresses have brackets, is followed by a port.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

/// Variables of statistics that need others: those that do nothing alone, one that they need, and what there is not without it.
const STATISTICS_PARTNERS: [(&[&str], &str, &str); 5] = [
    (
        &["PROMETHEUS_ADDR", "PROMETHEUS_PATH", "PROMETHEUS_NAMESPACE", "PROMETHEUS_SUBSYSTEM"],
        "PROMETHEUS_PORT",
        "there is no metrics page",
    ),
    (&["GRAPHITE_PREFIX"], "GRAPHITE_SERVER", "nothing is sent to Graphite"),
    (&["INFLUX_DATABASE", "INFLUX_USER", "INFLUX_PASSWORD"], "INFLUX_SERVER", "nothing is sent to InfluxDB"),
    (&["INFLUX_PASSWORD"], "INFLUX_USER", "the password is not used"),
    (&["STATHAT_SERVER"], "STATHAT_USER", "nothing is sent to StatHat"),
];

/// A variable, which of its values count as another one or as none, and what that does.
type OtherValue = (&'static str, fn(&str) -> bool, &'static str);

const OTHER_VALUES: [OtherValue; 2] = [
    ("PROMETHEUS_PORT", |text| text.parse() == Ok(0_u16), "there is no metrics page"),
    (
        "SKYDNS_RCACHE",
        |text| text.starts_with('-'),
        "it counts as 0, so that answers of upstreams are not cached",
    ),
];

/// Says which variables have a value that counts as another one, or as none.
pub(super) fn values_that_count_as_others(variables: &Variables) -> Vec<String> {
    let mut told = Vec::new();
    for (name, is_other, what) in OTHER_VALUES {
        if let Some(variable) = variables.get(name).filter(|variable| is_other(&variable.value)) {
            let place = variable.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
            told.push(format!("{place}{name} is {}: {what}", quoted(&variable.value)));
        }
    }
    told
}

/// Says which variables of statistics do nothing, because another one that they need is not set.
pub(super) fn statistics_without_partner(variables: &Variables) -> Vec<String> {
    // What a file sets that cannot be read is not known.
    let is_set = |name: &str| variables.get(name).is_some() || variables.may_be_meant(name);
    // A page on a Unix socket needs no port.
    let is_socket = variables.get("PROMETHEUS_ADDR").is_some_and(|variable| variable.value.starts_with('/'));
    let mut told = Vec::new();
    for (alone, partner, what) in STATISTICS_PARTNERS {
        if is_set(partner) || is_socket && partner == "PROMETHEUS_PORT" {
            continue;
        }
        for variable in alone.iter().filter_map(|name| Some((name, variables.get(name)?))) {
            let (name, place) = (variable.0, &variable.1.place);
            let place = place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
            told.push(format!("{place}{name} does nothing without {partner}: {what}"));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_nothing_alone_are_told() {
        let told = |json: &[u8], change: fn(&mut Spec)| {
            let mut spec = Spec::default().with_store("k", json, Default::default()).spec;
            change(&mut spec);
            spec.oddities().join("\n")
        };
        let https = |spec: &mut Spec| {
            spec.ca_cert = Some("ca.pem".into());
            spec.machines = vec!["https://a:1".to_owned()];
        };
        assert_eq!(told(b"{}", https), "");
        assert!(told(b"{}", |spec| spec.ca_cert = Some("ca.pem".into())).contains("begins with https://"));
        assert!(
            told(b"{}", |spec| spec.password = Some("x".into()))
                .starts_with("-password (ETCD_PASSWORD) does nothing")
        );
        assert!(told(b"{}", |spec| spec.username = Some("x".into())).contains("the empty password is used"));
        let records = |spec: &mut Spec| (spec.records, spec.discover) = (Some("/x".into()), true);
        assert!(told(b"{}", records).starts_with("settings of etcd do nothing"));
        assert!(
            told(br#"{"scache":5}"#, |_| ()).starts_with("-denial and -scache do nothing without -dnssec")
        );
        assert_eq!(told(br#"{"scache":5,"dnssec":"keys"}"#, |_| ()), "");
        assert!(
            told(br#"{"rcache":0,"rcache_ttl":7}"#, |_| ())
                .starts_with("-rcache-ttl does nothing with -rcache 0")
        );
    }

    #[test]
    fn variables_of_statistics_that_do_nothing_alone_are_told() {
        let told = |names: &[(&str, &str)]| {
            let mut variables = Variables::default();
            names.iter().for_each(|(name, value)| variables.set(name, (*value).to_owned()));
            variables.notices().join("\n")
        };
        let address = ("PROMETHEUS_ADDR", "127.0.0.1");
        assert_eq!(
            told(&[address]),
            "PROMETHEUS_ADDR does nothing without PROMETHEUS_PORT: there is no metrics page"
        );
        assert_eq!(told(&[address, ("PROMETHEUS_PORT", "9153")]), "");
        assert_eq!(told(&[("PROMETHEUS_ADDR", "/run/skydns/metrics"), ("PROMETHEUS_PATH", "/m")]), "");
        for (alone, partner) in [
            ("GRAPHITE_PREFIX", "GRAPHITE_SERVER"),
            ("INFLUX_DATABASE", "INFLUX_SERVER"),
            ("INFLUX_USER", "INFLUX_SERVER"),
            ("STATHAT_SERVER", "STATHAT_USER"),
        ] {
            assert!(told(&[(alone, "x")]).starts_with(&format!("{alone} does nothing without {partner}: ")));
            assert_eq!(told(&[(alone, "x"), (partner, "y")]), "");
        }
        let password = told(&[("INFLUX_PASSWORD", "geheim"), ("INFLUX_SERVER", "x:1")]);
        assert_eq!(password, "INFLUX_PASSWORD does nothing without INFLUX_USER: the password is not used");
        let mut variables = Variables::default();
        variables.set("GRAPHITE_PREFIX", "x".to_owned());
        variables.add_unreadable(std::path::Path::new("/f"), &std::io::Error::other("a pipe"), true);
        assert_eq!(variables.notices(), [""; 0], "the server may be in the file");
    }

    #[test]
    fn values_that_do_something_else_than_they_say_are_told() {
        let told = |change: fn(&mut Spec)| {
            let mut spec = Spec::default();
            change(&mut spec);
            spec.oddities().join("\n")
        };
        assert!(told(|spec| spec.ndots = 3).contains("such as example.org, have no addresses"));
        assert_eq!(told(|spec| (spec.ndots, spec.no_rec) = (3, true)), "");
        let levels = told(|spec| spec.path_prefix = "..//x".to_owned());
        assert!(levels.contains("keys of the store begin with /../x/"), "{levels}");
        assert_eq!(told(|spec| spec.path_prefix = "/sites/west/".to_owned()), "");
        for (url, port) in [("http://10.0.0.1", "80"), ("http://[::1]", "80"), ("https://etcd", "443")] {
            let spec = Spec { machines: vec![url.to_owned()], ..Spec::default() };
            let told = spec.oddities().join("\n");
            assert!(told.contains(&format!("{url} names no port, so that it is {port}")), "{told}");
        }
        let machines = ["http://10.0.0.1:2379", "http://[::1]:2379"].map(str::to_owned).into();
        assert_eq!(Spec { machines, ..Spec::default() }.oddities(), [""; 0]);

        let mut variables = Variables::default();
        variables.set("PROMETHEUS_PORT", "0".to_owned());
        variables.set("SKYDNS_RCACHE", "-1".to_owned());
        assert_eq!(
            variables.notices(),
            [
                "PROMETHEUS_PORT is 0: there is no metrics page",
                "SKYDNS_RCACHE is -1: it counts as 0, so that answers of upstreams are not cached"
            ]
        );
    }

    #[test]
    fn nanoseconds_that_were_meant_as_seconds_are_told() {
        assert_eq!(Spec::default().oddities(), [""; 0]);
        let spec =
            Spec::default().with_store("k", br#"{"read_timeout":2,"ttl":604800}"#, Default::default()).spec;
        let odd = spec.oddities();
        assert!(
            odd[0].starts_with("-rtimeout (read_timeout) is 2ns, in which no upstream can answer"),
            "{odd:?}"
        );
        assert!(odd[1].starts_with("-ttl is 604800 s"), "{odd:?}");
    }
}
