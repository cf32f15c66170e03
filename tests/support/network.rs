//! Hosts of their own on one wire: network namespaces, so that a client can come from elsewhere.

use super::{eventually, run};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::net::Ipv6Addr;
use std::process::Command;

/// Two hosts and the wire between them; they go with this. The first has `.1` of each network, the second `.2`.
pub struct Wire {
    names: [String; 2],
}

/// Why there can be none; `None` if there can.
pub fn why_not() -> Option<&'static str> {
    (!nix::unistd::Uid::effective().is_root()).then_some("making networks takes root")
}

fn ip(args: &[&str]) {
    run(Command::new("ip").args(args));
}

impl Wire {
    /// Hosts in these networks, such as `198.51.100` and `10.7.0`, all of them /24.
    pub fn new(networks: &[&str]) -> Self {
        let unique = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        let unique: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
        let names = [1, 2].map(|number| format!("skydns{number}-{unique}"));
        for name in &names {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        let wire = Self { names };
        wire.add("wire");
        networks.iter().for_each(|network| wire.join(network));
        wire
    }

    /// The name of a host's network, 1 or 2, as ip-netns(8) knows it.
    pub fn network(&self, host: usize) -> &str {
        &self.names[host - 1]
    }

    /// Lays one more wire between the hosts: an interface of this name at each end, without addresses.
    pub fn add(&self, interface: &str) {
        let [first, second] = &self.names;
        ip(&[
            "-n", first, "link", "add", interface, "type", "veth", "peer", "name", interface, "netns", second,
        ]);
        for name in &self.names {
            ip(&["-n", name, "link", "set", interface, "up"]);
        }
    }

    /// Puts both hosts into one more network.
    pub fn join(&self, network: &str) {
        for (name, number) in self.names.iter().zip(1..) {
            ip(&["-n", name, "address", "add", &format!("{network}.{number}/24"), "dev", "wire"]);
        }
    }

    /// Changes the network of a host, 1 or 2, as ip(8) does.
    pub fn ip(&self, host: usize, args: &[&str]) {
        ip(&[&["-n", &self.names[host - 1]], args].concat());
    }

    /// The link-local address of a host, 1 or 2, on the wire, once it is ready.
    pub fn link_local(&self, host: usize) -> Ipv6Addr {
        let args =
            ["-n", &self.names[host - 1], "-6", "-o", "address", "show", "dev", "wire", "scope", "link"];
        let mut found = None;
        eventually("the wire has a link-local address", || {
            let listed = run(Command::new("ip").args(args));
            let address = listed.split_whitespace().find_map(|word| word.strip_suffix("/64")?.parse().ok());
            found = address.filter(|_| !listed.contains("tentative"));
            found.is_some()
        });
        found.expect("an address")
    }

    /// The number of a host's interface to the wire.
    pub fn interface(&self, host: usize) -> u32 {
        self.on(host, || nix::net::if_::if_nametoindex("wire").expect("an interface"))
    }

    /// Does something on a host, 1 or 2; sockets and processes that it makes stay there.
    pub fn on<T: Send>(&self, host: usize, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/run/netns/{}", self.names[host - 1])).expect("a network");
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&network, CloneFlags::CLONE_NEWNET).expect("the network");
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}
