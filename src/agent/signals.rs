//! The signals that end and reload the agent.

use nix::sys::signal::{SigSet, Signal};
use std::io;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

/// The signals that end the agent: SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: SignalStream,
    interrupt: SignalStream,
}

/// The signal that asks for a reload: SIGHUP.
pub(super) struct ReloadSignal(SignalStream);

/// Has a reload that is asked for too early wait until `listen`: otherwise the signal would end the process.
///
/// Called in the first thread, before there are others.
pub fn hold_reloads() {
    // It never fails for a signal that exists.
    let _ = reload_signals().thread_block();
}

fn reload_signals() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGHUP);
    signals
}

/// Handles the signals from now on; called in the first thread.
///
/// # Errors
/// The system refuses it.
pub(super) fn listen() -> io::Result<(StopSignals, ReloadSignal)> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let reload = ReloadSignal(signal(SignalKind::hangup())?);
    let _ = reload_signals().thread_unblock();
    Ok((StopSignals { terminate, interrupt }, reload))
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
