//! systemd: the sockets and files that it passes, the notifications that it takes, its watchdog and its journal.
//!
//! The only module that knows the interfaces of systemd: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3), the
//! variables of systemd.exec(5), the prefixes of sd-daemon(3) and machine-id(5). Without systemd each function has an
//! answer too, so callers need not ask whether it is there.

mod credentials;
mod journal;
mod machine_id;
mod notify;
mod sockets;
mod state;

pub use credentials::{PRIVATE_FILES, credential, credentials};
pub use journal::{journal_prefix, stderr_is_journal};
pub use machine_id::machine_id;
pub use notify::{alive, is_supervised, ready, reloading, status, stopping, watchdog_interval};
pub use sockets::{SocketError, Sockets};
pub use state::{keys_directory, runtime_directory, state_directory};
