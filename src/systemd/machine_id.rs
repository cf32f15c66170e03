//! The identity of the host (machine-id(5)).

/// The host's machine id; `None` if it has none, or none yet in its first boot.
pub fn machine_id() -> Option<String> {
    let id = std::fs::read_to_string("/etc/machine-id").ok()?.trim().to_owned();
    (!id.is_empty() && id != "uninitialized").then_some(id)
}
