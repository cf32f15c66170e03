//! Keys of a store and their names: `/skydns/local/skydns/east/rails` ↔ `rails.east.skydns.local`.

use super::a_label::a_label;
use crate::wire_name::{self, MAX_LABEL_OCTETS, MAX_NAME_OCTETS, push_label, split_label};
use hickory_proto::rr::Name;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

/// The names under one path prefix of a store.
///
/// Keys look like `/<prefix>/<label>/<label>…`, labels from the root of the name space down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    /// The prefix with a slash at both ends.
    root: String,
}

impl Keyspace {
    /// The key space of `-path-prefix`; slashes around it do not matter, and inner ones are levels.
    pub fn new(prefix: &str) -> Self {
        let parts: Vec<_> = prefix.split('/').filter(|part| !part.is_empty()).collect();
        let root = if parts.is_empty() { "/".to_owned() } else { format!("/{}/", parts.join("/")) };
        Self { root }
    }

    /// The octets that all keys begin with, slashes included: the range to list and watch.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The key of the configuration: `/<prefix>/config`.
    pub fn config_key(&self) -> String {
        format!("{}config", self.root)
    }

    /// What keys begin with that say how far a move of the store's data from etcd's v2 API has come. They are no services.
    pub fn migration_root(&self) -> String {
        format!("{}-migration/", self.root.trim_end_matches('/'))
    }

    /// The key in the store of a service's key.
    pub fn path(&self, key: &Key) -> String {
        let labels: Vec<_> = key.labels().map(|label| String::from_utf8_lossy(label)).collect();
        format!("{}{}", self.root, labels.join("/"))
    }

    /// What a key of the store is for.
    ///
    /// # Errors
    /// The key is outside the prefix, or no name can be made of it (RFC 1035 §2.3.4).
    pub fn target_of(&self, raw: &[u8]) -> Result<KeyTarget, KeyError> {
        let inner = raw.strip_prefix(self.root.as_bytes()).ok_or(KeyError::Outside)?;
        match inner {
            b"config" => Ok(KeyTarget::Config),
            b"accept" => Ok(KeyTarget::Accept),
            _ => Key::from_path(inner),
        }
    }
}

/// What a key of the store is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyTarget {
    /// The agent's configuration.
    Config,
    /// `/<prefix>/accept`: a put of it says that the deletion of many names was meant.
    Accept,
    /// A service.
    Service {
        /// The service's place in the name space.
        key: Key,
        /// Whether the store spells the key otherwise: with capital letters, or with labels beyond ASCII.
        respelled: bool,
        /// Why the service may be hard to ask for, though it is served.
        warning: Option<KeyWarning>,
    },
}

/// Why a service may be hard to ask for by its key, though it is served; the most serious reason is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum KeyWarning {
    /// A label has octets that are legal in DNS, but hard to type.
    #[error(
        "the key has a label with octets other than letters, digits, \"-\" and \"_\"; ask for it with escapes"
    )]
    Unusual,
    /// A label has characters beyond ASCII. Names are looked up in ASCII, so the label is served as its A-label.
    #[error("the key has characters beyond ASCII; it is served with A-labels (xn--…)")]
    BeyondAscii,
    /// A label has capital letters. Names are looked up in lower case, so the key is served in lower case.
    #[error("the key has upper-case letters; it is served in lower case")]
    UpperCase,
    /// A label is a wildcard in questions.
    #[error("the key has a label \"*\" or \"any\", which matches every label when it is asked for")]
    Wildcard,
}

/// Why no name can be made of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key does not begin with the path prefix.
    #[error("the key is outside the path prefix")]
    Outside,
    /// A label between two slashes, or at the end, has no octets.
    #[error("the key has an empty label")]
    EmptyLabel,
    /// A label is longer than a label may be.
    #[error("the key has a label of {0} octets, more than the 63 a name may have")]
    LongLabel(usize),
    /// The name is longer than a name may be.
    #[error("the key makes a name of {0} octets, more than the 255 a name may have")]
    LongName(usize),
}

/// The place of a service in the name space: labels from the root down, in lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Each label behind an octet with its length, root first: wire format in reverse order, without the root's label.
    wire: Box<[u8]>,
}

impl Key {
    /// The key of a name, in lower case.
    pub fn from_name(name: &Name) -> Self {
        let mut wire = Vec::with_capacity(name.len());
        for label in name.iter().rev() {
            push_label(&mut wire, &label.to_ascii_lowercase());
        }
        Self { wire: wire.into() }
    }

    /// The key of labels, root first, in lower case, that come from a key or a name.
    pub(crate) fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut wire = Vec::new();
        labels.for_each(|label| push_label(&mut wire, label));
        Self { wire: wire.into() }
    }

    /// The key that [`as_wire`](Self::as_wire) returned these octets for; `None` if there is no such key.
    pub(crate) fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut rest = wire;
        while let Some((label, behind)) = split_label(rest) {
            if label.iter().any(u8::is_ascii_uppercase) {
                return None;
            }
            rest = behind;
        }
        // The root's empty label, which the name of the key has in addition, must fit as well.
        let fits = (1..MAX_NAME_OCTETS).contains(&wire.len());
        (rest.is_empty() && fits).then(|| Self { wire: wire.into() })
    }

    /// The labels, each behind an octet with its length, root first.
    pub(crate) fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    fn from_path(path: &[u8]) -> Result<KeyTarget, KeyError> {
        let mut wire = Vec::with_capacity(path.len() + 1);
        let (mut warning, mut respelled) = (None, false);
        for label in path.split(|&octet| octet == b'/') {
            let served = served_label(label);
            match served.len() {
                0 => return Err(KeyError::EmptyLabel),
                1..=MAX_LABEL_OCTETS => {}
                len => return Err(KeyError::LongLabel(len)),
            }
            warning = warning.max(label_warning(label, &served));
            respelled |= label != &*served;
            push_label(&mut wire, &served);
        }
        // The root's empty label, which the name of the key has in addition, must fit as well.
        if wire.len() + 1 > MAX_NAME_OCTETS {
            return Err(KeyError::LongName(wire.len() + 1));
        }
        Ok(KeyTarget::Service { key: Self { wire: wire.into() }, respelled, warning })
    }

    /// The key of the name of an address (RFC 1035 §3.5, RFC 3596 §2.5).
    pub fn of_address(address: IpAddr) -> Self {
        let mut wire = Vec::with_capacity(76);
        push_label(&mut wire, b"arpa");
        match address {
            IpAddr::V4(v4) => {
                push_label(&mut wire, b"in-addr");
                v4.octets().iter().for_each(|octet| push_label(&mut wire, octet.to_string().as_bytes()));
            }
            IpAddr::V6(v6) => {
                push_label(&mut wire, b"ip6");
                for octet in v6.octets() {
                    let digits = format!("{octet:02x}");
                    digits.as_bytes().iter().for_each(|digit| push_label(&mut wire, &[*digit]));
                }
            }
        }
        Self { wire: wire.into() }
    }

    /// The labels, root first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> + Clone {
        wire_name::labels(&self.wire)
    }

    /// Whether the name is that of an address (RFC 1035 §3.5, RFC 3596 §2.5): four labels below `in-addr.arpa`, or 32 below
    /// `ip6.arpa`.
    pub fn is_of_address(&self) -> bool {
        let mut labels = self.labels();
        let wanted = match (labels.next(), labels.next()) {
            (Some(b"arpa"), Some(b"in-addr")) => 4,
            (Some(b"arpa"), Some(b"ip6")) => 32,
            _ => return false,
        };
        labels.count() == wanted
    }

    /// The absolute name of the key.
    pub fn name(&self) -> Name {
        name_of(&self.labels().collect::<Vec<_>>())
    }
}

impl Ord for Key {
    /// Key order: label by label, a key before those below it.
    fn cmp(&self, other: &Self) -> Ordering {
        self.labels().cmp(other.labels())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            write!(f, "/{}", label.escape_ascii())?;
        }
        Ok(())
    }
}

/// The absolute name of valid labels, root first; the root if they do not fit a name.
pub(crate) fn name_of(labels: &[&[u8]]) -> Name {
    let mut name = Name::from_labels(labels.iter().rev().copied()).unwrap_or_else(|_| Name::root());
    name.set_fqdn(true);
    name
}

/// A label of a store as names have it: its A-label, or the same octets in lower case.
fn served_label(label: &[u8]) -> Cow<'_, [u8]> {
    if let Some(a_label) = a_label(label) {
        Cow::Owned(a_label.into_bytes())
    } else if label.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(label.to_ascii_lowercase())
    } else {
        Cow::Borrowed(label)
    }
}

/// The most serious warning of one label, which is served as `served`.
fn label_warning(label: &[u8], served: &[u8]) -> Option<KeyWarning> {
    if matches!(served, b"any" | b"*") {
        Some(KeyWarning::Wildcard)
    } else if !label.is_ascii() && served.is_ascii() {
        Some(KeyWarning::BeyondAscii)
    } else if label.iter().any(u8::is_ascii_uppercase) {
        Some(KeyWarning::UpperCase)
    } else if !label.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')) {
        Some(KeyWarning::Unusual)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn target(prefix: &str, raw: &str) -> Result<KeyTarget, KeyError> {
        Keyspace::new(prefix).target_of(raw.as_bytes())
    }

    #[test]
    fn a_key_is_the_reversed_name() {
        let Ok(KeyTarget::Service { key, respelled: false, warning: None }) =
            target("skydns", "/skydns/local/skydns/staging/service")
        else {
            panic!("a service");
        };
        assert_eq!(key.name().to_ascii(), "service.staging.skydns.local.");
        let name = Name::from_str("SERVICE.staging.skydns.local.").expect("a name");
        assert_eq!(Key::from_name(&name), key);
    }

    #[test]
    fn a_prefix_may_have_levels_and_slashes() {
        for prefix in ["a/b", "/a/b", "a/b/", "//a//b//"] {
            assert_eq!(Keyspace::new(prefix).root(), "/a/b/");
            assert_eq!(Keyspace::new(prefix).config_key(), "/a/b/config");
        }
        assert_eq!(Keyspace::new("").root(), "/");
        assert_eq!(target("a/b", "/a/b/config"), Ok(KeyTarget::Config));
        assert_eq!(target("a/b", "/a/b/accept"), Ok(KeyTarget::Accept));
        assert_eq!(target("a/b", "/a/config"), Err(KeyError::Outside));
    }

    #[test]
    fn impossible_keys_are_refused_with_their_reason() {
        assert_eq!(target("skydns", "/skydnsx/a"), Err(KeyError::Outside));
        assert_eq!(target("skydns", "/skydns/a//b"), Err(KeyError::EmptyLabel));
        assert_eq!(target("skydns", "/skydns/a/"), Err(KeyError::EmptyLabel));
        assert_eq!(target("skydns", "/skydns/"), Err(KeyError::EmptyLabel));
        let long = format!("/skydns/{}", "x".repeat(64));
        assert_eq!(target("skydns", &long), Err(KeyError::LongLabel(64)));
        assert!(target("skydns", &long[..long.len() - 1]).is_ok());
        let deep = format!("/skydns/{}", vec!["abcdefg"; 32].join("/"));
        assert_eq!(target("skydns", &deep), Err(KeyError::LongName(257)));
    }

    #[test]
    fn keys_that_are_hard_to_ask_for_are_served_with_a_warning() {
        let warning = |raw: &str| match target("skydns", raw) {
            Ok(KeyTarget::Service { warning, .. }) => warning,
            other => panic!("{raw}: {other:?}"),
        };
        assert_eq!(warning("/skydns/local/a-b/_tcp"), None);
        assert_eq!(warning("/skydns/local/East"), Some(KeyWarning::UpperCase));
        assert_eq!(warning("/skydns/local/*"), Some(KeyWarning::Wildcard));
        assert_eq!(warning("/skydns/local/any/X"), Some(KeyWarning::Wildcard));
        assert_eq!(warning("/skydns/local/a.b"), Some(KeyWarning::Unusual));
        assert_eq!(warning("/skydns/local/a。b"), Some(KeyWarning::Unusual), "two labels for IDNA");
        assert_eq!(warning("/skydns/local/bücher"), Some(KeyWarning::BeyondAscii));
    }

    #[test]
    fn labels_beyond_ascii_are_served_as_a_labels() {
        let read = |raw: &[u8]| match Keyspace::new("skydns").target_of(raw) {
            Ok(KeyTarget::Service { key, respelled, .. }) => {
                (key.labels().collect::<Vec<_>>().join(&b'/'), respelled)
            }
            other => panic!("{other:?}"),
        };
        let of = |label: &str, respelled| (format!("local/{label}").into_bytes(), respelled);
        for label in ["bücher", "BÜCHER", "bu\u{308}cher"] {
            assert_eq!(
                read(format!("/skydns/local/{label}").as_bytes()),
                of("xn--bcher-kva", true),
                "{label}"
            );
        }
        assert_eq!(read(b"/skydns/local/xn--bcher-kva"), of("xn--bcher-kva", false));
        assert_eq!(read(b"/skydns/local/Web"), of("web", true));
        // What IDNA does not allow keeps its octets.
        assert_eq!(read("/skydns/local/ü b".as_bytes()), of("ü b", false));
        assert_eq!(read(b"/skydns/local/\xff").0, b"local/\xff");
        // The A-label of 100 octets fits a label.
        let long = format!("/skydns/local/{}", "я".repeat(50));
        assert!(read(long.as_bytes()).0.starts_with(b"local/xn--"));
        assert_eq!(target("skydns", &format!("/skydns/{}", "яб".repeat(60))), Err(KeyError::LongLabel(240)));
    }

    #[test]
    fn names_of_addresses_are_known() {
        let nibbles = ["0"; 32].join("/");
        for (path, expected) in [
            ("arpa/in-addr/192/0/2/1", true),
            ("Arpa/IN-ADDR/192/0/2/1", true),
            (&format!("arpa/ip6/{nibbles}"), true),
            ("arpa/in-addr/192/0/2", false),
            ("arpa/in-addr/192/0/2/dns/ns", false),
            (&format!("arpa/ip6/{nibbles}/0"), false),
            ("local/in-addr/192/0/2/1", false),
            ("arpa", false),
        ] {
            let Ok(KeyTarget::Service { key, .. }) = target("skydns", &format!("/skydns/{path}")) else {
                panic!("{path}")
            };
            assert_eq!(key.is_of_address(), expected, "{path}");
        }
    }

    #[test]
    fn key_order_is_label_by_label() {
        let key = |raw: &str| match target("skydns", raw) {
            Ok(KeyTarget::Service { key, .. }) => key,
            other => panic!("{raw}: {other:?}"),
        };
        assert!(key("/skydns/a") < key("/skydns/a/b"));
        assert!(key("/skydns/a/z") < key("/skydns/a-b"));
    }
}
