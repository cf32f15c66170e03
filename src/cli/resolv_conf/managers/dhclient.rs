//! dhclient of ISC DHCP without resolvconf (dhclient-script(8)): a hook in the place of the function that writes resolv.conf.
//!
//! `prepend domain-name-servers` in dhclient.conf would name the upstreams to the host beside the agent: the C library asks
//! them whenever the agent says SERVFAIL, and takes their NXDOMAIN for names that the agent cannot know yet.

use super::setting::Setting;
use super::{Manager, has_resolvconf, is_installed};

const HOOK: &str = include_str!("hooks/dhclient.sh");

pub(super) const DHCLIENT: Manager = Manager {
    word: "dhclient",
    name: "dhclient",
    is_here: |root| {
        is_installed(root, "dhclient")
            && !has_resolvconf(root)
            && root.join("etc/dhcp/dhclient-enter-hooks.d").is_dir()
    },
    by_itself: "writes /etc/resolv.conf at each lease, through a link too",
    from_now: "writes the servers of its leases to /run/skydns-upstreams, for the agent (dhclient-enter-hooks.d)",
    settings: |_| vec![Setting::file("etc/dhcp/dhclient-enter-hooks.d/skydns", HOOK)],
    author: None,
    reload: &[],
};
