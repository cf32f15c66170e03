//! `skydns migrate`: carries the services of etcd's v2 API to v3, or compares the answers with and without v2.

mod verify;

use super::{CONFIG, SYSTEM, UNAVAILABLE, USAGE, complain, fail, runtime, say};
use crate::agent::{etcd_settings, in_full};
use crate::config::{DATA, MigrateOptions, Spec, command_usage};
use crate::counted::counted;
use crate::service::Keyspace;
use crate::source::etcd::migrate::{MigrateError, MigrateNews, Migration, Pass};
use crate::source::etcd::{EtcdError, EtcdSettings, TlsFiles};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How often progress is told.
const PROGRESS_PERIOD: Duration = Duration::from_secs(2);

/// The stores, and what is carried.
struct Stores {
    from: EtcdSettings,
    to: EtcdSettings,
    keyspace: Keyspace,
    also: Vec<String>,
}

/// Runs the command.
pub(super) fn run(spec: &Spec, options: &MigrateOptions) -> ExitCode {
    let modes = [options.is_dry_run, options.follows, options.verifies];
    if options.from != "v2" || options.to != "v3" || modes.iter().filter(|is_on| **is_on).count() > 1 {
        return fail(USAGE, &command_usage("migrate"));
    }
    let stores = match stores(spec, options) {
        Ok(stores) => stores,
        Err(error) => return fail(CONFIG, &format!("migrate: {error}")),
    };
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
    ended.unwrap_or_else(|error| fail(UNAVAILABLE, &format!("migrate: {error}")))
}

fn stores(spec: &Spec, options: &MigrateOptions) -> Result<Stores, EtcdError> {
    let from = etcd_settings(spec)?;
    let MigrateOptions { to_machines, to_ca_cert, to_cert, to_key, .. } = options;
    let to = if to_machines.is_empty() {
        from.clone()
    } else {
        let tls = TlsFiles { ca_cert: to_ca_cert.clone(), cert: to_cert.clone(), key: to_key.clone() };
        EtcdSettings::new(to_machines, tls, from.user.clone(), false)?
    };
    let keyspace = Keyspace::new(&spec.path_prefix);
    let also = spec.v2_also.iter().map(|path| in_full(&keyspace, path)).collect();
    Ok(Stores { from, to, keyspace, also })
}

async fn carry(stores: Stores, options: &MigrateOptions) -> Result<ExitCode, MigrateError> {
    let mut migration = Migration::new(stores.from, stores.to, stores.keyspace, &stores.also);
    let mut teller = Teller::default();
    if options.is_dry_run {
        let pass = migration.look().await?;
        teller.tell_pass(&pass, "would be ");
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
            MigrateNews::Failed(error) => complain(&format!("migrate: {error}; it is tried again")),
        }
    }

    /// Tells what a pass found and did, or would do.
    fn tell_pass(&mut self, pass: &Pass, would_be: &str) {
        for uncarried in &pass.uncarried {
            self.has_uncarried = true;
            complain(&format!("{}: cannot be carried: {}", uncarried.key, uncarried.reason));
        }
        let Pass { keys, same, native, written, removed, lost, kept, uncarried, is_over: _ } = pass;
        let mut text = format!(
            "{} in v2: {written} {would_be}written to v3, {same} there already, {native} of other writers there",
            counted(*keys, "key")
        );
        if *removed > 0 {
            let removed = counted(*removed, "key");
            text.push_str(&format!(
                "; {removed} {would_be}removed from v3, because v2 has no such key any more"
            ));
        }
        if *lost > 0 {
            text.push_str(&format!("; {} written by others at the same moment", counted(*lost, "key")));
        }
        if *kept > 0 {
            text.push_str(&format!(
                "; {} kept in v3, because v2 as a whole is empty or older than before",
                counted(*kept, "key")
            ));
        }
        if !uncarried.is_empty() {
            text.push_str(&format!("; {} cannot be carried", counted(uncarried.len(), "key")));
        }
        say(&text);
    }
}
