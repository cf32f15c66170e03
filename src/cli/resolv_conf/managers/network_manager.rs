//! NetworkManager (NetworkManager.conf(5), `dns` in the section `main`).
//!
//! It does not write a resolv.conf that an operator keeps (`dns=none`, `rc-manager=unmanaged`, a link). With `dns=none` it leaves resolv.conf alone, and goes on to write its servers to /run/NetworkManager/no-stub-resolv.conf.

use super::setting::Setting;
use super::{Author, Manager, is_generated_by, is_installed, leads_into, text};
use crate::host_resolver::{name_server_words, server_address};
use std::path::Path;

pub(super) const NETWORK_MANAGER: Manager = Manager {
    word: "nm",
    name: "NetworkManager",
    is_here: |root| is_installed(root, "NetworkManager") && root.join("run/NetworkManager").is_dir(),
    by_itself: "writes /etc/resolv.conf when a connection changes, if it is a file",
    from_now: "leaves /etc/resolv.conf alone (dns=none)",
    author: Some(Author { is: is_author, upstreams: "the agent's upstreams are those of its connections" }),
    // Later than the files of most people: the last one counts.
    settings: |_| vec![Setting::file("etc/NetworkManager/conf.d/99-skydns.conf", "[main]\ndns=none\n")],
    reload: &["systemctl", "try-reload-or-restart", "NetworkManager.service"],
};

/// Whether it wrote resolv.conf. People leave its first line in files that they have written since.
fn is_author(root: &Path) -> bool {
    if leads_into(root, "run/NetworkManager") {
        return true;
    }
    let named = name_server_words(&text(root, "etc/resolv.conf"));
    let given = name_server_words(&text(root, "run/NetworkManager/no-stub-resolv.conf"));
    // Its own stub resolver is on this host.
    let is_here = |word: &String| server_address(word).is_some_and(|server| server.ip().is_loopback());
    let is_as_given = given.is_empty() || named == given || named.iter().all(is_here);
    is_generated_by(root, "NetworkManager") && is_as_given
}
