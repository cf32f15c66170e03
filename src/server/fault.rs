//! Faults that tests ask for by name: the place where a name strikes is its first label, such as `fault-later`.

/// Panics if a name, in whatever form, asks for it at this place.
pub(super) fn strike(place: &str, name: &[u8]) {
    let label = format!("fault-{place}");
    assert!(!name.windows(label.len()).any(|part| part == label.as_bytes()), "a fault that a test asked for");
}
