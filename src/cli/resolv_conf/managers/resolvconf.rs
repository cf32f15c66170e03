//! Debian's resolvconf (resolvconf(8)).
//!
//! It writes /run/resolvconf/resolv.conf alone, and has /etc/resolv.conf be a link to it. Another link stays.

use super::{Author, Manager, has_resolvconf, leads_into};

pub(super) const RESOLVCONF: Manager = Manager {
    word: "resolvconf",
    name: "resolvconf",
    is_here: |root| has_resolvconf(root) && root.join("etc/resolvconf/update.d").is_dir(),
    by_itself: "writes /run/resolvconf/resolv.conf, which /etc/resolv.conf is a link to",
    from_now: "goes on to write /run/resolvconf/resolv.conf",
    author: Some(Author {
        is: |root| leads_into(root, "run/resolvconf"),
        upstreams: "the agent's upstreams are the servers in this file",
    }),
    settings: |_| Vec::new(),
    reload: &[],
};
