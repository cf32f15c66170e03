//! `skydns check`: loads the configuration and all stores, and prints every problem with its place.
//!
//! The exit code says what kind of problem there is: 78 a setting, 65 services that are not served, 69 a store that is
//! away; the first of these that applies.

mod as_service;
mod keys;
mod report;
mod running;

use super::environment::{Environment, last_good_file, may_be_absent};
use super::{SYSTEM, USAGE, fail, runtime};
use crate::agent::{
    CheckedSources, StubNotice, check_sources, host, read_last_good, stub_notices, unserved_text,
};
use crate::config::{
    CheckOptions, Config, GivenTexts, Layers, SettingOrigin, Spec, StoreBefore, read_env_file, source_flags,
};
use crate::counted::counted;
use crate::forward::ResolvConf;
use crate::regular_file;
use crate::service::Keyspace;
use crate::shown::quoted;
use crate::source::Publisher;
use report::{ProblemKind, Report};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

/// Prints every problem and notice.
pub(super) fn run(layers: Layers, spec: &Spec, options: &CheckOptions) -> ExitCode {
    let is_of_unit = spec.env_file.is_none() && spec.conf_dir.is_none();
    // The user of the service may not see the variables of the running agent, which has a user namespace of its own.
    let is_asked = is_of_unit && options.file.is_none() && !as_service::is_second();
    let notes = if is_asked { running::notes(&Environment::of_unit(spec).read()) } else { Vec::new() };
    let code = run_all(layers, spec, options);
    notes.iter().for_each(|note| Report::default().note(note));
    code
}

fn run_all(layers: Layers, spec: &Spec, options: &CheckOptions) -> ExitCode {
    let file = options.file.as_deref();
    let unreadable = file.and_then(|file| Some((file, regular_file::open_regular(file).err()?)));
    if let Some((file, error)) = unreadable.filter(|_| !as_service::is_file_passed()) {
        return fail(USAGE, &format!("check: {}: cannot be read: {error}", file.display()));
    }
    let is_of_unit = spec.env_file.is_none() && spec.conf_dir.is_none();
    if is_of_unit && let Some(result) = as_service::run(&layers.args, file) {
        return result.unwrap_or_else(|error| fail(SYSTEM, &error));
    }
    for named in spec.env_file.iter().filter(|named| may_be_absent(named) && !named.exists()) {
        Report::default().note(&format!("there is no {}", named.display()));
    }
    let environment = Environment::of_unit(spec);
    let mut layers = Layers { variables: environment.read(), ..layers };
    // A file that is in its place already is judged there: another one may win over it, and it is read once.
    let in_place = file.and_then(|file| environment.name_of(file));
    if let Some(file) = file.filter(|_| in_place.is_none()) {
        let content = match as_service::is_file_passed() {
            true => as_service::passed_file(),
            false => regular_file::read(file),
        };
        match content {
            Ok(content) => {
                layers.variables.add_file(file, &read_env_file(&String::from_utf8_lossy(&content)));
            }
            Err(error) => return fail(USAGE, &format!("check: {}: cannot be read: {error}", file.display())),
        }
    }
    let file = in_place.or_else(|| options.file.clone());
    let layers = super::in_place_of_service(layers, spec);
    check(&layers, &CheckOptions { file, ..options.clone() })
}

fn check(layers: &Layers, options: &CheckOptions) -> ExitCode {
    let mut report = Report::default();
    let settled = super::settled(layers, &GivenTexts::new());
    // Whether the service had its default directory of records is known to the service alone. Values are judged without it.
    let last_good = read_last_good(&last_good_file(&settled.spec)).unwrap_or_default();
    let settled = super::settled(layers, &last_good.directories());
    let is_asked = |origin: &SettingOrigin| match &options.file {
        Some(file) => origin.file() == Some(file) || matches!(origin, SettingOrigin::Flag(_)),
        None => true,
    };
    // Whether one of these settings is to be judged: of a file, what it does not set is not its fault.
    let are_asked = |settings: &[&str]| settings.iter().any(|setting| is_asked(&settled.origin(setting)));
    for refused in settled.refused.iter().filter(|refused| is_asked(&refused.origin)) {
        report.problem(ProblemKind::Setting, &refused.problem());
    }
    let sources: Vec<_> = source_flags().chain(["etcd3"]).collect();
    report.judges(are_asked(&sources));
    layers.variables.notices().iter().for_each(|notice| report.note(notice));
    let spec = &settled.spec;
    let mut keys_origin = settled.origin(DNSSEC).to_string();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(SYSTEM, &error),
    };
    let checked = runtime.block_on(check_sources(spec, !options.is_offline));
    runtime.shutdown_background();
    let (spec, publisher) = match checked {
        Ok(CheckedSources { publisher, unusable, problems, notes }) => {
            report.judges(are_asked(&["kubernetes", "master", "kubeconfig"]));
            unusable.iter().for_each(|problem| report.problem(ProblemKind::Setting, problem));
            report.judges(are_asked(&sources));
            notes.iter().for_each(|note| report.note(note));
            problems.iter().for_each(|problem| report.problem(ProblemKind::Store, problem));
            refusals(&publisher, &mut report);
            let names = publisher.status().borrow().names;
            report.found(&counted(names, "name"));
            (stored(spec, &mut keys_origin, &publisher, &mut report), Some(publisher))
        }
        Err(error) => {
            report.problem(ProblemKind::Setting, &error);
            (spec.clone(), None)
        }
    };
    spec.oddities().iter().for_each(|odd| report.note(odd));
    report.judges(are_asked(&["local", "domain"]));
    let config = Config::new(&spec, &host());
    match &config {
        Ok(config) => {
            config.site.zones.iter().for_each(|zone| report.found(&format!("domain {}", zone.domain())));
            config.forward.routes.iter().for_each(|route| report.found(route));
            publisher.iter().for_each(|publisher| noticeable(publisher, config, &spec, &report));
        }
        Err(problem) => report.problem(ProblemKind::Setting, problem),
    }
    report.judges(are_asked(&["nameservers", "resolv-conf", "kubernetes-forward"]));
    upstreams(&spec, &mut report);
    report.judges(are_asked(&["dnssec", "domain"]));
    keys::check(&spec, config.as_ref().ok(), &keys_origin, &last_good, &mut report);
    report.end()
}

/// Reports every service that is not served, or not as it is in the store.
fn refusals(publisher: &Publisher, report: &mut Report) {
    let refusals = publisher.refusals();
    if refusals.is_full() {
        report.note(&"there may be more services that are refused than those listed here");
    }
    for refusal in refusals.all() {
        let text = format!("{}: {}: {}", refusal.source.name(), refusal.key, refusal.reason);
        if refusal.served {
            report.note(&text);
        } else {
            report.problem(ProblemKind::Service, &format!("{text}; the service is not served"));
        }
    }
}

/// Prints what of the store nobody would look for: keys that nothing is answered from, and stub zones.
fn noticeable(publisher: &Publisher, config: &Config, spec: &Spec, report: &Report) {
    let published = publisher.published().load_full();
    if let Some(keys) = published.unserved(&config.site) {
        report.note(&unserved_text(&keys, &config.site, &Keyspace::new(&spec.path_prefix)));
    }
    let (stubs, left_out) = stub_notices(&published, config);
    for StubNotice { is_warning, text } in stubs.values().chain(&left_out) {
        let tell = if *is_warning { Report::note } else { Report::found };
        tell(report, text);
    }
}

/// The setting of DNSSEC keys.
const DNSSEC: &str = "dnssec";

/// The settings with the store's configuration applied, if it can be used. If it names DNSSEC keys, they come from there.
fn stored(base: &Spec, keys_origin: &mut String, publisher: &Publisher, report: &mut Report) -> Spec {
    let key = Keyspace::new(&base.path_prefix).config_key();
    let Some((source, json)) = publisher.status().borrow().config() else {
        return base.clone();
    };
    let settings = base.with_store(&key, &json, StoreBefore::default());
    for field in &settings.unknown {
        report.note(&format!(
            "{}: {key}: no setting has the name of field \"{}\"",
            source.name(),
            quoted(field)
        ));
    }
    for refused in &settings.problems {
        report.problem(ProblemKind::Setting, &format!("{}: {}", source.name(), refused.problem()));
    }
    if settings.applied.has(DNSSEC) {
        let origin = SettingOrigin::Store { key, field: DNSSEC.to_owned() };
        *keys_origin = format!("{}: {origin}", source.name());
    }
    settings.spec
}

/// The addresses of skydns.socket; the first one is also the default of `-addr`.
const UNIT_ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 53),
];

/// Reports upstreams that are the agent itself, and notes if there is nobody else to forward to.
fn upstreams(spec: &Spec, report: &mut Report) {
    if spec.no_rec {
        return;
    }
    let mut own: HashSet<_> = spec.listen.iter().copied().collect();
    if own.iter().any(|address| *address == UNIT_ADDRESSES[0]) {
        own.extend(UNIT_ADDRESSES);
    }
    if !spec.kubernetes.is_on {
        for ours in spec.kubernetes.forward.iter().filter(|address| own.contains(address)) {
            let text = format!("kubernetes-forward: {ours} is this server itself");
            report.problem(ProblemKind::Setting, &text);
        }
    }
    let named = spec.nameservers.as_deref().unwrap_or_default();
    for ours in named.iter().filter(|address| own.contains(address)) {
        report.problem(ProblemKind::Setting, &format!("nameservers: {ours} is this server itself"));
    }
    if named.iter().any(|address| !own.contains(address)) {
        return;
    }
    let file = spec.resolv_conf.display();
    if spec.resolv_conf != Spec::default().resolv_conf
        && let Err(error) = regular_file::open_regular(&spec.resolv_conf)
    {
        return report
            .problem(ProblemKind::Setting, &format!("resolv-conf: {file}: cannot be read: {error}"));
    }
    match ResolvConf::new(spec.resolv_conf.clone(), own).read() {
        Ok(found) if found.is_empty() => {
            report.note(&format!("there is no upstream in {file}: names outside of the domain will fail"));
        }
        Ok(_) => {}
        Err(error) => report.note(&format!("upstreams: {error}")),
    }
}
