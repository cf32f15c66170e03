//! Statistics that leave the agent: the metrics page, and servers that they are sent to.

use super::status::StatusNotes;
use super::tasks::Tasks;
use crate::answer::{Freshness, Zone};
use crate::forward::Forwarder;
use crate::metrics::{self, MetricNames, Metrics, PagePlace, StatisticsSink, ZoneReport};
use crate::source::Publisher;
use crate::tree::{Cluster, ObjectKind, Scope};
use std::io;
use std::sync::Arc;

/// The settings of the metrics page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Address and port, or Unix socket: `PROMETHEUS_ADDR` and `PROMETHEUS_PORT`.
    pub place: PagePlace,
    /// Path of the URL: `PROMETHEUS_PATH`.
    pub path: String,
    /// What names begin with: `PROMETHEUS_NAMESPACE` and `PROMETHEUS_SUBSYSTEM`.
    pub names: MetricNames,
}

/// The settings of all statistics that leave the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The page that Prometheus fetches, if there is one.
    pub page: Option<MetricsSettings>,
    /// The servers that statistics are sent to.
    pub sinks: Vec<StatisticsSink>,
}

/// Starts the senders of statistics and the metrics page.
pub(super) fn start(
    statistics: Statistics,
    counters: &Arc<Metrics>,
    publisher: &Arc<Publisher>,
    forwarder: &Arc<Forwarder>,
    (tasks, notes): (&mut Tasks, StatusNotes),
) {
    for sink in statistics.sinks {
        tasks.spawn("the sender of statistics", metrics::push(sink, Arc::clone(counters)));
    }
    if let Some(settings) = statistics.page {
        let (publisher, status) = (Arc::clone(publisher), publisher.status());
        let (counters, forwarder, names) =
            (Arc::clone(counters), Arc::clone(forwarder), settings.names.clone());
        let page = move || {
            let status = status.borrow().clone();
            let (zones, refused) = (zone_reports(&publisher), publisher.refusals().count());
            metrics::page(&counters, &names, &status, &forwarder.report(), (&zones, refused))
        };
        tasks.spawn("the metrics page", serve_page(settings, page, notes));
    }
}

/// How each zone is now.
fn zone_reports(publisher: &Publisher) -> Vec<ZoneReport> {
    let (published, site) = (publisher.published().load_full(), publisher.site());
    let report = |zone: &Zone| ZoneReport {
        name: zone.domain().to_string(),
        names: published.tree.names_of(Some(zone.apex())) + services_in(zone, published.tree.cluster()),
        serial: published.tree.serial_of(zone.apex()),
        is_current: published.freshness.of(zone) == Freshness::Current,
    };
    site.iter().flat_map(|site| site.zones.iter()).map(report).collect()
}

/// The number of services of a cluster that have names in a zone.
fn services_in(zone: &Zone, cluster: &Cluster) -> usize {
    zone.cluster.map_or(0, |names| match names.scope {
        Scope::Cluster => cluster.count(ObjectKind::Service),
        Scope::ClusterSet => cluster.count(ObjectKind::Import),
    })
}

/// Serves the metrics page, for ever. While it cannot be served, the status line says so.
async fn serve_page(
    settings: MetricsSettings,
    page: impl Fn() -> String + Send + Sync + 'static,
    notes: StatusNotes,
) {
    let MetricsSettings { place, path, .. } = settings;
    // A port that another program has must not end the DNS of the host, so the page waits for the port.
    let missing = |error: &io::Error| notes.set_page(Some(&format!("{place}: {error}")));
    let listener = metrics::listen(&place, missing).await;
    notes.set_page(None);
    log::info!("metrics at {path} on {place}");
    metrics::serve(listener, path, page).await;
}
