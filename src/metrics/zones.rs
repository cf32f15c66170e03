//! Replies by zone.

use crate::lock::lock;
use hickory_proto::rr::Name;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Maximum number of zones that are counted since the start; replies of further ones are not.
const MAX_COUNTED: usize = 10_000;

/// The counters of all zones that were served since the start. A zone that comes again has its counters again.
#[derive(Debug)]
pub(super) struct ZoneCounters {
    /// The number of each zone; 0 counts questions of no zone.
    zones: Mutex<HashMap<Name, u16>>,
    counters: Box<[ZoneCounter]>,
}

#[derive(Debug, Default)]
struct ZoneCounter {
    replies: AtomicU64,
    denials: AtomicU64,
}

/// What was counted for one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ZoneReplies {
    pub(super) zone: Name,
    pub(super) replies: u64,
    /// Those that say that the name does not exist.
    pub(super) denials: u64,
}

impl Default for ZoneCounters {
    fn default() -> Self {
        let counters = (0..=MAX_COUNTED).map(|_| ZoneCounter::default()).collect();
        Self { zones: Mutex::default(), counters }
    }
}

impl ZoneCounters {
    /// The number of a zone; 0 if there are too many.
    pub(super) fn number(&self, zone: &Name) -> u16 {
        let mut zones = lock(&self.zones);
        if let Some(number) = zones.get(zone) {
            return *number;
        }
        if zones.len() >= MAX_COUNTED {
            return 0;
        }
        let number = u16::try_from(zones.len() + 1).unwrap_or_default();
        zones.insert(zone.clone(), number);
        number
    }

    /// Counts replies of one zone.
    pub(super) fn add(&self, number: u16, replies: u64, denials: u64) {
        let counter = &self.counters[usize::from(number)];
        counter.replies.fetch_add(replies, Relaxed);
        if denials > 0 {
            counter.denials.fetch_add(denials, Relaxed);
        }
    }

    /// What was counted, in the order in which the zones came.
    pub(super) fn all(&self) -> Vec<ZoneReplies> {
        let mut zones: Vec<_> =
            lock(&self.zones).iter().map(|(zone, number)| (*number, zone.clone())).collect();
        zones.sort_unstable();
        let of_zone = |(number, zone): (u16, Name)| {
            let counter = &self.counters[usize::from(number)];
            let (replies, denials) = (counter.replies.load(Relaxed), counter.denials.load(Relaxed));
            ZoneReplies { zone, replies, denials }
        };
        zones.into_iter().map(of_zone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_zone_has_counters_of_its_own_and_too_many_have_none() {
        let counters = ZoneCounters::default();
        let zone = |n: usize| Name::from_ascii(format!("z{n}.example.")).expect("a name");
        let numbers: Vec<_> = (0..MAX_COUNTED).map(|n| counters.number(&zone(n))).collect();
        assert_eq!(counters.number(&zone(MAX_COUNTED)), 0);
        assert_eq!(counters.number(&zone(7)), numbers[7], "it comes again");
        counters.add(numbers[7], 3, 1);
        counters.add(numbers[MAX_COUNTED - 1], 2, 0);
        counters.add(0, 9, 9);
        let all = counters.all();
        let counted = |n: usize| (all[n].zone.clone(), all[n].replies, all[n].denials);
        assert_eq!(counted(7), (zone(7), 3, 1));
        assert_eq!(counted(MAX_COUNTED - 1), (zone(MAX_COUNTED - 1), 2, 0));
        assert_eq!(all.iter().map(|zone| zone.replies).sum::<u64>(), 5);
    }
}
