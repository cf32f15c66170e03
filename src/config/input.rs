//! The value of one setting, from text or from JSON, and the errors that it can have.

use super::local::TemplateError;
use super::origin::SettingOrigin;
use crate::service::with_a_labels;
use crate::shown::quoted;
use hickory_proto::rr::Name;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A value that cannot be used, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {reason}")]
pub struct SettingProblem {
    /// Where the value comes from.
    pub origin: SettingOrigin,
    /// What is wrong with the value.
    pub reason: SettingError,
}

/// What is wrong with the value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The value has another type than the setting.
    #[error("{found} is not {expected}")]
    Type {
        /// What stands there.
        found: String,
        /// The type of the setting, for a person.
        expected: &'static str,
    },
    /// The number is out of range.
    #[error("{found} is {}", range_text(*.least, *.most))]
    Range {
        /// What stands there.
        found: String,
        /// The least number that is allowed; `i64::MIN` if any number is low enough.
        least: i64,
        /// The greatest number that is allowed.
        most: i64,
    },
    /// The value is not `IP:port`.
    #[error("\"{}\" is not an IP address and port, such as 127.0.0.1:53 or [::1]:53", quoted(.0))]
    Address(String),
    /// The value is not the URL of an endpoint.
    #[error("\"{}\" is not the URL of an etcd endpoint, such as http://127.0.0.1:2379", quoted(&without_user(.0)))]
    Endpoint(String),
    /// The value is not the URL of an API server.
    #[error("\"{}\" is not the URL of an API server, such as https://192.0.2.1:6443", quoted(&without_user(.0)))]
    ApiServer(String),
    /// The value is a path that every list shows.
    #[error(
        "\"{}\" has no segment that begins with \"_\", as /skydns/local/skydns/_tcp has; other keys are read without this",
        quoted(.0)
    )]
    NotHidden(String),
    /// The value is not the path of a key.
    #[error("\"{}\" is not the path of a key: a segment is empty, \".\" or \"..\"", quoted(.0))]
    StorePath(String),
    /// The value is not a domain name.
    #[error("\"{}\" is not a domain name", quoted(.0))]
    Name(String),
    /// The value looks like a prefix of addresses, and is none.
    #[error("\"{}\" is not a prefix of addresses, such as 10.0.0.0/8, whose bits behind the length are 0", quoted(.0))]
    Prefix(String),
    /// The value is no object of settings of zones.
    #[error("{0}")]
    Zones(String),
    /// Deletions would wait for too long.
    #[error("it is more than {0:?}, the most that is allowed")]
    LongHold(Duration),
    /// There are more zones than an agent serves.
    #[error("there are more than {0} zones")]
    TooManyZones(usize),
    /// The value is none of the words that the setting takes.
    #[error("\"{}\" is not {expected}", quoted(found))]
    Choice {
        /// What stands there.
        found: String,
        /// The words that the setting takes, for a person.
        expected: &'static str,
    },
    /// The template of `local` gives no domain name.
    #[error(transparent)]
    Template(TemplateError),
    /// The flag is for a feature of SkyDNS that this agent does not have.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// How a number misses a range; a bound that only the type has is not named.
fn range_text(least: i64, most: i64) -> String {
    match least {
        i64::MIN => format!("more than {most}, the most that is allowed"),
        _ => format!("not between {least} and {most}"),
    }
}

/// A URL without the part that may hold a password.
pub fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (None, Some((_, rest))) => format!("…@{rest}"),
        _ => url.to_owned(),
    }
}

/// The value of a setting, from a flag or variable, or from JSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum SettingInput<'a> {
    Text(&'a str),
    Json(&'a Value),
}

impl<'a> SettingInput<'a> {
    pub(super) fn text(self) -> Result<&'a str, SettingError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Json(Value::String(text)) => Ok(text),
            Self::Json(_) => Err(self.wrong("a string")),
        }
    }

    /// A boolean; a text is read like Go's `strconv.ParseBool` reads it.
    pub(super) fn boolean(self) -> Result<bool, SettingError> {
        match self {
            Self::Json(Value::Bool(b)) => Ok(*b),
            Self::Text("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Self::Text("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            _ => Err(self.wrong("a boolean (true or false)")),
        }
    }

    pub(super) fn integer(self, least: i64, most: i64) -> Result<i64, SettingError> {
        // Numbers beyond 64 bits are out of range as well, and a number below any bound counts as the lowest one.
        let number = match self {
            Self::Text(text) => text.parse::<i128>().ok().map(saturated),
            Self::Json(value) => value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX)),
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(_) => Err(SettingError::Range { found: self.shown(), least, most }),
            None => Err(self.wrong("a whole number")),
        }
    }

    /// A duration, such as `2s`, `500ms`, `1m30s`; in JSON also a whole number of nanoseconds.
    pub(super) fn duration(self) -> Result<Duration, SettingError> {
        let duration = match self {
            Self::Json(Value::Number(number)) => number.as_u64().map(Duration::from_nanos),
            Self::Text("0") => Some(Duration::ZERO),
            Self::Text(text) => parse_duration(text),
            Self::Json(value) => value.as_str().and_then(|text| Self::Text(text).duration().ok()),
        };
        duration.ok_or_else(|| self.wrong("a duration, such as \"2s\" or \"500ms\""))
    }

    /// A list: text with commas, or a JSON array of strings.
    pub(super) fn list(self) -> Result<Vec<&'a str>, SettingError> {
        match self {
            Self::Json(Value::Array(items)) => {
                items.iter().map(|item| SettingInput::Json(item).text()).collect()
            }
            _ => Ok(self.text()?.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
        }
    }

    /// A list of addresses with ports; with a `default_port`, a port may be left out.
    pub(super) fn addresses(self, default_port: Option<u16>) -> Result<Vec<SocketAddr>, SettingError> {
        self.list()?
            .into_iter()
            .map(|item| {
                let whole = item.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
                let bare = || {
                    let ip = item.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()?;
                    Some(SocketAddr::new(ip, default_port?))
                };
                whole.or_else(bare).ok_or_else(|| SettingError::Address(item.to_owned()))
            })
            .collect()
    }

    /// A domain name, made absolute, with A-labels for labels beyond ASCII; `None` for an empty text.
    pub(super) fn name(self) -> Result<Option<Name>, SettingError> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        match with_a_labels(text).map(Name::from_ascii) {
            Some(Ok(mut name)) if !name.is_root() => {
                name.set_fqdn(true);
                Ok(Some(name))
            }
            _ => Err(SettingError::Name(text.to_owned())),
        }
    }

    pub(super) fn wrong(self, expected: &'static str) -> SettingError {
        SettingError::Type { found: self.shown(), expected }
    }

    fn shown(self) -> String {
        match self {
            Self::Text(text) => format!("\"{}\"", quoted(text)),
            Self::Json(Value::String(text)) => format!("\"{}\"", quoted(text)),
            Self::Json(Value::Array(_)) => "an array".to_owned(),
            Self::Json(Value::Object(_)) => "an object".to_owned(),
            Self::Json(value) => quoted(&value.to_string()),
        }
    }
}

fn saturated(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

/// A duration in Go's syntax: numbers with units, without blanks.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..unit_len] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &rest[unit_len..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::super::allow::Allow;
    use super::super::endpoint::endpoint;
    use super::super::local::{HostIdentity, expand};
    use super::*;

    #[test]
    fn durations_are_gos() {
        let of = |text| SettingInput::Text(text).duration().ok();
        assert_eq!(of("2s"), Some(Duration::from_secs(2)));
        assert_eq!(of("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(of("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(of("500ms"), Some(Duration::from_millis(500)));
        for wrong in ["", "2", "s", "2 s", "-1s", "1d", "1e400s", "9999999999999999999h"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(SettingInput::Json(&Value::from(2_000_000_000u64)).duration(), Ok(Duration::from_secs(2)));
        assert_eq!(SettingInput::Json(&Value::from("2s")).duration(), Ok(Duration::from_secs(2)));
        assert!(SettingInput::Json(&Value::from(-1)).duration().is_err());
    }

    #[test]
    fn values_are_quoted_without_control_characters_and_not_at_length() {
        let long = format!("\u{1b}[31m{}", "x".repeat(1_000));
        let json = Value::from(long.as_str());
        let text = SettingInput::Text(&long);
        let errors = [
            text.boolean().err(),
            text.integer(0, 1).err(),
            SettingInput::Json(&json).integer(0, 1).err(),
            text.duration().err(),
            text.addresses(None).err(),
            text.name().err(),
            Allow::parse(&[&long]).err(),
            endpoint(&long).err(),
            expand(&format!("{{{long}}}"), &HostIdentity::default()).err().map(SettingError::Template),
            expand(&long, &HostIdentity::default()).err().map(SettingError::Template),
        ];
        for (index, error) in errors.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("{index}")).to_string();
            assert!(error.contains("\\u{1b}[31mxxx"), "{error}");
            assert!(error.contains("x…\"") || error.contains("x…}\""), "{error}");
        }
    }

    #[test]
    fn names_beyond_ascii_become_a_labels() {
        let of = |text| SettingInput::Text(text).name().map(|name| name.map(|name| name.to_ascii()));
        assert_eq!(of("bücher.example"), Ok(Some("xn--bcher-kva.example.".to_owned())));
        assert_eq!(of("Site.example."), Ok(Some("Site.example.".to_owned())));
        assert_eq!(of("ü\u{202e}.example"), Err(SettingError::Name("ü\u{202e}.example".to_owned())));
    }

    #[test]
    fn addresses_need_ip_and_port() {
        let of = |text| SettingInput::Text(text).addresses(None);
        assert_eq!(of("127.0.0.1:53, [::1]:5353").map(|list| list.len()), Ok(2));
        for wrong in ["localhost:53", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", ":53", "::1:x"] {
            assert_eq!(of(wrong), Err(SettingError::Address(wrong.to_owned())));
        }
        let with = |text| SettingInput::Text(text).addresses(Some(53));
        assert_eq!(with("8.8.8.8").map(|list| list[0].to_string()), Ok("8.8.8.8:53".to_owned()));
        assert_eq!(with("[2001:db8::1]").map(|list| list[0].to_string()), Ok("[2001:db8::1]:53".to_owned()));
    }
}
