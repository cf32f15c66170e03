//! Faults that tests ask for by name: the first label of a name says where it makes the agent panic, such as `fault-later`.

/// Panics if a name, in whatever form, asks for it at this place.
pub(super) fn panic_if_asked(place: &str, name: &[u8]) {
    let label = format!("fault-{place}");
    assert!(!name.windows(label.len()).any(|part| part == label.as_bytes()), "a fault that a test asked for");
}
