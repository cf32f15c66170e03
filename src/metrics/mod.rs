//! Counters: SkyDNS 2.5's, under its names, and a few about ourselves.
//!
//! Counting is a relaxed addition; nothing on the way of a query takes a lock. Times are told in
//! seconds, sizes in octets.

mod counters;
mod histogram;
mod http;
mod labels;
mod page;
mod push;
mod reply_stats;
mod text_format;

pub use counters::Metrics;
pub use http::{listen, serve};
pub use labels::{AnsweredBy, ErrorCause, SocketWork};
pub use page::page;
pub use push::{StatisticsSink, push};
pub use reply_stats::{ReplyStats, ReplyTally};
pub use text_format::MetricNames;
