//! The upstreams of the host: those of the configuration, else those of resolv.conf, without the agent's own addresses.

use super::keeper::Keeper;
use crate::config::{Config, Route, Spec};
use crate::forward::{Forwarder, ResolvConf};
use crate::host_resolver;
use crate::logging::RateLimitedLog;
use crate::regular_file;
use crate::replace_file::replace;
use crate::server;
use crate::systemd;
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Number of readings in a row without an upstream after which the known upstreams are given up: resolv.conf may have
/// been read while a program was writing it.
const MAX_EMPTY_READINGS: u8 = 3;

/// The upstreams in use, and what was read last.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    /// The upstreams in use; `None` if the next reading counts even if it is empty.
    present: Option<Vec<SocketAddr>>,
    /// Readings in a row without an upstream.
    empty_readings: u8,
    /// Why upstreams of the configuration are not used: they are this server.
    own_named: Option<String>,
    /// The same of servers of a cluster.
    own_routed: Option<String>,
    /// Which addresses were this agent's when its routes were looked at; `None` without routes.
    own_of_routes: Option<HashSet<SocketAddr>>,
    /// Why the configured resolv.conf is not used.
    unread: Option<String>,
    /// Readings in a row in which it could not be read.
    unreadable_readings: u8,
    /// Why the host does not ask the agent any more, as it was logged last.
    overwritten: Option<String>,
    failures: RateLimitedLog,
    /// The upstreams on disk, once there were some; nothing without a state directory.
    kept: Option<Option<Keeper<String>>>,
}

impl Upstreams {
    /// Makes the next reading count, even if it finds no upstream.
    pub(super) fn forget(&mut self) {
        self.present = None;
    }

    /// Leaves servers out of the routes that are this agent: a question would come back until nobody waits for it any more.
    pub(super) fn leave_out_own(&mut self, routes: &mut Arc<[Route]>, listening: &[SocketAddr]) {
        let own = own_addresses(listening).unwrap_or_else(|_| listening.iter().copied().collect());
        self.own_of_routes = (!routes.is_empty()).then(|| own.clone());
        let servers = || routes.iter().flat_map(|route| &route.servers);
        let ours = servers().find(|server| own.contains(server));
        self.own_routed =
            ours.map(|ours| format!("kubernetes-forward: {ours} is this server itself; it is left out"));
        if ours.is_some() {
            let others = |route: &Route| {
                let servers = route.servers.iter().filter(|server| !own.contains(server)).copied();
                Route { zone: route.zone.clone(), servers: servers.collect() }
            };
            *routes = routes.iter().map(others).collect();
        }
    }

    /// Whether the agent has come to have other addresses since its routes were looked at.
    pub(super) fn has_other_addresses(&self, listening: &[SocketAddr]) -> bool {
        let is_other = |seen: &HashSet<_>| own_addresses(listening).is_ok_and(|own| own != *seen);
        self.own_of_routes.as_ref().is_some_and(is_other)
    }

    /// Finds the upstreams and gives them to the forwarder if they have changed. If they cannot be read, those in use
    /// stay.
    pub(super) fn refresh(
        &mut self,
        base: &Spec,
        config: &Config,
        listening: &[SocketAddr],
        forwarder: &Forwarder,
    ) {
        match self.find(base, config, listening) {
            Ok(found) => self.take(found, config.forward.nameservers.is_some(), forwarder),
            Err(error) => {
                let level = self.failures.level(log::Level::Warn);
                log::log!(
                    level,
                    "upstreams: they cannot be read, so those known before stay in use: {error}"
                );
            }
        }
    }

    /// Looks whether another program changed what `skydns resolv-conf enable` set, and gives the reason for the status
    /// line. Each change is logged once.
    pub(super) fn look_at_host(&mut self, root: &Path) -> Option<&str> {
        let overwritten = host_resolver::overwritten(root);
        if overwritten != self.overwritten {
            match &overwritten {
                Some(reason) => log::warn!("resolv.conf: {reason} (skydns resolv-conf enable)"),
                None => log::info!("resolv.conf is as \"skydns resolv-conf\" left it"),
            }
            self.overwritten = overwritten;
        }
        self.overwritten.as_deref()
    }

    /// Finds the upstreams of the configuration, else of resolv.conf.
    fn find(
        &mut self,
        base: &Spec,
        config: &Config,
        listening: &[SocketAddr],
    ) -> io::Result<Vec<SocketAddr>> {
        let own = own_addresses(listening)?;
        let named = config.forward.nameservers.as_deref().unwrap_or_default();
        let (ours, others): (Vec<_>, Vec<_>) = named.iter().copied().partition(|a| own.contains(a));
        self.own_named = ours.first().map(|ours| match others.is_empty() {
            false => format!("nameservers: {ours} is this server itself; it is left out"),
            true => format!(
                "nameservers: {ours} is this server itself, and no other server is named; those of {} are used",
                base.resolv_conf.display()
            ),
        });
        if !others.is_empty() {
            self.unread = None;
            return Ok(others);
        }
        self.read_resolv_conf(&base.resolv_conf, own)
    }

    /// The upstreams of a resolv.conf. While another one than the system's cannot be read, those in use stay; if there are none
    /// or the file is gone, those of the system's count.
    fn read_resolv_conf(&mut self, file: &Path, own: HashSet<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        let default = Spec::default().resolv_conf;
        let error = if file == default { None } else { regular_file::open_regular(file).err() };
        self.unreadable_readings =
            if error.is_some() { self.unreadable_readings.saturating_add(1) } else { 0 };
        // A program that writes it may have removed it for a moment.
        if self.present.is_some() && (1..MAX_EMPTY_READINGS).contains(&self.unreadable_readings) {
            return Ok(Vec::new());
        }
        self.unread = None;
        let Some(error) = error else { return ResolvConf::new(file.to_owned(), own).read() };
        let told = format!("resolv-conf: {}: cannot be read: {error}", file.display());
        if error.kind() != io::ErrorKind::NotFound
            && let Some(present) = self.present.as_ref().filter(|present| !present.is_empty())
        {
            self.unread = Some(format!("{told}; the upstreams in use stay"));
            return Ok(present.clone());
        }
        self.unread = Some(format!("{told}; {} is used until it can be", default.display()));
        ResolvConf::new(default, own).read()
    }

    /// Why upstreams of the configuration are not used.
    pub(super) fn refused(&self) -> Vec<String> {
        self.own_named.iter().chain(&self.own_routed).chain(&self.unread).cloned().collect()
    }

    /// Gives upstreams to the forwarder, if they differ from those in use and can be believed. `are_named`: by settings.
    fn take(&mut self, found: Vec<SocketAddr>, are_named: bool, forwarder: &Forwarder) {
        self.empty_readings = if found.is_empty() { self.empty_readings.saturating_add(1) } else { 0 };
        let had_some = self.present.as_ref().is_some_and(|present| !present.is_empty());
        if self.present.as_ref() == Some(&found)
            || had_some && (1..MAX_EMPTY_READINGS).contains(&self.empty_readings)
        {
            return;
        }
        let list: Vec<_> = found.iter().map(ToString::to_string).collect();
        log::info!("upstreams: {}", if list.is_empty() { "none".to_owned() } else { list.join(", ") });
        forwarder.set_upstreams(&found);
        let text = kept_text(&found, are_named);
        if !text.is_empty() {
            self.kept.get_or_insert_with(keep).iter().for_each(|kept| kept.note(|kept| *kept = text.clone()));
        }
        self.present = Some(found);
    }
}

/// Starts to keep the upstreams in a file of the state directory, for when this program cannot run and resolv.conf has to
/// name them.
fn keep() -> Option<Keeper<String>> {
    let file = systemd::state_directory()?.join("upstreams");
    let told = file.display().to_string();
    let failures = RateLimitedLog::default();
    let report = move |problem: Option<String>| {
        if let Some(error) = problem {
            log::log!(failures.level(log::Level::Warn), "{told}: {error}");
        }
    };
    let keeper = Keeper::start(
        "upstreams",
        String::new(),
        move |text: &String| replace(&file, text.as_bytes(), 0o600),
        report,
    );
    keeper.inspect_err(|error| log::warn!("keeping the upstreams: {error}")).ok()
}

/// An address a line, of the upstreams at port 53. Those that settings name come before those of present leases, which a first
/// line says.
fn kept_text(upstreams: &[SocketAddr], are_named: bool) -> String {
    let at_port = upstreams.iter().filter(|upstream| upstream.port() == 53);
    let lines = at_port.map(|upstream| match upstream {
        SocketAddr::V6(v6) if v6.scope_id() > 0 => format!("{}%{}\n", v6.ip(), v6.scope_id()),
        _ => format!("{}\n", upstream.ip()),
    });
    let text: String = lines.collect();
    if are_named && !text.is_empty() { format!("# -nameservers\n{text}") } else { text }
}

/// All addresses at which a query would come back to this agent.
///
/// # Errors
/// The addresses of the host cannot be read.
fn own_addresses(listening: &[SocketAddr]) -> io::Result<HashSet<SocketAddr>> {
    let mut own: HashSet<SocketAddr> = listening.iter().copied().collect();
    let wildcards: Vec<_> = listening.iter().filter(|address| address.ip().is_unspecified()).collect();
    if wildcards.is_empty() {
        return Ok(own);
    }
    for ip in server::own_addresses()? {
        let reached = wildcards.iter().filter(|wildcard| wildcard.is_ipv6() || ip.is_ipv4());
        own.extend(reached.map(|wildcard| SocketAddr::new(ip, wildcard.port())));
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostIdentity;
    use std::path::Path;

    #[test]
    fn what_cannot_be_read_is_not_taken_for_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("resolv.conf");
        let base = Spec { resolv_conf: file.clone(), ..Spec::default() };
        let config = Config::new(&base, &HostIdentity::default()).expect("a configuration");
        let forwarder = Forwarder::new(config.forward.clone());
        let mut upstreams = Upstreams::default();
        let mut read_after = |write: &dyn Fn(&Path)| {
            write(&file);
            upstreams.refresh(&base, &config, &[], &forwarder);
            forwarder.upstreams().len()
        };
        let two = |file: &Path| {
            std::fs::write(file, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n").expect("written");
        };
        let half = |file: &Path| std::fs::write(file, "# Generated by").expect("written");
        let directory = |file: &Path| {
            std::fs::remove_file(file).expect("removed");
            std::fs::create_dir(file).expect("a directory");
        };
        assert_eq!(read_after(&two), 2);
        assert_eq!([read_after(&half), read_after(&half)], [2, 2], "the file is being written");
        assert_eq!(read_after(&two), 2);
        assert_eq!([read_after(&half), read_after(&half), read_after(&half)], [2, 2, 0], "the file stays so");
        assert_eq!(read_after(&two), 2);
        assert_eq!(
            [read_after(&directory), read_after(&|_| ()), read_after(&|_| ()), read_after(&|_| ())],
            [2; 4],
            "cannot be read"
        );
        let told = upstreams.refused().concat();
        assert!(told.starts_with(&format!("resolv-conf: {}: cannot be read: ", file.display())), "{told}");
        assert!(told.ends_with("; the upstreams in use stay"), "{told}");
    }
}
