//! The agent: all modules put together, and one supervisor for what runs for long.
//!
//! [`run()`] starts everything in the order of its steps. A task or thread that ends without being asked to ends the
//! process, so that systemd starts it again.

mod check;
mod check_etcd;
mod default_records;
mod derive;
mod error;
mod host;
mod keeper;
mod key_files;
mod last_good;
mod refused;
mod reload;
mod reload_report;
mod run;
mod serve;
mod settings_follower;
mod settled;
mod signals;
mod signer;
mod snapshot;
mod source_reads;
mod source_settings;
mod sources;
mod state_dir;
mod statistics;
mod statistics_settings;
mod status;
mod store_notices;
mod tasks;
mod upstreams;
mod watchdog;

pub use check::{CheckedSources, check_sources};
pub use derive::signed_fallthrough;
pub use error::{AgentError, SourcesError, limit_hint};
pub use host::host;
pub use key_files::{KeyProblem, SiteKeys};
pub use last_good::{LastGood, ToldSettings, last_good_file, read_last_good};
pub use reload::SettingsReader;
pub use reload_report::{ReloadReport, reload_report_file};
pub use run::{StartSettings, run};
pub use settled::{SettledSettings, settle};
pub use signals::hold_signals;
pub use signer::missing_key_text;
pub use source_settings::{etcd_settings, in_full, kubernetes_settings};
pub use statistics::{MetricsSettings, Statistics};
pub use store_notices::{StubNotice, stub_notices, unserved_text};
