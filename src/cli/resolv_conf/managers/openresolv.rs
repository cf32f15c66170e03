//! openresolv (resolvconf.conf(5), `resolv_conf`): it writes its servers to another file.
//!
//! With `name_servers=127.0.0.1` it would write no other server anywhere, so the agent would have no upstreams.

use super::setting::Setting;
use super::{Author, Manager, has_resolvconf, is_generated_by};

/// The file is a part of a shell script. The directory is gone after a boot.
const BLOCK: &str = "\
if [ -e /etc/skydns/resolv-conf.state ] && mkdir -p /run/skydns-upstreams; then
    resolv_conf=/run/skydns-upstreams/openresolv
fi
";

pub(super) const OPENRESOLV: Manager = Manager {
    word: "openresolv",
    name: "openresolv",
    is_here: |root| has_resolvconf(root) && root.join("etc/resolvconf.conf").exists(),
    by_itself: "writes /etc/resolv.conf when a program gives it servers",
    from_now: "writes the servers that it is given to /run/skydns-upstreams (resolv_conf=)",
    author: Some(Author {
        is: |root| is_generated_by(root, "resolvconf"),
        upstreams: "the agent's upstreams are these servers",
    }),
    settings: |_| vec![Setting::block("etc/resolvconf.conf", BLOCK)],
    reload: &["resolvconf", "-u"],
};
