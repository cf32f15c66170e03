//! Resolvers between clients and the agent. Each forwards everything to it, or sends it the questions for the site's domain
//! alone and forwards the rest to the agent's upstream.

use super::world::{UPSTREAM, start_unit, wait_for};
use crate::support::boot::Machine;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    Unbound,
    Bind,
    Knot,
    PowerDns,
    Dnsmasq,
}

pub const PRODUCTS: [Product; 5] =
    [Product::Unbound, Product::Bind, Product::Knot, Product::PowerDns, Product::Dnsmasq];

/// What of its questions a resolver sends to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// Everything.
    All,
    /// What is in the site's domain.
    Site,
}

/// How a resolver is set up.
pub struct Setting<'a> {
    pub domain: &'a str,
    pub sends: Sends,
    /// The root's DS record, if it validates.
    pub anchor: Option<&'a str>,
}

/// Where the agent is.
const AGENT: &str = "127.0.0.1";

impl Product {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Bind => "BIND",
            Self::Knot => "Knot",
            Self::PowerDns => "PowerDNS",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    fn address(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, self as u8 + 1)), 53)
    }

    /// Starts it, and gives its address.
    pub fn start(self, machine: &Machine, setting: &Setting<'_>) -> SocketAddr {
        let unit = format!("front-{}", self.name());
        machine.try_run(&format!("systemctl stop {unit}; systemctl reset-failed {unit}"));
        let dir = machine.shared().join(&unit);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("state")).expect("a directory");
        let ip = self.address().ip().to_string();
        // BIND listens at addresses that an interface has.
        machine.try_run(&format!("ip address add {ip}/8 dev lo"));
        let (file, text) = match self {
            Self::Unbound => ("conf", unbound(&ip, setting)),
            Self::Bind => ("conf", bind(&ip, setting)),
            Self::Knot => ("conf", knot(&ip, setting)),
            Self::PowerDns => ("recursor.conf", power_dns(&ip, setting)),
            Self::Dnsmasq => ("conf", dnsmasq(&ip, setting)),
        };
        fs::write(dir.join(file), text).expect("a file");
        let of = format!("/t/{unit}");
        let command = match self {
            Self::Unbound => format!("/usr/sbin/unbound -d -c {of}/conf"),
            Self::Bind => format!("/usr/sbin/named -g -n 1 -c {of}/conf"),
            Self::Knot => format!("/usr/sbin/kresd -n -c {of}/conf {of}/state"),
            Self::PowerDns => format!("/usr/sbin/pdns_recursor --config-dir={of}"),
            Self::Dnsmasq => format!("/usr/sbin/dnsmasq -k -C {of}/conf --log-facility=-"),
        };
        start_unit(machine, &unit, &command);
        wait_for(machine, self.address(), &unit);
        self.address()
    }

    pub fn stop(self, machine: &Machine) {
        machine.try_run(&format!("systemctl stop front-{}", self.name()));
    }
}

/// Who is asked for the site, and who for the rest.
fn servers(setting: &Setting<'_>) -> (Option<&'static str>, String) {
    match setting.sends {
        Sends::All => (None, AGENT.to_owned()),
        Sends::Site => (Some(AGENT), UPSTREAM.ip().to_string()),
    }
}

fn unbound(ip: &str, setting: &Setting<'_>) -> String {
    let (site, rest) = servers(setting);
    let modules = if setting.anchor.is_some() { "validator iterator" } else { "iterator" };
    let anchor = setting.anchor.map(|ds| format!("  trust-anchor: \". DS {ds}\"\n")).unwrap_or_default();
    let stub =
        site.map(|agent| format!("stub-zone:\n  name: \"{}\"\n  stub-addr: {agent}\n", setting.domain));
    format!(
        "server:\n  interface: {ip}\n  username: \"\"\n  chroot: \"\"\n  directory: \"/\"\n  pidfile: \"\"\n  \
         use-syslog: no\n  do-not-query-localhost: no\n  do-ip6: no\n  access-control: 127.0.0.0/8 allow\n  \
         module-config: \"{modules}\"\n  local-zone: \"10.in-addr.arpa.\" nodefault\n  \
         local-zone: \"2.0.192.in-addr.arpa.\" nodefault\n  val-log-level: 2\n{anchor}\
         remote-control:\n  control-enable: no\n{}forward-zone:\n  name: \".\"\n  forward-addr: {rest}\n",
        stub.unwrap_or_default()
    )
}

fn bind(ip: &str, setting: &Setting<'_>) -> String {
    let (site, rest) = servers(setting);
    let validation = if setting.anchor.is_some() { "yes" } else { "no" };
    let anchor = setting.anchor.map(|ds| {
        let mut words: Vec<_> = ds.split(' ').map(str::to_owned).collect();
        let digest = words.pop().expect("a digest");
        format!("trust-anchors {{ . static-ds {} \"{digest}\"; }};\n", words.join(" "))
    });
    let stub = site.map(|agent| {
        let domain = setting.domain;
        format!("zone \"{domain}\" {{ type static-stub; server-addresses {{ {agent}; }}; }};\n")
    });
    format!(
        "options {{ listen-on port 53 {{ {ip}; }}; listen-on-v6 {{ none; }}; forwarders {{ {rest}; }}; forward only;\n\
         dnssec-validation {validation}; empty-zones-enable no; directory \"/tmp\"; pid-file none;\n\
         session-keyfile none; recursion yes; allow-query {{ any; }}; }};\ncontrols {{ }};\n{}{}",
        anchor.unwrap_or_default(),
        stub.unwrap_or_default()
    )
}

fn knot(ip: &str, setting: &Setting<'_>) -> String {
    let (site, rest) = servers(setting);
    // What is forwarded by FORWARD is validated, by STUB not.
    let (how, anchors) = match setting.anchor {
        Some(ds) => ("FORWARD", format!("trust_anchors.remove('.')\ntrust_anchors.add('. 60 IN DS {ds}')\n")),
        None => ("STUB", "trust_anchors.remove('.')\n".to_owned()),
    };
    let site = site.map(|agent| {
        let names = format!("policy.todnames({{'{}.'}})", setting.domain);
        format!("policy.add(policy.suffix(policy.{how}('{agent}'), {names}))\n")
    });
    format!(
        "net.listen('{ip}', 53, {{ kind = 'dns' }})\nnet.ipv6 = false\ncache.size = 10 * MB\n{anchors}{}\
         policy.add(policy.all(policy.{how}('{rest}')))\n",
        site.unwrap_or_default()
    )
}

fn power_dns(ip: &str, setting: &Setting<'_>) -> String {
    let (site, rest) = servers(setting);
    let anchors = match setting.anchor {
        Some(ds) => {
            format!("  validation: validate\n  trustanchors:\n  - name: .\n    dsrecords: ['{ds}']\n")
        }
        None => "  validation: 'off'\n".to_owned(),
    };
    let site = site.map(|agent| {
        format!("  forward_zones:\n  - zone: {}\n    forwarders: ['{agent}:53']\n", setting.domain)
    });
    format!(
        "incoming:\n  listen: ['{ip}:53']\n  allow_from: ['127.0.0.0/8']\noutgoing:\n  dont_query: []\n\
         dnssec:\n{anchors}recursor:\n  threads: 1\n  daemon: false\n  serve_rfc1918: false\n  \
         security_poll_suffix: ''\n  socket_dir: /run\n{}  forward_zones_recurse:\n  - zone: .\n    \
         forwarders: ['{rest}:53']\n",
        site.unwrap_or_default()
    )
}

fn dnsmasq(ip: &str, setting: &Setting<'_>) -> String {
    let (site, rest) = servers(setting);
    let anchor = setting.anchor.map(|ds| format!("dnssec\ntrust-anchor=.,{}\n", ds.replace(' ', ",")));
    let site = site.map(|agent| format!("server=/{}/{agent}\n", setting.domain));
    format!(
        "no-resolv\nno-hosts\nuser=root\nlisten-address={ip}\nbind-interfaces\npid-file=\nserver={rest}\n{}{}",
        site.unwrap_or_default(),
        anchor.unwrap_or_default()
    )
}
