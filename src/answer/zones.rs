//! The zones of a site, and which of them a name is in.

use super::zone::Zone;
use crate::service::Key;
use hickory_proto::rr::Name;
use std::collections::BTreeMap;

/// The zones of a site: at least one, of which the first is "the" zone where one is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zones {
    zones: Box<[Zone]>,
    /// The labels of all apexes, from the root down.
    root: ZoneNode,
}

/// A label of an apex, or of a name above one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ZoneNode {
    /// The zone whose apex this is, by its number.
    zone: Option<usize>,
    children: BTreeMap<Box<[u8]>, ZoneNode>,
}

impl Zones {
    /// Zones of which `first` is the first. Of zones with the same apex the first one is taken.
    pub fn new(first: Zone, others: impl IntoIterator<Item = Zone>) -> Self {
        let (mut zones, mut root) = (Vec::new(), ZoneNode::default());
        for mut zone in std::iter::once(first).chain(others) {
            let labels = zone.domain().iter().rev();
            let node = labels.fold(&mut root, |node, label| node.children.entry(label.into()).or_default());
            if node.zone.is_none() {
                node.zone = Some(zones.len());
                zone.number = zones.len();
                zones.push(zone);
            }
        }
        let mut zones = Self { zones: zones.into(), root };
        zones.set_cuts();
        zones
    }

    /// Tells each zone which others begin right below it.
    fn set_cuts(&mut self) {
        let parent = |zone: &Zone| self.parent_of(zone).map(|parent| parent.number);
        let parents: Vec<_> = self.zones.iter().map(parent).collect();
        let apexes: Vec<_> = self.zones.iter().map(|zone| zone.apex().clone()).collect();
        for (number, zone) in self.zones.iter_mut().enumerate() {
            let is_below = |(_, parent): &(&Key, &Option<usize>)| **parent == Some(number);
            let below = apexes.iter().zip(&parents).filter(is_below);
            zone.cuts = below.map(|(apex, _)| apex.clone()).collect();
            zone.cuts.sort_unstable();
        }
    }

    /// The first zone.
    pub fn first(&self) -> &Zone {
        &self.zones[0]
    }

    /// The first zone, for a change of its settings.
    pub fn first_mut(&mut self) -> &mut Zone {
        &mut self.zones[0]
    }

    /// All zones, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Zone> + Clone {
        self.zones.iter()
    }

    /// All zones, in their order, for changes of their settings.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Zone> {
        self.zones.iter_mut()
    }

    /// The zone that a name is in: that with the longest apex.
    pub fn of(&self, name: &Name) -> Option<&Zone> {
        self.search(name.iter().rev(), ZoneNode::child)
    }

    /// The zone that the name with these labels is in, which are in lower case, root first.
    pub fn of_labels<'l>(&self, labels: impl Iterator<Item = &'l [u8]>) -> Option<&Zone> {
        self.search(labels, |node, label| node.children.get(label))
    }

    fn search<'z, 'l>(
        &'z self,
        labels: impl Iterator<Item = &'l [u8]>,
        child: impl Fn(&'z ZoneNode, &'l [u8]) -> Option<&'z ZoneNode>,
    ) -> Option<&'z Zone> {
        let (mut node, mut found) = (&self.root, self.root.zone);
        for label in labels {
            let Some(child) = child(node, label) else { break };
            (node, found) = (child, child.zone.or(found));
        }
        found.map(|number| &self.zones[number])
    }

    /// The zone whose apex a name is.
    pub fn apex(&self, name: &Name) -> Option<&Zone> {
        self.of(name).filter(|zone| zone.is_apex(name))
    }

    /// The zone that the apex of a zone is below: the one with the DS records (RFC 4035 §2.4).
    pub fn parent_of(&self, zone: &Zone) -> Option<&Zone> {
        let apex = zone.domain();
        if apex.is_root() { None } else { self.of(&apex.base_name()) }
    }
}

impl ZoneNode {
    fn child(&self, label: &[u8]) -> Option<&Self> {
        match label.iter().any(u8::is_ascii_uppercase) {
            true => self.children.get(&*label.to_ascii_lowercase()),
            false => self.children.get(label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn zones(apexes: &[&str]) -> Zones {
        let mut zones = apexes.iter().map(|apex| Zone::new(&name(apex)));
        Zones::new(zones.next().expect("a zone"), zones)
    }

    #[test]
    fn a_name_is_in_the_zone_with_the_longest_apex() {
        let zones = zones(&["site.example.", "a.b.site.example.", "10.in-addr.arpa.", "SITE.example."]);
        let of = |text: &str| zones.of(&name(text)).map(|zone| zone.domain().to_ascii());
        for (asked, zone) in [
            ("site.example.", Some("site.example.")),
            ("x.Site.Example.", Some("site.example.")),
            ("b.site.example.", Some("site.example.")),
            ("a.b.site.example.", Some("a.b.site.example.")),
            ("x.y.A.b.site.example.", Some("a.b.site.example.")),
            ("1.2.3.10.in-addr.arpa.", Some("10.in-addr.arpa.")),
            ("xsite.example.", None),
            ("example.", None),
            (".", None),
        ] {
            assert_eq!(of(asked).as_deref(), zone, "{asked}");
        }
        assert_eq!(zones.iter().len(), 3, "equal zones are one");
        assert!(zones.apex(&name("A.b.site.example.")).is_some_and(|zone| zone.number() == 1));
        assert!(zones.apex(&name("b.site.example.")).is_none());
    }

    #[test]
    fn a_zone_ends_where_another_one_begins() {
        let zones = zones(&["a.b.site.example.", "site.example.", "x.a.b.site.example.", "."]);
        let cuts = |number: usize| {
            let zone = zones.iter().nth(number).expect("a zone");
            zone.cuts().iter().map(|cut| cut.name().to_ascii()).collect::<Vec<_>>()
        };
        assert_eq!(cuts(0), ["x.a.b.site.example."]);
        assert_eq!(cuts(1), ["a.b.site.example."]);
        assert_eq!(cuts(2), Vec::<String>::new());
        assert_eq!(cuts(3), ["site.example."]);
        let root = zones.of(&name("other.")).expect("the root");
        assert!(root.is_root() && zones.parent_of(root).is_none());
        assert!(zones.parent_of(zones.first()).is_some_and(|parent| parent.number() == 1));
    }
}
