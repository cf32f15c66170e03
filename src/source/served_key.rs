//! Where the entries of a store are served.

use crate::service::Key;

/// Where an entry of a store is served: on which name, and as which of the entries of that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServedKey {
    /// The key in the tree: the owner name, in lower case and with A-labels.
    pub key: Key,
    /// How the store spells it.
    pub spelling: Spelling,
}

/// How a store spells a key. All entries of a name are served, [`AsName`](Self::AsName) first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spelling {
    /// As the name.
    AsName,
    /// Otherwise: the whole key of the store, or whatever tells the entries of a name apart.
    Other(Vec<u8>),
}
