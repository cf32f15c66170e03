//! The cache of the types that names have: a denial lists the types at the closest encloser, and a flood of questions for
//! names below one closest encloser must not gather them each time.

use super::flatten::Flatten;
use super::site::Site;
use crate::tree::{TreePath, VersionSlot};
use hickory_proto::rr::{Name, RecordType};
use quick_cache::sync::Cache;
use std::fmt;
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TypeCacheKey {
    path: TreePath,
    /// CNAMEs are followed as long as they stay in this domain.
    domain: Name,
    /// Whether the name is the apex, which has types of its own and never a CNAME.
    apex: bool,
    local: Option<Name>,
    ndots: u8,
    flatten: Flatten,
}

impl TypeCacheKey {
    /// The key of a name; `apex` says whether it is the name of the domain.
    pub(super) fn new(path: &TreePath, apex: bool, site: &Site) -> Self {
        Self {
            path: path.clone(),
            domain: site.zone.domain().clone(),
            apex,
            local: site.zone.local.clone(),
            ndots: site.ndots,
            flatten: site.flatten,
        }
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
