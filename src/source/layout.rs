//! SkyDNS's layout of a store: from a key and its JSON to a service of a name.
//!
//! A pure function of the entry: nothing is noted or logged here. A source that knows owner names and services itself
//! needs none of this.

use super::served_key::{ServedKey, Spelling};
use crate::service::{Host, KeyError, KeyTarget, KeyWarning, Keyspace, Service, ValueError};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the key of an entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ParsedKey {
    /// The agent's configuration.
    Config,
    /// A service, and why it may be hard to ask for.
    Service(ServedKey, Option<KeyWarning>),
}

/// An entry of the store that can be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ParsedEntry {
    /// The agent's configuration; its value is read elsewhere.
    Config,
    /// A service.
    Service {
        /// Where the service is served.
        served: ServedKey,
        /// The service.
        service: Service,
        /// Why the service may be hard to ask for, though it is served.
        warning: Option<KeyWarning>,
    },
}

/// Why an entry of the store is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryError {
    /// No name can be made of the key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The value is no service.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The key is the name of an address, which leads to the name of a host, and not to another address.
    #[error("field \"host\" is an address; the name of an address leads to the name of a host (PTR)")]
    AddressForAddress,
    /// The code that reads entries panicked.
    #[error("a fault of this program in reading it; please report it")]
    Fault,
}

/// Reads a key.
///
/// # Errors
/// The key is outside of the path prefix, or no name can be made of it.
pub(super) fn parse_key(keyspace: &Keyspace, raw: &[u8]) -> Result<ParsedKey, KeyError> {
    Ok(match keyspace.target_of(raw)? {
        KeyTarget::Config => ParsedKey::Config,
        KeyTarget::Service { key, respelled, warning } => {
            let spelling = if respelled { Spelling::Other(raw.to_vec()) } else { Spelling::AsName };
            ParsedKey::Service(ServedKey { key, spelling }, warning)
        }
    })
}

/// Reads an entry: a key and its value.
///
/// A panic in here costs the entry that caused it, and not the program at each start.
///
/// # Errors
/// The entry cannot be served.
pub(super) fn parse(keyspace: &Keyspace, raw: &[u8], value: &[u8]) -> Result<ParsedEntry, EntryError> {
    let parse = || try_parse(keyspace, raw, value);
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or(Err(EntryError::Fault))
}

fn try_parse(keyspace: &Keyspace, raw: &[u8], value: &[u8]) -> Result<ParsedEntry, EntryError> {
    #[cfg(test)]
    assert!(value != FAULT);
    Ok(match parse_key(keyspace, raw)? {
        ParsedKey::Config => ParsedEntry::Config,
        ParsedKey::Service(served, warning) => {
            let service = Service::from_json(value)?;
            if served.key.is_of_address() && matches!(service.host, Host::V4(_) | Host::V6(_)) {
                return Err(EntryError::AddressForAddress);
            }
            ParsedEntry::Service { served, service, warning }
        }
    })
}

/// A value on which the reading panics.
#[cfg(test)]
pub(super) const FAULT: &[u8] = br#"{"text":"a fault"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_address_leads_to_a_name() {
        let parse =
            |key: &str, value: &str| parse(&Keyspace::new("skydns"), key.as_bytes(), value.as_bytes());
        let key = "/skydns/arpa/in-addr/192/0/2/1";
        for value in [r#"{"host":"10.0.0.1"}"#, r#"{"host":"2001:db8::1"}"#] {
            assert!(matches!(parse(key, value), Err(EntryError::AddressForAddress)), "{value}");
        }
        for (key, value) in [
            (key, r#"{"host":"a.skydns.local"}"#),
            (key, r#"{"text":"x"}"#),
            ("/skydns/arpa/in-addr/192/0/2/dns/ns", r#"{"host":"10.0.0.1"}"#),
        ] {
            assert!(parse(key, value).is_ok(), "{key} {value}");
        }
    }

    #[test]
    fn the_prefix_has_no_part_in_the_spelling() {
        let keyspace = Keyspace::new("SITE");
        for (raw, expected) in [
            ("/SITE/local/web", Spelling::AsName),
            ("/SITE/local/Web", Spelling::Other(b"/SITE/local/Web".to_vec())),
        ] {
            let Ok(ParsedKey::Service(served, _)) = parse_key(&keyspace, raw.as_bytes()) else {
                panic!("{raw}")
            };
            assert_eq!(served.spelling, expected, "{raw}");
        }
    }
}
