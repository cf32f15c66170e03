//! Histograms of durations and sizes, with SkyDNS's buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds of the buckets of times, in microseconds (SkyDNS's, which are in seconds).
pub(super) const TIME_BOUNDS: [u64; 13] = [
    1_000, 3_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Upper bounds of the buckets of sizes, in octets (SkyDNS's).
pub(super) const SIZE_BOUNDS: [u64; 21] = [
    0, 512, 1024, 1500, 2048, 4096, 8192, 12288, 16384, 20480, 24576, 28672, 32768, 36864, 40960, 45056,
    49152, 53248, 57344, 61440, 65536,
];

/// Counts by bucket; what exceeds the last bound is in the sum and the count only.
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
    /// Counts so many values that are the same.
    pub(super) fn observe(&self, bounds: &[u64; N], value: u64, times: u64) {
        if let Some(bucket) = bounds.iter().position(|bound| value <= *bound) {
            self.buckets[bucket].fetch_add(times, Relaxed);
        }
        self.sum.fetch_add(value.saturating_mul(times), Relaxed);
        self.count.fetch_add(times, Relaxed);
    }
}
