//! Readiness and the watchdog: both ask our own sockets, and the watchdog looks at every beat as well.

use super::status::StatusNotes;
use crate::heartbeat::Heartbeats;
use crate::metrics::Metrics;
use crate::server::{Connections, Probe};
use crate::systemd;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long the sockets may take to answer before it is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shortest period of looks: parts beat every few hundred milliseconds.
const SHORTEST: Duration = Duration::from_millis(600);

/// Answers to clients within a period that prove more than an answer to us.
const BUSY: u64 = 1_000;

/// Rest between two attempts at readiness.
const REST: Duration = Duration::from_millis(100);

/// Asks our own sockets.
#[derive(Clone)]
pub(super) struct Prober {
    pub(super) probe: Probe,
    pub(super) notes: StatusNotes,
    pub(super) counters: Arc<Metrics>,
    pub(super) connections: Arc<Connections>,
}

impl Prober {
    fn ask(&self, most: Duration) -> Result<(), String> {
        self.probe.ask(most).map_err(|silent| silent.to_string())
    }

    /// Waits until every socket has answered.
    pub(super) async fn ready(self) {
        let mut told = String::new();
        loop {
            let prober = self.clone();
            let asked = tokio::task::spawn_blocking(move || prober.ask(PATIENCE)).await;
            match asked {
                Ok(Ok(())) => break,
                Ok(Err(silent)) => {
                    if told != silent {
                        log::warn!("not ready yet: {silent}");
                        systemd::status(&format!("not ready yet: {silent}"));
                    }
                    told = silent;
                }
                Err(error) => log::error!("the probe of our own sockets: {error}"),
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Keeps systemd's watchdog quiet as long as everything moves, from a thread of its own.
    /// It ends when the sender is dropped. Without a watchdog it does nothing.
    pub(super) fn watch(self, heartbeats: Heartbeats) -> io::Result<Option<mpsc::Sender<()>>> {
        let Some(interval) = systemd::watchdog_interval() else { return Ok(None) };
        let (stop, stopped) = mpsc::channel();
        // A round takes two of these at most: one may fail, and the next is still in time.
        let period = (interval / 5).max(SHORTEST);
        if period > interval / 5 {
            log::warn!("WatchdogSec= of {interval:?} is too short to tell standing still from a busy host");
        }
        let look = move || {
            loop {
                systemd::alive();
                if !self.until_well(&heartbeats, period, &stopped) {
                    return;
                }
            }
        };
        thread::Builder::new().name("watchdog".to_owned()).spawn(look)?;
        Ok(Some(stop))
    }

    /// Looks until everything has moved within a period; `false` if it is time to stop.
    fn until_well(&self, heartbeats: &Heartbeats, period: Duration, stopped: &mpsc::Receiver<()>) -> bool {
        loop {
            let (seen, answered) = (heartbeats.counts(), self.counters.activity());
            if stopped.recv_timeout(period) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
            let mut standing = seen.stalled();
            // Sockets that are busy with clients need not answer us in time as well.
            let busy = self.counters.activity().saturating_sub(answered) > BUSY || self.connections.is_full();
            standing.extend(self.ask(period).err().filter(|_| !busy));
            if standing.is_empty() {
                self.notes.set_standing(None);
                return true;
            }
            let text = format!("standing still for {:.1} s: {}", period.as_secs_f64(), standing.join(", "));
            log::error!("{text}; if that stays so, systemd starts the program anew");
            systemd::status(&text);
            self.notes.set_standing(Some(text));
        }
    }
}
