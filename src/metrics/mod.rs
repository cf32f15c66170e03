//! Metrics: the counters of SkyDNS 2.5, under its names, and a few of this program's own.
//!
//! Counting is a relaxed atomic addition: no query takes a lock for it. What reads the counters makes text of them:
//! a page for Prometheus, and messages for Graphite, InfluxDB and StatHat. Durations are counted in microseconds and
//! shown in seconds, sizes are in octets.

mod counters;
mod histogram;
mod http;
mod labels;
mod page;
mod push;
mod reply_stats;
mod text_format;
mod zones;

pub use counters::Metrics;
pub use http::{PageListener, PagePlace, listen, place_problem, serve};
pub use labels::{AnsweredBy, ErrorCause, SocketWork};
pub use page::{ZoneReport, page};
pub use push::{StatisticsSink, push};
pub use reply_stats::ReplyStats;
pub use text_format::MetricNames;
