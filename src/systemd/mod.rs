//! systemd: the sockets that it passes, what it is told, and its watchdog.
//!
//! The only room that knows sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3).

mod credentials;
mod notify;
mod sockets;
mod state;

pub use credentials::{credential, credentials};
pub use notify::{alive, ready, reloading, status, stopping, watchdog_interval};
pub use sockets::{SocketError, Sockets};
pub use state::state_directory;
