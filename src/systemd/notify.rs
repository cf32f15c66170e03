//! What systemd is told (sd_notify(3)). Without systemd all of it does nothing.

use sd_notify::NotifyState;
use std::time::Duration;

/// Whether a service manager started this program and waits for its notifications (`NOTIFY_SOCKET`).
pub fn is_supervised() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Tells that queries are answered, or are again after a reload, and in one line how things are.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// Tells in one line how things are.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(&one_line(status))]);
}

/// A newline would begin another message; reasons may come out of a store's mouth.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Tells that a reload begins; [`ready`] ends it.
///
/// The time goes along, as `Type=notify-reload` demands.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
        Err(error) => log::warn!("systemd: the clock cannot be read: {error}"),
    }
}

/// Tells that the program ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Tells the watchdog that all is well.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Within what time [`alive`] has to come again; `None` without a watchdog.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("systemd: {error}");
    }
}
