//! The variables of statistics: each one that cannot be used costs itself.

use super::statistics::{MetricsSettings, Statistics};
use crate::config::{GivenTexts, Instead, RefusedSetting, SettingOrigin, Variables, without_user};
use crate::metrics::{self, MetricNames, PagePlace, StatisticsSink};
use crate::shown::quoted;
use std::net::{IpAddr, Ipv4Addr};

/// What a variable of statistics has to be.
struct Wanted {
    name: &'static str,
    /// For a person.
    expected: &'static str,
    is_usable: fn(&str) -> bool,
}

/// The variables whose values can be wrong, and are kept. The user and the password for InfluxDB are no less secret than those for
/// etcd.
const WANTED: [Wanted; 11] = [
    Wanted { name: ADDRESS, expected: "an IP address, or the path of a Unix socket", is_usable: is_place },
    Wanted { name: "PROMETHEUS_PORT", expected: "a port (0 to 65535)", is_usable: is_port },
    Wanted {
        name: "PROMETHEUS_PATH",
        expected: "a path of a URL: it begins with a slash, and has no blanks",
        is_usable: is_path,
    },
    Wanted { name: "PROMETHEUS_NAMESPACE", expected: "a metric name", is_usable: is_metric_name },
    Wanted { name: "PROMETHEUS_SUBSYSTEM", expected: "a metric name", is_usable: is_metric_name },
    Wanted {
        name: "GRAPHITE_SERVER",
        expected: "a host and port, such as graphite.example.org:2003",
        is_usable: is_host_and_port,
    },
    Wanted { name: "GRAPHITE_PREFIX", expected: "a name without blanks", is_usable: is_word },
    Wanted {
        name: "INFLUX_SERVER",
        expected: "a host and port, such as influxdb.example.org:8086",
        is_usable: is_host_and_port,
    },
    Wanted { name: "INFLUX_DATABASE", expected: "a name without control characters", is_usable: is_line },
    Wanted { name: "STATHAT_USER", expected: "an EZ key, which has no blanks", is_usable: is_word },
    Wanted {
        name: "STATHAT_SERVER",
        expected: "a host and port, such as relay.example.org:80",
        is_usable: is_host_and_port,
    },
];

/// The variable that narrows the page to one address.
const ADDRESS: &str = "PROMETHEUS_ADDR";

/// The variables of statistics that are used.
#[derive(Default)]
struct UsedVariables {
    used: GivenTexts,
    refused: Vec<RefusedSetting>,
}

impl Statistics {
    /// Reads the variables; also returns what is refused, and the texts that are used by the variable's name.
    pub fn read(variables: &Variables, last_good: &GivenTexts) -> (Self, Vec<RefusedSetting>, GivenTexts) {
        let mut read = UsedVariables::default();
        WANTED.iter().for_each(|wanted| read.take(wanted, variables, last_good));
        let UsedVariables { mut used, mut refused } = read;
        let variable = |name: &str| match WANTED.iter().any(|wanted| wanted.name == name) {
            true => used.get(name).cloned(),
            false => variables.get(name).map(|variable| variable.value.clone()),
        };
        let (page, sinks) = (page(variable), StatisticsSink::from_variables(variable));
        if let Some(problem) = page.as_ref().and_then(|page| metrics::place_problem(&page.place)) {
            let place = variables.get(ADDRESS).and_then(|variable| variable.place.clone());
            // It is no good value for another start.
            let address = used.remove(ADDRESS).unwrap_or_default();
            refused.push(RefusedSetting {
                origin: SettingOrigin::Variable { name: ADDRESS.to_owned(), place },
                reason: format!("\"{}\": {problem}", quoted(&address)),
                instead: Instead::Told("the agent tries again until it can make the page there"),
            });
        }
        (Self { page, sinks }, refused, used)
    }
}

impl UsedVariables {
    fn take(&mut self, wanted: &Wanted, variables: &Variables, last_good: &GivenTexts) {
        let name = wanted.name.to_owned();
        let Some(variable) = variables.get(wanted.name) else {
            // It may be in the file that cannot be read.
            let last = last_good
                .get(wanted.name)
                .filter(|last| variables.may_be_meant(wanted.name) && (wanted.is_usable)(last));
            self.used.extend(last.map(|last| (name, last.clone())));
            return;
        };
        if (wanted.is_usable)(&variable.value) {
            self.used.insert(name, variable.value.clone());
            return;
        }
        let last = last_good.get(wanted.name).filter(|last| (wanted.is_usable)(last));
        self.used.extend(last.map(|last| (name.clone(), last.clone())));
        let instead = match last {
            Some(last) => Instead::LastGood(last.clone()),
            // Whoever narrows the page does not want the default, which is all addresses.
            None if wanted.name == ADDRESS => {
                self.used.insert(name.clone(), Ipv4Addr::LOCALHOST.to_string());
                Instead::Told("the page is on 127.0.0.1")
            }
            None => Instead::Default,
        };
        self.refused.push(RefusedSetting {
            origin: SettingOrigin::Variable { name, place: variable.place.clone() },
            reason: format!("\"{}\" is not {}", quoted(&without_user(&variable.value)), wanted.expected),
            instead,
        });
    }
}

/// The settings of the metrics page, from SkyDNS's variables for Prometheus; without a port or Unix socket there is no page.
fn page(variable: impl Fn(&str) -> Option<String>) -> Option<MetricsSettings> {
    let port = variable("PROMETHEUS_PORT").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
    let place = match (variable(ADDRESS), port) {
        (Some(path), _) if path.starts_with('/') => PagePlace::Socket(path.into()),
        (Some(address), Some(port)) => PagePlace::Address((address.parse::<IpAddr>().ok()?, port).into()),
        (None, Some(port)) => PagePlace::AllAddresses(port),
        (_, None) => return None,
    };
    let default = MetricNames::default();
    let names = MetricNames {
        namespace: variable("PROMETHEUS_NAMESPACE").unwrap_or(default.namespace),
        subsystem: variable("PROMETHEUS_SUBSYSTEM").unwrap_or(default.subsystem),
    };
    let path = variable("PROMETHEUS_PATH").unwrap_or_else(|| "/metrics".to_owned());
    Some(MetricsSettings { place, path, names })
}

fn is_place(text: &str) -> bool {
    text.starts_with('/') || text.parse::<IpAddr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// What a scraper can ask for: the part before a query, in ASCII.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#'))
}

fn is_metric_name(text: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(is_legal) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Graphite takes a blank as the end of the name, and a line break as that of the line.
fn is_word(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_line(text: &str) -> bool {
    !text.contains(char::is_control)
}

fn is_host_and_port(text: &str) -> bool {
    // A user name and password would be logged.
    let is_host = |host: &str| {
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@'))
    };
    text.rsplit_once(':')
        .is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], last_good: &[(&str, &str)]) -> (Statistics, Vec<String>) {
        let mut variables = Variables::default();
        pairs.iter().for_each(|(name, value)| variables.set(name, (*value).to_owned()));
        let last_good = last_good.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (statistics, refused, _) = Statistics::read(&variables, &last_good.collect());
        (statistics, refused.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_and_users_have_last_good_values_as_well() {
        let servers = [("GRAPHITE_SERVER", "g:1"), ("INFLUX_SERVER", "i:1"), ("STATHAT_SERVER", "s:1")];
        let names = [("GRAPHITE_PREFIX", "site"), ("INFLUX_DATABASE", "dns"), ("STATHAT_USER", "key")];
        let good = read(&[servers, names].concat(), &[]).0;
        assert_eq!(good.sinks.len(), 3);
        let bad = names.map(|(name, _)| (name, "a\u{7} b"));
        let (statistics, refused) = read(&[servers, bad].concat(), &names);
        assert_eq!((statistics, refused.len()), (good.clone(), 3), "{refused:?}");
        assert_eq!(
            refused[0],
            "variable GRAPHITE_PREFIX: \"a\\u{7} b\" is not a name without blanks; site, the last good value, stays"
        );
        // They may be in a file that cannot be read.
        let mut variables = Variables::default();
        variables.add_unreadable(std::path::Path::new("/f"), &std::io::Error::other("a pipe"), true);
        let last_good = [servers, names].concat();
        let last_good = last_good.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (statistics, _, used) = Statistics::read(&variables, &last_good.collect());
        assert_eq!((statistics, used.len()), (good, 6));
    }

    #[test]
    fn a_socket_that_cannot_be_made_is_refused_and_tried_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(at("file"), "mine").expect("a file");
        let long = at(&"x".repeat(100));
        for (path, told) in [
            (at("none/page"), "no socket can be made in "),
            (at("file"), "there is a file of this name already, and it is no socket"),
            (long, "has at most 107 octets"),
        ] {
            let last_good = [(ADDRESS, "127.0.0.1")];
            let (statistics, refused) = read(&[(ADDRESS, &path)], &last_good);
            assert_eq!(statistics.page.map(|page| page.place.to_string()), Some(path));
            assert!(refused[0].contains(told) && refused[0].contains("tries again"), "{refused:?}");
        }
        assert_eq!(read(&[(ADDRESS, &at("page"))], &[]).1, [""; 0]);
    }

    #[test]
    fn a_variable_that_cannot_be_used_costs_itself() {
        let bad = [("PROMETHEUS_PORT", "9153"), ("PROMETHEUS_PATH", "metrics"), ("GRAPHITE_SERVER", "x")];
        let (statistics, refused) = read(&bad, &[("GRAPHITE_SERVER", "old:2003")]);
        assert_eq!(statistics.page.map(|page| page.path), Some("/metrics".to_owned()));
        assert_eq!(statistics.sinks.len(), 1);
        assert_eq!(
            refused,
            [
                "variable PROMETHEUS_PATH: \"metrics\" is not a path of a URL: it begins with a slash, and has no blanks; the default is used",
                "variable GRAPHITE_SERVER: \"x\" is not a host and port, such as graphite.example.org:2003; \
                 old:2003, the last good value, stays"
            ]
        );
        for path in ["/a b", "/a?b", "/a#b", "/\u{fc}"] {
            assert_eq!(read(&[("PROMETHEUS_PATH", path)], &[]).1.len(), 1, "{path}");
        }
        let place = |pairs: &[(&str, &str)]| read(pairs, &[]).0.page.map(|page| page.place.to_string());
        let port = ("PROMETHEUS_PORT", "9153");
        assert_eq!(place(&[port]).as_deref(), Some("port 9153 of all addresses"));
        assert_eq!(place(&[port, (ADDRESS, "::1")]).as_deref(), Some("[::1]:9153"));
        assert_eq!(place(&[(ADDRESS, "/run/skydns/metrics")]).as_deref(), Some("/run/skydns/metrics"));
        assert_eq!(place(&[port, (ADDRESS, "localhost")]).as_deref(), Some("127.0.0.1:9153"), "never wider");
        let (statistics, refused) = read(&[("PROMETHEUS_PORT", "x"), ("PROMETHEUS_NAMESPACE", "a b")], &[]);
        assert_eq!((statistics.page, refused.len()), (None, 2));
        assert_eq!(read(&[("PROMETHEUS_PORT", "0")], &[]), (Statistics::default(), Vec::new()));
    }
}
