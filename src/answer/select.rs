//! Which of the services found count in an answer: of several equal ones the first, and those of one group; and for how much
//! each counts.

use super::Dependencies;
use crate::service::Service;
use crate::tree::MatchedService;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};

/// Drops services that are equal to one before them; notes whether one is left that only the layer has which is
/// [leaving](crate::tree::Layer::LEAVING).
pub(super) fn distinct<'t>(
    found: Vec<MatchedService<'t>>,
    dependencies: &Dependencies,
) -> Vec<MatchedService<'t>> {
    let has_leaving = found.iter().any(|m| m.is_leaving);
    if found.len() < 2 {
        dependencies.note_leaving(has_leaving);
        return found;
    }
    if has_leaving {
        let staying: HashSet<_> =
            found.iter().filter(|m| !m.is_leaving).map(|m| Announced(&m.entry.service)).collect();
        let is_alone =
            |m: &MatchedService<'_>| m.is_leaving && !staying.contains(&Announced(&m.entry.service));
        dependencies.note_leaving(found.iter().any(is_alone));
    }
    let mut announced = HashSet::with_capacity(found.len());
    found.into_iter().filter(|m| announced.insert(Announced(&m.entry.service))).collect()
}

/// Drops the services of all groups but one: the group of the services with the shortest keys. Services without a group
/// stay.
///
/// If the shortest keys have two different groups, no service is dropped.
pub(super) fn one_group(mut found: Vec<MatchedService<'_>>) -> Vec<MatchedService<'_>> {
    let group = |m: &MatchedService<'_>| m.entry.service.group.clone();
    let Some(shortest) =
        found.iter().filter(|m| m.entry.service.group.is_some()).map(MatchedService::depth).min()
    else {
        return found;
    };
    let mut deciding = found.iter().filter(|m| m.depth() == shortest).filter_map(group);
    let Some(chosen) = deciding.next() else {
        return found;
    };
    if deciding.all(|other| other == chosen) {
        found.retain(|m| m.entry.service.group.as_ref().is_none_or(|group| *group == chosen));
    }
    found
}

/// A service, equal to others by SkyDNS's rule; see [`Service::announces_same`].
pub(super) struct Announced<'s>(pub(super) &'s Service);

impl PartialEq for Announced<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.announces_same(other.0)
    }
}

impl Eq for Announced<'_> {}

impl Hash for Announced<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Service { host, port, priority, weight, text, .. } = self.0;
        (host, port, priority, weight, text).hash(state);
    }
}

/// The share of a weight in the sum of its priority, in whole hundredths.
pub(super) fn share(weight: u64, sum: u128) -> u16 {
    debug_assert!(u128::from(weight) <= sum.max(1), "a weight is a part of its sum");
    u16::try_from(100 * u128::from(weight) / sum.max(1)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_rounded_down_hundredths() {
        assert_eq!((share(100, 300), share(120, 350), share(130, 350), share(100, 100)), (33, 34, 37, 100));
        assert_eq!(share(u64::MAX, u128::from(u64::MAX)), 100);
    }
}
