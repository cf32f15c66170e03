//! Booted machines beside each other: what happens to one is nothing to another.

mod support;

use support::boot::{Machine, machines};
use support::eventually;

/// Prints whether a machine is up, with the moment of its boot and how many services are not well.
const STATE: &str =
    "systemctl show -P UserspaceTimestampMonotonic; systemctl is-active probe; systemctl --failed -q";

#[test]
fn machines_do_not_disturb_each_other() {
    let Some(_machines) = machines("machines beside each other") else { return };
    let (mut first, mut second) = std::thread::scope(|scope| {
        let machines = [0, 1].map(|_| scope.spawn(|| Machine::boot("bookworm")));
        let [first, second] = machines.map(|machine| machine.join().expect("a machine"));
        (first, second)
    });
    first.run("systemd-run --quiet --unit=probe-of-the-first sleep 1000");
    second.run("systemd-run --quiet --unit=probe sleep 1000");
    let listed = second.run("find /sys/fs/cgroup -name 'probe*' -printf '%f\\n'");
    assert_eq!(listed, "probe.service", "a machine lists its own units alone");
    let before = second.run(STATE);
    assert_eq!(before.lines().count(), 2, "{before}");

    // Booted again, killed, and booted after that.
    first.reboot();
    assert_eq!(second.run(STATE), before);
    first.kill();
    assert_eq!(second.run(STATE), before);
    drop(first);
    assert_eq!(second.run(STATE), before);

    // A unit of the other machine ends with its machine.
    second.run("systemctl stop probe");
    second.kill();
    eventually("nothing answers on a machine that was killed", || !second.try_run("true").0);
}
