//! Containers on the host ask the agent, by the examples as they are shipped.

mod support;

use std::fs;
use std::sync::MutexGuard;
use support::boot::{Machine, Root, machines, packages, say};
use support::plain_host::{ask_upstream, install_with_records, upstream, upstream_at};
use support::upstream::Upstream;

/// A machine with engines of containers.
const ROOT: Root = Root {
    name: "containers",
    release: "trixie",
    packages: "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,bind9-dnsutils,iproute2,procps,podman,passt,\
               slirp4netns,netavark,aardvark-dns,crun,uidmap,fuse-overlayfs,docker.io,docker-cli,nftables,iptables,\
               systemd-container,systemd-resolved,libnss-resolve,ca-certificates",
    off: &["systemd-resolved.service", "systemd-networkd-wait-online.service"],
};

/// Services of the host's name space that a container finds, and a name of outside.
const OWN: (&str, &str) = ("web.example.skydns.local", "192.0.2.80");
const OUTSIDE: (&str, &str) = ("www.example.org", "192.0.2.99");

/// A root for containers at /mini: a shell, and what looks names up.
const MINI: &str = "
    set -eu
    mkdir -p /mini/{bin,etc,tmp,proc,sys,dev,run,var,usr/lib}
    for program in sh cat getent dig sleep; do
        file=$(readlink -f $(command -v $program))
        cp $file /mini/bin/$program
        ldd $file | grep -o '/[^ ]*' | while read -r library; do
            mkdir -p /mini$(dirname $library); cp -L $library /mini$library
        done
    done
    echo 'root:x:0:0::/:/bin/sh' > /mini/etc/passwd
    echo 'hosts: files dns' > /mini/etc/nsswitch.conf
    echo ID=mini > /mini/usr/lib/os-release
    touch /mini/etc/resolv.conf /mini/etc/hosts
    chmod -R a+rX /mini";

/// What a container says of both names.
const LOOK_UP: &str =
    "cat /etc/resolv.conf; getent hosts web.example.skydns.local; getent hosts www.example.org";

/// A turn for a test that takes engines of containers; `None` where it is not asked for, which is said loudly.
fn engines(test: &str) -> Option<MutexGuard<'static, ()>> {
    if std::env::var("SKYDNS_CONTAINERS").is_ok_and(|value| value == "all") {
        return machines(test);
    }
    say(&format!("SKIPPED: {test}: SKYDNS_CONTAINERS=all runs it, and packaging/setup test-all does\n"));
    None
}

/// A machine with the package, a service, and an upstream that knows a name of outside.
struct Host {
    machine: Machine,
    _upstream: Upstream,
}

impl Host {
    fn new(machine: Machine) -> Self {
        ask_upstream(&machine);
        install_with_records(&machine);
        let upstream = upstream(&machine);
        Self { machine, _upstream: upstream }
    }

    /// Copies an example to where its README says.
    fn place(&self, example: &str) -> String {
        let script = format!(
            "cd /usr/share/doc/skydns/examples\n\
             place=$(sed -n 's/^{example}  *\\([^ ,]*\\).*/\\1/p' README)\n\
             install -D -m 644 {example} \"$place\" && echo \"$place\""
        );
        self.machine.run(&script)
    }

    /// Listens for containers, and gives the host the address by systemd-networkd.
    fn serve_containers(&self) {
        for example in ["containers.conf", "skydns0.network"] {
            self.place(example);
        }
        let netdev = self.place("skydns0.netdev");
        if !self.machine.try_run("ip link add try0 type dummy && ip link del try0").0 {
            say(
                "LEFT OUT: an interface of the kind \"dummy\": this kernel has none; a bridge stands for it\n",
            );
            self.machine.run(&format!("sed -i s/Kind=dummy/Kind=bridge/ {netdev}"));
        }
        self.machine.run("systemctl daemon-reload; systemctl enable --now skydns.socket");
        self.machine.run("systemctl restart systemd-networkd");
        self.machine.until("dig @169.254.53.53 +tries=1 +time=1 +short web.example.skydns.local", OWN.1);
    }

    /// A container finds both names; `text` is what it printed by [`LOOK_UP`], and `what` says which one it was.
    fn finds(&self, what: &str, script: &str) {
        let (success, text) = self.machine.try_run(script);
        let found = |(name, address): (&str, &str)| {
            text.lines().any(|line| line.starts_with(address) && line.ends_with(name))
        };
        assert!(success && found(OWN) && found(OUTSIDE), "{what}: {text}\n{}", self.machine.journal());
    }
}

/// Makes a container that is a network only, on a bridge of its own.
fn bridge(machine: &Machine, name: &str, network: &str) {
    machine.run(&format!(
        "set -e
        ip netns add {name}; ip -n {name} link set lo up
        ip link add {name} type bridge; ip address add {network}.1/24 dev {name}; ip link set {name} up
        ip link add {name}-host type veth peer name eth0 netns {name}
        ip link set {name}-host master {name} up
        ip -n {name} address add {network}.2/24 dev eth0; ip -n {name} link set eth0 up
        ip -n {name} route add default via {network}.1"
    ));
}

fn remove_bridge(machine: &Machine, name: &str) {
    machine.run(&format!("ip netns del {name}; ip link del {name}"));
}

/// What a container is told of a name over UDP, by one packet.
fn ask(machine: &Machine, container: &str, name: &str) -> String {
    machine.run(&format!(
        "ip netns exec {container} dig @169.254.53.53 +tries=1 +time=5 +noall +comments +answer {name} A"
    ))
}

#[test]
fn a_bridge_that_comes_later_needs_nothing() {
    let Some(_machines) = machines("bridges that come later") else { return };
    for release in ["bookworm", "trixie"] {
        let mut host = Host::new(Machine::boot(release));
        host.serve_containers();
        let machine = &host.machine;
        let agent = machine.agent();
        // The first question of all is for a name of outside; each bridge comes after the one before was asked.
        for (name, network) in
            [("one", "172.18.0"), ("two", "10.88.1"), ("three", "192.168.7"), ("four", "100.64.3")]
        {
            bridge(machine, name, network);
            let text = ask(machine, name, &format!("{name}.example.org"));
            assert!(text.contains(OUTSIDE.1), "{name}: {text}");
            assert!(ask(machine, name, OWN.0).contains(OWN.1), "{name}");
            let tcp =
                machine.run(&format!("ip netns exec {name} dig +tcp @169.254.53.53 +short {}", OUTSIDE.0));
            assert_eq!(tcp, OUTSIDE.1, "{name}");
        }
        // One that goes and comes again is another interface.
        remove_bridge(machine, "one");
        bridge(machine, "one", "172.18.0");
        assert!(ask(machine, "one", "again.example.org").contains(OUTSIDE.1));
        // Never for everybody: an interface with a public network is no bridge of containers.
        bridge(machine, "public", "198.51.100");
        let text = ask(machine, "public", "strange.example.org");
        assert!(text.contains("status: REFUSED"), "{text}");
        assert!(ask(machine, "public", OWN.0).contains(OWN.1));
        assert_eq!(machine.agent(), agent, "nothing was started anew");

        // A question that comes before the agent waits for it.
        machine.run("systemctl stop skydns.service");
        assert!(ask(machine, "two", "early.example.org").contains(OUTSIDE.1));

        without_networkd(&mut host);
    }
}

/// The address by a unit of its own, after a boot as well.
fn without_networkd(host: &mut Host) {
    host.machine.run("rm /etc/systemd/network/20-skydns0.*; systemctl disable --now systemd-networkd.socket systemd-networkd");
    host.machine.run("ip link del skydns0");
    host.place("skydns-address.service");
    host.machine.run("systemd-analyze verify --man=no skydns-address.service");
    host.machine.run("systemctl daemon-reload; systemctl enable --now skydns-address.service");
    assert!(ask(&host.machine, "two", OWN.0).contains(OWN.1));
    host.machine.reboot();
    host.machine.until("dig @169.254.53.53 +tries=1 +time=1 +short web.example.skydns.local", OWN.1);
    host.machine.run("systemctl stop skydns-address.service");
    assert!(!host.machine.run("ip address show dev lo").contains("169.254.53.53"));
}

/// A machine with engines, a root for containers, and a user of containers without privileges.
fn host_with_engines() -> Host {
    let machine = Machine::boot_root(&ROOT);
    let host = Host::new(machine);
    host.machine.run(MINI);
    // In a container systemd has no controller that counts processes.
    host.machine.run("mkdir -p /etc/containers/containers.conf.d; printf '[containers]\\npids_limit=0\\n' > /etc/containers/containers.conf.d/90-test.conf");
    // pasta takes the addresses of the interface with the default route.
    host.machine.run(
        "ip link add up0 type veth peer name up1; ip address add 198.51.100.10/24 dev up0
        ip link set up0 up; ip link set up1 up; ip route add default via 198.51.100.1",
    );
    host
}

#[test]
fn containers_of_podman_find_the_agent() {
    let Some(_machines) = engines("containers of podman") else { return };
    let host = host_with_engines();
    host.serve_containers();
    host.place("podman-dns.conf");
    let in_podman =
        |network: &str| format!("podman run --rm --network {network} --rootfs /mini sh -c '{LOOK_UP}'");
    host.finds("podman", &in_podman("podman"));
    // A network with a resolver of its own, which asks the agent.
    host.machine.run("podman network create later");
    host.finds("podman, a network of its own", &in_podman("later"));
    host.finds("podman, the host's network", &in_podman("host"));

    host.machine.run("useradd -m somebody; chmod 666 /dev/net/tun; cp -a /mini /home/somebody/mini; systemd-run -q --wait loginctl enable-linger somebody");
    host.machine.run("chown -R somebody: /home/somebody; chmod 755 /home/somebody");
    host.machine.until("ls /run/user", "1000");
    let as_somebody = |script: &str| {
        let script = script.replace("/mini", "/home/somebody/mini");
        fs::write(host.machine.shared().join("script"), script).expect("a script");
        "systemd-run -q --wait --pipe --uid=somebody --working-directory=/home/somebody -p Delegate=yes \
         -E XDG_RUNTIME_DIR=/run/user/1000 -E HOME=/home/somebody bash /t/script"
            .to_owned()
    };
    for network in ["pasta", "slirp4netns", "host"] {
        host.finds(&format!("podman without privileges, {network}"), &as_somebody(&in_podman(network)));
    }
    // Without a setting of podman: the host's own file names the address.
    host.machine.run(
        "rm /etc/containers/containers.conf.d/skydns.conf; skydns resolv-conf enable 127.0.0.1 169.254.53.53",
    );
    host.finds("podman, by the host's file", &in_podman("podman"));
    for network in ["pasta", "slirp4netns"] {
        host.finds(
            &format!("podman without privileges, by the host's file, {network}"),
            &as_somebody(&in_podman(network)),
        );
    }
    host.machine.run(&as_somebody("podman network create mine"));
    host.finds("podman without privileges, a network of its own", &as_somebody(&in_podman("mine")));
}

#[test]
fn containers_of_docker_find_the_agent() {
    let Some(_machines) = engines("containers of docker") else { return };
    let host = host_with_engines();
    host.serve_containers();
    host.place("docker-daemon.json");
    host.machine.run("systemctl restart docker; tar -C /mini -c . | docker import - mini");
    let in_docker = |network: &str| format!("docker run --rm --network {network} mini sh -c '{LOOK_UP}'");
    host.finds("docker", &in_docker("bridge"));
    // A network with docker's resolver, which asks the agent.
    host.machine.run("docker network create later");
    host.finds("docker, a network of its own", &in_docker("later"));
    host.machine.run("systemctl restart skydns");
    host.finds("docker, after a restart of the agent", &in_docker("later"));
    // Without a setting of docker: the host's own file names the address.
    host.machine.run("rm /etc/docker/daemon.json; skydns resolv-conf enable 127.0.0.1 169.254.53.53; systemctl restart docker");
    for network in ["bridge", "later"] {
        host.finds(&format!("docker, by the host's file, {network}"), &in_docker(network));
    }
}

#[test]
fn containers_of_nspawn_find_the_agent() {
    let Some(_machines) = engines("containers of systemd-nspawn") else { return };
    let host = host_with_engines();
    host.serve_containers();
    // The host's own network: 127.0.0.1 is the host's as well.
    let run = |args: &str| {
        format!(
            "systemd-run -q --wait --pipe --slice=machine.slice -p Delegate=yes systemd-nspawn -q --pipe --register=no \
             --keep-unit -D /mini {args} /bin/sh -c '{LOOK_UP}'"
        )
    };
    for example in ["container-resolv.conf", "container-resolved.conf"] {
        host.place(example);
    }
    host.finds(
        "the host's network",
        &run("--resolv-conf=off --bind-ro=/etc/skydns/container-resolv.conf:/etc/resolv.conf"),
    );

    // A whole system of its own, with systemd-resolved in it, by the file for it; then by DHCP alone.
    host.machine.run("mkdir -p /var/lib/machines/web; cp -a --one-file-system /bin /etc /lib* /root /sbin /usr /var/lib/machines/web 2>&1; true");
    host.machine.run(
        "cd /var/lib/machines/web; mkdir -p dev proc run sys tmp var/lib var/tmp var/log; rm -rf etc/skydns etc/systemd/network
        rm -f etc/machine-id etc/resolv.conf etc/systemd/system/systemd-resolved.service; ln -s ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf
        for unit in skydns.socket skydns.service docker.service docker.socket podman.socket containerd.service; do ln -sf /dev/null etc/systemd/system/$unit; done
        systemctl --root=. enable systemd-networkd systemd-resolved
        systemctl --root=. mask systemd-networkd-wait-online.service
        sed -i 's/^hosts:.*/hosts: files resolve [!UNAVAIL=return] dns/' etc/nsswitch.conf",
    );
    let nspawn = host.place("container.nspawn").replace("NAME", "web");
    host.machine
        .run(&format!("mv /etc/systemd/nspawn/NAME.nspawn {nspawn}; systemctl start systemd-nspawn@web"));
    let inside = |script: &str| format!("systemd-run -q --wait --pipe -M web sh -c '{script}'");
    host.machine.until(&inside("networkctl"), "routable");
    host.finds("by its file", &inside(LOOK_UP));

    host.machine.run(&format!("systemctl stop systemd-nspawn@web; rm {nspawn}"));
    host.place("container-dhcp.conf");
    host.machine.run("networkctl reload; systemctl start systemd-nspawn@web");
    host.machine.until(&inside("resolvectl dns"), "169.254.53.53");
    // Names below "local" are asked for by multicast, unless the container is told otherwise.
    host.machine.until(&inside("getent hosts www.example.org"), OUTSIDE.1);
    host.machine.run(
        "install -D -m 644 /etc/skydns/container-resolved.conf /var/lib/machines/web/etc/systemd/resolved.conf.d/skydns.conf",
    );
    host.machine.run(&inside("systemctl restart systemd-resolved"));
    host.machine.until(&inside("getent hosts web.example.skydns.local"), OWN.1);
}

#[test]
fn the_image_runs_under_systemd_podman_and_docker() {
    let Some(_machines) = engines("the image") else { return };
    let machine = Machine::boot_root(&ROOT);
    ask_upstream(&machine);
    machine.run("mkdir -p /etc/containers/containers.conf.d; printf '[containers]\\npids_limit=0\\n' > /etc/containers/containers.conf.d/90-test.conf");
    let _upstream = upstream(&machine);
    let image = packages().image.as_ref().expect("an image");
    for (file, name) in [
        (image.to_str().expect("a path"), "skydns-image.tar"),
        ("systemd/skydns.socket", "skydns.socket"),
        ("systemd/examples/skydns.container", "skydns.container"),
    ] {
        fs::copy(file, machine.shared().join(name)).expect("a copy");
    }
    let records = std::path::Path::new("packaging/records-example/local");
    support::run(std::process::Command::new("cp").arg("-r").arg(records).arg(machine.shared()));
    machine
        .run("mkdir -p /etc/skydns/records /etc/skydns/skydns.conf.d; cp -r /t/local /etc/skydns/records/");
    let answers = |what: &str| {
        for how in ["+notcp", "+tcp"] {
            let text = machine.run(&format!(
                "dig @127.0.0.1 {how} +short {}; dig @127.0.0.1 {how} +short {}",
                OWN.0, OUTSIDE.0
            ));
            assert_eq!(text, format!("{}\n{}", OWN.1, OUTSIDE.1), "{what}");
        }
    };

    // By systemd: the sockets stay while the container is made anew, and the service says how it is.
    machine.run("podman load -q -i /t/skydns-image.tar");
    machine.run("install -m 644 /t/skydns.socket /etc/systemd/system/; install -D -m 644 /t/skydns.container /etc/containers/systemd/skydns.container");
    machine.run("systemctl daemon-reload; systemctl enable --now skydns.socket; systemctl start skydns");
    answers("with the sockets of systemd");
    machine.until("systemctl show -P StatusText skydns", "1 name; files in sync");
    assert!(machine.run("journalctl -u skydns").contains("systemd passed 4 sockets"));
    machine.run("systemctl stop skydns.service");
    answers("a question that comes before it");
    machine.run("echo SKYDNS_TTL=777 > /etc/skydns/skydns.conf.d/ttl.conf; systemctl reload skydns");
    machine.until(&format!("dig @127.0.0.1 +noall +answer {}", OWN.0), " 777\t");
    // One that stands still is ended, and a new one takes its place.
    machine.run("kill -STOP $(pgrep -x skydns)");
    machine.until("systemctl show -P NRestarts skydns", "1");
    machine.until("systemctl is-active skydns", "active");
    answers("after the watchdog");
    machine.run("systemctl disable --now skydns.socket; systemctl stop skydns.service");

    // By hand: with an address of the host, and with ports that are passed on.
    let options = "-d --name skydns -v /etc/skydns/records:/etc/skydns/records:ro";
    let ports = "-p 127.0.0.1:53:53/udp -p 127.0.0.1:53:53/tcp";
    let runs = [
        format!(
            "podman run {options} --network host --cap-drop all --cap-add NET_BIND_SERVICE skydns -addr 127.0.0.1:53 -records /etc/skydns/records"
        ),
        format!(
            "podman run {options} --sysctl net.ipv4.ip_unprivileged_port_start=53 {ports} skydns -addr 0.0.0.0:53 -records /etc/skydns/records -nameservers 192.0.2.53:53"
        ),
        format!(
            "docker run {options} {ports} skydns -addr 0.0.0.0:53 -records /etc/skydns/records -nameservers 192.0.2.53:53"
        ),
    ];
    // The upstream of those that have a network of their own.
    machine.run("ip address add 192.0.2.53/32 dev lo; docker load -q -i /t/skydns-image.tar");
    let _other = upstream_at(&machine, ([192, 0, 2, 53], 53));
    for command in runs {
        machine.run(&command);
        machine.until(&format!("dig @127.0.0.1 +tries=1 +time=1 +short {}", OWN.0), OWN.1);
        answers(&command);
        machine.run(&format!("{} rm -f skydns", command.split(' ').next().unwrap_or_default()));
    }
}
