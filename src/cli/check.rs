//! `skydns check`: loads the configuration and all stores, and prints every problem with its place.

use super::{CONFIG, SYSTEM, fail, runtime};
use crate::agent::{CheckedSources, Keys, StubNotice, check_sources, host, stub_notices, unserved_text};
use crate::answer::Zone;
use crate::config::{Config, GivenTexts, Layers, Spec, StoreBefore};
use crate::service::Keyspace;
use crate::source::Publisher;
use std::process::ExitCode;

/// Prints every problem and notice; exits 0 if there is no problem, else 78.
pub(super) fn run(layers: &Layers) -> ExitCode {
    let mut report = Report::default();
    let settled = super::settled(layers, &GivenTexts::new());
    settled.refused.iter().for_each(|refused| report.problem(refused));
    layers.variables.notices().iter().for_each(|notice| println!("note: {notice}"));
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(SYSTEM, &error),
    };
    let checked = runtime.block_on(check_sources(&settled.spec));
    runtime.shutdown_background();
    let (spec, publisher) = match checked {
        Ok(CheckedSources { publisher, problems: unread, notes }) => {
            notes.iter().for_each(|note| println!("note: {note}"));
            unread.iter().for_each(|problem| report.problem(problem));
            refusals(&publisher, &mut report);
            let names = publisher.status().borrow().names;
            println!("{names} names");
            (stored(&settled.spec, &publisher, &mut report), Some(publisher))
        }
        Err(error) => {
            report.problem(&error);
            (settled.spec.clone(), None)
        }
    };
    match Config::new(&spec, &host()) {
        Ok(config) => {
            println!("domain {}", config.zone.domain());
            publisher.iter().for_each(|publisher| noticeable(publisher, &config, &spec));
        }
        Err(problem) => report.problem(&problem),
    }
    keys(&spec, &mut report);
    report.end()
}

#[derive(Default)]
struct Report {
    problems: usize,
}

impl Report {
    fn problem(&mut self, problem: &dyn std::fmt::Display) {
        self.problems += 1;
        println!("problem: {problem}");
    }

    fn end(&self) -> ExitCode {
        match self.problems {
            0 => {
                println!("everything is in order");
                ExitCode::SUCCESS
            }
            1 => {
                println!("1 problem");
                ExitCode::from(CONFIG)
            }
            many => {
                println!("{many} problems");
                ExitCode::from(CONFIG)
            }
        }
    }
}

/// Reports every service that is not served, or not as it is in the store.
fn refusals(publisher: &Publisher, report: &mut Report) {
    let refusals = publisher.refusals();
    if refusals.is_full() {
        println!("note: there may be more entries that are refused than those listed here");
    }
    for refusal in refusals.all() {
        let text = format!("{}: {}: {}", refusal.source.name(), refusal.key, refusal.reason);
        if refusal.served {
            println!("note: {text}");
        } else {
            report.problem(&format!("{text}; the record is not served"));
        }
    }
}

/// Prints what of the store nobody would look for: keys that nothing is answered from, and stub zones.
fn noticeable(publisher: &Publisher, config: &Config, spec: &Spec) {
    let published = publisher.published().load_full();
    if let Some(keys) = published.unserved(&config.zone) {
        println!("note: {}", unserved_text(&keys, &config.zone, &Keyspace::new(&spec.path_prefix)));
    }
    let (stubs, left_out) = stub_notices(&published, config);
    for StubNotice { is_warning, text } in stubs.values().chain(&left_out) {
        println!("{}{text}", if *is_warning { "note: " } else { "" });
    }
}

/// The settings with the store's configuration applied, if it can be used.
fn stored(base: &Spec, publisher: &Publisher, report: &mut Report) -> Spec {
    let key = Keyspace::new(&base.path_prefix).config_key();
    let Some((source, json)) = publisher.status().borrow().config() else {
        return base.clone();
    };
    let settings = base.with_store(&key, &json, StoreBefore::default());
    for field in &settings.unknown {
        println!("note: {}: {key}: field \"{field}\" means nothing here", source.name());
    }
    settings.problems.iter().for_each(|problem| report.problem(&format!("{}: {problem}", source.name())));
    settings.spec
}

/// Reports DNSSEC keys whose files are missing, do not belong together, or are for another domain.
fn keys(spec: &Spec, report: &mut Report) {
    let Keys { keys, problems, notes } = Keys::read(&spec.dnssec, Zone::new(&spec.domain).domain());
    for key in keys {
        let key = key.public;
        println!("key {} of {}, algorithm {}", key.tag(), key.owner, key.algorithm.number());
    }
    problems.iter().for_each(|problem| report.problem(problem));
    notes.iter().for_each(|note| println!("note: {note}"));
}
