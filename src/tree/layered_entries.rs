//! The entries of one name, by layer.

use super::entry::{Entry, Layer};

/// An entry in its layer.
#[derive(Clone, Debug)]
pub struct LayeredEntry {
    layer: Layer,
    /// The entry.
    pub entry: Entry,
}

impl LayeredEntry {
    /// Its layer.
    pub(super) fn layer(&self) -> Layer {
        self.layer
    }
}

/// The entries of one node. Nearly all nodes have one or none, which takes no memory of its own.
#[derive(Clone, Debug, Default)]
pub(super) enum LayeredEntries {
    #[default]
    None,
    One(LayeredEntry),
    /// At least two, highest layer first; those of one layer are in the order in which they were given.
    Many(Box<[LayeredEntry]>),
}

impl LayeredEntries {
    /// The entries that are served: those of the highest layer.
    pub(super) fn served(&self) -> &[LayeredEntry] {
        self.all().first().map_or(&[], |first| self.of(first.layer))
    }

    /// The entries of a layer.
    pub(super) fn of(&self, layer: Layer) -> &[LayeredEntry] {
        let all = self.all();
        let lower = &all[all.partition_point(|own| own.layer > layer)..];
        &lower[..lower.partition_point(|own| own.layer == layer)]
    }

    /// Puts entries in the place of the layer's present ones.
    pub(super) fn set(&mut self, layer: Layer, entries: Vec<Entry>) {
        let mut all = match std::mem::take(self) {
            Self::None => Vec::new(),
            Self::One(entry) => vec![entry],
            Self::Many(entries) => entries.into_vec(),
        };
        all.retain(|own| own.layer != layer);
        let higher = all.partition_point(|own| own.layer > layer);
        all.splice(higher..higher, entries.into_iter().map(|entry| LayeredEntry { layer, entry }));
        *self = match all.len() {
            0 | 1 => all.pop().map_or(Self::None, Self::One),
            _ => Self::Many(all.into()),
        };
    }

    fn all(&self) -> &[LayeredEntry] {
        match self {
            Self::None => &[],
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }
}
