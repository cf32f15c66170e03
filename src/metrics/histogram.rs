//! Histograms of durations and sizes, with SkyDNS's buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The buckets of one kind of histogram.
pub(super) struct Buckets<const N: usize> {
    /// Upper bounds, which belong to their buckets, in the unit that is counted in.
    pub(super) bounds: [u64; N],
    /// How many of that unit make one of the unit on the page of metrics.
    pub(super) per_unit: f64,
}

/// SkyDNS's buckets of durations: counted in microseconds, shown in seconds.
pub(super) const TIME_BUCKETS: Buckets<13> = Buckets {
    bounds: [
        1_000, 3_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
        5_000_000, 10_000_000,
    ],
    per_unit: 1e6,
};

/// SkyDNS's buckets of sizes, in octets.
pub(super) const SIZE_BUCKETS: Buckets<21> = Buckets {
    bounds: [
        0, 512, 1024, 1500, 2048, 4096, 8192, 12288, 16384, 20480, 24576, 28672, 32768, 36864, 40960, 45056,
        49152, 53248, 57344, 61440, 65536,
    ],
    per_unit: 1.0,
};

/// Values by bucket. A value above the last bound is in `sum` and `count` only.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    pub(super) buckets: [AtomicU64; N],
    pub(super) sum: AtomicU64,
    pub(super) count: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
            count: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts a value `times` times.
    pub(super) fn observe(&self, buckets: &Buckets<N>, value: u64, times: u64) {
        if let Some(bucket) = buckets.bounds.iter().position(|bound| value <= *bound) {
            self.buckets[bucket].fetch_add(times, Relaxed);
        }
        self.sum.fetch_add(value.saturating_mul(times), Relaxed);
        self.count.fetch_add(times, Relaxed);
    }
}
