//! The signals that end and reload the agent.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the agent: SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// The signal that asks for a reload: SIGHUP.
pub(super) struct ReloadSignal(Signal);

/// Handles the signals from now on.
///
/// # Errors
/// The system refuses it.
pub(super) fn listen() -> io::Result<(StopSignals, ReloadSignal)> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    Ok((StopSignals { terminate, interrupt }, ReloadSignal(signal(SignalKind::hangup())?)))
}

impl StopSignals {
    /// Waits for a signal, and logs which it was.
    pub(super) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => log::info!("stopping (SIGTERM)"),
            _ = self.interrupt.recv() => log::info!("stopping (SIGINT)"),
        }
    }
}

impl ReloadSignal {
    /// Waits for a signal.
    pub(super) async fn received(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
