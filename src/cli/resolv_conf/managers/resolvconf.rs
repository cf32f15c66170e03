//! Debian's resolvconf (resolvconf(8)).
//!
//! It writes /run/resolvconf/resolv.conf alone, and has /etc/resolv.conf be a link to it. Another link stays.

use super::{Manager, is_installed};

pub(super) const RESOLVCONF: Manager = Manager {
    word: "resolvconf",
    name: "resolvconf",
    is_here: |root| is_installed(root, "resolvconf") && root.join("etc/resolvconf/update.d").is_dir(),
    by_itself: "writes /run/resolvconf/resolv.conf, which /etc/resolv.conf is a link to",
    from_now: "goes on to write /run/resolvconf/resolv.conf, which names the agent's upstreams",
    settings: |_| Vec::new(),
    reload: &[],
    given: &["run/resolvconf/resolv.conf"],
};
