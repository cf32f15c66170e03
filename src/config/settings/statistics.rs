//! The variables of statistics, which have neither flags nor keys in `/skydns/config`; a change needs a restart.

use super::DefaultValue;

/// One variable of statistics.
#[derive(Debug)]
pub struct StatisticsVariable {
    /// The environment variable.
    pub name: &'static str,
    /// What the variable takes.
    pub takes: &'static str,
    /// What the variable sets, in the form of a setting's summary.
    pub summary: &'static str,
    /// What else there is to know, in sentences.
    pub details: &'static str,
    /// What counts when the variable is not set.
    pub default: DefaultValue,
    /// A value as a user may give it.
    pub example: &'static str,
}

/// All variables of statistics, in the order of the documents.
pub const STATISTICS: [StatisticsVariable; 13] = [
    StatisticsVariable {
        name: "PROMETHEUS_PORT",
        takes: "PORT",
        summary: "port of the metrics page for Prometheus, over HTTP",
        details: "With 0 there is no page.",
        default: DefaultValue::Unset("none; there is no page"),
        example: "9153",
    },
    StatisticsVariable {
        name: "PROMETHEUS_ADDR",
        takes: "ADDRESS",
        summary: "address of the metrics page: an IP address, or the path of a Unix socket",
        details: "A Unix socket needs no port. Without an address everybody who reaches the host can read the page: give `127.0.0.1` if Prometheus runs there.",
        default: DefaultValue::Unset("all addresses of the host"),
        example: "127.0.0.1",
    },
    StatisticsVariable {
        name: "PROMETHEUS_PATH",
        takes: "PATH",
        summary: "path of the metrics page",
        details: "The path begins with a slash, and has no blanks.",
        default: DefaultValue::Value("/metrics"),
        example: "/metrics",
    },
    StatisticsVariable {
        name: "PROMETHEUS_NAMESPACE",
        takes: "NAME",
        summary: "first part of the names of metrics",
        details: "Letters, digits and `_`; the first character is not a digit.",
        default: DefaultValue::Value("skydns"),
        example: "skydns",
    },
    StatisticsVariable {
        name: "PROMETHEUS_SUBSYSTEM",
        takes: "NAME",
        summary: "second part of the names of metrics",
        details: "Letters, digits and `_`; the first character is not a digit.",
        default: DefaultValue::Value("skydns"),
        example: "skydns",
    },
    StatisticsVariable {
        name: "GRAPHITE_SERVER",
        takes: "HOST:PORT",
        summary: "Graphite server, with the plain text protocol",
        details: "",
        default: DefaultValue::Unset("none"),
        example: "graphite.example.org:2003",
    },
    StatisticsVariable {
        name: "GRAPHITE_PREFIX",
        takes: "TEXT",
        summary: "first part of the names at Graphite",
        details: "The prefix has no blanks.",
        default: DefaultValue::Value("skydns"),
        example: "skydns",
    },
    StatisticsVariable {
        name: "INFLUX_SERVER",
        takes: "HOST:PORT",
        summary: "InfluxDB 1 server, over HTTP",
        details: "",
        default: DefaultValue::Unset("none"),
        example: "influxdb.example.org:8086",
    },
    StatisticsVariable {
        name: "INFLUX_DATABASE",
        takes: "NAME",
        summary: "database at InfluxDB",
        details: "",
        default: DefaultValue::Value("skydns"),
        example: "skydns",
    },
    StatisticsVariable {
        name: "INFLUX_USER",
        takes: "NAME",
        summary: "user name for InfluxDB",
        details: "",
        default: DefaultValue::Unset("none"),
        example: "skydns",
    },
    StatisticsVariable {
        name: "INFLUX_PASSWORD",
        takes: "TEXT",
        summary: "password for InfluxDB",
        details: "The password counts only together with `INFLUX_USER`.",
        default: DefaultValue::Unset("the empty password"),
        example: "secret",
    },
    StatisticsVariable {
        name: "STATHAT_USER",
        takes: "KEY",
        summary: "EZ key of StatHat",
        details: "The key has no blanks. Nothing is sent to StatHat without it.",
        default: DefaultValue::Unset("none"),
        example: "you@example.org",
    },
    StatisticsVariable {
        name: "STATHAT_SERVER",
        takes: "HOST:PORT",
        summary: "StatHat server, or a relay, over HTTP",
        details: "This counts only together with `STATHAT_USER`.",
        default: DefaultValue::Value("api.stathat.com:80"),
        example: "relay.example.org:80",
    },
];
