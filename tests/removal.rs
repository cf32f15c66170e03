//! The shell scripts of the packages, on an /etc, a /run and a /var/lib of their own, without a boot.

mod support;

use std::path::Path;
use std::process::Command;
use support::boot::say;

/// Runs shell commands as root where /etc, /run and /var/lib hold nothing but the agent's directories. Gives what they print.
/// `None` where that cannot be done, which is said loudly.
fn on_a_bare_host(test: &str, script: &str) -> Option<String> {
    if let Some(reason) = support::boot::why_not() {
        say(&format!("SKIPPED: {test}: {reason}\n"));
        return None;
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The links of /etc/alternatives are those of programs.
    let set_up = "mount -t tmpfs none /mnt; cp -a /etc/alternatives /mnt 2>/dev/null || true\n\
                  for dir in /etc /run /var/lib; do mount -t tmpfs none \"$dir\"; done\n\
                  mkdir -p /etc/skydns/keys /etc/skydns/records /var/lib/skydns\n\
                  if [ -d /mnt/alternatives ]; then cp -a /mnt/alternatives /etc; fi\n\
                  exec 2>&1\n";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "timeout", "60", "sh", "-euc"])
        .arg(format!("{set_up}{script}"))
        .current_dir(repository)
        .output()
        .expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

/// The scriptlets of the rpm are given the number of packages that stay.
const RPM_POSTUN: &str = "packaging/rpm/postun";
const DEB_POSTRM: &str = "packaging/deb/postrm";

#[test]
fn purge_keeps_keys_and_filesystems_that_are_mounted_there() {
    let script = |removal: &str| {
        format!(
            "mkdir -p /etc/skydns/records/local /etc/skydns/rel /var/lib/skydns/k /run/bound /etc/skydns/records/far\n\
             mount -t tmpfs none /etc/skydns/keys\n\
             mount -t tmpfs none /var/lib/skydns/k\n\
             mkdir '/etc/skydns/two words'; mount --bind /run/bound '/etc/skydns/two words'\n\
             mkdir /etc/bound; echo x > /etc/bound/mine; mount --bind /etc/bound /etc/skydns/records/far\n\
             for key in /etc/skydns/keys/Kone /var/lib/skydns/k/Kone /etc/skydns/rel/zone; do\n\
                 touch $key.key; echo 'Private-key-format: v1.3' > $key.private\n\
             done\n\
             echo x > '/etc/skydns/two words/records'; echo x > /etc/skydns/records/local/web\n\
             echo x > /var/lib/skydns/snapshot\n\
             {removal}\n\
             find /etc/skydns /var/lib/skydns ! -type d | sort\n\
             cat /etc/bound/mine\n"
        )
    };
    let purge = format!("sh {DEB_POSTRM} purge");
    let Some(text) = on_a_bare_host("a purge with mounts", &script(&purge)) else { return };
    for named in ["/etc/skydns/keys", "/var/lib/skydns/k", "/etc/skydns/rel", "/etc/skydns/two words"] {
        assert!(text.contains(&format!("    {named}\n")), "{named} is not named: {text}");
    }
    let left = "/etc/skydns/keys/Kone.key\n/etc/skydns/keys/Kone.private\n/etc/skydns/records/far/mine\n\
                /etc/skydns/rel/zone.key\n/etc/skydns/rel/zone.private\n/etc/skydns/two words/records\n\
                /var/lib/skydns/k/Kone.key\n/var/lib/skydns/k/Kone.private\nx\n";
    assert!(text.ends_with(left), "{text}");

    // Asked for, keys go, but for those of other filesystems.
    let text = on_a_bare_host("", &script(&format!("SKYDNS_PURGE_KEYS=yes {purge}"))).expect("root");
    assert!(!text.contains("zone.private") && !text.contains("snapshot"), "{text}");
    assert!(
        text.contains("/etc/skydns/keys/Kone.private\n") && text.contains("\n/etc/skydns/records/far/mine")
    );

    let text = on_a_bare_host("", &script(&format!("sh -s 0 < {RPM_POSTUN}"))).expect("root");
    assert!(text.contains("    /etc/skydns/keys/Kone.private\n"), "not named: {text}");
    assert!(text.contains("\n/var/lib/skydns/k/Kone.private\nx\n"), "{text}");
    assert!(!text.contains("snapshot"), "{text}");
}

#[test]
fn a_unit_that_failed_is_not_listed_after_the_removal() {
    let script = "mkdir -p /run/systemd/system /run/bin; PATH=/run/bin:$PATH\n\
                  printf '#!/bin/sh\\necho systemctl $*\\n' > /run/bin/systemctl; chmod +x /run/bin/systemctl\n\
                  sh packaging/deb/postrm remove; echo ==; sh -s 0 < packaging/rpm/postun; echo ==\n\
                  sh packaging/deb/postrm upgrade; sh -s 1 < packaging/rpm/postun\n";
    let Some(text) = on_a_bare_host("a unit that failed", script) else { return };
    let parts: Vec<_> = text.split("==\n").collect();
    assert!(
        parts[0].contains("reset-failed skydns.service") && parts[1].contains("reset-failed skydns.service")
    );
    assert!(!parts[2].contains("reset-failed"), "{text}");
}
