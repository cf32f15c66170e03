//! NetworkManager (NetworkManager.conf(5), `dns` in the section `main`).
//!
//! With `dns=none` it leaves resolv.conf alone, and goes on to write its servers to /run/NetworkManager/no-stub-resolv.conf.

use super::setting::Setting;
use super::{Manager, is_installed};

pub(super) const NETWORK_MANAGER: Manager = Manager {
    word: "nm",
    name: "NetworkManager",
    is_here: |root| is_installed(root, "NetworkManager") && root.join("run/NetworkManager").is_dir(),
    by_itself: "writes /etc/resolv.conf when a connection changes, if it is a file",
    from_now: "leaves /etc/resolv.conf alone (dns=none); the agent's upstreams are those of its connections",
    // Later than the files of most people: the last one counts.
    settings: |_| vec![Setting::file("etc/NetworkManager/conf.d/99-skydns.conf", "[main]\ndns=none\n")],
    reload: &["systemctl", "try-reload-or-restart", "NetworkManager.service"],
    given: &["run/NetworkManager/no-stub-resolv.conf"],
};
