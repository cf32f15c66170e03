//! The questions that upstreams are probed with.

use super::endpoint::Endpoint;
use hickory_proto::rr::Name;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Top label of the names we probe with. It does not exist, and nothing is told by asking for it.
const PROBE_TOP_LABEL: &[u8] = b"skydns-loop-check";
const PROBE_LABELS: usize = 2;

/// Whether a name is of the form that we probe with.
pub(super) fn is_probe(name: &Name) -> bool {
    name.iter().count() == PROBE_LABELS
        && name.iter().next_back().is_some_and(|label| label == PROBE_TOP_LABEL)
}

/// A name that only this process can know, for one upstream: when it is asked of us, that one forwards to us.
pub(super) fn name(nonce: u64, endpoint: Endpoint) -> Name {
    let mut hasher = DefaultHasher::new();
    (nonce, endpoint).hash(&mut hasher);
    let label = format!("{:016x}", hasher.finish());
    let mut name = Name::from_labels([label.as_bytes(), PROBE_TOP_LABEL]).unwrap_or_default();
    name.set_fqdn(true);
    name
}
