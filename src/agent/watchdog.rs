//! Readiness and the watchdog. Both send queries to this program's own sockets; the watchdog compares the counts of all
//! heartbeats as well.

use super::status::{Stall, StatusNotes, not_ready_text};
use crate::heartbeat::Heartbeats;
use crate::metrics::Metrics;
use crate::server::{BoundSockets, Connections, Handler, Probe};
use crate::systemd;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Maximum time for the sockets to answer at the start, before that is logged and tried again.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Minimum time from one count of heartbeats to the next: threads and tasks beat every few hundred milliseconds.
const MIN_WATCH_PERIOD: Duration = Duration::from_millis(600);

/// With more replies to clients in a period than this the sockets work, even if they do not answer the probe in time.
const BUSY_REPLIES: u64 = 1_000;

/// Pause between two probes at the start.
const READY_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Asks this program's own sockets, and reports what does not answer.
#[derive(Clone)]
pub(super) struct Prober {
    probe: Probe,
    notes: StatusNotes,
    counters: Arc<Metrics>,
    connections: Arc<Connections>,
}

impl Prober {
    /// A probe of all sockets that this host can reach; the others are logged.
    pub(super) fn new(
        bound: &BoundSockets,
        handler: &Handler,
        notes: StatusNotes,
        counters: Arc<Metrics>,
        connections: Arc<Connections>,
    ) -> Self {
        let probe = Probe::new(bound, handler.probe().clone());
        let unreachable: Vec<_> = probe.unreachable().iter().map(ToString::to_string).collect();
        if !unreachable.is_empty() {
            log::info!(
                "the watchdog does not ask these addresses, which the host does not have, or which only one device may use: {}",
                unreachable.join(", ")
            );
        }
        Self { probe, notes, counters, connections }
    }

    /// Sends a query to each socket; the error says which did not answer within `limit`.
    fn ask(&self, limit: Duration) -> Result<(), String> {
        self.probe.ask(limit).map_err(|silent| silent.to_string())
    }

    /// Waits until every socket has answered.
    pub(super) async fn ready(self) {
        let mut logged = String::new();
        loop {
            let prober = self.clone();
            let asked = tokio::task::spawn_blocking(move || prober.ask(READY_TIMEOUT)).await;
            match asked {
                Ok(Ok(())) => break,
                Ok(Err(silent)) => {
                    if logged != silent {
                        let text = not_ready_text(&silent);
                        log::warn!("{text}");
                        systemd::status(&text);
                    }
                    logged = silent;
                }
                Err(error) => log::error!("the probe of our own sockets: {error}"),
            }
            tokio::time::sleep(READY_RETRY_PAUSE).await;
        }
    }

    /// Starts a thread that notifies systemd's watchdog as long as nothing stalls; `None` if systemd has no watchdog for
    /// this program.
    ///
    /// The thread ends when the sender is dropped.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn watch(self, heartbeats: Heartbeats) -> io::Result<Option<mpsc::SyncSender<()>>> {
        let Some(interval) = systemd::watchdog_interval() else { return Ok(None) };
        // Nothing is ever sent.
        let (stop, stopped) = mpsc::sync_channel(0);
        // A round takes at most two periods, a pause and a probe. The interval has five, so one round may fail.
        let period = (interval / 5).max(MIN_WATCH_PERIOD);
        if period > interval / 5 {
            log::warn!(
                "WatchdogSec= of {interval:?} is too short to tell a part that hangs from a busy host"
            );
        }
        let keep_alive = move || {
            loop {
                systemd::alive();
                if !self.wait_until_nothing_stalls(&heartbeats, period, &stopped) {
                    return;
                }
            }
        };
        thread::Builder::new().name("watchdog".to_owned()).spawn(keep_alive)?;
        Ok(Some(stop))
    }

    /// Watches period after period until nothing stalls in one; `false` if the thread has to end.
    fn wait_until_nothing_stalls(
        &self,
        heartbeats: &Heartbeats,
        period: Duration,
        stopped: &mpsc::Receiver<()>,
    ) -> bool {
        loop {
            let (counts, answered) = (heartbeats.counts(), self.counters.activity());
            if stopped.recv_timeout(period) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
            let mut stalled = counts.stalled();
            // Sockets that are busy with clients need not answer the probe in time as well.
            let is_busy = self.counters.activity().saturating_sub(answered) > BUSY_REPLIES
                || self.connections.is_full();
            stalled.extend(self.ask(period).err().filter(|_| !is_busy));
            if stalled.is_empty() {
                self.notes.set_stall(None);
                return true;
            }
            let stall = Stall { period, stalled };
            log::error!("{stall}; if that lasts, systemd restarts the agent");
            systemd::status(&stall.to_string());
            self.notes.set_stall(Some(stall));
        }
    }
}
