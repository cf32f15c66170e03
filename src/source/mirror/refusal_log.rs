//! Which refusals are logged: some of each tenant, so that what one of them writes hides nothing that others did.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Refusals of one tenant that are logged one by one in each period: enough to see a pattern.
const MAX_LOGGED_OF_TENANT: u32 = 10;

/// Tenants whose refusals are counted apart in each period; the others count as one.
const MAX_TENANTS: usize = 100;

/// Lines about refusals in each second, of all tenants: a quarter of what the log takes of all kinds.
const MAX_LINES_PER_SECOND: u32 = 50;

/// After this time a tenant's refusals are logged again.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// Counts refusals, and decides which are logged.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    tenants: HashMap<Vec<u8>, Period>,
    second: Option<Instant>,
    lines: u32,
}

/// A period of one tenant.
#[derive(Clone, Copy, Debug)]
struct Period {
    began: Instant,
    refused: u32,
}

/// What is logged of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logged {
    /// The refusal.
    Line,
    /// That no more refusals of the tenant are logged for some time.
    LastOfTenant,
    Nothing,
}

impl RefusalLog {
    /// Counts a refusal of a tenant at a time, and decides what of it is logged.
    pub(super) fn count(&mut self, tenant: &[u8], now: Instant) -> Logged {
        if self.second.is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1)) {
            (self.second, self.lines) = (Some(now), 0);
        }
        if self.tenants.len() >= MAX_TENANTS && !self.tenants.contains_key(tenant) {
            self.tenants.retain(|_, period| now.duration_since(period.began) < PERIOD);
        }
        let is_apart = self.tenants.len() < MAX_TENANTS || self.tenants.contains_key(tenant);
        let tenant = if is_apart { tenant } else { b"" };
        let period = self.tenants.entry(tenant.to_vec()).or_insert(Period { began: now, refused: 0 });
        if now.duration_since(period.began) >= PERIOD {
            *period = Period { began: now, refused: 0 };
        }
        period.refused = period.refused.saturating_add(1);
        let logged = match period.refused {
            0..=MAX_LOGGED_OF_TENANT => Logged::Line,
            refused if refused == MAX_LOGGED_OF_TENANT + 1 && is_apart => Logged::LastOfTenant,
            _ => return Logged::Nothing,
        };
        if self.lines >= MAX_LINES_PER_SECOND {
            return Logged::Nothing;
        }
        self.lines += 1;
        logged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_lines_of_its_own() {
        let (mut log, start) = (RefusalLog::default(), Instant::now());
        let mut count = |tenant: &str, refusals: u32, now| {
            let all: Vec<_> = (0..refusals).map(|_| log.count(tenant.as_bytes(), now)).collect();
            let of = |wanted| all.iter().filter(|logged| **logged == wanted).count();
            (of(Logged::Line), of(Logged::LastOfTenant))
        };
        assert_eq!(count("many", 10_000, start), (10, 1));
        assert_eq!(count("few", 3, start), (3, 0));
        assert_eq!(count("many", 10_000, start + Duration::from_secs(30)), (0, 0));
        assert_eq!(count("many", 10_000, start + PERIOD), (10, 1));
    }

    #[test]
    fn all_tenants_together_have_a_share_of_the_log() {
        let (mut log, start) = (RefusalLog::default(), Instant::now());
        let mut count = |now| {
            let tenants = (0..1_000).map(|tenant: u32| tenant.to_be_bytes());
            tenants.filter(|tenant| log.count(tenant, now) != Logged::Nothing).count()
        };
        assert_eq!(count(start), 50);
        assert!(count(start + Duration::from_secs(1)) <= 50);
        assert!(log.tenants.len() <= MAX_TENANTS + 1);
    }
}
