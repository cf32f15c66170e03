//! What came of signals, in a file that `skydns reload` and `skydns accept` wait for: a signal has no answer.

use super::status::held_text;
use crate::lock::lock;
use crate::regular_file;
use crate::replace_file::replace;
use crate::source::Status;
use crate::systemd;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Minimum time between two reports of what is served on.
const REPORT_PAUSE: Duration = Duration::from_millis(50);

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The process that wrote it.
    pub pid: u32,
    /// Reloads that have begun since the start.
    pub begun: u64,
    /// Reloads that have ended.
    pub done: u64,
    /// What was refused when the last reload ended.
    pub refused: Vec<String>,
    /// What is served on though it is gone (`-hold-mass-deletion`).
    #[serde(default)]
    pub held: Vec<String>,
    /// How often that was let go since the start, because somebody asked for it.
    #[serde(default)]
    pub accepted: u64,
}

impl ReloadReport {
    /// The report of an agent; `None` if it has written none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(file: &Path) -> io::Result<Option<Self>> {
        match regular_file::read(file) {
            // A file that another version has written says nothing.
            Ok(content) => Ok(serde_json::from_slice(&content).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The file of the report in the unit's directory; `None` without systemd.
pub fn reload_report_file() -> Option<PathBuf> {
    systemd::runtime_directory().map(|dir| dir.join("reload"))
}

/// Writes the report. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct ReloadReporter(Arc<Mutex<ReloadReport>>);

impl ReloadReporter {
    pub(super) fn new() -> Self {
        let reporter =
            Self(Arc::new(Mutex::new(ReloadReport { pid: std::process::id(), ..ReloadReport::default() })));
        reporter.write(|_| ());
        reporter
    }

    pub(super) fn begin(&self) {
        self.write(|report| report.begun += 1);
    }

    pub(super) fn end(&self, refused: Vec<String>) {
        self.write(|report| (report.done, report.refused) = (report.begun, refused));
    }

    /// Keeps the report of what is served on up to date, for ever.
    pub(super) async fn follow(self, mut status: watch::Receiver<Status>) {
        let mut reported = (Vec::new(), 0);
        loop {
            let now = {
                let status = status.borrow_and_update();
                (status.held.iter().map(held_text).collect::<Vec<_>>(), status.accepted)
            };
            if now != reported {
                self.write(|report| (report.held, report.accepted) = now.clone());
                reported = now;
                // While many names go, each moment has another number of them.
                sleep(REPORT_PAUSE).await;
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }

    /// Changes the report and writes it, to memory that is mounted at /run: nobody waits for a disk.
    fn write(&self, change: impl FnOnce(&mut ReloadReport)) {
        let mut report = lock(&self.0);
        change(&mut report);
        let Some(file) = reload_report_file() else { return };
        let text = serde_json::to_vec(&*report).map_err(io::Error::from);
        if let Err(error) = text.and_then(|text| replace(&file, &text, 0o600)) {
            log::warn!(
                "{}: cannot be written, so \"systemctl reload\" and \"skydns accept\" cannot tell what came of it: \
                 {error}",
                file.display()
            );
        }
    }
}
