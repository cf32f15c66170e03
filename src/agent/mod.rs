//! The agent: all modules put together, and one supervisor for what runs for long.
//!
//! [`run()`] starts everything in the order of its steps. A task or thread that ends without being asked to ends the
//! process, so that systemd starts it again.

mod check;
mod derive;
mod error;
mod host;
mod key_files;
mod reload;
mod run;
mod serve;
mod settings_follower;
mod signals;
mod signer;
mod snapshot;
mod source_reads;
mod source_settings;
mod sources;
mod statistics;
mod status;
mod store_notices;
mod tasks;
mod upstreams;
mod watchdog;

pub use check::{CheckedSources, check_sources};
pub use error::{AgentError, SourcesError, limit_hint};
pub use host::host;
pub use key_files::{KeyProblem, Keys, KeysError};
pub use reload::SettingsReader;
pub use run::run;
pub use statistics::{MetricsSettings, Statistics};
pub use store_notices::{StubNotice, stub_notices, unserved_text};
