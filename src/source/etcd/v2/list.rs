//! A listing as it comes in: one JSON document, of which each key is handed on as soon as it was read.
//!
//! serde_json reads from a thread of its own, and waits there for the pieces that the connection brings.

use super::node::{Directories, Expiry};
use crate::source::pieces::PieceReader;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

/// How deep directories are read. No name has more labels than half of its octets.
const MAX_DEPTH: usize = 160;

/// What a listing is read from.
pub(super) trait Input: Read {
    /// Octets that were read since the last whole key, if they are counted.
    fn since_key(&self) -> Option<Rc<Cell<usize>>> {
        None
    }
}

impl Input for PieceReader {
    fn since_key(&self) -> Option<Rc<Cell<usize>>> {
        Some(self.since_entry())
    }
}

impl Input for &[u8] {}

/// A key of a listing.
pub(in super::super) struct ListedKey {
    pub(in super::super) key: String,
    pub(in super::super) value: String,
    /// When it ends: the key itself, or a directory above it.
    pub(in super::super) expiry: Option<Expiry>,
    /// The index of its last change.
    pub(in super::super) index: u64,
}

/// What takes the keys of a listing.
pub(in super::super) trait Sink {
    /// Takes a key.
    ///
    /// # Errors
    /// Nobody wants any more of them.
    fn key(&mut self, key: ListedKey) -> Result<(), String>;

    /// A directory, with all that is in it taken before.
    fn directory(&mut self, _key: &str) {}

    /// Whether nobody wants any more of them.
    fn is_closed(&self) -> bool {
        false
    }

    /// A directory that is too deep to be read.
    fn too_deep(&mut self, key: &str);
}

/// Reads a listing; returns the directories that end.
///
/// # Errors
/// The text is no listing, or the sink wants no more.
pub(super) fn read_list(input: impl Input, sink: &mut impl Sink) -> Result<Directories, serde_json::Error> {
    let mut directories = Directories::default();
    let since_key = input.since_key().unwrap_or_default();
    // From here on reads of single octets are cheap.
    let mut json = serde_json::Deserializer::from_reader(io::BufReader::with_capacity(64 << 10, input));
    // Our own limit is lower than what a stack takes.
    json.disable_recursion_limit();
    Response(&mut Walk { sink, directories: &mut directories, since_key: &since_key })
        .deserialize(&mut json)?;
    json.end()?;
    Ok(directories)
}

struct Walk<'w, S> {
    sink: &'w mut S,
    directories: &'w mut Directories,
    since_key: &'w Cell<usize>,
}

/// The whole answer: `{"action":"get","node":{…}}`.
struct Response<'w, 'v, S>(&'v mut Walk<'w, S>);

impl<'de, S: Sink> DeserializeSeed<'de> for Response<'_, '_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Response<'_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of etcd")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_node = false;
        while let Some(field) = map.next_key::<String>()? {
            if field == "node" {
                has_node = true;
                map.next_value_seed(Node { walk: &mut *self.0, depth: 0, above: None })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if has_node { Ok(()) } else { Err(serde::de::Error::missing_field("node")) }
    }
}

/// A key, or a directory with all below it.
struct Node<'w, 'v, S> {
    walk: &'v mut Walk<'w, S>,
    depth: usize,
    /// The first end of the directories above.
    above: Option<Expiry>,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Node<'_, '_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Node<'_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node of etcd")
    }

    /// etcd writes the nodes of a directory behind its key and its expiration.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut key, mut value, mut is_directory) = (String::new(), None::<String>, false);
        let (mut has_expiration, mut ttl, mut index) = (false, None, 0);
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::Key => key = map.next_value()?,
                Field::Value => value = Some(map.next_value()?),
                Field::Dir => is_directory = map.next_value()?,
                Field::Expiration => {
                    map.next_value::<IgnoredAny>()?;
                    has_expiration = true;
                }
                Field::Ttl => ttl = Some(map.next_value()?),
                Field::Nodes if self.depth >= MAX_DEPTH => {
                    self.walk.sink.too_deep(&key);
                    map.next_value::<IgnoredAny>()?;
                }
                Field::Nodes => {
                    let own = Expiry::of(has_expiration, ttl);
                    let above = own.into_iter().chain(self.above).min();
                    map.next_value_seed(Nodes { walk: &mut *self.walk, depth: self.depth + 1, above })?;
                }
                Field::ModifiedIndex => index = map.next_value()?,
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.walk.since_key.set(0);
        let own = Expiry::of(has_expiration, ttl);
        if is_directory {
            self.walk.directories.note(&key, own);
            self.walk.sink.directory(&key);
            return Ok(());
        }
        let expiry = own.into_iter().chain(self.above).min();
        let key = ListedKey { key, value: value.unwrap_or_default(), expiry, index };
        self.walk.sink.key(key).map_err(serde::de::Error::custom)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Key,
    Value,
    Dir,
    Expiration,
    Ttl,
    Nodes,
    ModifiedIndex,
    #[serde(other)]
    Other,
}

/// What is in a directory.
struct Nodes<'w, 'v, S> {
    walk: &'v mut Walk<'w, S>,
    depth: usize,
    above: Option<Expiry>,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Nodes<'_, '_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Nodes<'_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the nodes of a directory")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut nodes: A) -> Result<(), A::Error> {
        let Nodes { walk, depth, above } = self;
        while nodes.next_element_seed(Node { walk: &mut *walk, depth, above })?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Taken(Vec<(String, String, bool)>, Vec<usize>);

    impl Sink for Taken {
        fn key(&mut self, key: ListedKey) -> Result<(), String> {
            if key.key == "/stop" {
                return Err("enough".to_owned());
            }
            self.0.push((key.key, key.value, key.expiry.is_some()));
            Ok(())
        }

        fn too_deep(&mut self, key: &str) {
            self.1.push(key.len());
        }
    }

    /// Gives one octet at a time.
    struct Slow<'a>(&'a [u8]);

    impl Input for Slow<'_> {}

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let octets = 1.min(self.0.len()).min(into.len());
            into[..octets].copy_from_slice(&self.0[..octets]);
            self.0 = &self.0[octets..];
            Ok(octets)
        }
    }

    fn read(text: &str) -> Result<Taken, String> {
        let mut taken = Taken::default();
        read_list(Slow(text.as_bytes()), &mut taken).map_err(|error| error.to_string())?;
        Ok(taken)
    }

    #[test]
    fn keys_are_taken_as_they_come() {
        let text = r#"{"action":"get","node":{"key":"/skydns","dir":true,"nodes":[
            {"key":"/skydns/a","value":"{\"host\":\"\u003c\"}","modifiedIndex":4,"createdIndex":4},
            {"key":"/skydns/d","dir":true,"expiration":"2026-11-27T12:55:13Z","ttl":9,"nodes":[
                {"key":"/skydns/d/x","value":"","modifiedIndex":5,"createdIndex":5},
                {"key":"/skydns/d/empty","dir":true,"modifiedIndex":5,"createdIndex":5}]}],"modifiedIndex":4}}"#;
        let taken = read(text).expect("a listing").0;
        let key = |key: &str, value: &str, ends| (key.to_owned(), value.to_owned(), ends);
        assert_eq!(taken, [key("/skydns/a", "{\"host\":\"<\"}", false), key("/skydns/d/x", "", true)]);
        let single = read(r#"{"action":"get","node":{"key":"/skydns/_x","value":"{}","ttl":3}}"#);
        assert_eq!(single.expect("a listing").0, [key("/skydns/_x", "{}", true)]);
    }

    #[test]
    fn what_is_cut_or_no_listing_is_an_error() {
        let whole =
            r#"{"action":"get","node":{"key":"/s","dir":true,"nodes":[{"key":"/s/a","value":"{}"}]}}"#;
        assert!(read(whole).is_ok());
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{}", &whole[..end]);
        }
        for wrong in ["{}", "[]", r#"{"node":[]}"#, r#"{"node":{"key":1}}"#, r#"{"node":{"nodes":{}}}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&format!("{whole} {whole}")).is_err());
        let stopped = read(r#"{"node":{"key":"/stop","value":""}}"#);
        assert!(stopped.is_err_and(|error| error.starts_with("enough")));
    }

    #[test]
    fn directories_that_are_too_deep_cost_themselves_alone() {
        let depth = 100_000;
        let open = r#"{"key":"/d","dir":true,"nodes":["#;
        let deep = format!("{}{}", open.repeat(depth), "]}".repeat(depth));
        let text = format!(
            r#"{{"node":{{"key":"/s","dir":true,"nodes":[{deep},{{"key":"/s/a","value":"{{}}"}}]}}}}"#
        );
        let taken = read(&text).expect("a listing");
        assert_eq!((taken.0.len(), taken.1.len()), (1, 1));
    }
}
