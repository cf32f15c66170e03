//! SkyDNS's layout of a store: from a key and its JSON to a service of a name.
//!
//! A pure function of the entry: nothing is noted or logged here. A source that knows owner names and services itself
//! needs none of this.

use super::event::{Change, News, Put};
use super::served_key::{ServedKey, Spelling};
use crate::service::{Host, KeyError, KeyTarget, Keyspace, Service, ValueError};
use crate::tree::Lease;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Why an entry of the store is not served.
#[derive(Debug, thiserror::Error)]
enum EntryError {
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

/// Reads an entry: a key with its value, or without if it is gone.
///
/// A panic in here costs the entry that caused it, and not the program at each start.
pub(super) fn read(
    keyspace: &Keyspace,
    key: &[u8],
    value: Option<Vec<u8>>,
    lease: Option<Arc<Lease>>,
) -> Change {
    let target = guarded(|| Ok(keyspace.target_of(key)?));
    let news = match (target, value) {
        (Ok(KeyTarget::Config), value) => News::Config(value),
        (Ok(KeyTarget::Accept), Some(_)) => News::Accepted(None),
        (Ok(KeyTarget::Accept), None) => News::Gone(None),
        (Ok(KeyTarget::Service { key: name, respelled, warning }), value) => {
            let spelling = if respelled { Spelling::Other(key.to_vec()) } else { Spelling::AsName };
            let served = ServedKey { key: name, spelling };
            match value.map(|value| guarded(|| service_of(&served, &value))) {
                None => News::Gone(Some(served)),
                Some(Ok(service)) => News::Put(Put { served, service, lease, warning }),
                Some(Err(error)) => News::Refused { served: Some(served), reason: error.to_string() },
            }
        }
        (Err(_), None) => News::Gone(None),
        (Err(error), Some(_)) => News::Refused { served: None, reason: error.to_string() },
    };
    Change { key: key.to_vec(), news }
}

/// Takes a panic for an error.
fn guarded<T>(read: impl FnOnce() -> Result<T, EntryError>) -> Result<T, EntryError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(EntryError::Fault))
}

fn service_of(served: &ServedKey, value: &[u8]) -> Result<Service, EntryError> {
    #[cfg(test)]
    assert!(value != FAULT);
    let service = Service::from_json(value)?;
    if served.key.is_of_address() && matches!(service.host, Host::V4(_) | Host::V6(_)) {
        return Err(EntryError::AddressForAddress);
    }
    Ok(service)
}

/// A value on which the reading panics.
#[cfg(test)]
pub(super) const FAULT: &[u8] = br#"{"text":"a fault"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn news(prefix: &str, key: &str, value: &str) -> News {
        read(&Keyspace::new(prefix), key.as_bytes(), Some(value.into()), None).news
    }

    #[test]
    fn the_name_of_an_address_leads_to_a_name() {
        let key = "/skydns/arpa/in-addr/192/0/2/1";
        for value in [r#"{"host":"10.0.0.1"}"#, r#"{"host":"2001:db8::1"}"#] {
            let News::Refused { reason, .. } = news("skydns", key, value) else { panic!("{value}") };
            assert_eq!(reason, EntryError::AddressForAddress.to_string());
        }
        for (key, value) in [
            (key, r#"{"host":"a.skydns.local"}"#),
            (key, r#"{"text":"x"}"#),
            ("/skydns/arpa/in-addr/192/0/2/dns/ns", r#"{"host":"10.0.0.1"}"#),
        ] {
            assert!(matches!(news("skydns", key, value), News::Put(_)), "{key} {value}");
        }
    }

    #[test]
    fn the_prefix_has_no_part_in_the_spelling() {
        for (raw, expected) in [
            ("/SITE/local/web", Spelling::AsName),
            ("/SITE/local/Web", Spelling::Other(b"/SITE/local/Web".to_vec())),
        ] {
            let News::Put(put) = news("SITE", raw, "{}") else { panic!("{raw}") };
            assert_eq!(put.served.spelling, expected, "{raw}");
        }
    }
}
