//! Settings of managers of networks: what is set for the agent, and what of others stays.

use super::*;

#[test]
fn settings_of_managers_come_and_go() {
    for (managers, setting) in [
        (DHCLIENT, "dhcp/dhclient-enter-hooks.d/skydns"),
        (DHCPCD, "dhcpcd.enter-hook"),
        (NM, "NetworkManager/conf.d/99-skydns.conf"),
        (OPENRESOLV, "resolvconf.conf"),
    ] {
        let host = host_with(&managers);
        fs::write(host.path("resolv.conf"), "nameserver 192.0.2.1\n").expect("a file");
        let before = tree(&host, "etc");
        host.run("enable --force").expect("enabled");
        let text = fs::read_to_string(host.path(setting)).expect("a setting");
        assert!(text.contains("skydns resolv-conf enable"), "{text}");
        let enabled = tree(&host, "etc");
        host.run("enable --force --fallback 192.0.2.9").expect("enabled again");
        assert_eq!(tree(&host, "etc").len(), enabled.len());
        let ours = fs::read_to_string(host.path("resolv.conf")).expect("a file");
        assert!(ours.contains("\nnameserver 127.0.0.1\nnameserver 192.0.2.9\n"), "{ours}");
        assert_eq!(host.run("status").expect("a status"), ExitCode::SUCCESS);
        host.run("enable --force --how resolv").expect("enabled without");
        assert!(!fs::read_to_string(host.path(setting)).unwrap_or_default().contains("skydns"));
        host.run("enable --force").expect("enabled");
        host.run("disable").expect("disabled");
        assert_eq!(tree(&host, "etc"), before, "{setting}");
    }
}

#[test]
fn what_others_wrote_into_files_of_managers_stays() {
    let mine = "resolv_conf=/etc/resolv.conf\n# mine";
    let host = host_with(&[OPENRESOLV[0], ("etc/resolvconf.conf", mine)]);
    host.run("enable --force").expect("enabled");
    let hook = host.path("resolvconf.conf");
    let text = fs::read_to_string(&hook).expect("a file") + "later=1\n";
    fs::write(&hook, text).expect("written");
    host.run("disable").expect("disabled");
    assert_eq!(fs::read_to_string(&hook).expect("a file"), format!("{mine}\nlater=1\n"));

    let host = host_with(&[NM[0], NM[1], ("etc/NetworkManager/conf.d/99-skydns.conf", "[main]\n")]);
    let before = tree(&host, "etc");
    let error = host.run("enable --force").expect_err("not ours").to_string();
    assert!(error.contains("another program wrote this file"), "{error}");
    assert_eq!(tree(&host, "etc"), before);
}

#[test]
fn a_manager_has_to_be_there() {
    let host = TestHost::new();
    let error = host.run("enable --force --how dhcpcd").expect_err("not there").to_string();
    assert!(error.starts_with("dhcpcd does not run on this host"), "{error}");
    let error = host.run("enable --how ifupdown").expect_err("no such word").to_string();
    assert!(error.contains("--how takes auto, resolv,"), "{error}");
    assert_eq!(host.files(), [""; 0]);
}
