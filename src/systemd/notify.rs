//! Notifications to systemd (sd_notify(3), sd_watchdog_enabled(3)). Without systemd they do nothing.

use crate::shown::one_line;
use sd_notify::NotifyState;
use std::time::Duration;

/// Maximum octets of the line for `systemctl status`: systemd ignores a message of more than 4,096 octets, READY=1 in it as well.
const MAX_STATUS_OCTETS: usize = 2_048;

/// Whether a service manager started this program and waits for its notifications (`NOTIFY_SOCKET`).
pub fn is_supervised() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Notifies that queries are answered, or that a reload is over; `status` is one line for `systemctl status`.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(&status_line(status))]);
}

/// Replaces the line that `systemctl status` shows.
pub fn status(status: &str) {
    notify(&[NotifyState::Status(&status_line(status))]);
}

/// One line of limited length: a line break would begin another notification, and a status may quote a store. systemd (252
/// and 257) drops single backslashes, which escapes begin with.
fn status_line(text: &str) -> String {
    let mut line = one_line(text).replace('\\', "\\\\");
    if line.len() > MAX_STATUS_OCTETS {
        let cut = (0..=MAX_STATUS_OCTETS).rev().find(|at| line.is_char_boundary(*at));
        line.truncate(cut.unwrap_or(0));
        line.push('…');
    }
    line
}

/// Notifies that a reload begins; [`ready`] ends it.
///
/// The message has the monotonic time, as `Type=notify-reload` demands.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
        Err(error) => log::warn!("systemd: the clock cannot be read: {error}"),
    }
}

/// Notifies that the program ends.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Notifies the watchdog that the program works.
pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// The maximum time between two calls of [`alive`] (`WatchdogSec=`); `None` without a watchdog.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("systemd: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_leaves_room_for_readiness() {
        assert_eq!(status_line("a\nb"), "a\\\\nb");
        let long = status_line(&"ü".repeat(4_000));
        assert!(long.len() < 2_100 && long.ends_with("ü…"), "{}", long.len());
    }
}
