//! `skydns migrate`: carries the services of etcd's v2 API to v3, or compares the answers with and without v2.

mod stores;
mod verify;

use super::{CONFIG, SYSTEM, UNAVAILABLE, USAGE, complain, fail, runtime, say};
use crate::agent::SettledSettings;
use crate::config::{DATA, MigrateOptions, command_usage};
use crate::counted::counted;
use crate::source::etcd::migrate::{MigrateError, MigrateNews, Migration, Pass, Uncarried};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use stores::Stores;
use tokio::signal::unix::{SignalKind, signal};

/// How often progress is told.
const PROGRESS_PERIOD: Duration = Duration::from_secs(2);

/// Runs the command.
pub(super) fn run(settled: &SettledSettings, options: &MigrateOptions) -> ExitCode {
    let spec = &settled.spec;
    if let Err(reason) = check(options) {
        return fail(USAGE, &format!("migrate: {reason}; {}", command_usage("migrate")));
    }
    let refused: Vec<_> = settled.refused.iter().filter(|refused| refused.is_of_sources()).collect();
    if !refused.is_empty() {
        refused.iter().for_each(|refused| complain(&format!("migrate: {}", refused.problem())));
        return ExitCode::from(CONFIG);
    }
    let stores = match Stores::new(spec, options) {
        Ok(stores) => stores,
        Err(reason) => return fail(CONFIG, &format!("migrate: {reason}")),
    };
    let is_other_store = stores.is_other_store;
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(SYSTEM, &error),
    };
    let ended = runtime.block_on(async {
        match options.verifies {
            true => verify::run(spec, &stores).await,
            false => carry(stores, options).await,
        }
    });
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| {
        fail(UNAVAILABLE, &format!("migrate: {}", stores::told(&error, is_other_store)))
    })
}

/// Checks that options go together.
fn check(options: &MigrateOptions) -> Result<(), &'static str> {
    let modes = [options.is_dry_run, options.follows, options.verifies];
    let files = [&options.to_ca_cert, &options.to_cert, &options.to_key];
    if options.from != "v2" || options.to != "v3" {
        return Err("it takes -from v2 -to v3");
    }
    if modes.into_iter().filter(|is_on| *is_on).count() > 1 {
        return Err("one of -dry-run, -follow and -verify at most");
    }
    if options.to_machines.is_empty() && files.iter().any(|file| file.is_some()) {
        return Err("-to-ca-cert, -to-cert and -to-key are those of the store of -to-machines");
    }
    Ok(())
}

async fn carry(stores: Stores, options: &MigrateOptions) -> Result<ExitCode, MigrateError> {
    let mut teller = Teller { is_other_store: stores.is_other_store, ..Teller::default() };
    let mut migration = Migration::new(stores.from, stores.to, stores.keyspace, &stores.also);
    if options.is_dry_run {
        let pass = migration.look().await?;
        pass.kept.iter().for_each(|key| say(&format!("{key}: kept in v3; v2 does not have it")));
        teller.tell_pass(&pass, "would be ");
        if pass.is_over {
            say(&"v2 holds nothing that is to be carried: the marks of the move would be removed from v3");
        }
    } else if options.follows {
        migration.follow(stopped(), |news| teller.tell(&news)).await?;
    } else {
        let pass = migration.carry(|news| teller.tell(&news)).await?;
        teller.tell_pass(&pass, "");
        if pass.is_over {
            say(&"v2 holds nothing that is to be carried: the marks of the move are removed from v3");
        }
    }
    Ok(if teller.has_uncarried { ExitCode::from(DATA) } else { ExitCode::SUCCESS })
}

/// Waits for a signal that ends the program. Without handlers the signals end it at once.
async fn stopped() {
    let handlers = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match handlers {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}

/// Tells an operator what happens.
#[derive(Default)]
struct Teller {
    is_other_store: bool,
    told_texts: BTreeSet<String>,
    has_uncarried: bool,
    told: Option<Instant>,
}

impl Teller {
    fn tell(&mut self, news: &MigrateNews<'_>) {
        match news {
            MigrateNews::Progress(done, all) => {
                let is_due = self.told.is_none_or(|told| told.elapsed() >= PROGRESS_PERIOD);
                // The end is told by the whole.
                if is_due && done < all {
                    self.told = Some(Instant::now());
                    say(&format!("{done} of {all} keys are written"));
                }
            }
            MigrateNews::Pass(pass) => self.tell_pass(pass, ""),
            MigrateNews::Failed(error) => {
                let error = stores::told(error, self.is_other_store);
                complain(&format!("migrate: {error}; it is tried again"));
            }
        }
    }

    /// Tells what a pass found and did, or would do.
    fn tell_pass(&mut self, pass: &Pass, would_be: &str) {
        self.has_uncarried |= !pass.uncarried.is_empty();
        let texts = texts_of(pass);
        texts.difference(&self.told_texts).for_each(|text| complain(text));
        self.told_texts = texts;
        let Pass { keys, same, native, other_values, written, taken_over, removed, lost, .. } = pass;
        let mut text = format!(
            "{} in v2: {written} {would_be}written to v3, {same} there already, {native} of other writers there",
            counted(*keys, "key")
        );
        if !other_values.is_empty() {
            text.push_str(&format!(" ({} with another value, which wins)", other_values.len()));
        }
        if *removed > 0 {
            let removed = counted(*removed, "key");
            text.push_str(&format!(
                "; {removed} {would_be}removed from v3, because v2 has no such key any more"
            ));
        }
        if *taken_over > 0 {
            let taken_over = counted(*taken_over, "key");
            text.push_str(&format!("; {taken_over} {would_be}taken over from another cluster"));
        }
        if *lost > 0 {
            text.push_str(&format!("; {} written by others at the same moment", counted(*lost, "key")));
        }
        if !pass.kept.is_empty() {
            let kept = counted(pass.kept.len(), "key");
            text.push_str(&format!(
                "; {kept} kept in v3, because v2 lost them when most of it went at once, when it went back in time or became another cluster"
            ));
        }
        if !pass.uncarried.is_empty() {
            text.push_str(&format!("; {} cannot be carried", counted(pass.uncarried.len(), "key")));
        }
        say(&text);
    }
}

/// What is so until somebody changes it: it is told once.
fn texts_of(pass: &Pass) -> BTreeSet<String> {
    let Pass { uncarried, other_values, is_half_searched, .. } = pass;
    let uncarried =
        uncarried.iter().map(|Uncarried { key, reason }| format!("{key}: cannot be carried: {reason}"));
    let other = |key| format!("{key}: another writer has given it another value in v3, which wins");
    let half =
        "not all directories could be looked into for hidden keys: name those that there are with -v2-also";
    uncarried.chain(other_values.iter().map(other)).chain(is_half_searched.then(|| half.to_owned())).collect()
}
