//! Types of names that were gathered before: a denial tells them, and a flood of questions for names below one name
//! must not gather them each time.

use super::{Dependencies, Zone};
use crate::tree::VersionSlot;
use hickory_proto::rr::{Name, RecordType};
use quick_cache::sync::Cache;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Names whose types are kept.
const NAMES: usize = 1_024;

/// The types of names in one tree; it goes with the tree.
#[derive(Default)]
pub struct KnownTypes {
    names: OnceLock<Cache<Place, Arc<Known>>>,
}

/// What is known of a name, and the parts of the tree that it is known from.
struct Known {
    types: Box<[RecordType]>,
    slots: Option<Box<[VersionSlot]>>,
}

/// A name as it is looked up, with the settings that say what it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    name: Name,
    /// What is inside of it is followed.
    domain: Name,
    /// The owner is the apex, which has no CNAME.
    apex: bool,
    local: Option<Name>,
    ndots: u8,
}

impl fmt::Debug for KnownTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownTypes({})", self.names.get().map_or(0, Cache::len))
    }
}

impl KnownTypes {
    /// The types of a name in lower case, gathered now if nobody did before; what they stand on is noted.
    pub(super) fn of(
        &self,
        name: &Name,
        apex: bool,
        zone: &Zone,
        dependencies: &Dependencies,
        gather: impl FnOnce(&Dependencies) -> Vec<RecordType>,
    ) -> Vec<RecordType> {
        let names = self.names.get_or_init(|| Cache::new(NAMES));
        let place = Place {
            name: name.clone(),
            domain: zone.domain().clone(),
            apex,
            local: zone.local.clone(),
            ndots: zone.ndots,
        };
        // Others who want the same wait, and do not gather it once more.
        let gathered = names.get_or_insert_with(&place, || {
            let dependencies = Dependencies::default();
            let types = gather(&dependencies).into();
            Ok::<_, Infallible>(Arc::new(Known { types, slots: dependencies.slots() }))
        });
        match gathered {
            Ok(known) => {
                dependencies.add_all(known.slots.as_deref());
                known.types.to_vec()
            }
            Err(never) => match never {},
        }
    }
}
