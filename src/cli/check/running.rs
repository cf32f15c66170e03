//! What the running service has that the check does not read: flags and variables of its unit.

use crate::cli::environment::{UNIT_CONF_DIR, UNIT_ENV_FILE};
use crate::config::{NAMES_OF_FILES, Variables, is_variable};
use crate::shown::quoted;
use std::fs;
use std::path::Path;

/// The processes of the service (cgroups(7), version 2).
const PROCESSES: &str = "/sys/fs/cgroup/system.slice/skydns.service/cgroup.procs";

/// Says what the running service has, if there is one, that these variables do not have.
pub(super) fn notes(variables: &Variables) -> Vec<String> {
    let Ok(processes) = fs::read_to_string(PROCESSES) else { return Vec::new() };
    let Some(process) = processes.lines().next().map(|id| Path::new("/proc").join(id)) else {
        return Vec::new();
    };
    let read = |name: &str| words(&fs::read(process.join(name)).unwrap_or_default());
    told(&read("cmdline"), &read("environ"), variables)
}

/// The texts of a list in which each ends with a zero octet (proc(5)).
fn words(list: &[u8]) -> Vec<String> {
    let words = list.split(|octet| *octet == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn told(command: &[String], environment: &[String], variables: &Variables) -> Vec<String> {
    let [program, arguments @ ..] = command else { return Vec::new() };
    if Path::new(program).file_name().is_none_or(|name| name != "skydns") {
        return Vec::new();
    }
    // A value may be a password.
    let flags = arguments.iter().filter(|word| word.starts_with('-'));
    let flags: Vec<_> = flags.map(|word| quoted(word.split('=').next().unwrap_or(word))).collect();
    let mut names: Vec<_> = environment.iter().filter_map(|pair| of_unit_alone(pair, variables)).collect();
    names.sort_unstable();
    let mut told = Vec::new();
    if !flags.is_empty() {
        told.push(format!(
            "the running agent has flags of its unit, which this check does not read: {}",
            flags.join(" ")
        ));
    }
    if !names.is_empty() {
        let names = names.join(", ");
        told.push(format!(
            "the running agent has variables that no file sets which this check reads: {names} (Environment= of its unit, or a \
             line that was there when it started)"
        ));
    }
    told
}

/// The name of a variable of the service that only its unit can have set; `None` for others.
fn of_unit_alone<'a>(pair: &'a str, variables: &Variables) -> Option<&'a str> {
    let (name, value) = pair.split_once('=')?;
    let of_package = [UNIT_ENV_FILE, UNIT_CONF_DIR];
    let is_of_package =
        NAMES_OF_FILES.iter().zip(of_package).any(|(known, file)| name == *known && value == file);
    (is_variable(name) && !value.is_empty() && !is_of_package && variables.get(name).is_none())
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_variables_of_the_unit_are_told_without_their_values() {
        let mut variables = Variables::default();
        variables.set("SKYDNS_TTL", "60".to_owned());
        let told =
            |command: &[u8], environment: &[u8]| told(&words(command), &words(environment), &variables);
        let stock = b"SKYDNS_ENV_FILE=/etc/default/skydns\0SKYDNS_CONF_DIR=/etc/skydns/skydns.conf.d\0SKYDNS_GUARD=x\0SKYDNS_TTL=7\0\
            LANG=C\0";
        assert_eq!(told(b"/usr/bin/skydns\0", stock), [""; 0]);
        let more = told(
            b"/usr/bin/skydns\0-domain\0a.example\0-password=geheim\0",
            b"SKYDNS_CONF_DIR=/other\0ETCD_PASSWORD=geheim\0PROMETHEUS_PORT=1\0",
        );
        assert_eq!(more.len(), 2);
        assert!(more[0].ends_with(": -domain -password"), "{more:?}");
        assert!(more[1].contains(": ETCD_PASSWORD, PROMETHEUS_PORT, SKYDNS_CONF_DIR ("), "{more:?}");
        assert_eq!(told(b"/usr/bin/conmon\0-x\0", b"SKYDNS_NDOTS=1\0"), [""; 0]);
    }
}
