//! Statistics that leave the agent: the metrics page, and servers that they are sent to.

use super::tasks::Tasks;
use crate::forward::Forwarder;
use crate::metrics::{self, MetricNames, Metrics, PagePlace, StatisticsSink};
use crate::source::Publisher;
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
    tasks: &mut Tasks,
) {
    for sink in statistics.sinks {
        tasks.spawn("the sender of statistics", metrics::push(sink, Arc::clone(counters)));
    }
    if let Some(settings) = statistics.page {
        serve_page(settings, Arc::clone(counters), publisher, Arc::clone(forwarder), tasks);
    }
}

/// Starts the metrics page.
fn serve_page(
    settings: MetricsSettings,
    counters: Arc<Metrics>,
    publisher: &Arc<Publisher>,
    forwarder: Arc<Forwarder>,
    tasks: &mut Tasks,
) {
    let (publisher, status) = (Arc::clone(publisher), publisher.status());
    let names = settings.names;
    let page = move || {
        let status = status.borrow().clone();
        metrics::page(&counters, &names, &status, &forwarder.report(), publisher.refusals().count())
    };
    tasks.spawn("the metrics page", async move {
        // A port that another program has must not end the DNS of the host, so the page waits for the port.
        let listener = metrics::listen(&settings.place).await;
        log::info!("metrics at {} on {}", settings.path, settings.place);
        metrics::serve(listener, settings.path, page).await;
    });
}
