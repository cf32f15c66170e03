//! dhcpcd without resolvconf (dhcpcd-run-hooks(8)): its hook takes ours for resolvconf, and gives it the servers.

use super::setting::Setting;
use super::{Manager, has_resolvconf, is_installed, is_resolvectl, resolved};

const BLOCK: &str = include_str!("hooks/dhcpcd.sh");

pub(super) const DHCPCD: Manager = Manager {
    word: "dhcpcd",
    name: "dhcpcd",
    is_here: |root| {
        let hooks = ["usr/lib/dhcpcd", "lib/dhcpcd", "usr/libexec"];
        is_installed(root, "dhcpcd")
            && !has_resolvconf(root)
            // It gives its servers to that one then.
            && !(is_resolvectl(root) && resolved::is_running(root))
            && hooks.iter().any(|dir| root.join(dir).join("dhcpcd-run-hooks").exists())
    },
    by_itself: "writes /etc/resolv.conf at each lease, through a link too",
    from_now: "writes the servers of its leases to /run/skydns-upstreams, for the agent (/etc/dhcpcd.enter-hook)",
    settings: |_| vec![Setting::block("etc/dhcpcd.enter-hook", BLOCK)],
    author: None,
    reload: &[],
};
