//! Faults that tests ask for by name: the first label of a name says where it makes the agent panic, such as `fault-later`, or
//! that it ends the process. No release has them, and the fuzz targets do not either: they would find them.

/// Ends the process, as no fault of this program's own would, if a packet asks for it.
#[cfg(all(debug_assertions, not(fuzzing)))]
pub(super) fn abort_if_asked(packet: &[u8]) {
    const LABEL: &[u8] = b"fault-abort";
    if packet.windows(LABEL.len()).any(|part| part == LABEL) {
        std::process::abort();
    }
}

/// Panics if a name, in whatever form, asks for it at this place.
#[cfg(test)]
pub(super) fn panic_if_asked(place: &str, name: &[u8]) {
    let label = format!("fault-{place}");
    assert!(!name.windows(label.len()).any(|part| part == label.as_bytes()), "a fault that a test asked for");
}
