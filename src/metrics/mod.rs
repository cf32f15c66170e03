//! Counters: SkyDNS 2.5's, under its names, and a few about ourselves.
//!
//! Counting is a relaxed addition; nothing on the way of a query takes a lock. Times are told in
//! seconds, sizes in octets.

mod counters;
mod export;
mod histogram;
mod http;
mod labels;
mod push;
mod reply_stats;

pub use counters::Metrics;
pub use export::MetricNames;
pub use http::{listen, serve};
pub use labels::{AnsweredBy, ErrorCause, SocketWork};
pub use push::{StatisticsSink, push};
pub use reply_stats::{ReplyStats, ReplyTally};
