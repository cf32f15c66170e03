//! The cache of the types that names have: a denial lists the types at the closest encloser, and a flood of questions for
//! names below one closest encloser must not gather them each time.

use super::site::Site;
use super::view::NameInZone;
use crate::tree::{TreePath, VersionSlot};
use hickory_proto::rr::RecordType;
use quick_cache::sync::Cache;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// Maximum number of names whose types are cached.
const MAX_CACHED_NAMES: usize = 1_024;

/// The types that names have in one tree; the cache is dropped with the tree.
#[derive(Default)]
pub struct TypeCache {
    names: OnceLock<Cache<TypeCacheKey, Arc<CachedTypes>>>,
}

/// The types at a name, and what they depend on.
pub(super) struct CachedTypes {
    /// `None` if it takes too much work to find out.
    pub(super) types: Option<Box<[RecordType]>>,
    /// The version slots of the names that were read; `None` if they are too many.
    pub(super) slots: Option<Box<[VersionSlot]>>,
}

/// The types of a name take more work to find out than this thread may do.
pub(super) struct NotGathered;

/// A name as it is looked up, with the settings that its types depend on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TypeCacheKey {
    path: TreePath,
    /// The number of the zone that has the name: whether it is signed decides about CNAMEs.
    zone: usize,
    /// Whether the name is the apex, which has types of its own and never a CNAME.
    is_apex: bool,
    site: SiteIdentity,
}

/// The settings of a site. They are compared by address, and holding them keeps the address from being used for others.
#[derive(Clone)]
struct SiteIdentity(Arc<Site>);

impl PartialEq for SiteIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SiteIdentity {}

impl Hash for SiteIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl TypeCacheKey {
    pub(super) fn new(name: NameInZone<'_>, site: &Arc<Site>) -> Self {
        let NameInZone { path, zone, is_apex } = name;
        Self { path: path.clone(), zone: zone.number(), is_apex, site: SiteIdentity(Arc::clone(site)) }
    }
}

impl fmt::Debug for TypeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypeCache({})", self.names.get().map_or(0, Cache::len))
    }
}

impl TypeCache {
    /// The types at a name, from the cache or from `gather`; its error is not cached.
    pub(super) fn get_or_gather(
        &self,
        key: &TypeCacheKey,
        gather: impl FnOnce() -> Result<CachedTypes, NotGathered>,
    ) -> Result<Arc<CachedTypes>, NotGathered> {
        let names = self.names.get_or_init(|| Cache::new(MAX_CACHED_NAMES));
        // Other threads that ask for the same name wait for this one instead of gathering the types as well.
        names.get_or_insert_with(key, || gather().map(Arc::new))
    }
}
