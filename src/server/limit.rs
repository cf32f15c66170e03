//! Rates of clients that are not ours.
//!
//! The reply to a UDP query with a forged address floods a victim. So each network has a budget of replies; beyond it a
//! client is told to ask over TCP (TC), in no more octets than its query has. Over TCP no address is forged; there each
//! network has a budget so that its queries leave time for those of others, and waits when it is spent.

use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Number of budgets. Networks whose hashes share a budget are limited together; the hash has a secret seed, so nobody can
/// bring that about.
const BUDGETS: usize = 16_384;

/// How many replies a network gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// In a second.
    per_second: u64,
    /// At once, after a pause.
    burst: u64,
}

/// The rate over UDP, which bounds what a victim is sent.
pub(super) const OVER_UDP: Rate = Rate { per_second: 50, burst: 125 };

/// The rate over TCP: more than resolvers need that are told to ask over TCP, and little beside what a core answers.
pub(super) const OVER_TCP: Rate = Rate { per_second: 200, burst: 500 };

/// The budgets of all networks. Bounded: 128 KiB.
#[derive(Debug)]
pub(super) struct ResponseRateLimiter {
    rate: Rate,
    /// For each budget the time of its last use, in milliseconds (upper 32 bits), and the thousandths of a reply that were
    /// left then (lower 32 bits).
    budgets: Box<[AtomicU64]>,
    hasher: RandomState,
    started: Instant,
}

impl ResponseRateLimiter {
    /// A limiter whose budgets are full.
    pub(super) fn new(rate: Rate) -> Self {
        let budgets = std::iter::repeat_with(|| AtomicU64::new(1000 * rate.burst)).take(BUDGETS).collect();
        Self { rate, budgets, hasher: RandomState::default(), started: Instant::now() }
    }

    /// Takes one reply from the budget of a client's network; `false` if none is left.
    pub(super) fn take(&self, client: IpAddr) -> bool {
        // The milliseconds wrap after seven weeks, which fills a budget that was not used meanwhile.
        let now = self.started.elapsed().as_millis() & u128::from(u32::MAX);
        self.take_at(client, u64::try_from(now).unwrap_or(0))
    }

    fn take_at(&self, client: IpAddr, now: u64) -> bool {
        let hash = self.hasher.hash_one(network(client));
        let budget = &self.budgets[usize::try_from(hash % BUDGETS as u64).unwrap_or(0)];
        let spend = |state: u64| {
            let (at, left) = (state >> 32, state & u64::from(u32::MAX));
            // Replies per second are thousandths of a reply per millisecond.
            let passed = now.wrapping_sub(at) & u64::from(u32::MAX);
            let earned = passed.saturating_mul(self.rate.per_second);
            let left = earned.saturating_add(left).min(1000 * self.rate.burst);
            left.checked_sub(1000).map(|left| now << 32 | left)
        };
        budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

/// The network that a client's budget is for: /24, or /56.
fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
        // The highest bit keeps these apart from IPv4 networks.
        IpAddr::V6(ip) => u64::try_from(u128::from(ip) >> 72).unwrap_or(0) | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn taken(limiter: &ResponseRateLimiter, client: &str, now: u64) -> usize {
        (0..1000).filter(|_| limiter.take_at(ip(client), now)).count()
    }

    #[test]
    fn a_network_has_a_burst_and_then_its_rate() {
        let limiter = ResponseRateLimiter::new(OVER_UDP);
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
        let limiter = ResponseRateLimiter::new(OVER_UDP);
        let end = u64::from(u32::MAX);
        assert_eq!(taken(&limiter, "198.51.100.1", end), 125);
        assert_eq!(taken(&limiter, "198.51.100.1", 999), 50);
    }
}
