//! The signals that end and reload the agent, and that tell it that names are gone for good.

use nix::sys::signal::{SigSet, Signal};
use std::io;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

/// The signals that end the agent: SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: SignalStream,
    interrupt: SignalStream,
}

/// A signal that asks for something.
pub(super) struct AskingSignal(SignalStream);

/// All signals that the agent handles.
pub(super) struct Signals {
    pub(super) stop: StopSignals,
    /// Asks for a reload: SIGHUP.
    pub(super) reload: AskingSignal,
    /// Lets go the names that are served on though they are gone: SIGUSR1.
    pub(super) accept: AskingSignal,
}

/// Has what is asked for too early by a signal wait until `listen`: otherwise the signal would end the process.
///
/// Called in the first thread, before there are others.
pub fn hold_signals() {
    // It never fails for a signal that exists.
    let _ = early_signals().thread_block();
}

fn early_signals() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGHUP);
    signals.add(Signal::SIGUSR1);
    signals
}

/// Handles the signals from now on; called in the first thread.
///
/// # Errors
/// The system refuses it.
pub(super) fn listen() -> io::Result<Signals> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let reload = AskingSignal(signal(SignalKind::hangup())?);
    let accept = AskingSignal(signal(SignalKind::user_defined1())?);
    let _ = early_signals().thread_unblock();
    Ok(Signals { stop: StopSignals { terminate, interrupt }, reload, accept })
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

impl AskingSignal {
    /// Waits for a signal.
    pub(super) async fn received(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
