//! The host: its identity, and its limit of open files.

use crate::config::HostIdentity;
use crate::systemd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Reads the host's name and machine id.
pub fn host() -> HostIdentity {
    let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    HostIdentity {
        hostname: hostname.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned()),
        machine_id: systemd::machine_id(),
        addresses: Vec::new(),
    }
}

/// Raises the limit of open files as far as the hard limit allows: each connection and query socket is an open file.
pub(super) fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        // No use of this program needs more than this; more would only make the kernel's tables longer.
        let wanted = hard.min(65_536).max(soft);
        // The unit's sandbox may forbid the call even if it would change nothing.
        if wanted > soft { setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        log::warn!("the limit of open files cannot be raised: {error}");
    }
}
