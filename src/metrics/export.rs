//! The counters as Prometheus reads them (text format 0.0.4).

use super::counters::Metrics;
use super::histogram::{Histogram, SIZE_BOUNDS, TIME_BOUNDS};
use super::labels::{ANSWERERS, ERROR_CAUSES, SOCKET_WORKS};
use crate::forward::UpstreamReport;
use crate::source::{SourceState, Status};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the names of all metrics begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricNames {
    /// `PROMETHEUS_NAMESPACE`.
    pub namespace: String,
    /// `PROMETHEUS_SUBSYSTEM`.
    pub subsystem: String,
}

impl Default for MetricNames {
    fn default() -> Self {
        Self { namespace: "skydns".to_owned(), subsystem: "skydns".to_owned() }
    }
}

/// A page in the making.
struct Page<'a> {
    text: String,
    names: &'a MetricNames,
}

impl Metrics {
    /// The whole page.
    pub fn page(
        &self,
        names: &MetricNames,
        status: &Status,
        upstreams: &[UpstreamReport],
        refused: usize,
    ) -> String {
        let mut page = Page { text: String::new(), names };
        self.skydns(&mut page);
        let own = [
            ("dropped_packets_total", "Packets that got no reply: too short, or responses.", &self.dropped),
            ("rejected_packets_total", "Packets that got an error for their form.", &self.rejected),
            ("unsigned_total", "Answers that could not be signed.", &self.unsigned),
            ("panics_total", "Queries that failed by a fault of this program.", &self.panics),
            ("overloads_total", "Queries given up because too many were under way.", &self.overloads),
            ("limited_total", "Replies put off to TCP for networks that had their share.", &self.limited),
            ("stale_answers_total", "Forwarded answers given after their time.", &self.stale),
            ("snapshots_total", "Snapshots of etcd that were written to disk.", &self.snapshots),
            ("snapshot_failures_total", "Snapshots that could not be written.", &self.snapshot_failures),
        ];
        for (name, help, counter) in own {
            page.single(name, "counter", help, counter.load(Relaxed));
        }
        page.head("socket_errors_total", "counter", "Errors of sockets that clients are served at.");
        for ((_, work), count) in SOCKET_WORKS.iter().zip(&self.socket_errors) {
            page.sample("socket_errors_total", &[("work", work)], count.load(Relaxed));
        }
        let help = "Size of the last snapshot that was written.";
        page.single("snapshot_size_bytes", "gauge", help, self.snapshot_octets.load(Relaxed));
        page.single("names", "gauge", "Names with a service.", status.names as u64);
        page.single("refused_records", "gauge", "Records that are not served.", refused as u64);
        page.head("source_up", "gauge", "Whether a source can be reached and was read.");
        for (id, state) in &status.sources {
            let up = u64::from(matches!(state, SourceState::Synced { .. }));
            page.sample("source_up", &[("source", id.name())], up);
        }
        page.head("source_changes_total", "counter", "Changes of a source's state, by the state it came to.");
        for (id, changes) in &status.changes {
            for (state, count) in SourceState::NAMES.iter().zip(changes) {
                page.sample("source_changes_total", &[("source", id.name()), ("state", state)], count);
            }
        }
        page.head("upstream_up", "gauge", "Whether an upstream answers.");
        for upstream in upstreams {
            let address = upstream.address.to_string();
            page.sample("upstream_up", &[("address", &address)], u64::from(upstream.is_up));
        }
        page.head("upstream_changes_total", "counter", "Changes of whether an upstream answers.");
        for upstream in upstreams {
            let address = upstream.address.to_string();
            page.sample("upstream_changes_total", &[("address", &address)], upstream.changes);
        }
        page.text
    }

    fn skydns(&self, page: &mut Page<'_>) {
        page.head("dns_request_count_total", "counter", "Counter of DNS requests made.");
        for ((_, system), counters) in ANSWERERS.iter().zip(&self.answerers) {
            page.sample("dns_request_count_total", &[("system", system)], counters.requests.load(Relaxed));
        }
        let help = "Histogram of the time (in seconds) each request took to resolve.";
        page.head("dns_request_duration_seconds", "histogram", help);
        for ((_, system), counters) in ANSWERERS.iter().zip(&self.answerers) {
            page.histogram("dns_request_duration_seconds", system, &TIME_BOUNDS, &counters.times, 1e6);
        }
        page.head("dns_response_size_bytes", "histogram", "Size of the returns response in bytes.");
        for ((_, system), counters) in ANSWERERS.iter().zip(&self.answerers) {
            page.histogram("dns_response_size_bytes", system, &SIZE_BOUNDS, &counters.sizes, 1.0);
        }
        page.head("dns_error_count_total", "counter", "Counter of DNS requests resulting in an error.");
        for ((_, system), counters) in ANSWERERS.iter().zip(&self.answerers) {
            for ((_, cause), count) in ERROR_CAUSES.iter().zip(&counters.errors) {
                let labels = [("system", *system), ("cause", *cause)];
                page.sample("dns_error_count_total", &labels, count.load(Relaxed));
            }
        }
        let help = "Counter of DNS requests that result in a cache miss.";
        page.head("dns_cachemiss_count_total", "counter", help);
        let misses = self.cache_misses.load(Relaxed);
        page.sample("dns_cachemiss_count_total", &[("cache", "response")], misses);
    }
}

impl Page<'_> {
    fn full(&self, name: &str) -> String {
        let MetricNames { namespace, subsystem } = self.names;
        [namespace.as_str(), subsystem, name]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("_")
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let name = self.full(name);
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let name = self.full(name);
        self.line(format_args!("{name} {value}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let name = self.full(name);
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    #[expect(clippy::cast_precision_loss, reason = "a sum is told in as many digits as Prometheus keeps")]
    fn histogram<const N: usize>(
        &mut self,
        name: &str,
        system: &str,
        bounds: &[u64; N],
        histogram: &Histogram<N>,
        unit: f64,
    ) {
        let mut total = 0;
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        for (bound, bucket) in bounds.iter().zip(&histogram.buckets) {
            total += load(bucket);
            let le = (*bound as f64 / unit).to_string();
            self.sample(&format!("{name}_bucket"), &[("system", system), ("le", &le)], total);
        }
        let count = load(&histogram.count).max(total);
        self.sample(&format!("{name}_bucket"), &[("system", system), ("le", "+Inf")], count);
        self.sample(&format!("{name}_sum"), &[("system", system)], load(&histogram.sum) as f64 / unit);
        self.sample(&format!("{name}_count"), &[("system", system)], count);
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::{AnsweredBy, ErrorCause};
    use super::*;
    use crate::metrics::ReplyStats;
    use std::time::Duration;

    #[test]
    fn names_and_labels_are_skydnss() {
        let metrics = Metrics::default();
        let stats = |octets, cause| ReplyStats {
            answered_by: AnsweredBy::Auth,
            cause,
            no_data: false,
            dnssec_ok: false,
            octets,
        };
        metrics.replied(&stats(600, Some(ErrorCause::Nxdomain)), Duration::from_millis(2));
        metrics.replied(&stats(70, None), Duration::from_secs(99));
        metrics.missed_cache();
        let upstream = UpstreamReport { address: ([192, 0, 2, 1], 53).into(), is_up: true, changes: 4 };
        let page = metrics.page(&MetricNames::default(), &Status::default(), &[upstream], 3);
        for line in [
            "skydns_skydns_dns_request_count_total{system=\"auth\"} 2",
            "skydns_skydns_dns_request_count_total{system=\"stub\"} 0",
            "skydns_skydns_dns_request_duration_seconds_bucket{system=\"auth\",le=\"0.001\"} 0",
            "skydns_skydns_dns_request_duration_seconds_bucket{system=\"auth\",le=\"0.003\"} 1",
            "skydns_skydns_dns_request_duration_seconds_bucket{system=\"auth\",le=\"10\"} 1",
            "skydns_skydns_dns_request_duration_seconds_bucket{system=\"auth\",le=\"+Inf\"} 2",
            "skydns_skydns_dns_request_duration_seconds_sum{system=\"auth\"} 99.002",
            "skydns_skydns_dns_response_size_bytes_bucket{system=\"auth\",le=\"512\"} 1",
            "skydns_skydns_dns_response_size_bytes_count{system=\"auth\"} 2",
            "skydns_skydns_dns_error_count_total{system=\"auth\",cause=\"nxdomain\"} 1",
            "skydns_skydns_dns_cachemiss_count_total{cache=\"response\"} 1",
            "skydns_skydns_refused_records 3",
            "skydns_skydns_upstream_up{address=\"192.0.2.1:53\"} 1",
            "skydns_skydns_upstream_changes_total{address=\"192.0.2.1:53\"} 4",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
        let bare = MetricNames { namespace: String::new(), subsystem: "x".to_owned() };
        assert!(metrics.page(&bare, &Status::default(), &[], 0).contains("\nx_names 0\n"));
    }

    #[test]
    fn counters_end_in_total_and_every_metric_has_help() {
        let page = Metrics::default().page(&MetricNames::default(), &Status::default(), &[], 0);
        for line in page.lines().filter(|line| line.starts_with("# TYPE")) {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!(words[3] == "counter", words[2].ends_with("_total"), "{line}");
            assert!(page.contains(&format!("# HELP {} ", words[2])));
        }
    }
}
