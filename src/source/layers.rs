//! Where the keys of each source hang in the tree.

use super::SourceId;
use crate::service::{Key, Keyspace};
use crate::tree::{Entry, Layer};
use std::collections::BTreeMap;

/// Entries by the key they are served under and the key they stand on; the first of them shows.
pub(super) type Folded = BTreeMap<Key, BTreeMap<Vec<u8>, Entry>>;

/// The layers of a source.
pub(super) struct Layers {
    /// Keys that only become names in lower case; keys in lower case hide them.
    pub(super) folded: Layer,
    /// Keys that are names as they stand.
    pub(super) exact: Layer,
}

/// The layers of a source: files above etcd, names as they stand above those folded.
pub(super) fn layers(id: SourceId) -> Layers {
    let base = match id {
        SourceId::Etcd => 0,
        SourceId::Files => 2,
    };
    Layers { folded: Layer(base), exact: Layer(base + 1) }
}

/// Whether a key only becomes a name in lower case; the path prefix does not count.
pub(super) fn is_folded(keyspace: &Keyspace, raw: &[u8]) -> bool {
    raw.iter().skip(keyspace.root().len()).any(u8::is_ascii_uppercase)
}
