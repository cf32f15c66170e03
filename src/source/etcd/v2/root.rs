//! The parts of a store that are listed and watched: the path prefix, and hidden keys that are named one by one.
//!
//! A segment of a key that begins with `_` hides the key: lists and watches of directories above leave it out. A replay of
//! past changes does not, so the same is decided here once more.

use super::node::{ApiEvent, is_below};
use crate::service::Keyspace;

/// A part of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    /// The key of its directory, or of a single key; without a slash at the end.
    key: String,
}

/// Whom a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// A key or directory of the root.
    Own,
    /// The root itself, or a directory above it.
    Above,
    /// What has nothing to do with it, or is hidden.
    Nobody,
}

impl Root {
    /// The path prefix, and the keys that are to be read as well.
    pub(super) fn all(keyspace: &Keyspace, also: &[String]) -> Vec<Self> {
        let root = |key: &str| Self { key: key.trim_end_matches('/').to_owned() };
        std::iter::once(keyspace.root()).chain(also.iter().map(String::as_str)).map(root).collect()
    }

    /// The key of the directory.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The path of a request for all that is in it. It ends with a slash: a user who may read `/skydns/*` may not read
    /// `/skydns`.
    pub(super) fn path(&self, query: &str) -> String {
        path(&format!("{}/", self.key), query)
    }

    /// Whom a change concerns.
    pub(super) fn concern(&self, event: &ApiEvent) -> Concern {
        let key = &event.node.key;
        if *key == self.key || is_below(&self.key, key) || key == "/" {
            Concern::Above
        } else if is_below(key, &self.key) && !is_hidden(&key[self.key.len()..]) {
            Concern::Own
        } else {
            Concern::Nobody
        }
    }
}

/// Whether a key has a segment that hides it.
pub(super) fn is_hidden(key: &str) -> bool {
    key.split('/').any(|segment| segment.starts_with('_'))
}

/// The path of a request for a key of the store.
pub(super) fn path(key: &str, query: &str) -> String {
    let mut path = String::from("/v2/keys");
    for octet in key.bytes() {
        match octet {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                path.push(octet.into());
            }
            _ => path.push_str(&format!("%{octet:02X}")),
        }
    }
    path + query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concern(root: &str, key: &str) -> Concern {
        let root = &Root::all(&Keyspace::new("skydns"), &[root.to_owned()])[1];
        let event = format!(r#"{{"action":"set","node":{{"key":"{key}","value":"","modifiedIndex":1}}}}"#);
        root.concern(&serde_json::from_str(&event).expect("an event"))
    }

    #[test]
    fn changes_concern_those_who_see_them_in_a_list() {
        for (root, key, expected) in [
            ("/skydns/", "/skydns/local/a", Concern::Own),
            ("/skydns/", "/skydns/local/_tcp/a", Concern::Nobody),
            ("/skydns/", "/skydns/_x", Concern::Nobody),
            ("/skydns/", "/skydns", Concern::Above),
            ("/skydns/", "/", Concern::Above),
            ("/skydns/", "/sky", Concern::Nobody),
            ("/skydns/", "/skydns2/a", Concern::Nobody),
            ("/a/b/", "/a", Concern::Above),
            ("/skydns/local/_tcp", "/skydns/local/_tcp/a", Concern::Own),
            ("/skydns/local/_tcp", "/skydns/local/_tcp/_http", Concern::Nobody),
            ("/skydns/local/_tcp", "/skydns/local/_tcp", Concern::Above),
            ("/", "/local/a", Concern::Own),
        ] {
            assert_eq!(concern(root, key), expected, "{root} {key}");
        }
    }

    #[test]
    fn paths_are_encoded_segment_by_segment() {
        let roots = Root::all(&Keyspace::new("my site/sky%"), &[]);
        assert_eq!(roots[0].path("?recursive=true"), "/v2/keys/my%20site/sky%25/?recursive=true");
        assert_eq!(Root::all(&Keyspace::new(""), &[])[0].path(""), "/v2/keys/");
        assert_eq!(path("/skydns/a:b", ""), "/v2/keys/skydns/a%3Ab");
    }
}
