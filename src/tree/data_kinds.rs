//! The kinds of data that services have, as sets.

use super::entry::Entry;
use crate::service::Host;
use std::ops::{BitOr, BitOrAssign};

/// A set of the kinds of data that services have. A node has the set of its subtree, so that a lookup enters a subtree only
/// if it has data of a kind that was asked for. One bit is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataKinds(u8);

impl DataKinds {
    /// Nothing at all.
    pub const NONE: Self = Self(0);
    /// A host that is an IPv4 address.
    pub const V4: Self = Self(1);
    /// A host that is an IPv6 address.
    pub const V6: Self = Self(2);
    /// A host that is a name.
    pub const NAME: Self = Self(4);
    /// A text.
    pub const TEXT: Self = Self(8);
    /// A mail exchanger, which has a host.
    pub const MAIL: Self = Self(16);
    /// A group, which decides about other services as well.
    pub const GROUP: Self = Self(32);
    /// Any host.
    pub const HOST: Self = Self(Self::V4.0 | Self::V6.0 | Self::NAME.0);
    /// None of the other kinds. The name exists, and of services that are equal to this one the later ones do not count.
    const BARE: Self = Self(64);
    /// Every kind.
    pub const ALL: Self = Self(127);

    /// The kinds of one entry.
    pub fn of(entry: &Entry) -> Self {
        let service = &entry.service;
        let mut kinds = match service.host {
            Host::None => Self::NONE,
            Host::V4(_) => Self::V4,
            Host::V6(_) => Self::V6,
            Host::Name(_) => Self::NAME,
        };
        for (has, kind) in [
            (service.text.is_some(), Self::TEXT),
            (service.mail && service.host != Host::None, Self::MAIL),
            (service.group.is_some(), Self::GROUP),
        ] {
            if has {
                kinds |= kind;
            }
        }
        if kinds == Self::NONE { Self::BARE } else { kinds }
    }

    /// Whether another set lacks one of these kinds, groups apart: they are no data.
    pub fn exceeds(self, other: Self) -> bool {
        self.0 & !other.0 & !Self::GROUP.0 != 0
    }

    /// Whether the two have a kind in common.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for DataKinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for DataKinds {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
