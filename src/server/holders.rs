//! Who holds an address that we cannot bind: sockets from /proc/net, programs from /proc/PID/fd (proc(5)).

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A socket that keeps others from an address, and the program behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    /// UDP or TCP.
    pub protocol: &'static str,
    /// Where it is bound.
    pub address: SocketAddr,
    /// The programs; none if they cannot be seen, which takes root.
    pub programs: Vec<HoldingProgram>,
}

/// A program that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingProgram {
    /// Its name, as `ps` prints it.
    pub name: String,
    /// Its process id.
    pub pid: i32,
    /// The unit that it belongs to, where it can be told.
    pub unit: Option<String>,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} is held by ", self.protocol, self.address)?;
        if self.programs.is_empty() {
            return f.write_str("a program that only root can see");
        }
        for (at, program) in self.programs.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{} (pid {}", program.name, program.pid)?;
            match &program.unit {
                Some(unit) => write!(f, ", {unit})")?,
                None => f.write_str(")")?,
            }
        }
        Ok(())
    }
}

/// The sockets that keep an address from being bound. What cannot be read is left out.
pub fn holders(wanted: SocketAddr) -> Vec<PortHolder> {
    let mut sockets: Vec<(&'static str, SocketAddr, u64)> = Vec::new();
    for entry in [procfs::net::udp(), procfs::net::udp6()].into_iter().flatten().flatten() {
        sockets.push(("UDP", entry.local_address, entry.inode));
    }
    for entry in [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten() {
        if entry.state == TcpState::Listen {
            sockets.push(("TCP", entry.local_address, entry.inode));
        }
    }
    sockets.retain(|(_, held, _)| conflict(*held, wanted));
    if sockets.is_empty() {
        return Vec::new();
    }
    let programs: Vec<_> = all_processes().into_iter().flatten().flatten().collect();
    let holder = |(protocol, address, inode): (&'static str, SocketAddr, u64)| {
        let programs = programs.iter().filter(|process| holds(process, inode)).map(program).collect();
        PortHolder { protocol, address, programs }
    };
    sockets.into_iter().map(holder).collect()
}

/// Whether a socket that is bound to one address keeps others from another.
fn conflict(held: SocketAddr, wanted: SocketAddr) -> bool {
    let (held_ip, wanted_ip) = (held.ip().to_canonical(), wanted.ip().to_canonical());
    // An IPv6 wildcard takes IPv4 as well, unless it was told not to; /proc does not say.
    let covers = |wide: IpAddr, other: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || other.is_ipv4());
    held.port() == wanted.port()
        && (held_ip == wanted_ip || covers(held_ip, wanted_ip) || covers(wanted_ip, held_ip))
}

fn holds(process: &Process, inode: u64) -> bool {
    let descriptors = process.fd().into_iter().flatten().flatten();
    descriptors.into_iter().any(|fd| matches!(fd.target, FDTarget::Socket(socket) if socket == inode))
}

fn program(process: &Process) -> HoldingProgram {
    let groups = process.cgroups().into_iter().flatten();
    let unit = groups.filter_map(|group| {
        let last = group.pathname.rsplit('/').find(|part| part.contains('.'))?.to_owned();
        [".service", ".socket", ".scope"].iter().any(|kind| last.ends_with(kind)).then_some(last)
    });
    HoldingProgram {
        name: process.stat().map_or_else(|_| "?".to_owned(), |stat| stat.comm),
        pid: process.pid(),
        unit: unit.into_iter().next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn our_own_sockets_are_found() {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = udp.local_addr().expect("an address");
        let tcp = TcpListener::bind(address).expect("a listener");
        let found = holders(address);
        let protocols: Vec<_> = found.iter().map(|holder| holder.protocol).collect();
        assert_eq!(protocols, ["UDP", "TCP"]);
        let pid = i32::try_from(std::process::id()).expect("a pid");
        assert!(found.iter().all(|holder| holder.programs.iter().any(|program| program.pid == pid)));
        let text = found[0].to_string();
        assert!(
            text.starts_with(&format!("UDP {address} is held by ")) && text.contains(&pid.to_string()),
            "{text}"
        );
        drop((udp, tcp));
        assert_eq!(holders(address), []);
    }

    #[test]
    fn wildcards_are_in_the_way() {
        let conflicts = |held: &str, wanted: &str| {
            conflict(held.parse().expect("an address"), wanted.parse().expect("an address"))
        };
        assert!(
            conflicts("0.0.0.0:53", "127.0.0.1:53")
                && conflicts("[::]:53", "127.0.0.1:53")
                && conflicts("[::]:53", "[::1]:53")
        );
        assert!(conflicts("127.0.0.1:53", "0.0.0.0:53"));
        assert!(conflicts("127.0.0.53:53", "[::]:53") && conflicts("[::ffff:127.0.0.1]:53", "127.0.0.1:53"));
        assert!(!conflicts("127.0.0.53:53", "127.0.0.1:53") && !conflicts("0.0.0.0:53", "[::1]:53"));
        assert!(!conflicts("127.0.0.1:54", "127.0.0.1:53"));
    }
}
