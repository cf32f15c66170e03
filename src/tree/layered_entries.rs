//! The entries of one name, one for each layer.

use super::entry::{Entry, Layer};
use std::sync::Arc;

/// The entries of one node, one for each layer. Nearly all nodes have one or none, which takes no memory of its own.
#[derive(Clone, Debug, Default)]
pub(super) enum LayeredEntries {
    #[default]
    None,
    One(Layer, Arc<Entry>),
    /// At least two, highest layer first.
    Many(Box<[(Layer, Arc<Entry>)]>),
}

impl LayeredEntries {
    /// The entry of the highest layer, which is the one that is served.
    pub(super) fn top(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::None => None,
            Self::One(_, entry) => Some(entry),
            Self::Many(entries) => entries.first().map(|(_, entry)| entry),
        }
    }

    /// The entry of a layer.
    pub(super) fn of(&self, layer: Layer) -> Option<&Arc<Entry>> {
        match self {
            Self::One(own, entry) if *own == layer => Some(entry),
            Self::Many(entries) => entries.iter().find(|(own, _)| *own == layer).map(|(_, entry)| entry),
            _ => None,
        }
    }

    /// Puts an entry in the place of the layer's present one.
    pub(super) fn put(&mut self, layer: Layer, entry: Arc<Entry>) {
        let mut entries = self.take_all();
        entries.retain(|(own, _)| *own != layer);
        entries.push((layer, entry));
        entries.sort_by(|(a, _), (b, _)| b.cmp(a));
        *self = Self::from_all(entries);
    }

    /// Takes the entry of a layer off.
    pub(super) fn remove(&mut self, layer: Layer) {
        let mut entries = self.take_all();
        entries.retain(|(own, _)| *own != layer);
        *self = Self::from_all(entries);
    }

    fn take_all(&mut self) -> Vec<(Layer, Arc<Entry>)> {
        match std::mem::take(self) {
            Self::None => Vec::new(),
            Self::One(layer, entry) => vec![(layer, entry)],
            Self::Many(entries) => entries.into_vec(),
        }
    }

    fn from_all(mut entries: Vec<(Layer, Arc<Entry>)>) -> Self {
        match entries.len() {
            0 => Self::None,
            1 => entries.pop().map_or(Self::None, |(layer, entry)| Self::One(layer, entry)),
            _ => Self::Many(entries.into()),
        }
    }
}
