//! What the v2 API says of keys, as JSON.

use crate::clock::steady_time;
use crate::tree::Lease;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// When a key or a directory ends: the end in seconds of steady time, and how many seconds it had when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Expiry {
    end: u64,
    granted: u32,
}

impl Expiry {
    /// Of a node with an expiration or a TTL; `None` if it has neither. A node with an expiration and no TTL is about to end.
    pub(super) fn of(has_expiration: bool, ttl: Option<i64>) -> Option<Self> {
        let ttl = ttl.or(has_expiration.then_some(0))?;
        let granted = u32::try_from(ttl.max(1)).unwrap_or(u32::MAX);
        Some(Self { end: steady_time().saturating_add(granted.into()), granted })
    }

    /// How many seconds it had when it was read.
    pub(in super::super) fn granted(self) -> u32 {
        self.granted
    }

    pub(super) fn lease(self) -> Arc<Lease> {
        Arc::new(Lease::of_key(self.end, self.granted))
    }
}

/// The directories that end, by their keys: whatever is below them ends with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Directories(BTreeMap<String, Expiry>);

impl Directories {
    /// Notes when a directory ends, if it does.
    pub(super) fn note(&mut self, key: &str, expiry: Option<Expiry>) {
        match expiry {
            Some(expiry) => drop(self.0.insert(key.to_owned(), expiry)),
            None => drop(self.0.remove(key)),
        }
    }

    /// Adds those of another part of the store.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Forgets a directory, and those below it.
    pub(super) fn forget(&mut self, key: &str) {
        self.0.retain(|directory, _| directory != key && !is_below(directory, key));
    }

    /// When a key ends whose own expiry this is.
    pub(super) fn expiry_of(&self, key: &str, own: Option<Expiry>) -> Option<Expiry> {
        if self.0.is_empty() {
            return own;
        }
        let above = key.match_indices('/').filter_map(|(at, _)| self.0.get(&key[..at]).copied());
        above.chain(own).min()
    }
}

/// Whether a key is below a directory, label by label: `/skydns/a` is not below `/sky`.
pub(super) fn is_below(key: &str, directory: &str) -> bool {
    key.strip_prefix(directory.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

/// A change, as a poll gives it.
#[derive(Debug, Deserialize)]
pub(super) struct ApiEvent {
    pub(super) action: Action,
    pub(super) node: EventNode,
    #[serde(default, rename = "prevNode")]
    before: Option<NodeBefore>,
}

/// What the key was before.
#[derive(Debug, Deserialize)]
struct NodeBefore {
    #[serde(default)]
    dir: bool,
}

impl ApiEvent {
    /// Whether a directory is gone. etcd 2.x says so only of what was before; without that nobody knows.
    pub(super) fn removes_directory(&self) -> bool {
        self.action.is_removal() && (self.node.dir || self.before.as_ref().is_none_or(|before| before.dir))
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action {
    Set,
    Create,
    Update,
    CompareAndSwap,
    Delete,
    Expire,
    CompareAndDelete,
    /// A value of a later version: it says what the node is now.
    #[serde(other)]
    Other,
}

impl Action {
    pub(super) fn is_removal(self) -> bool {
        matches!(self, Self::Delete | Self::Expire | Self::CompareAndDelete)
    }
}

/// The key that was changed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventNode {
    pub(super) key: String,
    #[serde(default)]
    pub(super) dir: bool,
    #[serde(default)]
    pub(super) value: String,
    #[serde(default)]
    expiration: Option<String>,
    #[serde(default)]
    ttl: Option<i64>,
    pub(super) modified_index: u64,
}

impl EventNode {
    pub(super) fn expiry(&self) -> Option<Expiry> {
        Expiry::of(self.expiration.is_some(), self.ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_with_the_first_directory_above_it() {
        let expiry = |granted| Expiry { end: u64::from(granted) + 1_000, granted };
        let mut directories = Directories::default();
        directories.note("/skydns/a", Some(expiry(60)));
        directories.note("/skydns/a/b", Some(expiry(30)));
        let of = |directories: &Directories, key: &str| directories.expiry_of(key, Some(expiry(45)));
        assert_eq!(of(&directories, "/skydns/a/x"), Some(expiry(45)));
        assert_eq!(of(&directories, "/skydns/a/b/x"), Some(expiry(30)));
        assert_eq!(directories.expiry_of("/skydns/a/x", None), Some(expiry(60)));
        assert_eq!(directories.expiry_of("/skydns/ab/x", None), None);
        directories.forget("/skydns/a");
        assert_eq!(directories.expiry_of("/skydns/a/b/x", None), None);
    }

    #[test]
    fn an_expiration_without_a_ttl_is_about_to_come() {
        assert_eq!(Expiry::of(false, None), None);
        assert_eq!(Expiry::of(true, None).map(|expiry| expiry.granted), Some(1));
        assert_eq!(Expiry::of(true, Some(-5)).map(|expiry| expiry.granted), Some(1));
        assert_eq!(Expiry::of(true, Some(60)).map(|expiry| expiry.granted), Some(60));
    }

    #[test]
    fn events_are_read_as_etcd_writes_them() {
        let text = r#"{"action":"expire","node":{"key":"/skydns/a","modifiedIndex":9,"createdIndex":4},
            "prevNode":{"key":"/skydns/a","value":"{}","expiration":"2026-11-27T12:55:13.002397575Z","modifiedIndex":4,"createdIndex":4}}"#;
        let event: ApiEvent = serde_json::from_str(text).expect("an event");
        assert!(event.action.is_removal() && !event.node.dir && event.node.modified_index == 9);
        let text = r#"{"action":"compareAndSwap","node":{"key":"/a","value":"x","ttl":5,"expiration":"…","modifiedIndex":3}}"#;
        let event: ApiEvent = serde_json::from_str(text).expect("an event");
        assert_eq!((event.action, event.node.expiry().map(|e| e.granted)), (Action::CompareAndSwap, Some(5)));
        let text = r#"{"action":"touch","node":{"key":"/a","dir":true,"modifiedIndex":3}}"#;
        let event: ApiEvent = serde_json::from_str(text).expect("an event");
        assert_eq!((event.action, event.node.dir), (Action::Other, true));
        // As etcd 2.3 reports the end of a directory.
        let text =
            r#"{"action":"expire","node":{"key":"/a","modifiedIndex":3},"prevNode":{"key":"/a","dir":true}}"#;
        let event: ApiEvent = serde_json::from_str(text).expect("an event");
        assert!(event.removes_directory());
    }

    #[test]
    fn keys_are_compared_label_by_label() {
        assert!(is_below("/skydns/a", "/skydns") && is_below("/skydns/a", "/skydns/") && is_below("/a", "/"));
        assert!(
            !is_below("/skydns", "/sky") && !is_below("/skydns", "/skydns") && !is_below("/a", "/skydns")
        );
    }
}
