//! The names that upstreams are probed with to find forwarding loops.

use super::endpoint::Endpoint;
use hickory_proto::rr::Name;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Top label of the names we probe with. No such top-level domain exists, and the question reveals nothing about a site.
const PROBE_TOP_LABEL: &[u8] = b"skydns-loop-check";
/// Labels of the names we probe with.
const PROBE_LABELS: usize = 2;

/// Whether a name has the form of those that we probe with.
pub(super) fn is_probe(name: &Name) -> bool {
    name.iter().count() == PROBE_LABELS
        && name.iter().next_back().is_some_and(|label| label == PROBE_TOP_LABEL)
}

/// The name that one upstream is probed with. Only this process knows it: a question for it that comes to us was
/// forwarded by that upstream.
pub(super) fn name(nonce: u64, endpoint: Endpoint) -> Name {
    let mut hasher = DefaultHasher::new();
    (nonce, endpoint).hash(&mut hasher);
    let label = format!("{:016x}", hasher.finish());
    let name = Name::from_labels([label.as_bytes(), PROBE_TOP_LABEL]);
    debug_assert!(name.is_ok(), "two short labels make a name");
    let mut name = name.unwrap_or_default();
    name.set_fqdn(true);
    name
}
