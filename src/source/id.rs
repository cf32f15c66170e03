//! Which sources there are, which of them wins, and where the keys of each are stored in the tree.

use crate::tree::Layer;

/// A source. The order is that of precedence: where two sources have the same key, the greater source is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// etcd, v2 API.
    EtcdV2,
    /// etcd, v3 API.
    Etcd,
    /// A Kubernetes cluster.
    Kubernetes,
    /// A directory of files.
    Files,
}

impl SourceId {
    /// All sources, lowest precedence first.
    pub const ALL: [Self; 4] = [Self::EtcdV2, Self::Etcd, Self::Kubernetes, Self::Files];

    /// The name in logs, metrics and the status line.
    pub fn name(self) -> &'static str {
        match self {
            Self::EtcdV2 => "etcd-v2",
            Self::Etcd => "etcd",
            Self::Kubernetes => "kubernetes",
            Self::Files => "files",
        }
    }

    /// The layer of the tree that holds the source's services.
    ///
    /// Of the entries on one key the tree serves those in the highest layer, so the numbers follow the order of the
    /// sources.
    pub(super) fn layer(self) -> Layer {
        match self {
            Self::EtcdV2 => Layer::LEAVING,
            Self::Etcd => Layer(1),
            Self::Kubernetes => Layer::CLUSTER,
            Self::Files => Layer(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_rise_with_the_precedence_of_the_source() {
        let layers = SourceId::ALL.map(SourceId::layer);
        assert!(layers.is_sorted_by(|lower, higher| lower < higher));
        assert!(SourceId::ALL.is_sorted());
    }
}
