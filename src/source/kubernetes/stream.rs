//! The bodies of lists and watches, taken apart as they come in.

use crate::source::pieces::PieceReader;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;

/// Octets that one event of a watch has at most: etcd takes values of a megabyte and a half, and escapes make six of one.
const MAX_EVENT_OCTETS: usize = 16 << 20;

/// Events of a watch, of which each is a line, out of pieces that may end anywhere.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What came before the present piece of the line that is not whole.
    rest: Vec<u8>,
}

impl Lines {
    /// Calls `each` with the whole lines that a piece brings.
    ///
    /// # Errors
    /// Those of `each`; or a line has no end.
    pub(super) fn take<E>(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, EndlessLine> {
        let mut left = piece;
        while !left.is_empty() {
            let end = memchr::memchr(b'\n', left);
            let (part, behind) = left.split_at(end.map_or(left.len(), |end| end + 1));
            left = behind;
            let is_whole = end.is_some();
            if !is_whole || !self.rest.is_empty() {
                if self.rest.len() + part.len() > MAX_EVENT_OCTETS {
                    return Err(EndlessLine);
                }
                self.rest.extend_from_slice(part);
            }
            if !is_whole {
                continue;
            }
            let whole = if self.rest.is_empty() {
                Cow::Borrowed(part)
            } else {
                std::mem::take(&mut self.rest).into()
            };
            let line = whole.trim_ascii();
            if !line.is_empty()
                && let Err(error) = each(line)
            {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}

/// A line of a watch is larger than any event.
#[derive(Debug, thiserror::Error)]
#[error("an event of the watch has no end")]
pub(super) struct EndlessLine;

/// What a list says beside its items.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListHead {
    /// The version of the store that it shows.
    #[serde(default)]
    pub(super) resource_version: Box<str>,
    /// How to ask for what follows; empty at the end.
    #[serde(default, rename = "continue")]
    pub(super) next: String,
}

/// Reads a list from a thread that may wait, and calls `each` with each item.
///
/// # Errors
/// The text is no list, or `each` wants no more.
pub(super) fn read_list(
    input: PieceReader,
    each: &mut dyn FnMut(&str) -> Result<(), String>,
) -> Result<ListHead, serde_json::Error> {
    let since_item = input.since_entry();
    let mut json = serde_json::Deserializer::from_reader(io::BufReader::with_capacity(64 << 10, input));
    let mut head = None;
    List { head: &mut head, each, since_item: &since_item }.deserialize(&mut json)?;
    json.end()?;
    head.ok_or_else(|| serde::de::Error::custom("the list has no metadata"))
}

struct List<'l> {
    head: &'l mut Option<ListHead>,
    each: &'l mut dyn FnMut(&str) -> Result<(), String>,
    since_item: &'l Rc<Cell<usize>>,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "metadata" => *self.head = Some(map.next_value()?),
                "items" => {
                    map.next_value_seed(Items { each: &mut *self.each, since_item: self.since_item })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Items<'l> {
    each: &'l mut dyn FnMut(&str) -> Result<(), String>,
    since_item: &'l Rc<Cell<usize>>,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // An empty list is null.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("items")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Box<RawValue>>()? {
            self.since_item.set(0);
            (self.each)(item.get()).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_may_end_anywhere() {
        let text = "{\"type\":\"ADDED\",\"object\":{\"a\":\"\\u00fc\"}}\n\n{\"type\":\"BOOKMARK\",\"object\":{}}\r\n";
        for size in 1..=text.len() {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                let taken = lines.take(piece, |line| {
                    seen.push(String::from_utf8_lossy(line).into_owned());
                    Ok::<_, String>(())
                });
                assert!(matches!(taken, Ok(Ok(()))), "{size}");
            }
            let lines: Vec<_> = text.split_whitespace().collect();
            assert_eq!(seen, lines, "{size}");
        }
        let mut lines = Lines::default();
        let piece = vec![b'x'; MAX_EVENT_OCTETS];
        assert!(matches!(lines.take(&piece, |_| Ok::<_, ()>(())), Ok(Ok(()))));
        assert!(lines.take(b"x", |_| Ok::<_, ()>(())).is_err());
    }
}
