//! The events of a watch, each read in one pass.

use super::client::Status;
use super::decode::{RawObject, Text};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// An event of a watch.
pub(super) enum WatchEvent<'a> {
    /// What happened to an object, `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`, and the object.
    Object(Text<'a>, Box<RawObject<'a>>),
    /// An error of the server.
    Error(Status<'a>),
}

impl<'a> WatchEvent<'a> {
    /// An event of which the type is known before its object is read.
    fn read<E>(kind: Text<'a>, object: impl ReadObject<'a, Error = E>) -> Result<Self, E> {
        match &*kind.0 {
            "ERROR" => object.read().map(Self::Error),
            _ => Ok(Self::Object(kind, object.read()?)),
        }
    }
}

/// Where the object of an event is read from.
trait ReadObject<'a> {
    type Error;

    fn read<T: Deserialize<'a>>(self) -> Result<T, Self::Error>;
}

/// The value that comes next.
struct Next<'m, A>(&'m mut A);

impl<'a, A: MapAccess<'a>> ReadObject<'a> for Next<'_, A> {
    type Error = A::Error;

    fn read<T: Deserialize<'a>>(self) -> Result<T, A::Error> {
        self.0.next_value()
    }
}

impl<'a> ReadObject<'a> for &'a RawValue {
    type Error = serde_json::Error;

    fn read<T: Deserialize<'a>>(self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.get())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for WatchEvent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;

        impl<'de> Visitor<'de> for OfMap {
            type Value = WatchEvent<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event of a watch")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut kind, mut event, mut early) = (None::<Text<'de>>, None, None::<&'de RawValue>);
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match &*key.0 {
                        "type" => kind = Some(map.next_value()?),
                        "object" => match kind.take() {
                            Some(kind) => event = Some(WatchEvent::read(kind, Next(&mut map))?),
                            // Servers write the type first; nothing says that they have to.
                            None => early = Some(map.next_value()?),
                        },
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                match (event, kind, early) {
                    (Some(event), ..) => Ok(event),
                    (None, Some(kind), Some(object)) => {
                        WatchEvent::read(kind, object).map_err(A::Error::custom)
                    }
                    (None, None, _) => Err(A::Error::missing_field("type")),
                    (None, Some(_), None) => Err(A::Error::missing_field("object")),
                }
            }
        }

        deserializer.deserialize_map(OfMap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kubernetes::settings::Watched;
    use crate::tree::ObjectKind;

    /// What an event says: its type, the name and the version of its object, and whether it ends a list; or a code.
    fn read(json: &str) -> Result<String, String> {
        let event = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Ok(match event {
            WatchEvent::Error(status) => status.code.to_string(),
            WatchEvent::Object(kind, object) => {
                let decoded = object.decode(ObjectKind::Service, &Watched::default());
                let name = decoded.id.map(|id| id.name).unwrap_or_default();
                let end = if object.ends_list() { " end" } else { "" };
                format!("{} {name} {}{end}", kind.0, decoded.version)
            }
        })
    }

    #[test]
    fn events_name_their_object_or_an_error() {
        let web =
            r#"{"metadata":{"name":"web","namespace":"a","resourceVersion":"7","annotations":{"b":"1"}}}"#;
        for (json, expected) in [
            (format!(r#"{{"type":"ADDED","object":{web}}}"#), "ADDED web 7"),
            (format!(r#" {{ "object" : {web} , "x":[1], "type":"DELETED" }} "#), "DELETED web 7"),
            (format!(r#"{{"type":"\u0041DDED","object":{web}}}"#), "ADDED web 7"),
            (r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#.into(), "BOOKMARK  9"),
            (
                r#"{"type":"BOOKMARK","object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}}}"#.into(),
                "BOOKMARK   end",
            ),
            (
                r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,"message":"old"}}"#.into(),
                "410",
            ),
            (r#"{"object":{"status":"Failure","code":500},"type":"ERROR"}"#.into(), "500"),
        ] {
            assert_eq!(read(&json).as_deref(), Ok(expected), "{json}");
        }
        for other in [r#"{"annotations":null}"#, "{}", r#"{"annotations":{"a":"true"}}"#] {
            let json = format!(r#"{{"type":"BOOKMARK","object":{{"metadata":{other}}}}}"#);
            assert_eq!(read(&json).as_deref(), Ok("BOOKMARK  "), "{json}");
        }
        for wrong in [r#"{"type":"ADDED"}"#, r#"{"object":{}}"#, r#"{"type":"ADDED","object":7}"#, "[]", "{"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
