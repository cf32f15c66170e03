//! What the host is called, and what it allows.

use crate::config::HostIdentity;
use crate::systemd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Reads the host's name and machine id.
pub fn host() -> HostIdentity {
    let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    HostIdentity {
        hostname: hostname.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned()),
        machine_id: systemd::machine_id(),
    }
}

/// Raises the number of files that may be open as far as it goes: connections and exchanges are files.
pub(super) fn allow_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        // More than this only makes the kernel's tables longer.
        let wanted = hard.min(65_536).max(soft);
        // A unit's sandbox may forbid even a call that changes nothing.
        if wanted > soft { setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        log::warn!("the limit of open files cannot be raised: {error}");
    }
}
