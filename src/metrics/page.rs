//! The page of metrics: SkyDNS's, under its names and labels, and those of this program.

use super::counters::Metrics;
use super::histogram::{SIZE_BUCKETS, TIME_BUCKETS};
use super::labels::{ANSWERERS, ERROR_CAUSES, SOCKET_WORKS};
use super::text_format::{MetricNames, TextWriter};
use crate::forward::{ForwardReport, UpstreamCondition};
use crate::source::{LossCause, SourceState, Status};
use std::sync::atomic::Ordering::Relaxed;

/// How a zone is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneReport {
    /// The domain, with its final dot.
    pub name: String,
    /// Number of keys with a service.
    pub names: usize,
    /// Serial of the SOA.
    pub serial: u32,
    /// Whether its names are those that the sources have now.
    pub is_current: bool,
}

/// Writes the whole page in Prometheus's text format; `refused` records are not served.
pub fn page(
    metrics: &Metrics,
    names: &MetricNames,
    status: &Status,
    forward: &ForwardReport,
    (zones, refused): (&[ZoneReport], usize),
) -> String {
    let mut text = TextWriter::new(names);
    write_skydns(metrics, &mut text);
    write_own(metrics, &mut text);
    write_zones(metrics, zones, &mut text);
    text.single("names", "gauge", "Names with a service.", status.names as u64);
    text.single("refused_records", "gauge", "Records that are not served.", refused as u64);
    let settings_refused = metrics.settings_refused.load(Relaxed);
    text.single("settings_refused", "gauge", "Settings that are not used.", settings_refused);
    write_sources(status, &mut text);
    write_losses(status, &mut text);
    let help = "Objects of a cluster that a list had otherwise than the watch before it had told.";
    text.single("kubernetes_audit_differences_total", "counter", help, status.audit_differences);
    write_forward(forward, &mut text);
    text.finish()
}

/// Writes the metrics of SkyDNS 2.5.
fn write_skydns(metrics: &Metrics, text: &mut TextWriter<'_>) {
    text.head("dns_request_count_total", "counter", "Counter of DNS requests made.");
    for ((_, system), counters) in ANSWERERS.iter().zip(&metrics.answerers) {
        text.sample("dns_request_count_total", &[("system", system)], counters.requests.load(Relaxed));
    }
    let help = "Histogram of the time (in seconds) each request took to resolve.";
    text.head("dns_request_duration_seconds", "histogram", help);
    for ((_, system), counters) in ANSWERERS.iter().zip(&metrics.answerers) {
        text.histogram("dns_request_duration_seconds", system, &TIME_BUCKETS, &counters.times);
    }
    text.head("dns_response_size_bytes", "histogram", "Size of the returns response in bytes.");
    for ((_, system), counters) in ANSWERERS.iter().zip(&metrics.answerers) {
        text.histogram("dns_response_size_bytes", system, &SIZE_BUCKETS, &counters.sizes);
    }
    text.head("dns_error_count_total", "counter", "Counter of DNS requests resulting in an error.");
    for ((_, system), counters) in ANSWERERS.iter().zip(&metrics.answerers) {
        for ((_, cause), count) in ERROR_CAUSES.iter().zip(&counters.errors) {
            let labels = [("system", *system), ("cause", *cause)];
            text.sample("dns_error_count_total", &labels, count.load(Relaxed));
        }
    }
    let help = "Counter of DNS requests that result in a cache miss.";
    text.head("dns_cachemiss_count_total", "counter", help);
    let misses = metrics.cache_misses.load(Relaxed);
    text.sample("dns_cachemiss_count_total", &[("cache", "response")], misses);
}

/// Writes the counters that SkyDNS does not have.
fn write_own(metrics: &Metrics, text: &mut TextWriter<'_>) {
    let counters = [
        ("dropped_packets_total", "Packets that got no reply: too short, or responses.", &metrics.dropped),
        ("rejected_packets_total", "Packets that got an error for their form.", &metrics.rejected),
        ("unsigned_total", "Answers that could not be signed.", &metrics.unsigned),
        ("costly_answers_total", "Answers given up because they took too much work.", &metrics.costly),
        ("panics_total", "Queries that failed by a fault of this program.", &metrics.panics),
        ("overloads_total", "Queries given up because too many were under way.", &metrics.overloads),
        (
            "limited_total",
            "Replies replaced by \"ask over TCP\" for networks that asked too much.",
            &metrics.limited,
        ),
        (
            "tcp_waits_total",
            "Queries over TCP that waited because their network asked too much.",
            &metrics.waits,
        ),
        ("stale_answers_total", "Forwarded answers given after they had expired.", &metrics.stale),
        ("v2_only_answers_total", "Answers with data that only etcd's v2 API has.", &metrics.of_leaving),
        ("snapshots_total", "Snapshots of etcd that were written to disk.", &metrics.snapshots),
        ("snapshot_failures_total", "Snapshots that could not be written.", &metrics.snapshot_failures),
    ];
    for (name, help, counter) in counters {
        text.single(name, "counter", help, counter.load(Relaxed));
    }
    text.head("socket_errors_total", "counter", "Errors of sockets that clients are served at.");
    for ((_, work), count) in SOCKET_WORKS.iter().zip(&metrics.socket_errors) {
        text.sample("socket_errors_total", &[("work", work)], count.load(Relaxed));
    }
    let help = "Size of the last snapshot that was written.";
    text.single("snapshot_size_bytes", "gauge", help, metrics.snapshot_octets.load(Relaxed));
}

/// Writes what is known of each zone.
fn write_zones(metrics: &Metrics, zones: &[ZoneReport], text: &mut TextWriter<'_>) {
    let counted: Vec<_> = metrics.zones.all().into_iter().map(|zone| (zone.zone.to_string(), zone)).collect();
    text.head("zone_replies_total", "counter", "Replies to questions of a zone.");
    for (zone, counted) in &counted {
        text.sample("zone_replies_total", &[("zone", zone)], counted.replies);
    }
    text.head("zone_nxdomain_total", "counter", "Replies that a name of a zone does not exist.");
    for (zone, counted) in &counted {
        text.sample("zone_nxdomain_total", &[("zone", zone)], counted.denials);
    }
    text.head("zone_names", "gauge", "Names with a service, by zone.");
    for zone in zones {
        text.sample("zone_names", &[("zone", &zone.name)], zone.names as u64);
    }
    text.head("zone_serial", "gauge", "Serial of a zone: when its data changed last, in Unix time.");
    for zone in zones {
        text.sample("zone_serial", &[("zone", &zone.name)], zone.serial);
    }
    text.head(
        "zone_up",
        "gauge",
        "Whether all sources that a zone has names of can be reached and were read.",
    );
    for zone in zones {
        text.sample("zone_up", &[("zone", &zone.name)], u64::from(zone.is_current));
    }
}

/// Writes how the sources of the tree are doing.
fn write_sources(status: &Status, text: &mut TextWriter<'_>) {
    text.head("source_up", "gauge", "Whether a source that is asked for can be reached and was read.");
    // A source that no setting asks for is not missed: an alert for 0 would be wrong on each host without it.
    for (id, state) in status.sources.iter().filter(|(id, _)| !status.optional.contains(id)) {
        let up = u64::from(matches!(state, SourceState::Synced { .. }));
        text.sample("source_up", &[("source", id.name())], up);
    }
    text.head("source_changes_total", "counter", "Changes of a source's state, by the state it came to.");
    for (id, changes) in &status.changes {
        for (state, count) in SourceState::NAMES.iter().zip(changes) {
            text.sample("source_changes_total", &[("source", id.name()), ("state", state)], count);
        }
    }
}

/// Writes what is served on though it is gone.
fn write_losses(status: &Status, text: &mut TextWriter<'_>) {
    text.head("held_names", "gauge", "Names that are gone and served on, because a zone lost many at once.");
    for held in &status.held {
        let labels = [("zone", held.zone.as_deref().unwrap_or("")), ("cause", held.cause.name())];
        text.sample("held_names", &labels, held.names as u64);
    }
    text.head(
        "mass_losses_total",
        "counter",
        "How often a zone lost so many names at once that they are served on.",
    );
    for (cause, count) in LossCause::ALL.iter().zip(status.mass_losses) {
        text.sample("mass_losses_total", &[("cause", cause.name())], count);
    }
}

/// Writes how forwarding is doing.
fn write_forward(forward: &ForwardReport, text: &mut TextWriter<'_>) {
    let help = "Exchanges with upstreams given up because too many were under way.";
    text.single("exchanges_given_up_total", "counter", help, forward.given_up);
    let upstreams = &forward.upstreams;
    text.head("upstream_up", "gauge", "Whether an upstream answers; none before it was asked.");
    for upstream in upstreams {
        let address = upstream.address.to_string();
        let up = match upstream.condition {
            UpstreamCondition::NotAsked => continue,
            UpstreamCondition::Up => 1u64,
            UpstreamCondition::Down => 0,
        };
        text.sample("upstream_up", &[("address", &address)], up);
    }
    text.head("upstream_changes_total", "counter", "Changes of whether an upstream answers.");
    for upstream in upstreams {
        let address = upstream.address.to_string();
        text.sample("upstream_changes_total", &[("address", &address)], upstream.changes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::{AnsweredBy, ErrorCause};
    use super::super::reply_stats::ReplyStats;
    use super::*;
    use crate::forward::UpstreamReport;
    use crate::source::{HeldNames, SourceId};
    use hickory_proto::rr::Name;
    use std::time::{Duration, SystemTime};

    #[test]
    fn names_and_labels_are_those_of_skydns() {
        let metrics = Metrics::default();
        let zone = Name::from_ascii("a.example.").expect("a name");
        let stats = |octets, cause| ReplyStats {
            answered_by: AnsweredBy::Auth,
            zone: metrics.zone_number(&zone),
            cause,
            no_data: false,
            dnssec_ok: false,
            is_of_leaving: false,
            octets,
        };
        metrics.replied(&stats(600, Some(ErrorCause::Nxdomain)), Duration::from_millis(2));
        metrics.replied(&stats(70, None), Duration::from_secs(99));
        metrics.missed_cache();
        let upstream = |last, condition| UpstreamReport {
            address: ([192, 0, 2, last], 53).into(),
            condition,
            changes: 4,
        };
        let upstreams = vec![
            upstream(1, UpstreamCondition::Up),
            upstream(2, UpstreamCondition::Down),
            upstream(3, UpstreamCondition::NotAsked),
        ];
        let forward = ForwardReport { upstreams, given_up: 7 };
        let report = ZoneReport { name: zone.to_string(), names: 5, serial: 77, is_current: true };
        let held = HeldNames {
            zone: Some("a.example.".to_owned()),
            cause: LossCause::LeaseEnded,
            names: 40,
            of: 100,
            until: SystemTime::now(),
        };
        let status = Status { held: vec![held], mass_losses: [0, 2], ..Status::default() };
        let page = page(&metrics, &MetricNames::default(), &status, &forward, (&[report], 3));
        for line in [
            "skydns_skydns_exchanges_given_up_total 7",
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
            "skydns_skydns_zone_replies_total{zone=\"a.example.\"} 2",
            "skydns_skydns_zone_nxdomain_total{zone=\"a.example.\"} 1",
            "skydns_skydns_zone_names{zone=\"a.example.\"} 5",
            "skydns_skydns_zone_serial{zone=\"a.example.\"} 77",
            "skydns_skydns_zone_up{zone=\"a.example.\"} 1",
            "skydns_skydns_held_names{zone=\"a.example.\",cause=\"lease_ended\"} 40",
            "skydns_skydns_mass_losses_total{cause=\"deleted\"} 0",
            "skydns_skydns_mass_losses_total{cause=\"lease_ended\"} 2",
            "skydns_skydns_upstream_up{address=\"192.0.2.1:53\"} 1",
            "skydns_skydns_upstream_up{address=\"192.0.2.2:53\"} 0",
            "skydns_skydns_upstream_changes_total{address=\"192.0.2.1:53\"} 4",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
        assert!(
            !page.contains("skydns_skydns_upstream_up{address=\"192.0.2.3:53\"}"),
            "not asked yet\n{page}"
        );
        let bare = MetricNames { namespace: String::new(), subsystem: "x".to_owned() };
        assert!(
            super::page(&metrics, &bare, &Status::default(), &ForwardReport::default(), (&[], 0))
                .contains("\nx_names 0\n")
        );
    }

    #[test]
    fn sources_that_are_asked_for_have_a_line_from_the_start() {
        let sources = [(SourceId::Etcd, SourceState::Waiting), (SourceId::Files, SourceState::Waiting)];
        let lines = |optional: &[SourceId]| {
            let optional = optional.iter().copied().collect();
            let status = Status { sources: sources.clone().into(), optional, ..Status::default() };
            let page = page(
                &Metrics::default(),
                &MetricNames::default(),
                &status,
                &ForwardReport::default(),
                (&[], 0),
            );
            let line =
                |name: &str| page.contains(&format!("skydns_skydns_source_up{{source=\"{name}\"}} 0\n"));
            (line("etcd"), line("files"))
        };
        assert_eq!(lines(&[]), (true, true));
        assert_eq!(lines(&[SourceId::Etcd]), (false, true), "etcd is looked for, and not missed");
    }

    #[test]
    fn counters_end_in_total_and_every_metric_has_help() {
        let page = page(
            &Metrics::default(),
            &MetricNames::default(),
            &Status::default(),
            &ForwardReport::default(),
            (&[], 0),
        );
        for line in page.lines().filter(|line| line.starts_with("# TYPE")) {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!(words[3] == "counter", words[2].ends_with("_total"), "{line}");
            assert!(page.contains(&format!("# HELP {} ", words[2])));
        }
    }
}
