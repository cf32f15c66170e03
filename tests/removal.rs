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
             echo x > /var/lib/skydns/snapshot; echo x > /etc/resolv.conf.before-skydns\n\
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
    for named in ["/etc/skydns/keys/Kone.private", "/etc/resolv.conf.before-skydns"] {
        assert!(text.contains(&format!("    {named}\n")), "{named} is not named: {text}");
    }
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

const RESTORE: &str = "sh packaging/lib/resolv-conf-restore";

/// What the script prints and what it leaves on a host that was enabled, with more set-up.
fn restored(set_up: &str, words: &str) -> Option<String> {
    let script = format!(
        "mkdir -p /run/NetworkManager /run/skydns-upstreams\n\
         printf '# Written by \"skydns resolv-conf enable\"\\nnameserver 127.0.0.1\\n' > /etc/skydns/resolv.conf\n\
         printf 'enable --how auto 127.0.0.1 --fallback 192.0.2.9\\nlink\\nmanager nm\\n' > /etc/skydns/resolv-conf.state\n\
         ln -s skydns/resolv.conf /etc/resolv.conf\n\
         printf '# mine\\nnameserver 192.0.2.1\\n' > /etc/resolv.conf.before-skydns\n\
         {set_up}\n\
         {RESTORE} {words}; echo \"exit code $?\"\n\
         ls -A /etc /etc/skydns | grep skydns-new || true\n\
         if [ -h /etc/resolv.conf ]; then readlink /etc/resolv.conf; fi; cat /etc/resolv.conf || true\n"
    );
    on_a_bare_host("the removal puts resolv.conf back", &script)
}

#[test]
fn resolv_conf_names_a_server_once_the_agent_is_removed() {
    let kept = "printf '192.0.2.5\\n127.0.0.1\\nx y\\n' > /var/lib/skydns/upstreams";
    let asked = "skydns: /etc/resolv.conf is a file with the servers that the agent asked: what was there before names no other \
                 server now\nexit code 0\n";
    let again = "skydns: /etc/resolv.conf is again what it was before \"skydns resolv-conf enable\"";
    let nm = "echo nameserver 192.0.2.7 > /run/NetworkManager/no-stub-resolv.conf";
    let author = "echo author nm >> /etc/skydns/resolv-conf.state";
    let today = format!("{again}, but for its servers: they are those of today\nexit code 0\n# mine\n");
    for (set_up, end) in [
        (String::new(), format!("{again}\nexit code 0\n# mine\nnameserver 192.0.2.1\n")),
        // NetworkManager did not write the file that was there before, or it did.
        (nm.to_owned(), format!("{again}\nexit code 0\n# mine\nnameserver 192.0.2.1\n")),
        (format!("{nm}; {author}"), format!("{today}nameserver 192.0.2.7\n")),
        // A lease that was written through the link, or by a hook.
        ("echo nameserver 192.0.2.3 > /etc/resolv.conf".to_owned(), format!("{today}nameserver 192.0.2.3\n")),
        (
            "echo nameserver 192.0.2.4 > /run/skydns-upstreams/eth0.dhclient".to_owned(),
            format!("{today}nameserver 192.0.2.4\n"),
        ),
        (
            "echo nameserver 192.0.2.4 > /run/skydns-upstreams/openresolv".to_owned(),
            format!("{again}\nexit code 0\n# mine\nnameserver 192.0.2.1\n"),
        ),
        // The link from before leads nowhere, its file was deleted, or it names the agent alone.
        (
            format!("{kept}; ln -sf /run/no/such /etc/resolv.conf.before-skydns"),
            format!("{asked}nameserver 192.0.2.5\n"),
        ),
        (format!("{kept}; rm /etc/resolv.conf.before-skydns"), format!("{asked}nameserver 192.0.2.5\n")),
        (
            format!("{kept}; printf 'search a\\nnameserver 127.0.0.1\\n' > /etc/resolv.conf.before-skydns"),
            format!("{asked}search a\nnameserver 192.0.2.5\n"),
        ),
        (
            "rm /etc/resolv.conf.before-skydns".to_owned(),
            "skydns: there is no /etc/resolv.conf now, and no server is known that it could name\nexit code 0\n\
             cat: /etc/resolv.conf: No such file or directory\n"
                .to_owned(),
        ),
        // Another program has replaced the link.
        (
            "rm /etc/resolv.conf; echo nameserver 192.0.2.8 > /etc/resolv.conf".to_owned(),
            "it stays\nskydns: /etc/resolv.conf.before-skydns is what was there before\nexit code 0\n\
             nameserver 192.0.2.8\n"
                .to_owned(),
        ),
        // Nobody enabled it.
        (
            format!("{kept}; rm -r /etc/resolv.conf /etc/skydns/*; echo nameserver 127.0.0.1 > /etc/resolv.conf"),
            "skydns: such as: nameserver 192.0.2.5\nexit code 0\nnameserver 127.0.0.1\n".to_owned(),
        ),
    ] {
        let Some(text) = restored(&set_up, "") else { return };
        assert!(text.ends_with(&end), "{set_up}:\n{text}\nwanted:\n{end}");
    }
    let all = format!("{nm}; {kept}; echo nameserver 192.0.2.4 > /run/skydns-upstreams/eth0.dhclient");
    let text = restored(&all, "--servers").expect("root");
    let servers =
        ["192.0.2.4", "192.0.2.5", "192.0.2.1", "192.0.2.7"].map(|server| format!("nameserver {server}\n"));
    assert!(text.starts_with(&(servers.concat() + "exit code 0\n")), "{text}");
}

#[test]
fn what_was_enabled_is_tried_once_after_an_installation() {
    let script = "echo --how auto 127.0.0.1 > /etc/skydns/resolv-conf.again\n\
                  sed 's,/usr/bin/skydns,sh /run/skydns,' packaging/lib/resolv-conf-restore > /run/restore\n\
                  echo 'echo nothing answers; exit 71' > /run/skydns\n\
                  for _ in 1 2; do sh /run/restore --again; done; ls /etc/skydns\n";
    let Some(text) = on_a_bare_host("enabled again", script) else { return };
    let once = "nothing answers\nskydns: once the agent answers: skydns resolv-conf enable --how auto 127.0.0.1\nkeys\nrecords\n";
    assert_eq!(text, once);
}

#[test]
fn a_full_disk_keeps_no_package_installed() {
    let script = "mount -t tmpfs -o size=4k none /etc/skydns; mkdir -p /run/bin; PATH=/run/bin:$PATH\n\
                  head -c 8192 /dev/zero > /etc/skydns/fill 2>/dev/null || true\n\
                  printf '#!/bin/sh\\necho failed\\n' > /run/bin/systemctl; chmod +x /run/bin/systemctl\n\
                  sh packaging/deb/prerm remove; echo \"exit code $?\"\n";
    let Some(text) = on_a_bare_host("a full disk", script) else { return };
    assert!(text.ends_with("exit code 0\n"), "{text}");
}
