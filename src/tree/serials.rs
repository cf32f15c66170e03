//! When the data of each zone changed last: the serials of SOA records.

use crate::service::Key;
use std::collections::HashMap;
use std::sync::Arc;

/// The times of the last changes, in seconds of Unix time; 0 before the first change.
#[derive(Clone, Debug, Default)]
pub(super) struct Serials {
    /// That of the whole tree.
    latest: u32,
    /// How often one of them has changed.
    changes: u64,
    /// The number of each zone by its apex, in the wire format of keys.
    zones: Arc<HashMap<Box<[u8]>, usize>>,
    /// By the number of the zone.
    of_zones: Arc<[u32]>,
    /// Those of zones in a snapshot, which count for zones that are set while the tree is as it was restored.
    restored: Arc<RestoredSerials>,
}

#[derive(Debug, Default)]
struct RestoredSerials {
    latest: u32,
    of_zones: HashMap<Box<[u8]>, u32>,
}

impl Serials {
    pub(super) fn latest(&self) -> u32 {
        self.latest
    }

    /// How often a serial has changed: none has while this is the same.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The serial of the zone with an apex. If no such zone was set: that of a snapshot, if nothing has changed since, or else
    /// that of the tree.
    pub(super) fn of(&self, apex: &Key) -> u32 {
        let restored =
            || self.restored.of_zones.get(apex.as_wire()).filter(|_| self.restored.latest == self.latest);
        let other = || restored().copied().unwrap_or(self.latest);
        self.number_of(apex).map_or_else(other, |zone| self.of_zones[zone])
    }

    /// The serial of each zone, by its apex in the wire format of keys.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.zones.iter().map(|(apex, zone)| (&**apex, self.of_zones[*zone]))
    }

    /// Takes over the serials of a snapshot: `latest` for the tree and for all zones that it has no other of; `false` if that is
    /// no news.
    pub(super) fn restore(&mut self, latest: u32, of_zones: HashMap<Box<[u8]>, u32>) -> bool {
        let restored = |apex| of_zones.get(apex).copied().filter(|serial| *serial <= latest);
        let raised: Vec<_> =
            self.zones.iter().map(|(apex, zone)| (*zone, restored(apex).unwrap_or(latest))).collect();
        let mut is_news = latest > self.latest;
        self.latest = self.latest.max(latest);
        let own = Arc::make_mut(&mut self.of_zones);
        for (zone, serial) in raised {
            is_news |= own[zone] < serial;
            own[zone] = own[zone].max(serial);
        }
        self.changes += u64::from(is_news);
        self.restored = Arc::new(RestoredSerials { latest, of_zones });
        is_news
    }

    /// The number of the zone with an apex.
    pub(super) fn number_of(&self, apex: &Key) -> Option<usize> {
        self.zones.get(apex.as_wire()).copied()
    }

    /// Whether the zones are these, in this order.
    pub(super) fn has_zones<'k>(&self, mut apexes: impl ExactSizeIterator<Item = &'k Key>) -> bool {
        let mut numbers = 0..self.zones.len();
        apexes.len() == numbers.len() && apexes.all(|apex| self.number_of(apex) == numbers.next())
    }

    /// Sets the apexes of the zones. One that was not there before has the serial of the tree, which no reader saw a greater
    /// one than.
    pub(super) fn set_zones<'k>(&mut self, apexes: impl Iterator<Item = &'k Key> + Clone) {
        self.of_zones = apexes.clone().map(|apex| self.of(apex)).collect();
        self.changes += 1;
        self.zones = Arc::new(apexes.map(|apex| apex.as_wire().into()).zip(0..).collect());
    }

    /// Notes a change of the whole tree; `false` if that is no news, because serials never go back (RFC 1982).
    pub(super) fn raise_all(&mut self, serial: u32) -> bool {
        let mut is_news = serial > self.latest;
        self.latest = self.latest.max(serial);
        if self.of_zones.iter().any(|own| *own < serial) {
            Arc::make_mut(&mut self.of_zones).iter_mut().for_each(|own| *own = serial.max(*own));
            is_news = true;
        }
        self.changes += u64::from(is_news);
        is_news
    }

    /// Notes a change of a key, for the zone that the key is in; `false` if that is no news.
    pub(super) fn raise(&mut self, key: &Key, serial: u32) -> bool {
        let mut is_news = serial > self.latest;
        self.latest = self.latest.max(serial);
        if let Some(zone) = self.zone_of(key)
            && self.of_zones[zone] < serial
        {
            Arc::make_mut(&mut self.of_zones)[zone] = serial;
            is_news = true;
        }
        self.changes += u64::from(is_news);
        is_news
    }

    /// The number of the zone with the longest apex that a key is at or below.
    pub(super) fn zone_of(&self, key: &Key) -> Option<usize> {
        if self.zones.is_empty() {
            return None;
        }
        let wire = key.as_wire();
        let ends = key.labels().scan(0, |end, label| {
            *end += 1 + label.len();
            Some(*end)
        });
        let apexes = std::iter::once(0).chain(ends).filter_map(|end| self.zones.get(wire.get(..end)?));
        apexes.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::Name;

    fn key(text: &str) -> Key {
        Key::from_name(&Name::from_ascii(text).expect("a name"))
    }

    #[test]
    fn each_zone_has_the_time_of_its_own_changes() {
        let mut serials = Serials::default();
        assert!(serials.raise(&key("a.site.example."), 5));
        let apexes = [key("site.example."), key("b.site.example."), key("10.in-addr.arpa.")];
        serials.set_zones(apexes.iter());
        let all = |serials: &Serials| apexes.each_ref().map(|apex| serials.of(apex));
        assert_eq!(all(&serials), [5, 5, 5], "nobody saw less");
        assert!(serials.raise(&key("x.b.site.example."), 7));
        let before = serials.changes();
        assert!(serials.raise(&key("c.site.example."), 7), "the tree had that already, and the zone had not");
        assert!(!serials.raise(&key("c.site.example."), 7) && serials.changes() == before + 1);
        assert_eq!(all(&serials), [7, 7, 5]);
        assert!(serials.raise(&key("b.site.example."), 8) && serials.raise(&key("other."), 9));
        assert_eq!((all(&serials), serials.latest()), ([7, 8, 5], 9));
        assert!(!serials.raise(&key("b.site.example."), 2), "serials never go back");
        serials.set_zones(apexes[1..].iter().chain([&key(".")]));
        assert_eq!((serials.of(&apexes[1]), serials.of(&key("."))), (8, 9));
        assert!(serials.raise_all(11) && all(&serials) == [11; 3]);
    }

    #[test]
    fn a_snapshot_gives_zones_their_serials_back_whenever_they_are_set() {
        let apexes = [key("site.example."), key("b.site.example."), key("other.")];
        let [site, below, other] = &apexes;
        let restored =
            || [(site, 5), (below, 7)].map(|(apex, serial)| (apex.as_wire().into(), serial)).into();
        for is_set_before in [true, false] {
            let mut serials = Serials::default();
            let set = |serials: &mut Serials, now| {
                if now {
                    serials.set_zones(apexes.iter());
                }
            };
            set(&mut serials, is_set_before);
            assert!(serials.restore(9, restored()));
            set(&mut serials, !is_set_before);
            assert_eq!(apexes.each_ref().map(|apex| serials.of(apex)), [5, 7, 9]);
            assert!(serials.raise(below, 11) && serials.of(site) == 5);
        }
        let mut serials = Serials::default();
        assert!(serials.restore(9, restored()) && serials.raise(site, 10));
        assert_eq!((serials.of(below), serials.of(other)), (10, 10), "the change may have been theirs");
        serials.set_zones(apexes.iter());
        assert!(serials.raise_all(12) && !serials.restore(9, restored()), "serials never go back");
        assert_eq!(apexes.each_ref().map(|apex| serials.of(apex)), [12; 3]);
    }
}
