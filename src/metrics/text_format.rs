//! The text format of Prometheus, version 0.0.4: lines of help, type and samples.

use super::histogram::{Buckets, Histogram};
use std::fmt::{Arguments, Display, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the name of each metric begins with: both parts, joined by underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricNames {
    /// `PROMETHEUS_NAMESPACE`; empty for none.
    pub namespace: String,
    /// `PROMETHEUS_SUBSYSTEM`; empty for none.
    pub subsystem: String,
}

impl Default for MetricNames {
    fn default() -> Self {
        Self { namespace: "skydns".to_owned(), subsystem: "skydns".to_owned() }
    }
}

/// Writes metrics as text.
///
/// A metric is a [`head`](Self::head) and then its samples.
pub(super) struct TextWriter<'a> {
    text: String,
    names: &'a MetricNames,
}

impl<'a> TextWriter<'a> {
    /// Begins an empty text.
    pub(super) fn new(names: &'a MetricNames) -> Self {
        Self { text: String::new(), names }
    }

    /// Ends the text and returns it.
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Writes help and type of a metric.
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let name = self.full_name(name);
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// Writes a metric that has one sample, without labels.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let name = self.full_name(name);
        self.line(format_args!("{name} {value}"));
    }

    /// Writes one sample of a metric. The values of labels must hold no line breaks.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let name = self.full_name(name);
        let escaped = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"");
        let labels: Vec<_> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    /// Writes the samples of a histogram: its buckets, each with all values up to its bound, their sum and their count.
    #[expect(clippy::cast_precision_loss, reason = "a sum is written in as many digits as Prometheus keeps")]
    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        system: &str,
        buckets: &Buckets<N>,
        histogram: &Histogram<N>,
    ) {
        let mut total = 0;
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        for (bound, bucket) in buckets.bounds.iter().zip(&histogram.buckets) {
            total += load(bucket);
            let le = (*bound as f64 / buckets.per_unit).to_string();
            self.sample(&format!("{name}_bucket"), &[("system", system), ("le", &le)], total);
        }
        // Another thread may have added a value to its bucket, and not yet to the count.
        let count = load(&histogram.count).max(total);
        let sum = load(&histogram.sum) as f64 / buckets.per_unit;
        self.sample(&format!("{name}_bucket"), &[("system", system), ("le", "+Inf")], count);
        self.sample(&format!("{name}_sum"), &[("system", system)], sum);
        self.sample(&format!("{name}_count"), &[("system", system)], count);
    }

    fn full_name(&self, name: &str) -> String {
        let MetricNames { namespace, subsystem } = self.names;
        let parts = [namespace.as_str(), subsystem, name];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
    }

    fn line(&mut self, line: Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }
}
