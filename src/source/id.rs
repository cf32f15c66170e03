//! Which sources there are, which of them wins, and where the keys of each are stored in the tree.

use crate::tree::Layer;

/// A source. The order is that of precedence: where two sources have the same key, the greater source is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// etcd, v3 API.
    Etcd,
    /// A directory of files.
    Files,
}

impl SourceId {
    /// All sources, lowest precedence first.
    pub const ALL: [Self; 2] = [Self::Etcd, Self::Files];

    /// The name in logs, metrics and the status line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Files => "files",
        }
    }

    /// The layers of the tree that hold the source's services.
    ///
    /// Of the entries on one key the tree serves the one in the highest layer. So the numbers follow the order of
    /// the sources, and within one source a key in lower case goes before keys that have to be folded.
    pub(super) fn layers(self) -> SourceLayers {
        let base = match self {
            Self::Etcd => 0,
            Self::Files => 2,
        };
        SourceLayers { case_folded: Layer(base), exact: Layer(base + 1) }
    }
}

/// The layers of one source.
pub(super) struct SourceLayers {
    /// Services whose key in the store has upper-case letters.
    pub(super) case_folded: Layer,
    /// Services whose key in the store is in lower case.
    pub(super) exact: Layer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_rise_with_the_precedence_of_the_source() {
        let layers = SourceId::ALL.map(SourceId::layers).map(|layers| [layers.case_folded, layers.exact]);
        assert!(layers.as_flattened().is_sorted_by(|lower, higher| lower < higher));
        assert!(SourceId::ALL.is_sorted());
    }
}
