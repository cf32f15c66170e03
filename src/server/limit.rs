//! Response rate limiting for clients that may be anyone: nobody is flooded with our replies.
//!
//! The address of a UDP query may be forged, and the reply goes to its victim. So each network has a budget of replies;
//! beyond it a client is told to ask over TCP, in no more octets than its query has.

use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Budgets. Networks that share one by chance, which nobody outside can bring about, are limited together.
const BUDGETS: usize = 16_384;

/// Replies a second.
const RATE: u64 = 50;

/// Replies at once.
const BURST: u64 = 125;

/// The budgets of all networks. Bounded: 128 KiB.
#[derive(Debug)]
pub(super) struct Limiter {
    /// For each the time in milliseconds (upper 32 bits) at which so many thousandths of a reply (lower 32) were left.
    budgets: Box<[AtomicU64]>,
    hasher: RandomState,
    begun: Instant,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            budgets: std::iter::repeat_with(|| AtomicU64::new(1000 * BURST)).take(BUDGETS).collect(),
            hasher: RandomState::default(),
            begun: Instant::now(),
        }
    }
}

impl Limiter {
    /// Whether a client may be sent a reply now; then it is one less.
    pub(super) fn take(&self, client: IpAddr) -> bool {
        // It turns over after seven weeks, and fills a budget that was not used.
        let now = self.begun.elapsed().as_millis() & u128::from(u32::MAX);
        self.take_at(client, u64::try_from(now).unwrap_or(0))
    }

    fn take_at(&self, client: IpAddr, now: u64) -> bool {
        let hash = self.hasher.hash_one(network(client));
        let budget = &self.budgets[usize::try_from(hash % BUDGETS as u64).unwrap_or(0)];
        let spend = |state: u64| {
            let (at, left) = (state >> 32, state & u64::from(u32::MAX));
            // Thousandths: so many for each millisecond.
            let passed = now.wrapping_sub(at) & u64::from(u32::MAX);
            let left = passed.saturating_mul(RATE).saturating_add(left).min(1000 * BURST);
            left.checked_sub(1000).map(|left| now << 32 | left)
        };
        budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

/// The network that a client is taken for: /24, or /56.
fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
        // Never one of the above: those have their upper half free.
        IpAddr::V6(ip) => u64::try_from(u128::from(ip) >> 72).unwrap_or(0) | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn taken(limiter: &Limiter, client: &str, now: u64) -> usize {
        (0..1000).filter(|_| limiter.take_at(ip(client), now)).count()
    }

    #[test]
    fn a_network_has_a_burst_and_then_its_rate() {
        let limiter = Limiter::default();
        assert_eq!(taken(&limiter, "198.51.100.1", 0), 125);
        assert_eq!(taken(&limiter, "198.51.100.200", 0), 0, "the same network");
        assert_eq!(taken(&limiter, "::ffff:198.51.100.7", 0), 0, "the same in other words");
        assert_eq!(taken(&limiter, "198.51.100.1", 1_000), 50);
        assert_eq!(taken(&limiter, "198.51.100.1", 60_000), 125, "no more than a burst");
        assert_eq!(taken(&limiter, "2001:db8:0:1::1", 0), 125);
        assert_eq!(taken(&limiter, "2001:db8:0:ff::1", 0), 0);
        assert_eq!(taken(&limiter, "2001:db8:0:100::1", 0), 125);
    }

    #[test]
    fn the_clock_may_turn_over() {
        let limiter = Limiter::default();
        let end = u64::from(u32::MAX);
        assert_eq!(taken(&limiter, "198.51.100.1", end), 125);
        assert_eq!(taken(&limiter, "198.51.100.1", 999), 50);
    }
}
