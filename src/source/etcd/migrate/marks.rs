//! The keys below the [mark of the move](Keyspace::migration_root), which say whose the keys of v3 are.
//!
//! `<root><cluster>` is the mark of the move itself; `<root><cluster><key>` is that of one copy, and its value is the index that
//! the key had in v2, or [`KEPT`]. A copy and its mark are written at once, so both have one revision; a key that somebody else
//! writes later has another one.

use super::plan::Owner;
use crate::service::Keyspace;
use etcd_client::KeyValue;
use std::collections::HashMap;

/// The value of the mark of a copy that is kept.
pub(super) const KEPT: &str = "kept";

/// Hexadecimal digits of the id of a cluster.
const CLUSTER_DIGITS: usize = 16;

/// The marks of a store, as one that carries keys of a cluster sees them.
pub(super) struct Marks {
    root: String,
    cluster: u64,
}

/// What v2 was at a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its index.
    pub(super) index: u64,
    /// The number of services in it.
    pub(super) services: usize,
}

/// What the marks say.
#[derive(Default)]
pub(super) struct MarksRead {
    /// That of the move.
    pub(super) of_move: Option<Seen>,
    /// Who wrote a key at a revision.
    owners: HashMap<(Vec<u8>, i64), Owner>,
}

impl Marks {
    pub(super) fn new(keyspace: &Keyspace, cluster: u64) -> Self {
        Self { root: keyspace.migration_root(), cluster }
    }

    /// What all marks begin with, those of other clusters included.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// The mark of the move, with which those of its copies begin.
    pub(super) fn of_move(&self) -> String {
        self.of_copy(self.cluster, "")
    }

    /// The mark of a copy.
    pub(super) fn of_key(&self, key: &str) -> String {
        self.of_copy(self.cluster, key)
    }

    /// The mark of a copy from some cluster.
    pub(super) fn of_copy(&self, cluster: u64, key: &str) -> String {
        format!("{}{cluster:0width$x}{key}", self.root, width = CLUSTER_DIGITS)
    }

    /// What the marks say that were found below the root.
    pub(super) fn read(&self, marks: Vec<KeyValue>) -> MarksRead {
        let mut read = MarksRead::default();
        for mark in marks {
            let Some((cluster, key)) = self.split(mark.key()) else { continue };
            if key.is_empty() {
                if cluster == self.cluster {
                    let text = serde_json::from_slice::<serde_json::Value>(mark.value()).unwrap_or_default();
                    let services = text["services"].as_u64().unwrap_or_default();
                    let services = usize::try_from(services).unwrap_or_default();
                    read.of_move = text["index"].as_u64().map(|index| Seen { index, services });
                }
                continue;
            }
            let index = || mark.value_str().ok().and_then(|text| text.parse().ok()).unwrap_or_default();
            let owner = match mark.value() {
                _ if cluster != self.cluster => Owner::OfCluster(cluster),
                value if value == KEPT.as_bytes() => Owner::Kept,
                _ => Owner::Us(index()),
            };
            read.owners.insert((key.to_vec(), mark.mod_revision()), owner);
        }
        read
    }

    /// The cluster and the key that a mark is of.
    fn split<'k>(&self, mark: &'k [u8]) -> Option<(u64, &'k [u8])> {
        let (cluster, key) = mark.strip_prefix(self.root.as_bytes())?.split_at_checked(CLUSTER_DIGITS)?;
        let cluster = u64::from_str_radix(std::str::from_utf8(cluster).ok()?, 16).ok()?;
        Some((cluster, key))
    }
}

impl MarksRead {
    /// Who wrote a key that has a revision.
    pub(super) fn owner(&self, key: &[u8], revision: i64) -> Owner {
        self.owners.get(&(key.to_vec(), revision)).copied().unwrap_or(Owner::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_its_cluster_and_its_key() {
        let marks = Marks::new(&Keyspace::new("skydns"), 0xab);
        let mark = marks.of_key("/skydns/local/a");
        assert_eq!(mark, "/skydns-migration/00000000000000ab/skydns/local/a");
        assert_eq!(marks.split(mark.as_bytes()), Some((0xab, &b"/skydns/local/a"[..])));
        assert_eq!(marks.split(marks.of_move().as_bytes()), Some((0xab, &b""[..])));
        for other in ["/skydns-migration/1", "/skydns-migration/zzzzzzzzzzzzzzzz/a", "/skydns/a"] {
            assert_eq!(marks.split(other.as_bytes()), None, "{other}");
        }
    }
}
