//! `skydns rescue`: answers in the place of an agent that keeps ending. `skydns-rescue.service` runs it.

use super::environment::Environment;
use super::{CONFIG, SYSTEM, fail, settled};
use crate::agent::{self, ToldSettings};
use crate::config::{GivenTexts, Layers, Spec, StoreBefore, ValuesBefore};
use crate::logging;
use crate::rescue::{self, RescueError};
use crate::service::Keyspace;
use std::process::ExitCode;

/// Runs it with the agent's settings. A setting that cannot be used costs itself, as in the agent.
pub(super) fn run(layers: Layers, spec: &Spec) -> ExitCode {
    let spec = settings(layers, spec);
    if let Err(error) = logging::init(spec.log, spec.log_level) {
        return fail(SYSTEM, &error);
    }
    let code = match rescue::run(&spec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(if matches!(error, RescueError::Sockets(_)) { CONFIG } else { SYSTEM })
        }
    };
    logging::flush();
    code
}

/// The settings, with the last good values of those that cannot be used, and of the store's configuration. A zone that was signed
/// last has to be signed, whatever is known of its keys now.
fn settings(layers: Layers, spec: &Spec) -> Spec {
    let layers = Layers { variables: Environment::of(spec).read(), ..layers };
    let present = settled(&layers, &GivenTexts::new()).spec;
    let Some(Ok(last_good)) = agent::last_good_file(&present).as_deref().map(agent::read_last_good) else {
        return present;
    };
    let layers = with_told(layers, &last_good.told);
    let spec = settled(&layers, &last_good.given).spec;
    let key = Keyspace::new(&spec.path_prefix).config_key();
    // The present value is not known yet: nothing is no JSON, in whose place the last one counts.
    let before = StoreBefore { last: &last_good.store, ..StoreBefore::default() };
    let mut spec = spec.with_store(&key, b"", before).spec;
    if spec.dnssec.is_empty() {
        spec.dnssec.clone_from(&last_good.keys);
    }
    spec
}

/// Adds what the agent's own command line and environment said last, so that drop-ins for its unit count here as well. Flags and
/// variables of this process come first.
fn with_told(layers: Layers, told: &ToldSettings) -> Layers {
    let flags = told.flags.iter().map(|(setting, text)| format!("-{setting}={text}"));
    let layers = Layers { args: flags.chain(layers.args).collect(), ..layers };
    // The flags may name other files.
    let spec = layers.settings(&ValuesBefore::default()).spec;
    let mut variables = Environment::of(&spec).read();
    for (name, value) in &told.variables {
        if variables.get(name).is_none() {
            variables.set(name, value.clone());
        }
    }
    Layers { variables, ..layers }
}
