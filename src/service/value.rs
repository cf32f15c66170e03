//! Reading the JSON value of a service. Where SkyDNS wrapped a number, or failed for all services of a subtree because one
//! value was bad, the one value is refused here.

use super::host::HostError;
use super::{Host, MAX_TTL, Service};
use crate::shown::quoted;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Maximum number of octets of a service's text.
///
/// The RDATA of its TXT record has at most 65,535 octets with a length octet for each 255, and the message needs room for
/// header, question and owner name: 64,000 always fit.
const MAX_TEXT: usize = 64_000;

/// Why a value is refused. Other services are not concerned.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValueError {
    /// Not JSON at all; the text is the parser's, with line and column.
    #[error("the value is not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object.
    #[error("the value is {found}, not a JSON object")]
    NotObject {
        /// What the value is instead.
        found: &'static str,
    },
    /// A field of another type than the format's.
    #[error("field \"{field}\" is {found}, not {expected}")]
    WrongType {
        /// Name of the field as the value spells it.
        field: String,
        /// The type that the field must have.
        expected: &'static str,
        /// What the field has instead.
        found: String,
    },
    /// A number that is too great or negative; it is never wrapped.
    #[error("field \"{field}\" is {value}, {}", range_text(*.max))]
    OutOfRange {
        /// Name of the field as the value spells it.
        field: String,
        /// The number as written.
        value: String,
        /// The greatest number that the field can have; `u64::MAX` if only the type has a bound.
        max: u64,
    },
    /// A host that is neither an address nor the name of a host.
    #[error("field \"host\" is \"{host}\", which is no IP address and no name of a host: {reason}")]
    BadHost {
        /// The host, cut short when it is very long.
        host: String,
        /// What is wrong with the host.
        reason: HostError,
    },
    /// A text that no message can carry.
    #[error("field \"text\" has {len} octets, more than the {MAX_TEXT} that fit a DNS message")]
    LongText {
        /// Length of the text in octets.
        len: usize,
    },
}

/// What a number is not; a bound that only the type has is not named.
fn range_text(max: u64) -> String {
    match max {
        u64::MAX => "not a whole number from 0 up".to_owned(),
        _ => format!("not between 0 and {max}"),
    }
}

impl Service {
    /// Reads the JSON value of a key.
    ///
    /// Field names match in any letter case, the last of several fields with one name wins, `null` counts as absent and
    /// unknown fields are passed over, as in the decoder of the Go server.
    ///
    /// # Errors
    /// The value is not a JSON object, or a field has the wrong type, is out of range or has a host that no DNS message can
    /// carry. The error names the field, and quotes its text only if the object has no field but those of services: any
    /// other JSON may hold secrets.
    pub fn from_json(value: &[u8]) -> Result<Self, ValueError> {
        // The Go decoder put U+FFFD in the place of octets that are not UTF-8.
        let text = String::from_utf8_lossy(value);
        let mut service = Self::default();
        let Fields { known, has_others } = read_fields(&text)?;
        for (name, value) in known {
            let set = set_field(&mut service, name, &value);
            set.map_err(|error| if has_others { error.without_text() } else { error })?;
        }
        Ok(service)
    }
}

impl ValueError {
    /// The same error without text of the value.
    fn without_text(self) -> Self {
        match self {
            Self::WrongType { field, expected, found } if found.starts_with("the string") => {
                Self::WrongType { field, expected, found: "a string".to_owned() }
            }
            Self::BadHost { reason, .. } => Self::BadHost { host: "…".to_owned(), reason },
            error => error,
        }
    }
}

/// The fields of an object.
#[derive(Default)]
struct Fields {
    /// The known ones, in the order of the text.
    known: Vec<(String, Value)>,
    /// Whether there are others.
    has_others: bool,
}

fn read_fields(text: &str) -> Result<Fields, ValueError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let fields = json.deserialize_any(KnownFields);
    match fields.and_then(|fields| json.end().map(|()| fields)) {
        Ok(Ok(fields)) => Ok(fields),
        Ok(Err(found)) => Err(ValueError::NotObject { found }),
        Err(_) if text.trim_ascii().is_empty() => Err(ValueError::NotJson("it is empty".to_owned())),
        Err(error) => Err(ValueError::NotJson(error.to_string())),
    }
}

/// Collects the known fields of an object, or says what the text is instead of an object.
struct KnownFields;

impl<'de> Visitor<'de> for KnownFields {
    type Value = Result<Fields, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<String>()? {
            if FIELD_NAMES.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                fields.known.push((name, map.next_value()?));
            } else {
                fields.has_others = true;
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Ok(fields))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(Fields::default()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err("an array"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err("a string"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err("a boolean"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }
}

/// The fields of a service.
const FIELD_NAMES: [&str; 9] =
    ["host", "port", "priority", "weight", "ttl", "text", "group", "targetstrip", "mail"];

/// Sets a field from its value. The name is one of [`FIELD_NAMES`], in any letter case.
fn set_field(service: &mut Service, name: String, value: &Value) -> Result<(), ValueError> {
    if value.is_null() {
        return Ok(());
    }
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "host" => {
            let text = string(name, value)?;
            service.host =
                Host::parse(text).map_err(|reason| ValueError::BadHost { host: quoted(text), reason })?;
        }
        "port" => service.port = number(name, value, u16::MAX.into())?,
        "priority" => service.priority = number(name, value, u16::MAX.into())?,
        "weight" => service.weight = number(name, value, u64::MAX)?,
        "ttl" => service.ttl = number(name, value, MAX_TTL.into())?,
        "text" => service.text = text(string(name, value)?)?,
        "group" => service.group = non_empty(string(name, value)?),
        "targetstrip" => {
            // A name has at most 127 labels, so 255 are too many for every name, as greater numbers are.
            let strip: u64 = number(name, value, u64::MAX)?;
            service.target_strip = u8::try_from(strip).unwrap_or(u8::MAX);
        }
        "mail" => service.mail = value.as_bool().ok_or_else(|| wrong_type(name, "a boolean", value))?,
        _ => debug_assert!(false, "a field without a meaning: {name}"),
    }
    Ok(())
}

fn string(field: String, value: &Value) -> Result<&str, ValueError> {
    value.as_str().ok_or_else(|| wrong_type(field, "a string", value))
}

/// A number in 0..=`max`, which fits the type.
fn number<T: TryFrom<u64>>(field: String, value: &Value, max: u64) -> Result<T, ValueError> {
    let Value::Number(number) = value else {
        return Err(wrong_type(field, "a whole number", value));
    };
    if let Some(fits) = number.as_u64().filter(|n| *n <= max).and_then(|n| T::try_from(n).ok()) {
        return Ok(fits);
    }
    if number.is_f64() && number.as_f64().is_some_and(|n| n.abs() < 1e15) {
        return Err(wrong_type(field, "a whole number", value));
    }
    Err(ValueError::OutOfRange { field, value: number.to_string(), max })
}

fn wrong_type(field: String, expected: &'static str, value: &Value) -> ValueError {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => format!("the boolean {b}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(s) => format!("the string \"{}\"", quoted(s)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    ValueError::WrongType { field, expected, found }
}

fn text(text: &str) -> Result<Option<Box<str>>, ValueError> {
    if text.len() > MAX_TEXT {
        return Err(ValueError::LongText { len: text.len() });
    }
    Ok(non_empty(text))
}

fn non_empty(text: &str) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(json: &str) -> Service {
        Service::from_json(json.as_bytes()).expect(json)
    }

    fn refusal(json: &str) -> String {
        Service::from_json(json.as_bytes()).expect_err(json).to_string()
    }

    #[test]
    fn fields_match_in_any_letter_case_and_the_last_wins() {
        let got = service(r#"{"Host":"10.0.0.1","HOST":"10.0.0.2","pOrT":80,"port":81,"x":[1]}"#);
        assert_eq!(got.host, Host::V4([10, 0, 0, 2].into()));
        assert_eq!(got.port, 81);
    }

    #[test]
    fn null_counts_as_absent() {
        assert_eq!(service(r#"{"host":null,"port":null,"mail":null}"#), Service::default());
        assert_eq!(service("null"), Service::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "not JSON"),
            ("{\"host\":1", "not JSON"),
            ("{} x", "not JSON"),
            ("[1,2]", "an array"),
            ("\"x\"", "a string"),
            ("17", "a number"),
            (r#"{"host":1}"#, "field \"host\" is the number 1, not a string"),
            (r#"{"port":"80"}"#, "field \"port\" is the string \"80\", not a whole number"),
            (r#"{"port":80.5}"#, "field \"port\" is the number 80.5, not a whole number"),
            (r#"{"port":-1}"#, "field \"port\" is -1, not between 0 and 65535"),
            (r#"{"Port":65536}"#, "field \"Port\" is 65536, not between 0 and 65535"),
            (r#"{"priority":65546}"#, "not between 0 and 65535"),
            (r#"{"ttl":2147483648}"#, "field \"ttl\" is 2147483648, not between 0 and 2147483647"),
            (r#"{"ttl":1e300}"#, "not between 0 and 2147483647"),
            (r#"{"weight":-5}"#, "field \"weight\" is -5, not a whole number from 0 up"),
            (r#"{"mail":1}"#, "field \"mail\" is the number 1, not a boolean"),
            (
                r#"{"host":"a b"}"#,
                "field \"host\" is \"a b\", which is no IP address and no name of a host: it has a blank",
            ),
        ];
        for (json, message) in cases {
            assert!(refusal(json).contains(message), "{json}: {}", refusal(json));
        }
    }

    #[test]
    fn text_of_what_may_be_no_service_is_not_quoted() {
        for json in [
            r#"{"host":"s3cret word","user":"x"}"#,
            r#"{"password":"x","port":"s3cret"}"#,
            r#"{"x":1,"mail":"s3cret","host":"a"}"#,
            r#"{"host":"s3cret word""#,
            r#""s3cret""#,
            "s3cret:x:0:0::/root:/bin/sh",
            "--- s3cret",
        ] {
            assert!(!refusal(json).contains("s3cret"), "{json}: {}", refusal(json));
        }
        assert!(refusal(r#"{"host":"a b","x":1}"#).contains("\"host\" is \"…\""));
        assert!(refusal(r#"{"port":"8 0"}"#).contains("8 0"));
    }

    #[test]
    fn the_greatest_numbers_are_taken() {
        let got =
            service(r#"{"ttl":2147483647,"port":65535,"priority":65535,"weight":18446744073709551615}"#);
        assert_eq!((got.ttl, got.port, got.priority, got.weight), (MAX_TTL, 65_535, 65_535, u64::MAX));
    }

    #[test]
    fn what_no_message_can_carry_is_refused() {
        let text = "x".repeat(MAX_TEXT + 1);
        assert!(refusal(&format!("{{\"text\":\"{text}\"}}")).contains("64001 octets"));
        assert!(service(&format!("{{\"text\":\"{}\"}}", &text[1..])).text.is_some());
    }
}
